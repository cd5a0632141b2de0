//! Drawings as SVG. Colours are classes, so that the page's style decides them for light, dark and paper.

use super::axis::{Axis, Spacing, Unit, number};
use crate::study::figures::Bar;
use std::fmt::Write as _;

/// Colours that are told apart; beyond, they come again.
pub(super) const COLOURS: usize = 8;

/// The drawing's size, and the room around the plot for names.
const WIDTH: f64 = 470.0;
const HEIGHT: f64 = 232.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;
/// Names on the x axis are at least so far apart.
const NAMES_APART: f64 = 44.0;

/// One line of a plot.
pub(super) struct Series<'a> {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) x: Vec<f64>,
    pub(super) y: &'a [f64],
}

/// What a plot shows along its axes.
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) x_unit: Unit,
    pub(super) y_unit: Unit,
    pub(super) x_spacing: Spacing,
}

/// Text that may stand in a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Canvas {
    svg: String,
    x: Axis,
    y: Axis,
}

impl Canvas {
    fn new(labels: &Labels<'_>, x: (f64, f64), y: (f64, f64)) -> Self {
        let axis = |(least, most), length, spacing, unit| Axis { least, most, length, spacing, unit };
        let x = axis(x, WIDTH - LEFT - RIGHT, labels.x_spacing, labels.x_unit);
        let y = axis(y, HEIGHT - TOP - BOTTOM, Spacing::Even, labels.y_unit);
        let title = escape(labels.title);
        let svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
        let mut canvas = Self { svg, x, y };
        canvas.grid(labels);
        canvas
    }

    fn point(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + self.x.at(x), TOP + self.y.length - self.y.at(y))
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(arguments).expect("a text takes what is written");
    }

    fn grid(&mut self, labels: &Labels<'_>) {
        let bottom = TOP + self.y.length;
        for (value, name) in self.y.ticks() {
            let y = bottom - self.y.at(value);
            self.put(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            ));
            self.put(format_args!(
                "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 6.0,
                y + 4.0
            ));
        }
        let mut last = f64::NEG_INFINITY;
        for (value, name) in self.x.ticks() {
            let x = LEFT + self.x.at(value);
            if x - last < NAMES_APART {
                continue;
            }
            last = x;
            self.put(format_args!(
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>",
                bottom + 4.0
            ));
            self.put(format_args!(
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 17.0
            ));
        }
        self.put(format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>",
            WIDTH - RIGHT
        ));
        let (middle, low) = (LEFT + self.x.length / 2.0, HEIGHT - 6.0);
        self.put(format_args!(
            "<text class=\"label\" x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">{}</text>",
            escape(labels.x)
        ));
        let across = TOP + self.y.length / 2.0;
        self.put(format_args!(
            "<text class=\"label\" transform=\"translate(12 {across}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(labels.y)
        ));
    }

    fn done(mut self, labels: &Labels<'_>, legend: &[(String, usize)]) -> String {
        self.svg.push_str("</svg>");
        let keys: String = legend
            .iter()
            .map(|(name, colour)| format!("<span><i class=\"f{}\"></i>{}</span>", colour % COLOURS, escape(name)))
            .collect();
        let legend = if legend.len() > 1 { format!("<div class=\"legend\">{keys}</div>") } else { String::new() };
        format!("<figure><figcaption>{}</figcaption>{legend}{}</figure>", escape(labels.title), self.svg)
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((least, most)) => Some((value.min(least), value.max(most))),
    })
}

/// Lines over each other; empty when there is nothing to draw. The y axis begins at zero.
pub(super) fn lines(labels: &Labels<'_>, series: &[Series<'_>]) -> String {
    let Some(x) = bounds(series.iter().flat_map(|one| one.x.iter().copied())) else { return String::new() };
    let Some((_, most)) = bounds(series.iter().flat_map(|one| one.y.iter().copied())) else { return String::new() };
    let x = match (labels.x_spacing, labels.x_unit) {
        (Spacing::Even, _) => x,
        (Spacing::Magnitudes, Unit::Seconds) => (0.0, x.1),
        (Spacing::Magnitudes, _) => (x.0.min(1.0), x.1),
    };
    let mut canvas = Canvas::new(labels, x, (0.0, if most > 0.0 { most * 1.04 } else { 1.0 }));
    for one in series {
        let points: Vec<String> =
            one.x.iter().zip(one.y).map(|(x, y)| canvas.point(*x, *y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        // The first turn through the colours is solid, the next ones are dashed.
        let dash = if one.colour < COLOURS { "" } else { " dash" };
        let colour = one.colour % COLOURS;
        canvas.put(format_args!(
            "<polyline class=\"line s{colour}{dash}\" points=\"{}\"><title>{}</title></polyline>",
            points.join(" "),
            escape(&one.name)
        ));
    }
    let legend: Vec<(String, usize)> = series.iter().map(|one| (one.name.clone(), one.colour)).collect();
    canvas.done(labels, &legend)
}

/// Areas on top of each other.
pub(super) fn areas(labels: &Labels<'_>, series: &[Series<'_>]) -> String {
    let Some(x) = bounds(series.iter().flat_map(|one| one.x.iter().copied())) else { return String::new() };
    let rows = series.iter().map(|one| one.y.len()).max().unwrap_or(0);
    let value = |one: &Series<'_>, row: usize| one.y.get(row).copied().unwrap_or(0.0);
    let sums = (0..rows).map(|row| series.iter().map(|one| value(one, row)).sum::<f64>());
    let Some((_, most)) = bounds(sums).filter(|(_, most)| *most > 0.0) else { return String::new() };
    let mut canvas = Canvas::new(labels, x, (0.0, most * 1.04));
    let mut below = vec![0.0; rows];
    for one in series {
        let above: Vec<f64> = below.iter().enumerate().map(|(row, low)| low + value(one, row)).collect();
        let there = one.x.iter().zip(&above);
        let back = one.x.iter().zip(&below).rev();
        let points: Vec<String> =
            there.chain(back).map(|(x, y)| canvas.point(*x, *y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        canvas.put(format_args!(
            "<polygon class=\"area f{}\" points=\"{}\"><title>{}</title></polygon>",
            one.colour % COLOURS,
            points.join(" "),
            escape(&one.name)
        ));
        below = above;
    }
    let legend: Vec<(String, usize)> = series.iter().map(|one| (one.name.clone(), one.colour)).collect();
    canvas.done(labels, &legend)
}

/// A stretch of a schedule: a bar for each task, in the colour of its tenant.
pub(super) fn gantt(labels: &Labels<'_>, bars: &[Bar], tenant: &dyn Fn(u32) -> (String, usize)) -> String {
    let Some(x) = bounds(bars.iter().flat_map(|bar| [bar.begin, bar.end])) else { return String::new() };
    let lanes = bars.iter().map(|bar| bar.lane + 1).max().unwrap_or(1) as f64;
    let mut canvas = Canvas::new(labels, x, (0.0, lanes));
    let height = canvas.y.length / lanes;
    for bar in bars {
        let (left, low) = canvas.point(bar.begin, bar.lane as f64);
        let (right, _) = canvas.point(bar.end, 0.0);
        let (name, colour) = tenant(bar.tenant);
        let (name, colour) = (escape(&name), colour % COLOURS);
        canvas.put(format_args!(
            "<rect class=\"bar f{colour}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{name}, {} s</title></rect>",
            low - height * 0.9,
            (right - left).max(0.6),
            height * 0.8,
            number(bar.end - bar.begin)
        ));
    }
    canvas.done(labels, &[])
}

/// One metric, a row for each policy: the mean as a dot, its interval of confidence as a bar.
pub(super) fn dots(title: &str, rows: &[(String, usize, f64, Option<[f64; 2]>)]) -> String {
    const ROW: f64 = 22.0;
    /// The width of a letter, and the room that names have at most.
    const LETTER: f64 = 7.0;
    const NAMES_MOST: f64 = 190.0;
    let longest = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let names = (longest as f64 * LETTER + 18.0).min(NAMES_MOST);
    let values = rows.iter().flat_map(|(_, _, mean, ci)| ci.iter().flatten().copied().chain([*mean]));
    let Some((least, most)) = bounds(values) else { return String::new() };
    let margin = if most > least { (most - least) * 0.08 } else { most.abs().max(1.0) * 0.1 };
    let (least, most) = (if least >= 0.0 { (least - margin).max(0.0) } else { least - margin }, most + margin);
    let axis = Axis { least, most, length: WIDTH - names - 74.0, spacing: Spacing::Even, unit: Unit::Plain };
    let height = ROW * rows.len() as f64 + 26.0;
    let title = escape(title);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">");
    let mut put = |arguments: std::fmt::Arguments<'_>| svg.write_fmt(arguments).expect("a text takes what is written");
    let bottom = ROW * rows.len() as f64 + 4.0;
    for (value, name) in axis.ticks() {
        let x = names + axis.at(value);
        put(format_args!("<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"2\" y2=\"{bottom}\"/>"));
        put(format_args!(
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            bottom + 15.0
        ));
    }
    for (row, (name, colour, mean, ci)) in rows.iter().enumerate() {
        let (y, x) = (ROW * row as f64 + 14.0, names + axis.at(*mean));
        let colour = colour % COLOURS;
        put(format_args!(
            "<text class=\"name\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            names - 10.0,
            y + 4.0,
            escape(name)
        ));
        if let Some([low, high]) = ci {
            let (low, high) = (names + axis.at(*low), names + axis.at(*high));
            put(format_args!(
                "<line class=\"line s{colour}\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y}\" y2=\"{y}\"/>"
            ));
        }
        put(format_args!("<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"4.5\"/>"));
        put(format_args!("<text class=\"tick\" x=\"{}\" y=\"{}\">{}</text>", WIDTH - 62.0, y + 4.0, number(*mean)));
    }
    svg.push_str("</svg>");
    format!("<figure><figcaption>{title}</figcaption>{svg}</figure>")
}
