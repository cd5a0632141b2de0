//! The proxy of a framework: the master's side of one framework's stream.
//!
//! It holds the stream, sends the heartbeats, checks that a call comes from the stream that stands, and passes calls to
//! the master and events to the stream. It keeps no cluster state: when it falls, the master repeats what may have been
//! lost. It leaves encoding and the bounded queue of a slow reader to the edge, which closes a stream that does not read.
//!
//! Mesos: `src/master/framework.cpp` and the `HttpConnection` in it; reference 1.5 and 3.1.

#[cfg(test)]
mod tests;

use kaon_kernel::actor::{Actor, ActorKind, Address, Context, Outcome, Record, StreamId, Ticket, TimerKey};
use kaon_kernel::cause::{Cause, Defect};
use kaon_kernel::frame::{Envelope, copy};
use kaon_kernel::id::FrameworkId;
use kaon_kernel::message::event::FrameworkEvent;
use kaon_kernel::message::framework_master::{ToFramework, ToMaster};
use kaon_kernel::message::operator::Answer;
use kaon_kernel::message::scheduler;
use kaon_kernel::message::{ArchivedFrameworkMessage, FrameworkMessage, MasterMessage};
use kaon_kernel::time::Duration;

/// What a proxy is told when it is spawned.
#[derive(Clone, Debug)]
pub struct FrameworkConfig {
    /// Whose proxy.
    pub framework_id: FrameworkId,
    /// The stream on which the framework reads.
    pub stream: StreamId,
    /// How often a heartbeat goes out, whatever else does (15 s in Mesos).
    pub heartbeat_interval: Duration,
}

/// The proxy actor.
pub struct FrameworkProxy {
    config: FrameworkConfig,
    /// The stream that stands; `None` while the framework is away.
    stream: Option<StreamId>,
}

/// What a proxy wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the next heartbeat is due.
    Heartbeat,
}

impl TimerKey for Timer {
    fn pack(self) -> u64 {
        0
    }
    fn unpack(_: u64) -> Self {
        Self::Heartbeat
    }
}

type ProxyContext<'a> = Context<'a, FrameworkProxy>;

impl FrameworkProxy {
    /// A proxy on its first stream.
    pub fn new(config: FrameworkConfig) -> Self {
        let stream = Some(config.stream);
        Self { config, stream }
    }

    fn tell_master(message: ToMaster, context: &mut ProxyContext<'_>) {
        let master = Address::only(context.me().host, ActorKind::Master);
        context.send(master, &MasterMessage::Framework(message));
    }

    fn on_master(&mut self, message: ToFramework, context: &mut ProxyContext<'_>) {
        match message {
            ToFramework::Deliver(event) => {
                let Some(stream) = self.stream else {
                    // The framework is away; what must not be lost is repeated by those who keep it.
                    return context.count("frameworks/events_dropped", 1);
                };
                let subscribed = matches!(event, FrameworkEvent::Subscribed { .. });
                context.emit(stream, &event);
                if subscribed {
                    // Line-based readers see a record only when the next one begins.
                    self.heartbeat(stream, context);
                }
            }
            ToFramework::Dismiss { reason } => {
                self.end(Some(reason), context);
                context.finish(0);
            }
            ToFramework::Reattach { stream } => {
                if self.stream != Some(stream) {
                    let words = "Framework failed over";
                    self.end(Some(Defect::new(Cause::FrameworkReplaced, words)), context);
                    self.stream = Some(stream);
                }
            }
            ToFramework::Close => {
                self.end(None, context);
                context.finish(0);
            }
        }
    }

    fn end(&mut self, last_word: Option<Defect>, context: &mut ProxyContext<'_>) {
        if let Some(stream) = self.stream.take() {
            if let Some(Defect { cause, words: message }) = last_word {
                context.emit(stream, &FrameworkEvent::Error { message, cause });
            }
            context.close(stream);
        }
        context.disarm(Timer::Heartbeat);
    }

    fn on_outside(&mut self, message: &scheduler::ArchivedToFramework, context: &mut ProxyContext<'_>) {
        match message {
            scheduler::ArchivedToFramework::Call { stream, call } => {
                if self.stream.is_some_and(|mine| mine.0 == stream.0.to_native()) {
                    Self::tell_master(ToMaster::Call(copy(call)), context);
                } else {
                    // The edge checks stream ids as well; this one lost a race with a newer subscription.
                    if let scheduler::Call::UpdateFramework(update) = copy(call) {
                        let defect = Defect::new(Cause::FrameworkReplaced, "The framework has subscribed anew");
                        context.emit(update.reply, &Answer::Refused(defect));
                        context.close(update.reply);
                    }
                    context.count("frameworks/calls_of_old_streams", 1);
                }
            }
            scheduler::ArchivedToFramework::StreamClosed { stream } => {
                if let Some(mine) = self.stream.filter(|mine| mine.0 == stream.0.to_native()) {
                    self.stream = None;
                    context.disarm(Timer::Heartbeat);
                    Self::tell_master(ToMaster::Disconnected { stream: mine }, context);
                }
            }
        }
    }

    fn heartbeat(&self, stream: StreamId, context: &mut ProxyContext<'_>) {
        context.emit(stream, &FrameworkEvent::Heartbeat);
        context.arm(Timer::Heartbeat, self.config.heartbeat_interval);
    }
}

impl Actor for FrameworkProxy {
    type Message = FrameworkMessage;
    type Timer = Timer;

    fn on_start(&mut self, _: &[Record], context: &mut ProxyContext<'_>) {
        // For the first time the master's Subscribed is on its way; after a panic the heartbeats have to go on.
        context.arm(Timer::Heartbeat, self.config.heartbeat_interval);
        let (framework_id, stream) = (self.config.framework_id.clone(), self.config.stream);
        Self::tell_master(ToMaster::Attached { framework_id, stream }, context);
    }

    fn on_message(
        &mut self,
        _: &Envelope,
        message: &<FrameworkMessage as rkyv::Archive>::Archived,
        context: &mut ProxyContext<'_>,
    ) {
        match message {
            ArchivedFrameworkMessage::Master(message) => self.on_master(copy(message), context),
            ArchivedFrameworkMessage::Outside(message) => self.on_outside(message, context),
        }
    }

    fn on_timer(&mut self, timer: Timer, context: &mut ProxyContext<'_>) {
        match timer {
            Timer::Heartbeat => {
                if let Some(stream) = self.stream {
                    self.heartbeat(stream, context);
                }
            }
        }
    }

    fn on_done(&mut self, ticket: Ticket, _: Outcome, _: &mut ProxyContext<'_>) {
        panic!("a proxy asks for nothing under a ticket, {ticket:?} came back");
    }

    fn invariants(&self) {}
}
