//! The texts that flags carry.

use kaon_kernel::agent::AttributeValue;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{ResourceName, Value, parse};
use proptest::prelude::*;

#[test]
fn resource_texts_parse_as_in_mesos() {
    let cases = [
        (
            "cpus:4;mem(web):2048; ports:[31000-32000, 40-41];zones:{a, b}",
            "cpus:4; mem(web):2048; ports:[40-41, 31000-32000]; zones:{a, b}",
        ),
        ("cpus(*):1", "cpus:1"),
        (" cpus ( eng/web ) : 1.5 ;", "cpus(eng/web):1.5"),
        ("cpus:1;cpus:2.0005;cpus(a):1", "cpus:3.001; cpus(a):1"),
        ("ports:[1-3,2-4, 5-9]", "ports:[1-9]"),
        ("ports:[1-3];ports:[3-5]", "ports:[1-5]"),
        ("ports:[ 1 - 3 ]", "ports:[1-3]"),
        ("zones:{a};zones:{a,b}", "zones:{a, b}"),
        ("mem:1 024", "mem:1024"),
        ("mem:0x10;ports:[0x10-0x1F]", "mem:16; ports:[16-31]"),
        ("mem:1e3", "mem:1000"),
        ("cpus:0;ports:[];zones:{}", ""),
        ("gpus:2", "gpus:2"),
        ("", ""),
        (" ; ;", ""),
    ];
    for (text, shown) in cases {
        let bag = parse::resources(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(bag.to_string(), shown, "{text}");
        assert!(bag.is_canonical(), "{text}");
    }
    let said = parse::said("cpus:0;disk(a):5;ports:[]").expect("parses");
    assert_eq!(Vec::from_iter(said.names), [ResourceName::Cpus, ResourceName::Disk, ResourceName::Ports]);
}

#[test]
fn an_error_points_at_its_character() {
    let refused = [
        ("cpus", 0, "expected 'name:value'"),
        ("cpus:1; mem", 8, "expected 'name:value'"),
        ("cpus:x", 5, "expected a number"),
        ("cpus:", 5, "missing value"),
        ("cpus:1;mem:[1-", 14, "missing ']'"),
        ("ports:[5-3]", 7, "ends before it begins"),
        ("ports:[1-3, 7]", 12, "expected 'begin-end'"),
        ("ports:[1-x]", 9, "expected a whole number"),
        ("ports:[1--3]", 9, "expected a whole number"),
        ("ports:[1-3]]", 11, "expected ';'"),
        ("zones:{a,b", 10, "missing '}'"),
        ("zones:{a,b,a}", 11, "twice"),
        ("cpus(a b):1", 5, "disallowed character"),
        ("cpus():1", 5, "must not be empty"),
        ("cpus(a:1", 4, "missing ')'"),
        ("cpus(a)b:1", 7, "expected ':'"),
        ("cpus:-1", 5, "out of range"),
        ("cpus:nan", 5, "out of range"),
        ("cpus:1e13", 5, "out of range"),
        ("cpus:1e12;cpus:1", 10, "the sum is out of range"),
        ("cpus:1:2", 6, "more than one ':'"),
        ("gpus:0.5", 5, "whole number"),
        (":1", 0, "missing name"),
        ("a:1;a:[1-2]", 4, "it is RANGES here and SCALAR before"),
        ("ключ:я", 9, "expected a number"),
    ];
    for (text, at, reason) in refused {
        let error = parse::resources(text).expect_err(text);
        assert_eq!(error.at, at, "{error}");
        assert!(error.reason.contains(reason), "{error}");
    }
    let error = parse::resources("ключ:я").expect_err("no number");
    assert_eq!(error.to_string(), "expected a number, '[' or '{' at character 6\n  ключ:я\n       ^");
    let error = parse::resources(&format!("{};\ncpus:1;mem:?", "a:1;".repeat(99))).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "expected a number, '[' or '{' at line 2, character 12\n  cpus:1;mem:?\n             ^"
    );
    let error = parse::resources(&format!("{}mem:?{}", "a:1;".repeat(99), " ".repeat(99))).expect_err("no number");
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "expected a number, '[' or '{' at character 401");
    assert_eq!(lines[1].chars().nth(lines[2].chars().count() - 1), Some('?'), "{error}");
    assert!(lines[1].chars().count() <= 102, "only the part around it is shown");
}

#[test]
fn a_name_that_comes_any_number_of_times_costs_no_more_than_its_text() {
    // With a pass over all that came before for each it would take minutes.
    let times = 60_000;
    let sets: String = (0..times).map(|number| format!("a:{{x{number}}};")).collect();
    let ranges: String = (0..times).map(|number| format!("b:[{0}-{0}];", 2 * number)).collect();
    let bag = parse::resources(&format!("{sets}{ranges}{}", "c:1;".repeat(times))).expect("parses");
    let values: Vec<_> = bag.iter().map(|entry| &entry.value).collect();
    let [Value::Set(items), Value::Ranges(ranges), Value::Scalar(sum)] = values[..] else { panic!("{values:?}") };
    assert_eq!((items.len(), ranges.iter().count(), *sum), (times, times, Quantity(times as u64 * 1000)));
}

#[test]
fn attribute_texts_parse_as_in_mesos() {
    let parsed = parse::attributes("rack:r1;gen:2.5;cores:[0-3];url:http://x; rack : r2\nlast:1").expect("parses");
    let shown: Vec<_> = parsed.iter().map(|attribute| attribute.name.as_str()).collect();
    assert_eq!(shown, ["rack", "gen", "cores", "url", "rack", "last"]);
    assert_eq!(parsed[1].value, AttributeValue::Scalar(Quantity(2500)));
    assert_eq!(parsed[3].value, AttributeValue::Text("http://x".to_owned()));
    for (text, at) in [("set:{a}", 4), ("rack", 0), ("a:b;:c", 4), ("a:b; c: ", 7), ("a:[1-", 5), ("a:[2-1]", 3)] {
        assert_eq!(parse::attributes(text).expect_err(text).at, at, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[a-c(){}\\[\\]:;,.0-9\\- \n*/é]{0,40}") {
        for error in [parse::resources(&text).err(), parse::attributes(&text).err()].into_iter().flatten() {
            prop_assert!(text.is_char_boundary(error.at));
            prop_assert!(error.to_string().contains('^'));
        }
    }

    #[test]
    fn what_is_shown_of_plain_bags_is_read_back(cpus in 0u64..10_000_000, begin in 0u64..9, size in 0u64..9) {
        let text = format!("cpus:{};ports(a/b):[{}-{}]", Quantity(cpus), begin, begin + size);
        let bag = parse::resources(&text).expect("parses");
        prop_assert_eq!(parse::resources(&bag.to_string()).expect("parses"), bag);
    }
}
