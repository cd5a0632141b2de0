//! The names of the batch orders.

/// In which order jobs start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First come, first served; nobody passes the head.
    Fcfs,
    /// EASY backfilling in the order of submission.
    Easy,
    /// EASY backfilling, shortest planned time first.
    EasySjbf,
    /// Conservative backfilling: a reservation for everybody.
    Conservative,
    /// Shortest planned time first; nobody passes the head.
    Sjf,
    /// Shortest remaining planned time first, with preemption.
    Srpt,
    /// Least attained service first, with preemption.
    Las,
}

/// An order, and what it plans with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The order.
    pub order: Order,
    /// Plan with the actual run times (clairvoyant), rather than with what owners said.
    pub is_exact: bool,
}

/// Every policy by name, with one line on what it does.
pub const POLICIES: [(&str, &str); 14] = [
    ("fcfs", "first come, first served; nobody passes the head of the queue"),
    ("fcfs-exact", "the same; planning times do not matter to it"),
    ("easy", "EASY backfilling: nobody delays the head; in order of submission"),
    ("easy-exact", "EASY backfilling that knows run times"),
    ("easy-sjbf", "EASY backfilling, shortest planned time first"),
    ("easy-sjbf-exact", "EASY-SJBF that knows run times"),
    ("conservative", "conservative backfilling: nobody delays anybody"),
    ("conservative-exact", "conservative backfilling that knows run times"),
    ("sjf", "shortest planned time first; nobody passes the head"),
    ("sjf-exact", "shortest run time first"),
    ("srpt", "shortest remaining planned time first, with preemption"),
    ("srpt-exact", "shortest remaining time first, with preemption"),
    ("las", "least attained service first, with preemption; ties by submission"),
    ("las-exact", "the same; planning times do not matter to it"),
];

/// No policy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no batch policy is called {0:?}")]
pub struct PolicyError(pub String);

impl core::str::FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let (name, is_exact) = text.strip_suffix("-exact").map_or((text, false), |name| (name, true));
        let order = match name {
            "fcfs" => Order::Fcfs,
            "easy" => Order::Easy,
            "easy-sjbf" => Order::EasySjbf,
            "conservative" => Order::Conservative,
            "sjf" => Order::Sjf,
            "srpt" => Order::Srpt,
            "las" => Order::Las,
            _ => return Err(PolicyError(text.to_owned())),
        };
        Ok(Self { order, is_exact })
    }
}
