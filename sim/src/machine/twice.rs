//! What may come twice.
//!
//! A session keeps order and loses nothing, so it never repeats a frame by itself; who repeats is the sender, when an answer
//! is late: a status until it is acknowledged, a wish to register, an order to end a task, a launch at an executor. So a swarm
//! repeats those frames of which the conversation says that they may come twice, right behind the first, and no others. What
//! frameworks say twice is in `client`.

use crate::machine::happening::Happening;
use kaon_kernel::frame::Frame;
use kaon_kernel::message::{
    AgentMessage, ArchivedAgentMessage, ArchivedExecutorMessage, ArchivedMasterMessage, ExecutorMessage, MasterMessage,
    agent_master, executor_agent,
};

impl Happening {
    /// Whether it is a frame that its sender may repeat.
    pub(crate) fn may_come_twice(&self) -> bool {
        let Self::Frame { frame, .. } = self else { return false };
        to_master(frame) || to_agent(frame) || to_executor(frame)
    }
}

fn to_master(frame: &Frame) -> bool {
    use agent_master::ArchivedToMaster as To;
    let Some(ArchivedMasterMessage::Agent(message)) = frame.body::<MasterMessage>() else { return false };
    matches!(
        message,
        To::Register { .. }
            | To::Reregister { .. }
            | To::Pong
            | To::Update { .. }
            | To::UpdateOperation { .. }
            | To::WhoLeads
    )
}

fn to_agent(frame: &Frame) -> bool {
    use agent_master::ArchivedToAgent as To;
    use executor_agent::ArchivedToAgent as FromExecutor;
    match frame.body::<AgentMessage>() {
        Some(ArchivedAgentMessage::Master(message)) => matches!(
            message,
            To::Leading { .. }
                | To::Registered { .. }
                | To::KillTask { .. }
                | To::Acknowledge { .. }
                | To::AcknowledgeOperation { .. }
                | To::Ping { .. }
        ),
        Some(ArchivedAgentMessage::Executor(message)) => matches!(message, FromExecutor::Update { .. }),
        _ => false,
    }
}

fn to_executor(frame: &Frame) -> bool {
    use executor_agent::ArchivedToExecutor as To;
    let Some(ArchivedExecutorMessage::Agent(message)) = frame.body::<ExecutorMessage>() else { return false };
    matches!(message, To::Launch { .. } | To::LaunchGroup { .. } | To::Kill { .. } | To::Acknowledged { .. })
}
