//! Axes: where values stand, and the few that are named.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spacing {
    /// Evenly.
    Even,
    /// By the logarithm of one more: zero has a place, and many magnitudes have room.
    Magnitudes,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    Plain,
    Seconds,
    Percent,
    /// Parts of one, shown as percent.
    Part,
}

/// An axis from `least` to `most` over `length` units of the drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) length: f64,
    pub(super) spacing: Spacing,
    pub(super) unit: Unit,
}

/// Times that people know, in seconds.
const TIMES: [(f64, &str); 17] = [
    (0.0, "0"),
    (1.0, "1 s"),
    (3.0, "3 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "1 d"),
    (604_800.0, "1 wk"),
    (2_592_000.0, "30 d"),
    (31_536_000.0, "1 y"),
    (157_680_000.0, "5 y"),
    (315_360_000.0, "10 y"),
    (630_720_000.0, "20 y"),
    (1_576_800_000.0, "50 y"),
    (3_153_600_000.0, "100 y"),
];
/// Steps between times that are evenly spaced, in seconds, with the unit they are named in.
const STEPS: [(f64, f64, &str); 27] = [
    (0.001, 0.001, "ms"),
    (0.005, 0.001, "ms"),
    (0.01, 0.001, "ms"),
    (0.02, 0.001, "ms"),
    (0.05, 0.001, "ms"),
    (0.1, 1.0, "s"),
    (0.5, 1.0, "s"),
    (1.0, 1.0, "s"),
    (5.0, 1.0, "s"),
    (10.0, 1.0, "s"),
    (30.0, 1.0, "s"),
    (60.0, 60.0, "min"),
    (300.0, 60.0, "min"),
    (600.0, 60.0, "min"),
    (1_800.0, 60.0, "min"),
    (3_600.0, 3_600.0, "h"),
    (7_200.0, 3_600.0, "h"),
    (14_400.0, 3_600.0, "h"),
    (21_600.0, 3_600.0, "h"),
    (43_200.0, 3_600.0, "h"),
    (86_400.0, 86_400.0, "d"),
    (432_000.0, 86_400.0, "d"),
    (864_000.0, 86_400.0, "d"),
    (2_592_000.0, 86_400.0, "d"),
    (5_184_000.0, 86_400.0, "d"),
    (8_640_000.0, 86_400.0, "d"),
    (31_536_000.0, 31_536_000.0, "y"),
];
/// About so many values are named on an axis.
const TICKS: f64 = 6.0;
/// Up to here, few magnitudes are named better by even steps.
const MAGNITUDES_FROM: f64 = 10.0;

impl Axis {
    /// Where a value stands, from the beginning of the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let place = |value: f64| match self.spacing {
            Spacing::Even => value,
            Spacing::Magnitudes => value.max(0.0).ln_1p(),
        };
        let (least, most) = (place(self.least), place(self.most));
        let part = if most > least { (place(value) - least) / (most - least) } else { 0.0 };
        part.clamp(0.0, 1.0) * self.length
    }

    /// The values that are named, with their names.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.most <= self.least {
            return vec![(self.least, number(self.least))];
        }
        let all = match (self.spacing, self.unit) {
            (Spacing::Magnitudes, Unit::Seconds) if self.most <= MAGNITUDES_FROM => self.even_times(),
            (Spacing::Magnitudes, unit) if self.most <= MAGNITUDES_FROM => self.even(unit),
            (Spacing::Magnitudes, Unit::Seconds) => {
                TIMES.iter().map(|(value, name)| (*value, (*name).to_owned())).collect()
            }
            (Spacing::Magnitudes, _) => {
                [0.0, 1.0].into_iter().chain((1..16).map(|n| 10_f64.powi(n))).map(|v| (v, number(v))).collect()
            }
            (Spacing::Even, Unit::Seconds) => self.even_times(),
            (Spacing::Even, unit) => self.even(unit),
        };
        all.into_iter().filter(|(value, _)| (self.least..=self.most).contains(value)).collect()
    }

    fn even_times(&self) -> Vec<(f64, String)> {
        let wanted = (self.most - self.least) / TICKS;
        let (step, size, unit) =
            STEPS.iter().copied().find(|(step, _, _)| *step >= wanted).unwrap_or((wanted.max(1.0), 31_536_000.0, "y"));
        multiples(self.least, self.most, step)
            .map(|value| (value, format!("{} {unit}", number(value / size))))
            .collect()
    }

    fn even(&self, unit: Unit) -> Vec<(f64, String)> {
        let wanted = ((self.most - self.least) / TICKS).max(f64::MIN_POSITIVE);
        let magnitude = 10_f64.powf(wanted.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * magnitude).find(|step| *step >= wanted * 0.999);
        let step = step.unwrap_or(wanted);
        let name = |value: f64| match unit {
            Unit::Percent => format!("{} %", stepped(value, step)),
            Unit::Part => format!("{} %", stepped(value * 100.0, step * 100.0)),
            Unit::Plain | Unit::Seconds => stepped(value, step),
        };
        multiples(self.least, self.most, step).map(|value| (value, name(value))).collect()
    }
}

fn multiples(least: f64, most: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (least / step).ceil() as i64;
    (first..first + 30).map(move |n| n as f64 * step).take_while(move |value| *value <= most * (1.0 + 1e-12))
}

/// A number for people: three or four digits that count, thousands by their letter.
pub(super) fn number(value: f64) -> String {
    stepped(value, f64::INFINITY)
}

/// The same with as many digits as tell it from one that is `step` away.
fn stepped(value: f64, step: f64) -> String {
    let size = value.abs();
    let (scale, letter) = match size {
        _ if size >= 1e9 => (1e9, " G"),
        _ if size >= 1e6 => (1e6, " M"),
        _ if size >= 1e4 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let scaled = value / scale;
    let digits = match scaled.abs() {
        size if size == 0.0 || size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.001 => 4,
        _ => return format!("{value:.1e}"),
    };
    let told_apart = (-(step / scale).log10()).ceil().clamp(0.0, 9.0) as usize;
    let digits = digits.max(told_apart);
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{letter}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_name_round_values() {
        let axis = Axis { least: 0.0, most: 130.0, length: 100.0, spacing: Spacing::Even, unit: Unit::Percent };
        let names: Vec<String> = axis.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0 %", "50 %", "100 %"]);
        assert_eq!(axis.at(65.0), 50.0);
        let axis = Axis { most: 90_000.0, spacing: Spacing::Magnitudes, unit: Unit::Seconds, ..axis };
        let last = axis.ticks().pop().map(|(_, name)| name);
        assert_eq!((last.as_deref(), axis.at(0.0), axis.at(1e9)), (Some("1 d"), 0.0, 100.0));
        let axis = Axis { least: 29_360_000.0, most: 29_382_000.0, spacing: Spacing::Even, unit: Unit::Plain, ..axis };
        let names: Vec<String> = axis.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names[..2], ["29.36 M", "29.365 M"], "each has a name of its own");
        let one = Axis { least: 1.0, most: 1.0, spacing: Spacing::Magnitudes, ..axis };
        assert_eq!(one.ticks(), [(1.0, "1".to_owned())], "a curve of one value");
        let axis = Axis { least: 0.0, most: 0.09, spacing: Spacing::Magnitudes, unit: Unit::Seconds, ..axis };
        assert_eq!(axis.ticks()[1], (0.02, "20 ms".to_owned()));
        let axis = Axis { most: 30_000.0, spacing: Spacing::Even, ..axis };
        assert_eq!(axis.ticks()[1], (7200.0, "2 h".to_owned()));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.5, 12.345, 123.456, 9999.0, 12_345.0, 2_500_000.0, 0.000_01, -0.0].map(number);
        assert_eq!(shown, ["0", "0.5", "12.35", "123.5", "9999", "12.35 k", "2.5 M", "1.0e-5", "0"]);
    }
}
