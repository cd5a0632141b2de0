//! The device controller of version 2: a small program in the kernel's virtual machine (`bpf(2)`,
//! `BPF_PROG_TYPE_CGROUP_DEVICE`) that says yes when one of the rules does. It stays attached to its group without us.

use super::devices::{Kind, Rule};
use super::group::Group;
use crate::syscall;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// The most rules of one program: the kernel's own bound for programs is 4096 instructions, and a rule takes at most eight.
const RULES_MAX: usize = 500;

/// What the kernel passes: kind and access in one word, then major and minor.
const CONTEXT_ACCESS: i16 = 0;
const CONTEXT_MAJOR: i16 = 4;
const CONTEXT_MINOR: i16 = 8;
const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;
const ACCESS_MAKE: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Instructions (`include/uapi/linux/bpf.h`): class and operation in one byte.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const AND_NUMBER: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_NUMBER: u8 = 0x55;
const JUMP_UNLESS: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Registers: the answer, the argument (then scratch), kind, access, major, minor.
const ANSWER: u8 = 0;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// One instruction, as the kernel lays it out.
fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = number.to_le_bytes();
    u64::from_ne_bytes([code, from << 4 | to, low, high, a, b, c, d])
}

/// The program of some rules.
fn program(rules: &[Rule]) -> io::Result<Vec<u64>> {
    if rules.len() > RULES_MAX {
        return Err(io::Error::other(format!("{} rules for devices, at most {RULES_MAX} go", rules.len())));
    }
    let mut program = vec![
        instruction(LOAD_WORD, KIND, SCRATCH, CONTEXT_ACCESS, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_NUMBER, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, SCRATCH, CONTEXT_MAJOR, 0),
        instruction(LOAD_WORD, MINOR, SCRATCH, CONTEXT_MINOR, 0),
    ];
    for rule in rules {
        let kind = if rule.kind == Kind::Block { KIND_BLOCK } else { KIND_CHARACTER };
        let bits =
            [(rule.access.make, ACCESS_MAKE), (rule.access.read, ACCESS_READ), (rule.access.write, ACCESS_WRITE)];
        let access: i32 = bits.iter().filter(|(may, _)| *may).map(|(_, bit)| bit).sum();
        // Each test jumps past the rule's end when it fails; how far is known once all are there.
        let mut tests: Vec<(u8, u8, u8, i32)> = vec![(JUMP_UNLESS_NUMBER, KIND, 0, kind)];
        tests.push((MOVE, SCRATCH, ACCESS, 0));
        tests.push((AND_NUMBER, SCRATCH, 0, access));
        tests.push((JUMP_UNLESS, SCRATCH, ACCESS, 0));
        let numbers = [(MAJOR, rule.major), (MINOR, rule.minor)];
        for (register, number) in numbers.into_iter().filter_map(|(register, number)| Some((register, number?))) {
            tests.push((JUMP_UNLESS_NUMBER, register, 0, number.cast_signed()));
        }
        let end = tests.len() + 2;
        for (at, (code, to, from, number)) in tests.into_iter().enumerate() {
            let jumps = matches!(code, JUMP_UNLESS_NUMBER | JUMP_UNLESS);
            let offset = if jumps { i16::try_from(end - at - 1).unwrap_or(i16::MAX) } else { 0 };
            program.push(instruction(code, to, from, offset, number));
        }
        program.push(instruction(MOVE_NUMBER, ANSWER, 0, 0, 1));
        program.push(instruction(EXIT, 0, 0, 0, 0));
    }
    program.push(instruction(MOVE_NUMBER, ANSWER, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    Ok(program)
}

/// Lets the processes of a group open what one of the rules allows, and nothing else.
pub(super) fn attach(group: &Group, rules: &[Rule]) -> io::Result<()> {
    let loaded = syscall::load_device_program(&program(rules)?)
        .map_err(|error| io::Error::new(error.kind(), format!("can't load the program for devices: {error}")))?;
    let directory = File::open(group.path())?;
    syscall::attach_device_program(directory.as_fd(), loaded.as_fd())
        .map_err(|error| io::Error::new(error.kind(), format!("can't attach the program for devices: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::devices::{Access, USUAL};
    use super::*;
    use proptest::prelude::*;

    /// A machine of our own for the instructions above: what the kernel would answer.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let mut registers = [0_u64; 6];
        let context = [access << 16 | kind, major, minor];
        let mut at = 0;
        loop {
            let [code, places, low, high, number @ ..] = program[at].to_ne_bytes();
            let (to, from) = (usize::from(places & 0xf), usize::from(places >> 4));
            let (offset, number) = (i16::from_le_bytes([low, high]), i32::from_le_bytes(number));
            at += 1;
            let jump = |is_taken: bool| if is_taken { usize::try_from(offset).unwrap() } else { 0 };
            match code {
                LOAD_WORD => registers[to] = u64::from(context[usize::try_from(offset).unwrap() / 4]),
                MOVE => registers[to] = registers[from],
                MOVE_NUMBER => registers[to] = i64::from(number).cast_unsigned(),
                AND_NUMBER => registers[to] &= i64::from(number).cast_unsigned(),
                SHIFT_RIGHT => registers[to] >>= number,
                JUMP_UNLESS_NUMBER => at += jump(registers[to] != i64::from(number).cast_unsigned()),
                JUMP_UNLESS => at += jump(registers[to] != registers[from]),
                EXIT => return registers[0],
                other => panic!("no such instruction {other:#x}"),
            }
        }
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let access = (any::<bool>(), any::<bool>(), any::<bool>());
        let one = (any::<bool>(), proptest::option::of(0_u32..4), proptest::option::of(0_u32..4), access);
        let rule = one.prop_map(|(is_block, major, minor, (read, write, make))| Rule {
            kind: if is_block { Kind::Block } else { Kind::Character },
            major,
            minor,
            access: Access { read, write, make },
        });
        proptest::collection::vec(rule, 0..6)
    }

    proptest! {
        /// The program says yes exactly when a rule does.
        #[test]
        fn the_program_is_its_rules(rules in rules(), kind in 1_u32..3, access in 1_u32..8, major in 0_u32..4, minor in 0_u32..4) {
            let allows = |rule: &Rule| {
                let bits = u32::from(rule.access.make) | u32::from(rule.access.read) << 1 | u32::from(rule.access.write) << 2;
                (rule.kind == Kind::Block) == (kind == 1)
                    && access & !bits == 0
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
            };
            let answer = run(&program(&rules).unwrap(), kind, access, major, minor);
            prop_assert_eq!(answer == 1, rules.iter().any(allows));
        }
    }

    #[test]
    fn it_is_bounded() {
        assert!(program(&vec![USUAL[0]; RULES_MAX + 1]).is_err());
        assert!(program(&vec![USUAL[5]; RULES_MAX]).unwrap().len() <= 4096);
    }
}
