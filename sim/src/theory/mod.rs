//! Queueing theory that the engines must meet: closed formulas, and the experiments that are held against them.
//!
//! An experiment runs an engine with ten or more seeds, leaves out a warm-up, and gives the mean over seeds with its
//! standard error; it agrees with a formula when the two differ by at most three of these.

mod experiment;
mod offers;
#[cfg(test)]
mod tests;

pub use experiment::{Estimate, choices, servers};
pub use offers::{Ramp, filled, ramp};

use crate::workload::numbers::exponential;
use crate::workload::numbers::natural_logarithm;

/// Mean time in system of one server with Poisson arrivals and exponential service of mean 1.
pub fn one_server(load: f64) -> f64 {
    1.0 / (1.0 - load)
}

/// Erlang C: the probability of waiting with `servers` servers, one queue, `load` a server.
pub fn waiting_probability(servers: u32, load: f64) -> f64 {
    // Erlang B by its recursion, then C from B.
    let offered = load * f64::from(servers);
    let blocked = (1..=servers).fold(1.0, |blocked, count| offered * blocked / (f64::from(count) + offered * blocked));
    blocked / (1.0 - load * (1.0 - blocked))
}

/// The mean wait there, service of mean 1.
pub fn mean_wait(servers: u32, load: f64) -> f64 {
    waiting_probability(servers, load) / (f64::from(servers) * (1.0 - load))
}

/// Completion of an elastic framework under offers, with very many slots: when the area under the slots it holds, which come
/// evenly within one task length or exponentially, is `beta`, at least one half. For large `beta` this is the (1/2 + beta) and
/// nearly the (1 + beta) of the paper.
pub fn elastic_completion(beta: f64, is_exponential: bool) -> f64 {
    if !is_exponential {
        return 0.5 + beta;
    }
    // t - 1 + exp(-t) = beta, by iteration; each step gains a factor of exp(t).
    (0..60).fold(1.0 + beta, |time, _| 1.0 + beta - exponential(-time))
}

/// Mean time in system when each arrival joins the shortest of `choices` random queues among very many
/// (Mitzenmacher 2001).
pub fn shortest_of(choices: u32, load: f64) -> f64 {
    let (choices, logarithm) = (f64::from(choices), natural_logarithm(load));
    let (mut sum, mut power) = (0.0, choices);
    loop {
        let exponent = if choices > 1.0 { (power - choices) / (choices - 1.0) } else { power - 1.0 };
        let term = exponential(logarithm * exponent);
        sum += term;
        if term < 1e-15 {
            return sum;
        }
        power = if choices > 1.0 { power * choices } else { power + 1.0 };
    }
}
