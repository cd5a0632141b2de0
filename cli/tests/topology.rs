//! `kaon topology`, and a cluster whose machine is another one than it runs on.

use crate::cluster::{Cluster, kaon};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

const DGX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../isolators/data/hwloc/nvidiaDGX2.xml");

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("kaon starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_laptop_stands_for_a_dgx() {
    let cluster = Cluster::start_with(1, &["--topology", DGX]);
    let run = |flags: &[&str]| output(cluster.command("run").args(flags));
    let labels = ["--label", "kaon.placement/policy=numa", "--label", "kaon.placement/gpu-near=cores"];
    let task = ["--gpus", "4", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"];
    let (code, out, err) = run(&[&labels[..], &task].concat());
    assert_eq!(code, Some(0), "{err}");
    let gpus: BTreeSet<&str> = out.trim().split(',').filter(|id| id.starts_with("GPU-")).collect();
    assert_eq!(gpus.len(), 4, "{out}");
    let (code, _, err) = run(&["--label", "kaon.placement/polcy=numa", "--", "true"]);
    assert!(code != Some(0) && err.contains("did you mean 'kaon.placement/policy'?"), "{err}");
    // Near each of its NUMA nodes the file has two processing units.
    let (code, _, err) = run(&["--cpus", "2.5", "--label", "kaon.placement/policy=numa", "--", "true"]);
    assert!(code != Some(0) && err.contains("the most free there is 2"), "{err}");
    assert_eq!(run(&["--cpus", "2.5", "--label", "kaon.placement/policy=packed", "--", "true"]).0, Some(0));
}

#[test]
fn a_topology_is_shown_as_a_table_or_json_and_nonsense_is_refused() {
    let (code, out, _) = output(kaon().args(["topology", "--file", DGX]));
    assert_eq!(code, Some(0));
    assert!(out.contains("GPUs              16\n") && out.contains("link group 0"), "{out}");
    let (_, out, _) = output(kaon().args(["topology", "--synthetic", "pack:2 core:4 pu:2", "--json"]));
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&shown["processing_units"], &shown["packages"]), (&16.into(), &2.into()), "{out}");
    assert_eq!(output(kaon().arg("topology")).0, Some(0));
    for wrong in [["--file", "/no/such/file"], ["--file", "/dev/null"], ["--synthetic", "many:2"]] {
        let (code, out, err) = output(kaon().arg("topology").args(wrong));
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{wrong:?}: {err}");
    }
}
