//! The scenarios that come with Kaon, in the binary: `sim/scenarios/`.

/// A scenario that is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// One of them, by the name of its file.
macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// Every scenario that is shipped, in the order of their names.
        pub const SHIPPED: [Shipped; [$($name),*].len()] = [$(Shipped {
            name: $name,
            text: include_str!(concat!("../../../scenarios/", $name, ".toml")),
        }),*];
    };
}

shipped!(
    "backfilling",
    "chaos",
    "datacenter-day",
    "delay-scheduling",
    "drf-example",
    "gavel",
    "hardware",
    "mesos-delay",
    "mesos-failover",
    "mesos-scale",
    "mixed",
    "omega",
    "omega-cell",
    "openb",
    "priorities",
    "sparrow",
    "swf"
);
