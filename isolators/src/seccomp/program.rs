//! From rules to a program of classic BPF that the kernel runs before every system call (`seccomp(2)`,
//! `Documentation/userspace-api/seccomp_filter.rst`). Calls of another machine's numbering end the process: a filter of names
//! would not hold for them.

use std::collections::BTreeMap;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// Ends the process.
const KILL_PROCESS: u32 = 0x8000_0000;
/// Lets the call pass.
pub(super) const ALLOW: u32 = 0x7fff_0000;

/// Which numbering the machine has (`AUDIT_ARCH_*`).
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ARCHITECTURE: u32 = 0;

/// From here on numbers are those of x32, a second numbering of the same machine.
#[cfg(target_arch = "x86_64")]
const OTHER_NUMBERING: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const MACHINE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

// Codes of instructions (`include/uapi/linux/bpf_common.h`).
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

/// A comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(u64),
    Unequal(u64),
    Above(u64),
    AtLeast(u64),
    Below(u64),
    AtMost(u64),
    Masked { mask: u64, equal: u64 },
}

/// What has to hold of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which of the six.
    pub(super) index: u8,
    pub(super) comparison: Comparison,
}

/// An action, and what has to hold for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

/// What is answered to which call.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// To all that no rule is about.
    pub(super) default: u32,
    /// By the number of the call. Of several rules the first counts whose conditions hold; one without any comes last.
    pub(super) rules: BTreeMap<u32, Vec<Rule>>,
}

/// Where an instruction goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// The next one.
    Next,
    /// So many further on, counted from the next one.
    Skip(u8),
    /// After the rule: they do not.
    Fails,
}

/// An instruction whose ways are not numbers yet.
#[derive(Clone, Copy)]
struct Step {
    code: u16,
    operand: u32,
    if_true: To,
    if_false: To,
}

impl Program {
    /// The instructions, each as the kernel has it in eight bytes; nothing when everything is allowed.
    ///
    /// # Errors
    /// When the kernel would not take it.
    pub(super) fn assemble(&self) -> Result<Option<Vec<u64>>, String> {
        if ARCHITECTURE == 0 {
            return Err("filters of system calls are not made for this machine".to_owned());
        }
        if self.default == ALLOW && self.rules.values().flatten().all(|rule| rule.action == ALLOW) {
            return Ok(None);
        }
        let mut out = vec![
            instruction(LOAD, MACHINE, 0, 0),
            instruction(JUMP_EQUAL, ARCHITECTURE, 1, 0),
            instruction(RETURN, KILL_PROCESS, 0, 0),
            instruction(LOAD, NUMBER, 0, 0),
        ];
        #[cfg(target_arch = "x86_64")]
        out.extend([instruction(JUMP_AT_LEAST, OTHER_NUMBERING, 0, 1), instruction(RETURN, KILL_PROCESS, 0, 0)]);
        for (number, rules) in &self.rules {
            let block = block(rules, self.default)?;
            match u8::try_from(block.len()) {
                Ok(length) => out.push(instruction(JUMP_EQUAL, *number, 0, length)),
                Err(_) => return Err(format!("the rules of system call {number} are too many")),
            }
            out.extend(block);
        }
        out.push(instruction(RETURN, self.default, 0, 0));
        match out.len() > INSTRUCTIONS_MAX {
            true => Err(format!("it needs {} instructions, the kernel takes {INSTRUCTIONS_MAX}", out.len())),
            false => Ok(Some(out)),
        }
    }
}

/// What is done for one call. It always ends with an answer.
fn block(rules: &[Rule], default: u32) -> Result<Vec<u64>, String> {
    let mut out = Vec::new();
    for rule in rules.iter().filter(|rule| !rule.conditions.is_empty()) {
        let steps: Vec<Step> = rule.conditions.iter().flat_map(steps).collect();
        for (at, step) in steps.iter().enumerate() {
            // From the next instruction: to the answer, which follows the conditions, or beyond it.
            let left = steps.len() - at - 1;
            let way = |to: To| match to {
                To::Next => Ok(0),
                To::Skip(count) => Ok(count),
                To::Fails => u8::try_from(left + 1).map_err(|_| "a rule has too many conditions".to_owned()),
            };
            out.push(instruction(step.code, step.operand, way(step.if_true)?, way(step.if_false)?));
        }
        out.push(instruction(RETURN, rule.action, 0, 0));
    }
    let last = rules.iter().find(|rule| rule.conditions.is_empty()).map_or(default, |rule| rule.action);
    out.push(instruction(RETURN, last, 0, 0));
    Ok(out)
}

/// The steps of one condition. Where it holds they go on after themselves; the kernel compares 32 bits at a time.
fn steps(condition: &Condition) -> Vec<Step> {
    let at = ARGUMENTS + 8 * u32::from(condition.index);
    // Both machines are little-endian: the lower half comes first.
    let (low, high) = (load(at), load(at + 4));
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    match condition.comparison {
        Comparison::Equal(value) => {
            let (upper, lower) = halves(value);
            vec![high, when(JUMP_EQUAL, upper, To::Next, To::Fails), low, when(JUMP_EQUAL, lower, To::Next, To::Fails)]
        }
        Comparison::Unequal(value) => {
            let (upper, lower) = halves(value);
            // One half that differs is enough.
            vec![
                high,
                when(JUMP_EQUAL, upper, To::Next, To::Skip(2)),
                low,
                when(JUMP_EQUAL, lower, To::Fails, To::Next),
            ]
        }
        Comparison::Above(value) => above(value, JUMP_ABOVE, (high, low)),
        Comparison::AtLeast(value) => above(value, JUMP_AT_LEAST, (high, low)),
        Comparison::Below(value) => not_above(value, JUMP_AT_LEAST, (high, low)),
        Comparison::AtMost(value) => not_above(value, JUMP_ABOVE, (high, low)),
        Comparison::Masked { mask, equal } => {
            let ((upper_mask, lower_mask), (upper, lower)) = (halves(mask), halves(equal));
            vec![
                high,
                when(AND, upper_mask, To::Next, To::Next),
                when(JUMP_EQUAL, upper, To::Next, To::Fails),
                low,
                when(AND, lower_mask, To::Next, To::Next),
                when(JUMP_EQUAL, lower, To::Next, To::Fails),
            ]
        }
    }
}

/// Holds when the argument is above a value, or at least it.
fn above(value: u64, lower_jump: u16, (high, low): (Step, Step)) -> Vec<Step> {
    let (upper, lower) = ((value >> 32) as u32, value as u32);
    vec![
        high,
        when(JUMP_ABOVE, upper, To::Skip(3), To::Next),
        when(JUMP_EQUAL, upper, To::Next, To::Fails),
        low,
        when(lower_jump, lower, To::Next, To::Fails),
    ]
}

/// Holds when [`above`] does not.
fn not_above(value: u64, lower_jump: u16, (high, low): (Step, Step)) -> Vec<Step> {
    let (upper, lower) = ((value >> 32) as u32, value as u32);
    vec![
        high,
        when(JUMP_ABOVE, upper, To::Fails, To::Next),
        when(JUMP_EQUAL, upper, To::Next, To::Skip(2)),
        low,
        when(lower_jump, lower, To::Fails, To::Next),
    ]
}

fn load(offset: u32) -> Step {
    when(LOAD, offset, To::Next, To::Next)
}

fn when(code: u16, operand: u32, if_true: To, if_false: To) -> Step {
    Step { code, operand, if_true, if_false }
}

/// `struct sock_filter` as one number, the first byte lowest.
pub(super) fn instruction(code: u16, operand: u32, if_true: u8, if_false: u8) -> u64 {
    u64::from(code) | u64::from(if_true) << 16 | u64::from(if_false) << 24 | u64::from(operand) << 32
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel's machine would answer.
    pub(in super::super) fn run(program: &[u64], number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            MACHINE => ARCHITECTURE,
            _ => {
                let (at, half) = ((offset - ARGUMENTS) / 8, (offset - ARGUMENTS) % 8 / 4);
                (arguments[at as usize] >> (32 * half)) as u32
            }
        };
        let (mut at, mut register) = (0, 0);
        loop {
            let one = program[at];
            let (code, operand) = (one as u16, (one >> 32) as u32);
            let (if_true, if_false) = ((one >> 16) as u8, (one >> 24) as u8);
            at += 1;
            let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
            match code {
                LOAD => register = word(operand),
                AND => register &= operand,
                JUMP_EQUAL => at += jump(register == operand),
                JUMP_ABOVE => at += jump(register > operand),
                JUMP_AT_LEAST => at += jump(register >= operand),
                RETURN => return operand,
                other => panic!("{other:#x} is no instruction of ours"),
            }
        }
    }

    fn comparison() -> impl Strategy<Value = Comparison> {
        let value = prop_oneof![0_u64..4, (1_u64 << 32)..(1_u64 << 32) + 4, any::<u64>()];
        (value.clone(), value, 0..7).prop_map(|(value, other, kind)| match kind {
            0 => Comparison::Equal(value),
            1 => Comparison::Unequal(value),
            2 => Comparison::Above(value),
            3 => Comparison::AtLeast(value),
            4 => Comparison::Below(value),
            5 => Comparison::AtMost(value),
            _ => Comparison::Masked { mask: value, equal: other & value },
        })
    }

    fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(condition.index)];
        match condition.comparison {
            Comparison::Equal(value) => argument == value,
            Comparison::Unequal(value) => argument != value,
            Comparison::Above(value) => argument > value,
            Comparison::AtLeast(value) => argument >= value,
            Comparison::Below(value) => argument < value,
            Comparison::AtMost(value) => argument <= value,
            Comparison::Masked { mask, equal } => argument & mask == equal,
        }
    }

    proptest! {
        /// The program answers what the rules say, read one by one.
        #[test]
        fn the_program_is_its_rules(
            rules in proptest::collection::vec(
                (0_u32..4, proptest::collection::vec((0_u8..3, comparison()), 0..4), 0_u32..9), 1..12),
            arguments in proptest::collection::vec(
                prop_oneof![0_u64..4, (1_u64 << 32)..(1_u64 << 32) + 4, any::<u64>()], 6),
            number in 0_u32..5,
        ) {
            let mut by_number: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
            for (number, conditions, action) in rules {
                let conditions = conditions.into_iter();
                let conditions = conditions.map(|(index, comparison)| Condition { index, comparison }).collect();
                by_number.entry(number).or_default().push(Rule { conditions, action });
            }
            let arguments = <[u64; 6]>::try_from(arguments).unwrap();
            let default = 77;
            let expected = by_number.get(&number).map_or(default, |rules| {
                let conditional = rules.iter().filter(|rule| !rule.conditions.is_empty());
                let mut hit = conditional.filter(|rule| rule.conditions.iter().all(|one| holds(one, &arguments)));
                let always = rules.iter().find(|rule| rule.conditions.is_empty());
                hit.next().or(always).map_or(default, |rule| rule.action)
            });
            let program = Program { default, rules: by_number }.assemble().unwrap().expect("it forbids");
            prop_assert_eq!(run(&program, number, arguments), expected);
        }
    }

    #[test]
    fn another_numbering_ends_the_process() {
        let program =
            Program { default: ALLOW, rules: BTreeMap::from([(1, vec![Rule { conditions: Vec::new(), action: 0 }])]) };
        let program = program.assemble().unwrap().unwrap();
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&program, OTHER_NUMBERING | 1, [0; 6]), KILL_PROCESS);
        assert_eq!((run(&program, 1, [0; 6]), run(&program, 2, [0; 6])), (0, ALLOW));
    }
}
