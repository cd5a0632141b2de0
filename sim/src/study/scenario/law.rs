//! Laws of chance as they are written in scenarios.

use crate::workload::generate::Law;

/// Reads `5`, `1..20`, `exp:8` (the mean) or `pareto:1..1000:1.1` (least, most, exponent), each number times `unit`.
pub(crate) fn law(text: &str, unit: f64) -> Result<Law, String> {
    let wrong =
        || format!("\"{text}\" is no law; write it as in \"5\", \"1..20\", \"exp:8\" or \"pareto:1..1000:1.1\"");
    let number = |text: &str| {
        text.trim().parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0).ok_or_else(wrong)
    };
    let range = |text: &str| {
        let (least, most) = text.split_once("..").ok_or_else(wrong)?;
        let (least, most) = (number(least)?, number(most)?);
        if least <= most { Ok((least * unit, most * unit)) } else { Err(wrong()) }
    };
    if let Some(mean) = text.strip_prefix("exp:") {
        return Ok(Law::Exponential(number(mean)? * unit));
    }
    if let Some(rest) = text.strip_prefix("pareto:") {
        let (bounds, alpha) = rest.split_once(':').ok_or_else(wrong)?;
        let ((least, most), alpha) = (range(bounds)?, number(alpha)?);
        return Ok(Law::Pareto { least, most, alpha });
    }
    if text.contains("..") {
        let (least, most) = range(text)?;
        return Ok(Law::Uniform(least, most));
    }
    Ok(Law::Fixed(number(text)? * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_read() {
        assert_eq!(law("5", 2.0), Ok(Law::Fixed(10.0)));
        assert_eq!(law("1..20", 1.0), Ok(Law::Uniform(1.0, 20.0)));
        assert_eq!(law("exp:8", 1e6), Ok(Law::Exponential(8e6)));
        assert_eq!(law("pareto:1..1000:1.5", 1.0), Ok(Law::Pareto { least: 1.0, most: 1000.0, alpha: 1.5 }));
        for text in ["", "-1", "5..1", "exp:", "nan", "pareto:1..2", "pareto:1:2"] {
            assert!(law(text, 1.0).is_err(), "{text}");
        }
    }
}
