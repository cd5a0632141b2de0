//! One registrar alone: the conversation with its master, and how writes are grouped.

use super::*;
use crate::registrar::{BATCH_OPERATIONS_MAX, OPERATION_BYTES_MAX};
use kaon_kernel::actor::{Outcome, StorageError, exit};

const HOST: HostId = HostId(77);

fn leading(config: RegistrarConfig) -> (Rig<Registrar>, u64) {
    let mut rig = bench(config, HOST);
    rig.start();
    rig.flush();
    let told = told(&attach(&mut rig, HOST));
    let [ToMaster::Leading { term, .. }] = told[..] else { panic!("{told:?}") };
    (rig, term.0)
}

fn persists(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Persist { .. })).count()
}

#[test]
fn a_lone_registrar_leads_once_its_first_entry_is_on_disk() {
    let mut rig = bench(RegistrarConfig::single(), HOST);
    let effects = rig.start();
    assert_eq!(persists(&effects), 1, "term, vote and first entry in one batch");
    assert_eq!(told(&attach(&mut rig, HOST)), [ToMaster::Following { leader: None }]);
    let words = told(&rig.flush());
    assert!(matches!(&words[..], [ToMaster::Leading { term: Term(1), registry }] if **registry == Default::default()));
    // Once for each attachment, and once for each term.
    assert_eq!(told(&rig.pass(Duration::secs(60))), []);
    assert!(matches!(told(&attach(&mut rig, HOST))[..], [ToMaster::Leading { .. }]));
}

#[test]
fn an_operation_is_acknowledged_after_the_flush_and_not_before() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    let effects = apply(&mut rig, HOST, term, 1, admit_agent("a", "cert"));
    assert_eq!((persists(&effects), applied(&effects)), (1, vec![]));
    assert_eq!(rig.actor().registry().agents.len(), 0, "nothing is applied that a crash could take back");
    assert_eq!(applied(&rig.flush()), [1]);
    assert_eq!(rig.actor().registry().agents.len(), 1);
}

#[test]
fn ten_thousand_agents_cost_about_ten_flushes() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    let mut flushes = 0;
    for number in 0..10_000 {
        flushes += persists(&apply(&mut rig, HOST, term, number, admit_agent(&format!("agent-{number}"), "cert")));
    }
    assert_eq!(flushes, 1, "all but the first wait for its flush");
    let mut numbers = Vec::new();
    while let [ticket, ..] = rig.unflushed[..] {
        rig.unflushed.remove(0);
        let effects = rig.done(ticket, Outcome::Persisted(Ok(())));
        numbers.extend(applied(&effects));
        flushes += persists(&effects);
    }
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>(), "in order, each once");
    // The one more is the snapshot after 10,000 entries.
    assert_eq!(flushes, 1 + 9_999_usize.div_ceil(BATCH_OPERATIONS_MAX) + 1);
    assert_eq!(rig.actor().registry().agents.len(), 10_000);
}

#[test]
fn the_journal_stays_small() {
    let config = RegistrarConfig { snapshot_every: 20, ..RegistrarConfig::single() };
    let (mut rig, term) = leading(config.clone());
    for number in 0..500 {
        apply(&mut rig, HOST, term, number, admit_framework(&format!("f{}", number % 7)));
        rig.flush();
        assert!(rig.journal.len() <= 20 + 10 + 3 + 1, "{} records after {number}", rig.journal.len());
    }
    let registry = rig.actor().registry();
    let mut next = bench(config, HOST);
    next.journal = rig.journal;
    next.start();
    next.flush();
    assert_eq!(next.actor().registry(), registry);
}

#[test]
fn numbers_of_another_term_or_of_a_stranger_change_nothing() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    let stale = apply(&mut rig, HOST, term - 1, 1, admit_framework("f"));
    assert_eq!((persists(&stale), counted(&stale, "registrar/operations_stale")), (0, 1));
    let operation = admit_framework("f");
    let message = RegistrarMessage::Master(ToRegistrar::Apply { number: 1, operation });
    let stranger = rig.message_in_term(master_at(HostId(5)), Term(term), &message);
    assert_eq!((persists(&stranger), counted(&stranger, "registrar/messages_refused")), (0, 1));
    let peer = RegistrarMessage::Peer(kaon_kernel::message::registrar::PeerMessage { data: vec![1, 2, 3] });
    let effects = rig.message(registrar_at(HostId(5)), &peer);
    assert_eq!(counted(&effects, "registrar/messages_refused"), 1);
}

#[test]
fn what_does_not_come_into_the_log_is_refused_with_the_reason() {
    let (mut rig, term) = leading(RegistrarConfig { waiting_max: 3, ..RegistrarConfig::single() });
    let refusal = |effects: &[Effect]| match &told(effects)[..] {
        [ToMaster::Refused { number, reason }] => Some((*number, reason.clone())),
        _ => None,
    };
    let huge = apply(&mut rig, HOST, term, 9, admit_framework(&"f".repeat(OPERATION_BYTES_MAX)));
    assert!(refusal(&huge).is_some_and(|(number, reason)| number == 9 && reason.contains("1048576 is the most")));
    let mut refused = Vec::new();
    for number in 0..6 {
        let effects = apply(&mut rig, HOST, term, number, admit_framework(&format!("f{number}")));
        refused.extend(refusal(&effects));
    }
    let reason = "too many changes wait for the registry; try again later".to_owned();
    assert_eq!(refused, [(4, reason.clone()), (5, reason)], "one is in the log, three wait");
    assert_eq!(applied(&rig.flush()), [0, 1, 2, 3]);
}

#[test]
fn a_master_that_attaches_anew_waits_for_what_its_earlier_life_asked() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    apply(&mut rig, HOST, term, 1, admit_framework("in the log"));
    apply(&mut rig, HOST, term, 2, admit_framework("waiting"));
    assert_eq!(told(&attach(&mut rig, HOST)), [ToMaster::Following { leader: None }]);
    let words = told(&rig.flush());
    let [ToMaster::Leading { registry, .. }] = &words[..] else { panic!("{words:?}") };
    assert_eq!(registry.frameworks.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["in the log"]);
}

#[test]
fn a_disk_that_refuses_ends_the_host() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    apply(&mut rig, HOST, term, 1, admit_framework("f"));
    let ticket = rig.unflushed.remove(0);
    let effects = rig.done(ticket, Outcome::Persisted(Err(StorageError("no space left".into()))));
    assert_eq!(told(&effects), [ToMaster::Following { leader: None }]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Finish { code: exit::STORAGE, .. })));
    assert_eq!(persists(&apply(&mut rig, HOST, term, 2, admit_framework("g"))), 0);
}

#[test]
fn a_wrong_setup_is_refused() {
    use crate::registrar::{ConfigError, Peer};
    let group = |numbers: &[u64]| numbers.iter().map(|number| Peer::numbered(*number)).collect::<Vec<_>>();
    let check = |config: RegistrarConfig| Registrar::new(config).err();
    assert_eq!(check(RegistrarConfig::new(4, group(&[1, 2, 3]))), Some(ConfigError::Absent(4)));
    assert_eq!(check(RegistrarConfig::new(1, group(&[1, 0]))), Some(ConfigError::Zero));
    assert!(matches!(check(RegistrarConfig::new(1, group(&[1, 2, 1]))), Some(ConfigError::Twice { number: 1, .. })));
    assert_eq!(check(RegistrarConfig::new(1, group(&[1, 2, 3, 4, 5, 6, 7, 8]))), Some(ConfigError::Crowd(8)));
    let ticks = RegistrarConfig { election_ticks: 1, ..RegistrarConfig::single() };
    assert_eq!(check(ticks), Some(ConfigError::Ticks { election: 1, heartbeat: 1 }));
    let nothing = RegistrarConfig { snapshot_every: 0, ..RegistrarConfig::single() };
    assert_eq!(check(nothing), Some(ConfigError::Nothing("snapshot_every")));
}

#[test]
fn an_operation_that_changes_nothing_is_told_apart_from_one_that_does() {
    let (mut rig, term) = leading(RegistrarConfig::single());
    apply(&mut rig, HOST, term, 1, admit_agent("a", "cert-a"));
    assert_eq!(told(&rig.flush()), [ToMaster::Applied { number: 1 }]);
    apply(&mut rig, HOST, term, 2, admit_agent("a", "thief"));
    let reason = "the id belongs to another identity".to_owned();
    assert_eq!(told(&rig.flush()), [ToMaster::Refused { number: 2, reason }]);
}
