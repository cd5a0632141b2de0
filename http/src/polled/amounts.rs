//! Resources in the words of the old endpoints: amounts by name, whatever sets resources of one name apart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::{Resource, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The names that are always shown, as tools look for them.
const ALWAYS: [&str; 4] = ["cpus", "disk", "gpus", "mem"];

/// A sum of resources by name: always `cpus`, `gpus`, `mem` and `disk`; ranges and sets as text; what can be taken back
/// under a name of its own. Of several machines a port that two have counts once.
#[derive(Debug, Default)]
pub(crate) struct Amounts<'a> {
    /// The amounts of [`ALWAYS`], in thousandths.
    always: [u64; 4],
    /// Other scalars, in thousandths.
    scalars: BTreeMap<Cow<'a, str>, u64>,
    ranges: Vec<(Cow<'a, str>, u64, u64)>,
    sets: BTreeMap<Cow<'a, str>, BTreeSet<&'a str>>,
}

impl<'a> Amounts<'a> {
    /// The amounts of these entries.
    pub(crate) fn of(entries: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut amounts = Self::default();
        amounts.add(entries);
        amounts
    }

    /// Adds more. Nothing is allocated for the names that are always there.
    pub(crate) fn add(&mut self, entries: impl IntoIterator<Item = &'a Resource>) {
        for entry in entries {
            let plain = entry.name.as_str();
            let name = match entry.is_revocable() {
                true => Cow::Owned(format!("{plain}_revocable")),
                false => Cow::Borrowed(plain),
            };
            match &entry.value {
                Value::Scalar(quantity) => self.add_scalar(name, quantity.0),
                Value::Devices(devices) => {
                    let shares = devices.iter().map(|device| u64::from(device.share)).sum();
                    self.add_scalar(name, shares);
                }
                Value::Ranges(ranges) => {
                    self.ranges.extend(ranges.iter().map(|(begin, end)| (name.clone(), begin, end)));
                }
                Value::Set(items) => self.sets.entry(name).or_default().extend(items.iter().map(String::as_str)),
            }
        }
    }

    fn add_scalar(&mut self, name: Cow<'a, str>, thousandths: u64) {
        let sum = match ALWAYS.iter().position(|always| *always == name) {
            Some(at) => &mut self.always[at],
            None => self.scalars.entry(name).or_default(),
        };
        *sum = sum.saturating_add(thousandths);
    }

    /// The ranges of each name as text, what touches or overlaps joined.
    fn texts(&self) -> Vec<(&str, String)> {
        let mut sorted: Vec<(&str, u64, u64)> =
            self.ranges.iter().map(|(name, begin, end)| (name.as_ref(), *begin, *end)).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(&str, u64, u64)> = Vec::with_capacity(sorted.len());
        for (name, begin, end) in sorted {
            match joined.last_mut() {
                Some((last, _, until)) if *last == name && begin <= until.saturating_add(1) => *until = end.max(*until),
                _ => joined.push((name, begin, end)),
            }
        }
        let mut texts: Vec<(&str, String)> = Vec::new();
        for (name, begin, end) in joined {
            match texts.last_mut() {
                Some((last, text)) if *last == name => text.push_str(&format!(", {begin}-{end}")),
                _ => texts.push((name, format!("[{begin}-{end}"))),
            }
        }
        texts.iter_mut().for_each(|(_, text)| text.push(']'));
        texts
    }
}

impl Serialize for Amounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (name, thousandths) in ALWAYS.iter().zip(self.always) {
            out.serialize_entry(name, &Quantity(thousandths).as_scalar())?;
        }
        for (name, thousandths) in &self.scalars {
            out.serialize_entry(name, &Quantity(*thousandths).as_scalar())?;
        }
        for (name, text) in self.texts() {
            out.serialize_entry(name, &text)?;
        }
        for (name, items) in &self.sets {
            let items: Vec<&str> = items.iter().copied().collect();
            out.serialize_entry(name, &format!("{{{}}}", items.join(", ")))?;
        }
        out.end()
    }
}

/// A list that is written as it is gone through.
pub(crate) struct Each<F>(pub(crate) F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaon_kernel::resource::parse::resources;
    use serde_json::{json, to_value};

    #[test]
    fn amounts_of_one_name_add_up_and_ranges_of_several_machines_join() {
        let one = resources("cpus:0.5;mem(web):64;ports:[10-20,30-40];zones:{a,b}").expect("valid");
        let two = resources("cpus:1;mem:32;ports:[15-30];licences:2;zones:{b,c}").expect("valid");
        let mut amounts = Amounts::of(&one);
        amounts.add(&two);
        let expected = json!({"cpus": 1.5, "mem": 96.0, "disk": 0.0, "gpus": 0.0, "licences": 2.0,
            "ports": "[10-40]", "zones": "{a, b, c}"});
        assert_eq!(to_value(&amounts).expect("JSON"), expected);
        assert_eq!(to_value(Amounts::of(&one)).expect("JSON")["ports"], "[10-20, 30-40]");
    }
}
