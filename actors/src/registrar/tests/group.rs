//! Three registrars: election, the fall of a leader, partition, catching up.

use super::world::{World, names};
use super::*;
use crate::registrar::Peer;
use crate::registrar::wire::{decode, encode};
use kaon_kernel::actor::{Link, LinkState};
use kaon_kernel::frame::Frame;
use kaon_kernel::message::registrar::PeerMessage;
use kaon_kernel::message::session::PeerRole;
use raft::prelude::{Message, MessageType};

fn elected(snapshot_every: u64) -> (World, usize) {
    let mut world = World::new(3, snapshot_every);
    world.settle("a leader", |world| world.leader().is_some());
    let leader = world.leader().unwrap();
    (world, leader)
}

fn commit(world: &mut World, count: usize) {
    let want = world.acknowledged.len() + count;
    let leader = world.leader().unwrap();
    (0..count).for_each(|_| assert!(world.ask(leader)));
    world.settle("acknowledgements", |world| world.acknowledged.len() >= want);
}

fn isolate(world: &mut World, place: usize) {
    world.cut = (0..3).filter(|other| *other != place).flat_map(|other| [(place, other), (other, place)]).collect();
}

#[test]
fn one_of_three_is_elected_and_all_apply_the_same() {
    let (mut world, leader) = elected(1_000);
    commit(&mut world, 50);
    world.settle("agreement", |world| world.is_settled());
    assert_eq!(world.history.len(), 50);
    assert_eq!(world.leader(), Some(leader), "a quiet leader stays");
    assert_eq!(world.leaders.len(), 1);
}

#[test]
fn followers_are_told_where_the_leader_lives() {
    let (mut world, leader) = elected(1_000);
    let place = (leader + 1) % 3;
    let leader_host = world.nodes[leader].host;
    world.settle("a word from the leader", |world| world.is_settled());
    let node = &mut world.nodes[place];
    let words = told(&attach(node.rig.as_mut().unwrap(), node.host));
    assert_eq!(words, [ToMaster::Following { leader: Some(leader_host) }]);
}

#[test]
fn the_fall_of_a_leader_loses_nothing_acknowledged() {
    let (mut world, leader) = elected(1_000);
    commit(&mut world, 20);
    world.crash(leader, 0);
    world.settle("another leader", |world| world.leader().is_some());
    assert_ne!(world.leader(), Some(leader));
    commit(&mut world, 20);
    world.start(leader);
    world.settle("agreement", |world| world.is_settled());
    assert_eq!(world.history.len(), 40);
}

#[test]
fn a_leader_without_a_majority_steps_down_and_acknowledges_nothing() {
    let (mut world, leader) = elected(1_000);
    commit(&mut world, 5);
    isolate(&mut world, leader);
    assert!(world.ask(leader));
    let before = world.acknowledged.len();
    world.settle("the end of the old lead", |world| world.nodes[leader].leads.is_none());
    assert_eq!(world.acknowledged.len(), before);
    world.settle("another leader", |world| world.leader().is_some());
    commit(&mut world, 5);
    let terms = world.leaders.len();
    world.cut.clear();
    world.settle("agreement", |world| world.is_settled());
    assert_eq!(world.history.len(), 10, "what the old leader had alone is gone: {:?}", world.history);
    // Pre-vote: who comes back from a partition disturbs nobody.
    assert_eq!(world.leaders.len(), terms);
}

#[test]
fn who_lags_is_served_from_the_log_or_by_a_snapshot() {
    for (snapshot_every, served_by_snapshot) in [(1_000, false), (10, true)] {
        let (mut world, leader) = elected(snapshot_every);
        commit(&mut world, 5);
        let away = (leader + 1) % 3;
        world.crash(away, 9);
        commit(&mut world, 100);
        world.start(away);
        world.settle("agreement", |world| world.is_settled());
        assert_eq!(world.installed, u64::from(served_by_snapshot));
        assert_eq!(names(world.nodes[away].rig.as_ref().unwrap()).len(), 105);
        // And from its own disk alone.
        world.crash(away, 0);
        isolate(&mut world, away);
        world.start(away);
        let alone = names(world.nodes[away].rig.as_ref().unwrap()).len();
        assert!(alone >= if served_by_snapshot { 95 } else { 5 }, "{alone}");
    }
}

#[test]
fn a_snapshot_that_is_lost_on_the_way_is_sent_again() {
    let (mut world, leader) = elected(10);
    let away = (leader + 1) % 3;
    isolate(&mut world, away);
    commit(&mut world, 60);
    world.cut.clear();
    // What goes from the leader to the one that lags is lost for a while, once it is large.
    let is_large = |frame: &Frame| frame.bytes().len() > 4_000;
    let mut lost = 0;
    for _ in 0..100 {
        (0..3).for_each(|place| world.tick(place));
        loop {
            (0..3).for_each(|place| while world.flush(place) {});
            let before = world.network.len();
            world.network.retain(|(_, to, frame)| *to != away || !is_large(frame));
            lost += before - world.network.len();
            if world.network.is_empty() {
                break;
            }
            world.deliver(0);
        }
    }
    assert!((2..10).contains(&lost), "sent {lost} times in 100 ticks: again, and not all the time");
    assert_eq!(world.installed, 0);
    world.settle("agreement", |world| world.is_settled());
    assert_eq!(world.installed, 1);
}

#[test]
#[should_panic(expected = "were confirmed and only those up to 0 are there. the journal of this registrar is damaged")]
fn a_voter_whose_disk_was_emptied_refuses_to_go_on() {
    let (mut world, leader) = elected(1_000);
    commit(&mut world, 5);
    world.settle("agreement", |world| world.is_settled());
    let place = (leader + 1) % 3;
    world.crash(place, 9);
    world.nodes[place].disk.clear();
    world.start(place);
    world.settle("never", |_| false);
}

#[test]
fn a_vote_is_on_disk_before_it_is_told_and_is_given_once_in_a_term() {
    let peers = [1, 2, 3].map(Peer::numbered).to_vec();
    let config = RegistrarConfig::new(1, peers);
    let candidate = |number: u64| {
        let mut vote = Message::default();
        vote.set_msg_type(MessageType::MsgRequestVote);
        (vote.from, vote.to, vote.term) = (number, 1, 5);
        RegistrarMessage::Peer(PeerMessage { data: encode(&vote) })
    };
    let answers = |effects: &[Effect]| {
        let answers = sent::<RegistrarMessage>(effects).into_iter().map(|(to, message)| {
            let RegistrarMessage::Peer(PeerMessage { data }) = message else { panic!("{message:?}") };
            let answer = decode(&data, 1, to.host.0, &[1, 2, 3]).unwrap();
            assert_eq!(answer.get_msg_type(), MessageType::MsgRequestVoteResponse);
            (answer.to, !answer.reject)
        });
        answers.collect::<Vec<_>>()
    };
    let begin = |journal| {
        let mut rig = bench(config.clone(), HostId(1));
        rig.journal = journal;
        rig.start();
        for number in [2, 3] {
            let (identity, state) = (format!("master-{number}"), LinkState::Up);
            rig.link(Link { host: HostId(number), role: PeerRole::Master, identity, state });
        }
        rig
    };
    let mut rig = begin(Default::default());
    assert_eq!(answers(&rig.message(registrar_at(HostId(2)), &candidate(2))), []);
    assert_eq!(answers(&rig.flush()), [(2, true)]);
    let mut next = begin(rig.journal);
    next.message(registrar_at(HostId(3)), &candidate(3));
    let mut effects = next.flush();
    effects.extend(next.message(registrar_at(HostId(3)), &candidate(3)));
    effects.extend(next.flush());
    assert!(answers(&effects).iter().all(|answer| *answer == (3, false)), "{effects:?}");
    // Who has the vote may ask again.
    let effects = next.message(registrar_at(HostId(2)), &candidate(2));
    let answer = answers(&[effects, next.flush()].concat());
    assert_eq!(answer, [(2, true)]);
}

#[test]
fn links_of_others_name_no_voter() {
    let peers = [1, 2, 3].map(Peer::numbered).to_vec();
    let mut rig = bench(RegistrarConfig::new(1, peers), HostId(1));
    rig.start();
    let data = vec![7; 40];
    let message = RegistrarMessage::Peer(PeerMessage { data });
    let agent = Link { host: HostId(2), role: PeerRole::Agent, identity: "master-2".into(), state: LinkState::Up };
    rig.link(agent.clone());
    rig.link(Link { role: PeerRole::Master, identity: "master-9".into(), ..agent.clone() });
    rig.link(Link { role: PeerRole::Master, identity: "master-1".into(), ..agent.clone() });
    // With nobody's host known, a whole election goes nowhere.
    let effects = rig.pass(Duration::secs(10));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
    let effects = rig.message(registrar_at(HostId(2)), &message);
    assert_eq!(counted(&effects, "registrar/messages_refused"), 1);
    rig.link(Link { role: PeerRole::Master, ..agent });
    let effects = rig.pass(Duration::secs(10));
    rig.flush();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
    let effects = rig.message(registrar_at(HostId(2)), &message);
    assert_eq!(counted(&effects, "registrar/messages_refused"), 1, "known, and yet no message");
}
