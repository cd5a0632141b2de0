//! UPDATE_FRAMEWORK: what may change, what follows, and what is refused.

use super::play::{Play, agent_info, framework_info, reregister, resources, task, to_agent, to_allocator};
use super::settings::{REPLY, answer, refusal};
use crate::master::MasterConfig;
use kaon_kernel::constraint::OfferRules;
use kaon_kernel::framework::{Capability, FrameworkInfo};
use kaon_kernel::id::{FrameworkIndex, RoleName};
use kaon_kernel::message::agent_master::ToAgent;
use kaon_kernel::message::allocator::ToAllocator;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::registrar::Registry;
use kaon_kernel::message::scheduler::{Call, ClientOffer, FrameworkUpdate};
use kaon_kernel::offer::{OfferOperation, Refusal};
use kaon_kernel::time::Duration;

fn words(play: &Play, framework: FrameworkIndex) -> FrameworkInfo {
    play.rig.actor().state.frameworks[&framework].info.clone()
}

fn update(play: &mut Play, framework: FrameworkIndex, info: FrameworkInfo, suppressed: &[&str]) {
    let suppressed_roles = suppressed.iter().map(|role| RoleName::trusted(*role)).collect();
    let update = FrameworkUpdate { info, suppressed_roles, offers: OfferRules::default(), reply: REPLY };
    play.call(framework, Call::UpdateFramework(Box::new(update)));
}

#[test]
fn new_words_count_once_the_registry_has_them_and_reach_the_agents() {
    let mut play = Play::leading();
    let (id, agent) = play.agent(1);
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let offer = play.grant(framework, agent, resources(4, 4096));
    let operations = vec![OfferOperation::Launch { tasks: vec![task("one", &id, resources(1, 64))] }];
    let offers = vec![ClientOffer::Known(offer)];
    play.call(framework, Call::Accept { offers, operations, refusal: Refusal::DEFAULT });
    let held = play.grant(framework, agent, resources(1, 64));
    let before = words(&play, framework);
    let after = FrameworkInfo {
        name: "renamed".to_owned(),
        roles: vec![RoleName::trusted("a"), RoleName::trusted("b")],
        capabilities: vec![Capability::PartitionAware, Capability::MultiRole],
        failover_timeout: Duration::secs(7),
        hostname: "elsewhere".to_owned(),
        ..before.clone()
    };
    update(&mut play, framework, after.clone(), &["b"]);
    assert_eq!((answer(&play), words(&play, framework)), (None, before), "not before it is written");
    play.write();
    assert_eq!((answer(&play), words(&play, framework)), (Some(Answer::Done), after.clone()));
    let told = to_allocator(&play.effects);
    let is_update = |message: &ToAllocator| {
        matches!(message, ToAllocator::UpdateFramework { roles, suppressed, .. }
            if *roles == after.roles && *suppressed == [RoleName::trusted("b")])
    };
    assert!(is_update(&told[0]), "{told:?}");
    assert_eq!(play.recovered(), [resources(1, 64)], "what is offered in a role that it left comes back");
    let rescinded =
        |event: &FrameworkEvent| matches!(event, FrameworkEvent::Rescind { offer_id, .. } if *offer_id == held);
    assert!(play.events().iter().any(rescinded));
    let told = to_agent(&play.effects);
    assert!(matches!(&told[..], [ToAgent::UpdateFramework { framework }] if **framework == after), "{told:?}");
    // The same words need no write.
    update(&mut play, framework, after, &[]);
    assert_eq!((answer(&play), play.unwritten.len()), (Some(Answer::Done), 0));
    assert!(to_agent(&play.effects).is_empty());
}

#[test]
fn what_may_not_change_is_refused() {
    let mut play = Play::leading();
    let framework = play.framework(framework_info(Duration::ZERO), 1);
    let before = words(&play, framework);
    for (info, needle) in [
        (FrameworkInfo { user: "other".to_owned(), ..before.clone() }, "FrameworkInfo.user"),
        (FrameworkInfo { checkpoint: !before.checkpoint, ..before.clone() }, "FrameworkInfo.checkpoint"),
        (FrameworkInfo { principal: Some("other".to_owned()), ..before.clone() }, "principal"),
        (FrameworkInfo { id: None, ..before.clone() }, "framework_id"),
    ] {
        update(&mut play, framework, info, &[]);
        let reason = refusal(&play);
        assert!(reason.contains(needle), "{reason}");
        assert!(play.unwritten.is_empty());
    }
    assert_eq!(words(&play, framework), before);
}

#[test]
fn an_agent_that_was_away_hears_the_new_words_when_it_is_back() {
    let mut play = Play::leading();
    let (id, _) = play.agent(1);
    let framework = play.framework(framework_info(Duration::secs(60)), 1);
    let before = words(&play, framework);
    update(&mut play, framework, FrameworkInfo { name: "renamed".to_owned(), ..before.clone() }, &[]);
    play.write();
    let mut info = agent_info();
    info.id = Some(id);
    let frameworks = vec![before];
    play.agent_says(1, reregister(info, frameworks, vec![]));
    let renamed =
        |message: &ToAgent| matches!(message, ToAgent::UpdateFramework { framework } if framework.name == "renamed");
    assert!(to_agent(&play.effects).iter().any(renamed), "{:?}", to_agent(&play.effects));
}

#[test]
fn a_list_of_roles_keeps_others_out_and_never_the_default_one() {
    let config = MasterConfig { roles: vec![RoleName::trusted("web")], ..MasterConfig::default() };
    let mut play = Play::leading_by(config, Registry::default());
    play.framework(framework_info(Duration::ZERO), 1);
    play.subscribe(FrameworkInfo { roles: vec![RoleName::trusted("batch")], ..framework_info(Duration::ZERO) }, 2);
    play.write();
    assert_eq!(play.rig.actor().state.frameworks.len(), 1);
}
