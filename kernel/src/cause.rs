//! Why something from outside was refused, for programs: one stable word each ([decision 0016][decision]).
//!
//! The words for people beside it may change, these do not: they are part of the API and listed in `docs/api.md`. A word is
//! never used again for something else. Where a client finds them: in the header `Kaon-Cause` of an HTTP refusal, under the
//! label `kaon.cause` of a task's status, in the field `cause` of an operation's status and of an ERROR.
//!
//! [decision]: ../../docs/decisions/0016-refusals-carry-a-stable-word.md

use rkyv::{Archive, Deserialize, Serialize};

/// The label of a task's status that holds the [`Cause`].
pub const LABEL: &str = "kaon.cause";

/// The header of an HTTP refusal that holds the [`Cause`].
pub const HEADER: &str = "kaon-cause";

macro_rules! causes {
    ($($name:ident => $word:literal, $meaning:literal;)+) => {
        /// Why something was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
        pub enum Cause {
            $(#[doc = $meaning] $name,)+
        }

        impl Cause {
            /// All of them, as `docs/api.md` lists them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word on the wire.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// What it means, for the documents.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                }
            }
        }
    };
}

causes! {
    // Requests.
    BadRequest => "bad-request", "400 for another reason than those below";
    Unauthorized => "unauthorized", "401: no token, or one of somebody else";
    Forbidden => "forbidden", "403 for another reason than those below";
    NotFound => "not-found", "404: no such path, container, file, agent or role";
    MethodNotAllowed => "method-not-allowed", "405";
    NotAcceptable => "not-acceptable", "406: `Accept` allows nothing that could be answered";
    TooSlow => "too-slow", "408: the body did not come in time";
    Conflict => "conflict", "409: what it needs is not free, or gone by now";
    TooLarge => "too-large", "413, and what would take too much memory";
    UnsupportedMediaType => "unsupported-media-type", "415: a body of a type that is not read here";
    Failed => "failed", "500: our fault";
    NotImplemented => "not-implemented", "501: a call that is not served, or is none";
    Unavailable => "unavailable", "503: try again later";
    NoLeader => "no-leader", "503: this master does not lead, and knows no other";
    Malformed => "malformed", "the body is not the message it should be";
    FieldMissing => "field-missing", "a part of the message that must be there is not";
    IdInvalid => "id-invalid", "an id is empty, too long, or has letters that no id has";
    FrameworkIdMismatch => "framework-id-mismatch", "the call names one framework and its content another";
    FrameworkUnknown => "framework-unknown", "no framework of this id is known";
    FrameworkNotSubscribed => "framework-not-subscribed", "the framework has no stream; it must subscribe again";
    StreamIdMissing => "stream-id-missing", "a call without `Mesos-Stream-Id`";
    StreamIdMismatch => "stream-id-mismatch", "a `Mesos-Stream-Id` of another stream than the framework's present one";
    StreamIdUnexpected => "stream-id-unexpected", "SUBSCRIBE with a `Mesos-Stream-Id`";
    UuidInvalid => "uuid-invalid", "a uuid that is not of 16 bytes";
    AgentRecovering => "agent-recovering", "the agent has just started; try again";
    ExecutorUnknown => "executor-unknown", "no executor of this id runs on the agent";
    ExecutorNotSubscribed => "executor-not-subscribed", "the executor must subscribe first";
    CallerMismatch => "caller-mismatch", "the token or the connection is another executor's";
    // Frameworks.
    FrameworkInvalid => "framework-invalid", "a FrameworkInfo that breaks another rule than those below";
    FrameworkRemoved => "framework-removed", "the framework was torn down, or its failover timeout is over";
    FrameworkReplaced => "framework-replaced", "the framework has subscribed anew; this stream is over";
    RoleNotAllowed => "role-not-allowed", "a role that is not in the master's `--roles`";
    ConstraintsInvalid => "constraints-invalid", "offer constraints that break a rule";
    PrincipalChanged => "principal-changed", "the principal of a framework can't change";
    UserChanged => "user-changed", "UPDATE_FRAMEWORK can't change the user";
    CheckpointChanged => "checkpoint-changed", "UPDATE_FRAMEWORK can't change whether it checkpoints";
    // Offers, tasks and executors.
    OffersInvalid => "offers-invalid", "ACCEPT of no offers, of ones that are gone, or of several agents or roles";
    TaskIdInvalid => "task-id-invalid", "a task id that is none";
    TaskIdInUse => "task-id-in-use", "the framework has a task of this id, running or unreachable";
    TooManyTasks => "too-many-tasks", "the framework has as many tasks as one may have";
    AgentMismatch => "agent-mismatch", "the task names another agent than the offer";
    RoleMismatch => "role-mismatch", "resources are allocated to another role than the offer's, or to several";
    ResourcesMissing => "resources-missing", "the task or its executor uses nothing, or too little";
    ResourcesInvalid => "resources-invalid", "a resource that is none: a shape, an amount, a name or a sum";
    ReservationInvalid => "reservation-invalid", "reservations that don't go on top of each other";
    ResourcesInsufficient => "resources-insufficient", "more than the offers hold";
    RevocableMixed => "revocable-mixed", "revocable and other resources of one name";
    GpusFractional => "gpus-fractional", "a part of a GPU";
    RoleInvalid => "role-invalid", "a role that is none";
    TimeInvalid => "time-invalid", "a time that is negative or too long";
    CommandOrExecutor => "command-or-executor", "a task with both, or with none";
    CommandInvalid => "command-invalid", "a command or its environment breaks a rule";
    ContainerInvalid => "container-invalid", "a container, volume, network or image breaks a rule";
    CheckInvalid => "check-invalid", "a check or health check breaks a rule";
    LimitsInvalid => "limits-invalid", "limits below requests, or of other resources than cpus and mem";
    SecretInvalid => "secret-invalid", "a secret of the wrong shape";
    PlacementInvalid => "placement-invalid", "labels that ask for a place and mean nothing";
    ExecutorInvalid => "executor-invalid", "an ExecutorInfo that breaks a rule";
    ExecutorMismatch => "executor-mismatch", "another executor has this id, or the group names another";
    GroupInvalid => "group-invalid", "a task group that breaks a rule as a whole";
    StatusInvalid => "status-invalid", "a status of an executor that breaks a rule";
    Unsupported => "unsupported", "a field that asks for something that is not carried out";
    // Operations.
    OperationInvalid => "operation-invalid", "an operation that breaks another rule than those below";
    OperationIdInUse => "operation-id-in-use", "an operation of this id is not acknowledged yet";
    TooManyOperations => "too-many-operations", "too many operations of the agent wait for their acknowledgement";
    NotReserved => "not-reserved", "resources that are not reserved, or not by a call";
    PrincipalMismatch => "principal-mismatch", "a reservation or volume in another's name";
    CapabilityMissing => "capability-missing", "the framework has not said that it understands this";
    ProviderMissing => "provider-missing", "it needs a resource provider, or is of one";
    VolumeInvalid => "volume-invalid", "a volume of the wrong shape, or on the wrong disk";
    VolumeIdInUse => "volume-id-in-use", "a volume has this persistence id already";
    VolumeInUse => "volume-in-use", "a task, or an offer, uses the volume";
    VolumeUnknown => "volume-unknown", "the agent has not this volume, or not so often";
    SizeInvalid => "size-invalid", "a volume can't grow or shrink by so much";
    // Operators.
    AgentUnknown => "agent-unknown", "no agent of this id is known";
    AgentStateInvalid => "agent-state-invalid", "the agent is not in a state in which this can be done";
    MaintenanceInvalid => "maintenance-invalid", "a schedule, or machines in it, that break a rule";
    QuotaInvalid => "quota-invalid", "a quota or weight that breaks a rule";
    QuotaOvercommitted => "quota-overcommitted", "more is guaranteed than the cluster has";
}

/// What is wrong with something from outside: for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Defect {
    /// For programs.
    pub cause: Cause,
    /// For people; they name what breaks the rule.
    pub words: String,
}

impl Defect {
    /// A defect in words.
    pub fn new(cause: Cause, words: impl Into<String>) -> Self {
        Self { cause, words: words.into() }
    }

    /// The same with words around those that were there.
    #[must_use]
    pub fn told(self, tell: impl FnOnce(String) -> String) -> Self {
        Self { words: tell(self.words), ..self }
    }
}

impl core::fmt::Display for Defect {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_word_of_its_own() {
        let mut words: Vec<&str> = Cause::ALL.iter().map(|cause| cause.word()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Cause::ALL.len());
    }
}
