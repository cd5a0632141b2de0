//! Frames: golden bytes of each kind, and what is refused at the gate.
//!
//! A changed golden file is a changed layout: raise the schema number of that root in `kernel/src/frame.rs`, then write
//! the files anew with `KAON_BLESS=1 cargo test -p kaon-kernel --test laws`.

use kaon_kernel::actor::{ActorKind, Address, HostId, StreamId, Term};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::frame::{BODY_BYTES_MAX, Buffer, Frame, FrameError, HEADER_BYTES, Kind, Root, Route};
use kaon_kernel::id::{
    AgentId, AgentIndex, ContainerId, ExecutorId, FrameworkId, FrameworkIndex, MasterId, OfferId, RoleName, TaskId,
    Uuid,
};
use kaon_kernel::message::agent_outside::AgentEvent;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::session::{Hello, PROTOCOL, PeerRole};
use kaon_kernel::message::view::ViewEvent;
use kaon_kernel::message::{
    AgentMessage, AllocatorMessage, ExecutorMessage, FrameworkMessage, MasterMessage, RegistrarMessage, agent_master,
    allocator, executor_agent, registrar, scheduler,
};
use kaon_kernel::offer::Refusal;
use kaon_kernel::quantity::Quantity;
use kaon_kernel::resource::Resources;
use kaon_kernel::task::{Reason, Source, TaskState, TaskStatus};
use kaon_kernel::time::{Duration, WallTime};
use proptest::prelude::*;
use std::path::PathBuf;

fn route(kind: Kind) -> Route {
    let receiver = kind.receiver().unwrap_or(ActorKind::Outside);
    let to = Address::nth(HostId(0x1122_3344_5566_7788), receiver, 3);
    let from = Address::only(HostId(0x99aa_bbcc_ddee_ff00), ActorKind::Master);
    Route { to, from, sequence: 42, term: Term(7) }
}

fn frame<M: Root>(message: &M) -> Frame {
    Frame::encode(route(M::KIND), message)
}

fn status() -> TaskStatus {
    TaskStatus {
        reason: Some(Reason::ExecutorTerminated),
        message: Some("Command exited with status 1".to_owned()),
        uuid: Some(Uuid([9; 16])),
        agent_id: Some(AgentId::trusted("master-S1")),
        executor_id: Some(ExecutorId::trusted("task-1")),
        data: Some(vec![0, 1, 2, 255]),
        ..TaskStatus::bare(
            TaskId::trusted("task-1"),
            TaskState::Failed,
            Source::Executor,
            WallTime(1_700_000_000_000_000_000),
        )
    }
}

/// One frame of each kind.
fn samples() -> Vec<Frame> {
    let update = agent_master::ToMaster::Update {
        framework_id: FrameworkId::trusted("master-0001"),
        status: Box::new(status()),
        latest: TaskState::Failed,
    };
    let grant = allocator::Grant {
        framework: FrameworkIndex(2),
        role: RoleName::trusted("eng/web"),
        agent: AgentIndex(5),
        resources: Resources::cpus_and_mem(Quantity(1500), Quantity::units(512)),
    };
    let recover = allocator::ToAllocator::Recover { grant, refusal: Some(Refusal::DEFAULT) };
    let remove = registrar::RegistryOperation::RemoveAgent { agent_id: AgentId::trusted("master-S1") };
    let register = executor_agent::ToAgent::Register {
        framework_id: FrameworkId::trusted("master-0001"),
        executor_id: ExecutorId::trusted("task-1"),
        container_id: ContainerId::trusted("0b0a7e1c-8f3f-4d0c-9b5e-2f3c55a0a111"),
        unacknowledged: vec![status()],
        tasks: vec![TaskId::trusted("task-1")],
    };
    let kill = executor_agent::ToExecutor::Kill { task_id: TaskId::trusted("task-1"), grace: Some(Duration::secs(3)) };
    let decline = scheduler::Call::Decline {
        offers: vec![scheduler::ClientOffer::Known(OfferId(17)), scheduler::ClientOffer::Foreign("x".to_owned())],
        refusal: Refusal::MAX,
    };
    let rescind = FrameworkEvent::Rescind { master_id: MasterId::trusted("master"), offer_id: OfferId(17) };
    let removed = ViewEvent::AgentRemoved { agent_id: AgentId::trusted("master-S1"), unreachable: true };
    let hello = Hello { protocol: PROTOCOL, cluster: "test".to_owned(), host: HostId(12), role: PeerRole::Agent };
    vec![
        frame(&MasterMessage::Agent(update)),
        frame(&AllocatorMessage::Master(recover)),
        frame(&RegistrarMessage::Master(registrar::ToRegistrar::Apply { number: 3, operation: remove })),
        frame(&AgentMessage::Executor(register)),
        frame(&ExecutorMessage::Agent(kill)),
        frame(&FrameworkMessage::Outside(scheduler::ToFramework::Call { stream: StreamId(4), call: decline })),
        frame(&rescind),
        frame(&removed),
        frame(&Answer::Refused(Defect::new(Cause::QuotaInvalid, "role 'a/b' is not at the top of its tree"))),
        frame(&AgentEvent::Told(executor_agent::ToExecutor::Acknowledged {
            task_id: TaskId::trusted("task-1"),
            uuid: Uuid([9; 16]),
        })),
        frame(&hello),
    ]
}

fn golden(kind: Kind) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{kind:?}.frame").to_lowercase())
}

#[test]
fn layouts_are_those_of_the_golden_files() {
    let samples = samples();
    let kinds: Vec<Kind> = samples.iter().map(|frame| frame.envelope().kind).collect();
    assert_eq!(kinds, Kind::ALL, "every kind has a golden frame");
    for frame in samples {
        let path = golden(frame.envelope().kind);
        if std::env::var_os("KAON_BLESS").is_some() {
            std::fs::write(&path, frame.bytes()).expect("writing a golden file");
        }
        let bytes = std::fs::read(&path).expect("reading a golden file");
        assert!(bytes == frame.bytes(), "{:?}: the layout changed; see the head of this file", frame.envelope().kind);
        let admitted = Frame::admit_copy(&bytes).expect("a golden frame is admitted");
        assert_eq!(admitted.envelope(), frame.envelope());
    }
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let update = agent_master::ToMaster::Update {
        framework_id: FrameworkId::trusted("f"),
        status: Box::new(status()),
        latest: TaskState::Failed,
    };
    let message = MasterMessage::Agent(update);
    let frame = Frame::admit_copy(frame(&message).bytes()).expect("valid");
    let body = frame.body::<MasterMessage>().expect("of this kind");
    let copy: MasterMessage = rkyv::deserialize::<_, rkyv::rancor::Error>(body).expect("copies");
    assert_eq!(copy, message);
    assert!(frame.body::<AgentMessage>().is_none(), "another kind is not read");
}

#[test]
fn bodies_lie_aligned() {
    for frame in samples() {
        assert_eq!(frame.body_bytes().as_ptr() as usize % 16, 0);
    }
}

/// Each way to be no frame, by its reason.
#[test]
fn what_is_no_frame_is_refused_with_its_reason() {
    let good = samples().remove(0);
    let spoiled = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes().to_vec();
        spoil(&mut bytes);
        Frame::admit_copy(&bytes).expect_err("must be refused")
    };
    let length = good.bytes().len();
    assert!(matches!(spoiled(&|bytes| bytes.truncate(10)), FrameError::Truncated { have: 10, want: HEADER_BYTES }));
    assert!(matches!(spoiled(&|bytes| bytes.truncate(length - 1)), FrameError::Truncated { .. }));
    assert_eq!(spoiled(&|bytes| bytes.push(0)), FrameError::Trailing(1));
    assert!(matches!(spoiled(&|bytes| bytes[0] = b'X'), FrameError::Magic(_)));
    assert_eq!(spoiled(&|bytes| bytes[4] = 9), FrameError::Version(9));
    assert_eq!(spoiled(&|bytes| bytes[5] = 77), FrameError::Field("class"));
    assert_eq!(spoiled(&|bytes| bytes[6] = 200), FrameError::Kind(200));
    assert_eq!(spoiled(&|bytes| bytes[6] = 4), FrameError::Misdirected(Kind::Agent));
    assert_eq!(spoiled(&|bytes| bytes[16] = 99), FrameError::Field("receiver"));
    assert_eq!(spoiled(&|bytes| bytes[18] = 1), FrameError::Field("receiver"));
    assert_eq!(spoiled(&|bytes| bytes[32] = 99), FrameError::Field("sender"));
    assert!(matches!(spoiled(&|bytes| bytes[56] = 99), FrameError::Schema { got: 99, .. }));
    let huge = (BODY_BYTES_MAX + 1) as u32;
    let oversized = spoiled(&|bytes| bytes[60..64].copy_from_slice(&huge.to_le_bytes()));
    assert_eq!(oversized, FrameError::Oversized(huge as usize));
    // Relative pointers far out of the archive: wherever the last pointer of the root lies, it is among these bytes.
    let wild = spoiled(&|bytes| bytes[length - 64..].fill(0x7f));
    assert_eq!(wild, FrameError::Archive(Kind::Master));
    assert!(matches!(Frame::admit_copy(&[]), Err(FrameError::Truncated { have: 0, .. })));
}

proptest! {
    /// No bytes at all make the gate panic, and what passes is read without harm.
    #[test]
    fn any_damage_is_refused_or_harmless(which in 0usize..10, at in 0usize..4096, byte in any::<u8>(), cut in 0usize..64) {
        let frame = samples().swap_remove(which);
        let mut bytes = frame.bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % 8);
        let mut buffer = Buffer::with_capacity(bytes.len());
        buffer.extend_from_slice(&bytes);
        if let Ok(admitted) = Frame::admit(buffer) {
            if let Some(body) = admitted.body::<MasterMessage>() {
                let _ = rkyv::deserialize::<MasterMessage, rkyv::rancor::Error>(body);
            }
            if let Some(body) = admitted.body::<FrameworkMessage>() {
                let _ = rkyv::deserialize::<FrameworkMessage, rkyv::rancor::Error>(body);
            }
        }
    }
}
