//! One message between two actors, within an arbiter and across arbiters, beside bare actix doing the same.
//!
//! A round is so many messages to and fro between two actors; what is shown is the time of one message.

use actix::prelude::*;
use criterion::{Criterion, Throughput};
use kaon_kernel::actor::supervision::{Policy, Tree};
use kaon_kernel::actor::{
    ActorCell, ActorKind, Address, Cell, Context, HostId, Outcome, Record, Term, Ticket, TimerKey,
};
use kaon_kernel::frame::{Envelope, Frame, Route};
use kaon_kernel::message::{AllocatorMessage, MasterMessage, RegistrarMessage, allocator, registrar};
use kaon_kernel::port::Ingress;
use kaon_runtime::journal::MemoryJournal;
use kaon_runtime::{Birth, Host, HostConfig, Origin, Ports};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const MESSAGES: u64 = 20_000;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Never;

impl TimerKey for Never {
    fn pack(self) -> u64 {
        0
    }
    fn unpack(_: u64) -> Self {
        Self
    }
}

/// Sends each message back until the round is over.
struct Ball {
    left: u64,
    done: Sender<()>,
    /// The other side: the registrar is on our arbiter, the allocator on one of its own.
    partner: ActorKind,
}

macro_rules! partner {
    ($name:ident, $root:ty) => {
        /// The other side.
        struct $name;
        impl kaon_kernel::actor::Actor for $name {
            type Message = $root;
            type Timer = Never;
            fn on_start(&mut self, _: &[Record], _: &mut Context<'_, Self>) {}
            fn on_message(
                &mut self,
                envelope: &Envelope,
                _: &<$root as rkyv::Archive>::Archived,
                context: &mut Context<'_, Self>,
            ) {
                context.send(envelope.from, &MasterMessage::Allocator(allocator::ToMaster::Started));
            }
            fn on_timer(&mut self, _: Never, _: &mut Context<'_, Self>) {}
            fn on_done(&mut self, _: Ticket, _: Outcome, _: &mut Context<'_, Self>) {}
            fn invariants(&self) {}
        }
    };
}
partner!(Near, RegistrarMessage);
partner!(Far, AllocatorMessage);

impl kaon_kernel::actor::Actor for Ball {
    type Message = MasterMessage;
    type Timer = Never;
    fn on_start(&mut self, _: &[Record], _: &mut Context<'_, Self>) {}
    fn on_message(
        &mut self,
        _: &Envelope,
        _: &<MasterMessage as rkyv::Archive>::Archived,
        context: &mut Context<'_, Self>,
    ) {
        if self.left == 0 {
            self.left = MESSAGES / 2;
            // The bench may have ended in this moment; then nobody listens.
            let _ = self.done.send(());
            return;
        }
        self.left -= 1;
        let to = Address::only(context.me().host, self.partner);
        match self.partner {
            ActorKind::Registrar => context.send(to, &RegistrarMessage::Master(registrar::ToRegistrar::Attach)),
            _ => context.send(to, &AllocatorMessage::Master(allocator::ToAllocator::Resume)),
        }
    }
    fn on_timer(&mut self, _: Never, _: &mut Context<'_, Self>) {}
    fn on_done(&mut self, _: Ticket, _: Outcome, _: &mut Context<'_, Self>) {}
    fn invariants(&self) {}
}

fn host(partner: ActorKind) -> (Host, Receiver<()>) {
    const TREE: Tree =
        Tree { policy: Policy::DEFAULT, actors: &[ActorKind::Registrar, ActorKind::Master, ActorKind::Allocator] };
    let (done, is_done) = channel();
    let factory = move |birth: Birth| -> Box<dyn Cell> {
        let (address, seed) = (birth.address, birth.seed);
        match birth.origin {
            Origin::Standing(ActorKind::Master) => {
                let ball = Ball { left: MESSAGES / 2, done: done.clone(), partner };
                Box::new(ActorCell::new(ball, address, seed))
            }
            Origin::Standing(ActorKind::Registrar) => Box::new(ActorCell::new(Near, address, seed)),
            _ => Box::new(ActorCell::new(Far, address, seed)),
        }
    };
    let config = HostConfig::new(HostId(1), 1, TREE, Box::new(MemoryJournal::fresh()));
    let host = Host::start(config, Arc::new(factory), Ports::default()).expect("the host starts");
    (host, is_done)
}

fn round(host: &Host, is_done: &Receiver<()>) {
    let to = Address::only(HostId(1), ActorKind::Master);
    let route = Route { to, from: Address::outside(HostId(1)), sequence: 1, term: Term(0) };
    let first = Frame::encode(route, &MasterMessage::Allocator(allocator::ToMaster::Started));
    host.deliver(first).expect("there is room");
    is_done.recv().expect("the round ends");
}

struct Throw;

impl Message for Throw {
    type Result = ();
}

struct Partner(Recipient<Throw>);

impl Message for Partner {
    type Result = ();
}

/// Bare actix doing the same: no frame, no bound, no journal, no supervision.
struct Bare {
    partner: Option<Recipient<Throw>>,
    left: u64,
    done: Sender<()>,
}

impl Actor for Bare {
    type Context = actix::Context<Self>;
}
impl Handler<Partner> for Bare {
    type Result = ();
    fn handle(&mut self, Partner(partner): Partner, _: &mut Self::Context) {
        self.partner = Some(partner);
    }
}
impl Handler<Throw> for Bare {
    type Result = ();
    fn handle(&mut self, throw: Throw, _: &mut Self::Context) {
        if self.left == 0 {
            self.left = MESSAGES / 2;
            let _ = self.done.send(());
        } else if let Some(partner) = &self.partner {
            self.left -= 1;
            partner.do_send(throw);
        }
    }
}

fn bare(same_arbiter: bool) -> (Addr<Bare>, Receiver<()>, Sender<()>) {
    let (address, is_started) = channel();
    let (done, is_done) = channel();
    let (stop, is_stopped) = channel::<()>();
    std::thread::spawn(move || {
        let system = System::new();
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let second = &arbiters[usize::from(!same_arbiter)];
        let make = |arbiter: &Arbiter, left| {
            let done = done.clone();
            Bare::start_in_arbiter(&arbiter.handle(), move |_| Bare { partner: None, left, done })
        };
        // The second one never counts down: it only throws back.
        let (one, two) = (make(&arbiters[0], MESSAGES / 2), make(second, u64::MAX));
        one.do_send(Partner(two.clone().recipient()));
        two.do_send(Partner(one.clone().recipient()));
        let _ = address.send(one);
        // The arbiters live as long as the bench wants them.
        let _ = is_stopped.recv();
        drop(system);
    });
    (is_started.recv().expect("actix starts"), is_done, stop)
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(20);
    for (name, partner) in [("within-arbiter", ActorKind::Registrar), ("across-arbiters", ActorKind::Allocator)] {
        let (host, is_done) = host(partner);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let begun = Instant::now();
                (0..rounds).for_each(|_| round(&host, &is_done));
                begun.elapsed()
            });
        });
        host.stop(Duration::from_secs(5)).expect("the host stops");
    }
    for (name, same_arbiter) in [("within-arbiter-actix", true), ("across-arbiters-actix", false)] {
        let (one, is_done, _stop) = bare(same_arbiter);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let begun = Instant::now();
                for _ in 0..rounds {
                    one.do_send(Throw);
                    is_done.recv().expect("the round ends");
                }
                begun.elapsed()
            });
        });
    }
    group.finish();
}
