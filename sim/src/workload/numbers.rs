//! Numbers that are the same on every machine: decimals read exactly into integers, and the few functions of analysis
//! that generators need, built from additions, multiplications and divisions only (the C library's differ by machine).

use std::f64::consts::{LN_2, PI};

/// Exponents of decimals lie between this and its negative: beyond, a number is nothing, or more than 64 bits hold.
const EXPONENT_MAX: i64 = 400;

/// Reads a decimal such as `-12.345` or `1.5e3` as a whole number of 10^-`places`, halves away from zero; none when it is
/// not a decimal or does not fit.
pub fn scaled(text: &str, places: u32) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent = exponent.parse::<i64>().ok().filter(|exponent| exponent.abs() <= EXPONENT_MAX)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    // So many digits count, from the first on; where there are fewer, zeros follow.
    let counted = whole.len() as i64 + exponent + i64::from(places);
    let mut value: i64 = 0;
    let all = whole.bytes().chain(part.bytes());
    for byte in all.clone().chain(core::iter::repeat(b'0')).take(usize::try_from(counted).unwrap_or(0)) {
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    let is_up = usize::try_from(counted).is_ok_and(|counted| all.clone().nth(counted).is_some_and(|byte| byte >= b'5'));
    value.checked_add(i64::from(is_up))?.checked_mul(sign)
}

/// Reads a whole number, also one that is written as a decimal, such as `64.0` or `1e3`.
pub fn whole(text: &str) -> Option<i64> {
    scaled(text, 3).filter(|thousandths| thousandths % 1000 == 0).map(|thousandths| thousandths / 1000)
}

/// The natural logarithm of a normal number above zero, to about 15 digits.
pub fn natural_logarithm(value: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & FRACTION | 1023 << 52);
    // ln m = 2 artanh s, with s at most a third: each term is at least nine times smaller than the one before.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut sum, mut power) = (0.0, s);
    for term in 0..18 {
        sum += power / f64::from(2 * term + 1);
        power *= s * s;
    }
    2.0 * sum + exponent as f64 * LN_2
}

/// e to the power of `value`, to about 14 digits, for values between -700 and 700; those beyond are cut to these.
pub fn exponential(value: f64) -> f64 {
    let value = value.clamp(-700.0, 700.0);
    let halvings = (value / LN_2 + if value < 0.0 { -0.5 } else { 0.5 }) as i64;
    let rest = value - halvings as f64 * LN_2;
    let (mut sum, mut term) = (1.0, 1.0);
    for index in 1..20 {
        term *= rest / f64::from(index);
        sum += term;
    }
    sum * f64::from_bits(((1023 + halvings) as u64) << 52)
}

/// The cosine of `turns` full turns, to about 12 digits.
pub fn cosine_of_turns(turns: f64) -> f64 {
    let part = turns - turns.floor();
    // Into [-1/2, 1/2] turns, where the series is short.
    let angle = 2.0 * PI * if part > 0.5 { part - 1.0 } else { part };
    let (mut sum, mut term) = (1.0, 1.0);
    for index in 1..16 {
        term *= -angle * angle / f64::from((2 * index - 1) * 2 * index);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let table = [
            ("0", 6, Some(0)),
            ("6.844149", 6, Some(6_844_149)),
            ("-1", 0, Some(-1)),
            ("2.5", 0, Some(3)),
            ("-2.5", 0, Some(-3)),
            (".5", 3, Some(500)),
            ("7.", 1, Some(70)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("1e5", 0, Some(100_000)),
            ("1.25E+01", 1, Some(125)),
            ("125e-2", 1, Some(13)),
            ("-5e-1", 0, Some(-1)),
            ("4e-1", 0, Some(0)),
            ("5e-2", 0, Some(0)),
            ("1e400", 0, None),
            ("0e400", 0, Some(0)),
            ("1e", 0, None),
            ("e5", 0, None),
            ("1e999999999999", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("-", 0, None),
            ("1 ", 0, None),
        ];
        for (text, places, value) in table {
            assert_eq!(scaled(text, places), value, "{text:?}");
        }
        for (text, value) in
            [("64", Some(64)), ("64.0", Some(64)), ("1e3", Some(1000)), ("6.4", None), ("-2.", Some(-2))]
        {
            assert_eq!(whole(text), value, "{text:?}");
        }
    }

    #[test]
    fn the_functions_are_what_they_are_called() {
        for value in [1e-16, 1e-9, 0.001, 0.3, 0.5, 0.999_999, 1.0, 2.0, 7.5] {
            assert!((natural_logarithm(value) - f64::ln(value)).abs() < 1e-13, "ln {value}");
        }
        for value in [-690.0, -20.5, -1.0, -0.1, 0.0, 0.3, 1.0, 12.7, 690.0] {
            assert!((exponential(value) / f64::exp(value) - 1.0).abs() < 1e-13, "exp {value}");
        }
        for turns in [-1.3, 0.0, 0.1, 0.25, 0.49, 0.5, 0.75, 0.99, 5.2] {
            assert!((cosine_of_turns(turns) - f64::cos(turns * 2.0 * PI)).abs() < 1e-11, "cos {turns}");
        }
    }
}
