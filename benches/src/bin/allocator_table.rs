//! Prints what the allocator's engine takes beside what the peer's took: `cargo run --release -p kaon-benches --bin
//! allocator_table -- CASES`, where CASES are words out of `add decline labels filtered suppress extreme backlog metrics
//! quota update sorter grid`, or `quick` for the smallest sizes of all; nothing means all but the grid. Words of the
//! form `agents=10000` and `frameworks=200` keep to these sizes, `case=Churn` to this case of the grid.

use kaon_benches::allocator::grid::{AGENTS, CASES, Case, Cell, FRAMEWORKS, Outcome, Roles};
use kaon_benches::allocator::table::{HEAD, Row, digits, line, medians};
use kaon_benches::allocator::{peer, quota, sorters};

// What the product's binary allocates with.
#[global_allocator]
static ALLOCATOR: kaon_runtime::Allocator = kaon_runtime::Allocator;

/// Each case runs so many times; the median is printed.
const RUNS: usize = 3;

/// A case that comes in the sizes of [`peer::SIZES`].
type OfSize = fn((u32, u32)) -> Vec<Row>;

struct Wish {
    words: Vec<String>,
    agents: Option<u32>,
    frameworks: Option<u32>,
    /// Of the grid.
    case: Option<String>,
}

impl Wish {
    fn wants(&self, word: &str) -> bool {
        self.words.iter().any(|wish| wish == word) || (word != "grid" && self.words.iter().all(|wish| wish == "quick"))
    }

    fn fits(&self, (agents, frameworks): (u32, u32)) -> bool {
        let is_quick = self.words.iter().any(|wish| wish == "quick");
        self.agents.is_none_or(|wish| wish == agents)
            && self.frameworks.is_none_or(|wish| wish == frameworks)
            && (!is_quick || (agents, frameworks) == (1_000, 50))
    }
}

fn main() {
    // `cargo bench` gives every target this flag.
    let words = std::env::args().skip(1).filter(|word| word != "--bench").collect::<Vec<_>>();
    let number = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.parse().ok());
    let (agents, frameworks) = (number("agents="), number("frameworks="));
    let case = words.iter().find_map(|word| word.strip_prefix("case=")).map(str::to_owned);
    let wish =
        Wish { case, words: words.iter().filter(|word| !word.contains('=')).cloned().collect(), agents, frameworks };
    println!("{HEAD}");
    let flat: [(&str, OfSize); 6] = [
        ("add", peer::add_and_update),
        ("decline", peer::decline),
        ("labels", peer::labels),
        ("suppress", peer::suppress),
        ("extreme", peer::extreme_suppress),
        ("backlog", peer::backlog),
    ];
    for (_, case) in flat.into_iter().filter(|(word, _)| wish.wants(word)) {
        for size in peer::SIZES.into_iter().filter(|size| wish.fits(*size)) {
            print(medians(RUNS, || case(size)));
        }
    }
    if wish.wants("filtered") {
        for size in peer::FILTERED_SIZES.into_iter().filter(|size| wish.fits(*size)) {
            print(peer::all_filtered(size));
        }
    }
    quota_cases(&wish);
    if wish.wants("sorter") {
        print(medians(RUNS, sorters::all));
    }
    if wish.wants("grid") {
        grid(&wish);
    }
}

fn print(rows: Vec<Row>) {
    rows.iter().for_each(|row| println!("{}", line(row)));
}

fn grid(wish: &Wish) {
    println!(
        "\n| case | roles | agents | frameworks | ms | worst ms | grants | us an agent |\n|---|---|---:|---:|---:|---:|---:|---:|"
    );
    for case in CASES.into_iter().filter(|case| wish.case.as_ref().is_none_or(|wish| *wish == format!("{case:?}"))) {
        for roles in [Roles::Flat, Roles::Deep] {
            for (agents, frameworks) in AGENTS.into_iter().flat_map(|agents| FRAMEWORKS.map(|count| (agents, count))) {
                if !wish.fits((agents, frameworks)) {
                    continue;
                }
                let cell = Cell { agents, frameworks, roles, case };
                let head = format!("| {case:?} | {roles:?} | {agents} | {frameworks} |");
                match cell.measure(RUNS) {
                    Outcome::Measured { spent, worst, grants } => {
                        let visited = if case == Case::Churn { 1 } else { agents };
                        let each = digits(spent * 1e3 / f64::from(visited));
                        println!("{head} {} | {} | {grants} | {each} |", digits(spent), digits(worst));
                    }
                    Outcome::TooLarge(count) => println!("{head} left out: {count} looks or reservations | | | |"),
                }
            }
        }
    }
}

fn quota_cases(wish: &Wish) {
    if wish.wants("metrics") {
        for size in peer::SIZES.into_iter().filter(|size| wish.fits(*size)) {
            print(medians(RUNS, || quota::metrics(size)));
        }
    }
    if wish.wants("quota") {
        print(medians(RUNS, quota::large_and_small));
        print(medians(RUNS, quota::with_and_without));
    }
    if wish.wants("update") {
        print(medians(RUNS, quota::update_allocation));
    }
}
