//! What actors say to each other: one file per conversation, both directions in it, in the order of the conversation.
//!
//! Each actor's mailbox takes one root enum, put together here from its conversations. Requests are verbs, facts are
//! nouns or past tenses. Fixed-width integers only. A published layout is frozen: see [`crate::frame::Root::SCHEMA`].

pub mod agent_master;
pub mod agent_outside;
pub mod allocator;
pub mod event;
pub mod executor_agent;
pub mod explain;
pub mod framework_master;
pub mod operator;
pub mod registrar;
pub mod scheduler;
pub mod session;
pub mod view;

use crate::actor::Class;
use crate::frame::Classified;
use rkyv::{Archive, Deserialize, Serialize};

/// All that reaches a master.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum MasterMessage {
    /// From an agent.
    Agent(agent_master::ToMaster),
    /// From the proxy of a framework.
    Framework(framework_master::ToMaster),
    /// From outside: a framework that wants in, an operator's order.
    Outside(scheduler::ToMaster),
    /// From the allocator.
    Allocator(allocator::ToMaster),
    /// From the registrar.
    Registrar(registrar::ToMaster),
}

/// All that reaches an allocator.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum AllocatorMessage {
    /// From the master.
    Master(allocator::ToAllocator),
    /// From outside: a question.
    Outside(explain::Question),
}

/// All that reaches a registrar.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum RegistrarMessage {
    /// From the master.
    Master(registrar::ToRegistrar),
    /// From another registrar.
    Peer(registrar::PeerMessage),
}

/// All that reaches an agent.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum AgentMessage {
    /// From a master.
    Master(agent_master::ToAgent),
    /// From an executor.
    Executor(executor_agent::ToAgent),
    /// From outside: an executor that speaks HTTP, an operator who looks.
    Outside(agent_outside::ToAgent),
}

/// All that reaches an executor.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum ExecutorMessage {
    /// From its agent.
    Agent(executor_agent::ToExecutor),
}

/// All that reaches the proxy of a framework.
#[derive(Clone, Debug, PartialEq, Archive, Serialize, Deserialize)]
pub enum FrameworkMessage {
    /// From the master.
    Master(framework_master::ToFramework),
    /// From outside: a call of the framework, or the end of its stream.
    Outside(scheduler::ToFramework),
}

impl Classified for MasterMessage {
    fn classify(&self) -> Class {
        match self {
            Self::Agent(message) => message.classify(),
            Self::Outside(message) => message.classify(),
            Self::Framework(message) => message.classify(),
            Self::Allocator(_) | Self::Registrar(_) => Class::Guaranteed,
        }
    }
}

impl Classified for AllocatorMessage {
    fn classify(&self) -> Class {
        match self {
            Self::Master(_) => Class::Guaranteed,
            Self::Outside(_) => Class::Outside,
        }
    }
}

impl Classified for RegistrarMessage {
    fn classify(&self) -> Class {
        match self {
            Self::Master(_) => Class::Guaranteed,
            Self::Peer(_) => Class::Ordinary,
        }
    }
}

impl Classified for AgentMessage {
    fn classify(&self) -> Class {
        match self {
            Self::Master(message) => message.classify(),
            Self::Executor(message) => message.classify(),
            Self::Outside(message) => message.classify(),
        }
    }
}

impl Classified for ExecutorMessage {
    fn classify(&self) -> Class {
        Class::Guaranteed
    }
}

impl Classified for FrameworkMessage {
    fn classify(&self) -> Class {
        match self {
            Self::Master(_) => Class::Guaranteed,
            Self::Outside(message) => message.classify(),
        }
    }
}
