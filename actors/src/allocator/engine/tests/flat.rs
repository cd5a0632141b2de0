//! The worked example of policies 8.2, step by step.

use super::{Play, grant};
use crate::allocator::engine::Rules;
use kaon_kernel::framework::Capability;
use kaon_kernel::resource::ResourceName;

fn play_the_table(mut play: Play, first_agent: &str, capabilities: &[Capability]) {
    play.framework_with(1, &["role1"], &[], capabilities);
    play.agent(1, first_agent);
    assert_eq!(play.winners(), [(1, 1)], "alone");
    play.framework_with(2, &["role2"], &[], capabilities);
    play.agent(2, "cpus:1;mem:512");
    assert_eq!(play.winners(), [(2, 2)], "role 1 has 2/3, role 2 nothing");
    play.agent(3, "cpus:3;mem:2048");
    assert_eq!(play.winners(), [(2, 3)], "role 1 has 1/3, role 2 1/6");
    play.framework_with(3, &["role1"], &[], capabilities);
    play.agent(4, "cpus:4;mem:4096");
    assert_eq!(play.winners(), [(3, 4)], "role 1 has 1/5, role 2 2/5, and framework 3 nothing");
    play.framework_with(4, &["role1"], &[], capabilities);
    play.agent(5, "cpus:1;mem:512");
    assert_eq!(play.winners(), [(2, 5)], "role 1 has 5/8, role 2 4/11");
}

#[test]
fn agents_that_arrive_one_by_one_go_to_the_smaller_share() {
    play_the_table(Play::new(), "cpus:2;mem:1024", &[]);
}

#[test]
fn excluded_resources_do_not_count() {
    let rules = Rules { excluded_from_shares: vec![ResourceName::Gpus], ..Rules::default() };
    play_the_table(Play::with(rules, &[]), "cpus:2;mem:1024;gpus:1", &[Capability::GpuResources]);
}

#[test]
fn resources_that_count_would_change_the_example() {
    let mut play = Play::new();
    play.framework_with(1, &["role1"], &[], &[Capability::GpuResources]);
    play.agent(1, "cpus:2;mem:1024;gpus:1");
    play.framework_with(2, &["role2"], &[], &[]);
    assert_eq!(play.winners(), [(1, 1)]);
    for agent in 2..6 {
        play.agent(agent, "cpus:100;mem:1024");
        assert_eq!(play.winners(), [(2, agent)], "role 1 holds all GPUs there are");
    }
}

#[test]
fn what_is_given_back_goes_round() {
    let mut play = Play::new();
    play.framework(1, &["web"]);
    play.framework(2, &["web"]);
    play.agent(1, "cpus:4;mem:1024");
    let mut offers = [0; 3];
    for _ in 0..10 {
        let [(framework, 1)] = play.winners()[..] else { panic!("one agent makes one offer") };
        offers[framework as usize] += 1;
        play.recover(grant(framework, "web", 1, "cpus:4;mem:1024"), None);
    }
    assert_eq!(offers, [0, 5, 5]);
}

#[test]
fn the_total_inside_a_role_is_what_the_role_holds() {
    let mut play = Play::new();
    // Of the role's 8 processors and 3072 MiB framework 1 has 6/8 and 1/3, framework 2 has 2/8 and 2/3. Of the cluster's
    // memory both would have less than of its processors, and framework 2 would be next.
    let used = [grant(1, "web", 1, "cpus:6;mem:1024"), grant(2, "web", 1, "cpus:2;mem:2048")];
    play.framework(1, &["web"]);
    play.framework(2, &["web"]);
    play.agent_in_use(1, "cpus:8;mem:3072", &used);
    play.agent(2, "cpus:8;mem:100000");
    assert_eq!(play.winners(), [(2, 2)], "2/3 is less than 6/8");
    let mut play = Play::new();
    let used = [grant(1, "web", 1, "cpus:5;mem:1024"), grant(2, "web", 1, "cpus:3;mem:2048")];
    play.framework(1, &["web"]);
    play.framework(2, &["web"]);
    play.agent_in_use(1, "cpus:8;mem:3072", &used);
    play.agent(2, "cpus:8;mem:100000");
    assert_eq!(play.winners(), [(1, 2)], "5/8 is less than 2/3, though of the cluster 5/16 is more than 3/16");
}
