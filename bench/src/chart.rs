//! The chart: added CPU time by the number of principals, from the table of requests on the page.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use pictures::{Drawing, Ink, Text};

use crate::results::grouped;
use crate::variant::Series;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 430.0;
/// Space around the axes in pixels: left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 218.0, 92.0, 54.0];

/// The lines of the chart: series, label, colour.
const LINES: [(Series, &str, Ink); 4] = [
    (Series::Principals, "identity-authz", Ink::Accent),
    (Series::IstioPrincipals, "RBAC as Istio emits it", Ink::Bad),
    (Series::MatcherTree, "RBAC with a matcher tree", Ink::Dim),
    (Series::Lua, "Lua", Ink::Warn),
];

/// The width of a letter of a label in pixels, at most.
const LETTER: f64 = 7.8;

/// Sizes of the x axis.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// The least cost that is drawn, in microseconds; below it, it is noise.
const LEAST: f64 = 0.1;

/// A measured cost: the number of principals, and microseconds added to a request.
type Point = (usize, f64);

/// Draws the chart of a page.
pub(crate) fn draw(page: &str) -> Result<String> {
    let lines = LINES.map(|(series, label, ink)| (points(page, series), label, ink));
    let cheapest = points(page, Series::Cheapest).first().map(|(_, added)| *added);
    let costs = lines.iter().flat_map(|(points, ..)| points).map(|(_, added)| *added).chain(cheapest);
    let axis = Axis::around(costs);
    let conclusions: Vec<_> =
        lines.iter().take(2).filter_map(|(points, label, ink)| Some((conclusion(label, points)?, *ink))).collect();
    let said: Vec<_> = conclusions.iter().map(|(text, _)| text.as_str()).collect();
    let mut drawing = Drawing::new(
        WIDTH,
        HEIGHT,
        "Added CPU time per request, by the number of principals",
        &format!("{}. The table of requests has every number.", said.join(". ")),
    );
    for ((text, ink), y) in conclusions.iter().zip([30.0, 52.0]) {
        drawing.text(&Text::new(20.0, y, text).size(15.0).bold().ink(*ink));
    }
    draw_axes(&mut drawing, &axis);
    let mut labels: Vec<Label> = Vec::new();
    if let Some(cheapest) = cheapest {
        let y = axis.y(cheapest);
        drawing.element(&format!(
            "<path d=\"M{:.1} {y:.1}H{:.1}\" class=\"s-text\" stroke-dasharray=\"5 4\"/>",
            MARGIN[0],
            WIDTH - MARGIN[1]
        ));
        labels.push(("the cheapest Wasm filter", Ink::Text, WIDTH - MARGIN[1], y));
    }
    for (points, label, ink) in &lines {
        labels.extend(draw_line(&mut drawing, &axis, points, label, *ink)?);
    }
    draw_labels(&mut drawing, labels);
    Ok(drawing.svg())
}

/// The measurements of a series in the table of requests, whose rows are as in
/// `| identity-authz, principals | 10 | 8.85 | ...`.
fn points(page: &str, series: Series) -> Vec<Point> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_prefix(series.name())?.strip_prefix(" |"));
    rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let size = cells.next()?.replace(',', "");
        let size = if size.is_empty() { 0 } else { size.parse().ok()? };
        Some((size, cells.next()?.parse().ok()?))
    })
    .collect()
}

/// Says what a line shows: its cost at the fewest principals and at the most.
fn conclusion(label: &str, points: &[Point]) -> Option<String> {
    let ([(few, cheap), ..], [.., (many, dear)]) = (points, points) else { return None };
    Some(format!(
        "{label}: {} µs for {} principals, {} µs for {}",
        short(*cheap),
        grouped(*few),
        short(*dear),
        grouped(*many)
    ))
}

/// A cost with the digits that mean something.
fn short(cost: f64) -> String {
    if cost < 100.0 { format!("{cost:.1}") } else { format!("{cost:.0}") }
}

/// The axis of costs: logarithmic, from one of its marks to another.
struct Axis {
    /// Costs that have a line, in microseconds.
    marks: Vec<f64>,
}

impl Axis {
    /// The smallest axis with every cost on it. Its marks are 1, 2 and 5 times a power of ten.
    fn around(costs: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, LEAST);
        for cost in costs {
            least = least.min(cost.max(LEAST));
            most = most.max(cost);
        }
        let marks: Vec<f64> =
            (-1..6).flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade))).collect();
        let first = marks.iter().rposition(|mark| mark * 1.1 <= least).filter(|_| least.is_finite()).unwrap_or(0);
        let last = marks.iter().position(|mark| *mark >= most).unwrap_or(marks.len() - 1).max(first + 1);
        Self { marks: marks.get(first..=last).unwrap_or_default().to_vec() }
    }

    /// The height of a cost; one below the axis is drawn on it.
    fn y(&self, cost: f64) -> f64 {
        let [.., top, bottom] = MARGIN;
        let ([least, ..], [.., most]) = (self.marks.as_slice(), self.marks.as_slice()) else { return top };
        let part = (cost.max(*least).log10() - least.log10()) / (most.log10() - least.log10());
        HEIGHT - bottom - part * (HEIGHT - top - bottom)
    }
}

fn draw_axes(drawing: &mut Drawing, axis: &Axis) {
    let [left, right, top, bottom] = MARGIN;
    let (end, bottom_edge) = (WIDTH - right, HEIGHT - bottom);
    for size in SIZES {
        let x = x_of(size);
        drawing.line(&[[x, top], [x, bottom_edge]], Ink::Line, 0.6);
        drawing.text(&Text::new(x, bottom_edge + 19.0, grouped(size)).size(13.0).ink(Ink::Dim).middle());
    }
    for mark in &axis.marks {
        let y = axis.y(*mark);
        drawing.line(&[[left, y], [end, y]], Ink::Line, 0.6);
        let mark = if *mark < 1.0 { mark.to_string() } else { grouped(mark.round()) };
        drawing.text(&Text::new(left - 8.0, y + 4.5, mark).size(13.0).ink(Ink::Dim).end());
    }
    let title = Text::new(20.0, top - 14.0, "added CPU time per request, µs").size(13.0).ink(Ink::Dim);
    drawing.text(&title);
    let middle = f64::midpoint(left, end);
    drawing.text(&Text::new(middle, HEIGHT - 14.0, "principals").size(13.0).ink(Ink::Dim).middle());
}

/// A label of a line: its text, its colour, and where the line ends.
type Label = (&'static str, Ink, f64, f64);

fn draw_line(
    drawing: &mut Drawing,
    axis: &Axis,
    points: &[Point],
    name: &'static str,
    ink: Ink,
) -> Result<Option<Label>> {
    let places: Vec<_> = points.iter().map(|(size, added)| [x_of(*size), axis.y(*added)]).collect();
    drawing.line(&places, ink, 2.0);
    for ([x, y], (size, added)) in places.iter().zip(points) {
        let mut point = String::new();
        write!(point, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" class=\"{}\">", ink.fill())?;
        write!(point, "<title>{name}, {}: {added:.2} µs</title></circle>", grouped(*size))?;
        drawing.element(&point);
    }
    Ok(places.last().map(|[x, y]| (name, ink, *x, *y)))
}

/// Writes the labels beside the ends of their lines, the most expensive first, without overlap.
fn draw_labels(drawing: &mut Drawing, mut labels: Vec<Label>) {
    labels.sort_by(|(.., one), (.., other)| one.total_cmp(other));
    let mut lowest = f64::NEG_INFINITY;
    for (name, ink, x, y) in labels {
        let y = (y + 4.0).max(lowest + 18.0);
        lowest = y;
        // The label of a line that ends early stands in the grid, whose lines go around it.
        if x < WIDTH - MARGIN[1] {
            let width = name.chars().map(|_| LETTER).sum::<f64>();
            let (left, top, class) = (x + 7.0, y - 11.0, Ink::Page.fill());
            drawing.element(&format!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"15\" class=\"{class}\"/>"
            ));
        }
        drawing.text(&Text::new(x + 10.0, y, name).size(13.0).bold().ink(ink));
    }
}

fn x_of(size: usize) -> f64 {
    let [left, right, ..] = MARGIN;
    let log10 = f64::from(u32::try_from(size).unwrap_or(u32::MAX)).log10();
    left + (log10 - 1.0) / 4.0 * (WIDTH - left - right)
}

/// Draws the chart anew beside its page, without a measurement.
pub(crate) fn redraw(page: &std::path::Path) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("reading {}", page.display()))?;
    let file = page.with_file_name("performance.svg");
    std::fs::write(&file, draw(&text)?).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: Series, size: &str, added: &str) -> String {
        format!("| {} | {size} | {added} | 0.98 | 38.74 | 509 | 4412 |\n", series.name())
    }

    #[test]
    fn the_chart_of_the_documentation_is_of_its_table() -> Result<()> {
        let docs = testbed::root().join("docs");
        let page = std::fs::read_to_string(docs.join("performance.md"))?;
        let chart = std::fs::read_to_string(docs.join("performance.svg"))?;
        assert!(points(&page, Series::Principals).len() >= 5, "the page has no measurements");
        assert!(chart == draw(&page)?, "docs/performance.svg is not of the page: make pictures");
        Ok(())
    }

    #[test]
    fn the_axis_begins_and_ends_at_the_costs() {
        let axis = Axis::around([5.05, 825.3].into_iter());
        assert_eq!(axis.marks, [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0].map(f64::from).to_vec());
        assert!(Axis::around(std::iter::empty()).marks.len() > 1);
        let axis = Axis::around([-0.5, 0.3].into_iter());
        assert!((axis.y(-0.5) - (HEIGHT - MARGIN[3])).abs() < 0.1, "a cost below the axis is drawn on it");
        assert!((axis.y(0.5) - MARGIN[2]).abs() < 0.1, "{:?}", axis.marks);
    }

    #[test]
    fn both_axes_are_logarithmic_and_the_conclusion_is_of_the_ends() -> Result<()> {
        let page: String = [("10", "0.10"), ("1,000", "10.00"), ("100,000", "1000.00")]
            .map(|(size, added)| row(Series::Principals, size, added))
            .concat();
        let svg = draw(&page)?;
        let middle = (MARGIN[0] + WIDTH - MARGIN[1]) / 2.0;
        assert!(svg.contains(&format!("cx=\"{middle:.1}\"")), "{svg}");
        assert!(svg.contains(">identity-authz: 0.1 µs for 10 principals, 1000 µs for 100,000</text>"), "{svg}");
        assert!(svg.contains("<title>identity-authz, 1,000: 10.00 µs</title>"), "{svg}");
        Ok(())
    }

    #[test]
    fn labels_of_lines_that_meet_do_not_overlap() -> Result<()> {
        let page =
            row(Series::Cheapest, "", "2.0") + &row(Series::Principals, "10", "2.0") + &row(Series::Lua, "10", "2.0");
        let svg = draw(&page)?;
        let height = |line: &str| line.split("y=\"").nth(1)?.split('"').next()?.parse::<f64>().ok();
        let is_label = |line: &&str| line.contains("bold") && line.contains("font-size=\"13\"");
        let mut heights: Vec<f64> = svg.lines().filter(is_label).filter_map(height).collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 3, "{svg}");
        assert!(heights.windows(2).all(|pair| matches!(pair, [above, below] if below - above >= 17.0)), "{heights:?}");
        Ok(())
    }
}
