//! The chart: added CPU time by the number of principals, both axes logarithmic.

use std::fmt::Write as _;

use anyhow::Result;

use crate::results::{Results, grouped};
use crate::variant::Series;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Space around the axes in pixels: left, right, top, bottom.
const MARGIN: [f64; 4] = [70.0, 210.0, 30.0, 50.0];

/// The lines of the chart: series, label, color.
const LINES: [(Series, &str, &str); 4] = [
    (Series::Principals, "identity-authz", "#0b6e4f"),
    (Series::IstioPrincipals, "RBAC as Istio emits it", "#b3261e"),
    (Series::MatcherTree, "RBAC with a matcher tree", "#5b6b7b"),
    (Series::Lua, "Lua", "#8a5a00"),
];

/// Range of the x axis in decades: 10 to 100,000 principals.
const SIZES: [f64; 2] = [1.0, 5.0];
/// Range of the y axis in decades: 0.1 to 10,000 µs.
const COSTS: [f64; 2] = [-1.0, 4.0];

/// Renders the chart as SVG.
pub(crate) fn draw(results: &Results) -> Result<String> {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    draw_axes(&mut svg)?;
    let mut labels = draw_cheapest(&mut svg, results)?;
    for (series, name, color) in LINES {
        labels.extend(draw_series(&mut svg, results, series, name, color)?);
    }
    draw_labels(&mut svg, labels)?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// A label of a line: its text, its color, and the cost at the end of the line in microseconds.
type Label = (&'static str, &'static str, f64);

fn draw_axes(svg: &mut String) -> Result<()> {
    let [left, right, top, bottom] = MARGIN;
    let (end, bottom_edge) = (WIDTH - right, HEIGHT - bottom);
    for (decade, label) in [(1, "10"), (2, "100"), (3, "1,000"), (4, "10,000"), (5, "100,000")] {
        let x = x_of(f64::from(decade));
        writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom_edge}\" stroke=\"#e6e6e6\"/>")?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom_edge + 20.0)?;
    }
    for (decade, label) in [(-1, "0.1"), (0, "1"), (1, "10"), (2, "100"), (3, "1,000"), (4, "10,000")] {
        let y = y_of(f64::from(decade));
        writeln!(svg, "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#e6e6e6\"/>")?;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 8.0, y + 4.0)?;
    }
    writeln!(svg, "<text x=\"{left}\" y=\"18\">added CPU time per request, µs</text>")?;
    let middle = f64::midpoint(left, end);
    writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">principals</text>", HEIGHT - 10.0)?;
    Ok(())
}

/// Draws the cheapest filter as a dashed line, which has no sizes.
fn draw_cheapest(svg: &mut String, results: &Results) -> Result<Vec<Label>> {
    let [left, right, ..] = MARGIN;
    let end = WIDTH - right;
    let Some(cheapest) = results.added(Series::Cheapest, 0) else { return Ok(Vec::new()) };
    let y = y_of_cost(cheapest);
    writeln!(
        svg,
        "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#333\" stroke-dasharray=\"5 4\"/>"
    )?;
    Ok(vec![("the cheapest Wasm filter", "#333", cheapest)])
}

fn draw_series(
    svg: &mut String,
    results: &Results,
    series: Series,
    name: &'static str,
    color: &'static str,
) -> Result<Option<Label>> {
    let points: Vec<_> = results.series(series).map(|(size, measurement)| (size, measurement.added)).collect();
    let mut line = String::new();
    for (size, added) in &points {
        let (x, y) = (x_of(log10(*size)), y_of_cost(*added));
        write!(line, "{x:.1},{y:.1} ")?;
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"><title>{name}, {}: {added:.2} µs</title></circle>",
            grouped(*size)
        )?;
    }
    writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", line.trim_end())?;
    Ok(points.last().map(|(_, added)| (name, color, *added)))
}

/// Writes the labels beside the ends of their lines, the most expensive first, without overlap.
fn draw_labels(svg: &mut String, mut labels: Vec<Label>) -> Result<()> {
    let [_, right, ..] = MARGIN;
    labels.sort_by(|(_, _, one), (_, _, other)| other.total_cmp(one));
    let mut lowest = f64::NEG_INFINITY;
    for (name, color, added) in labels {
        let y = (y_of_cost(added) + 4.0).max(lowest + 17.0);
        lowest = y;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{color}\">{name}</text>", WIDTH - right + 10.0)?;
    }
    Ok(())
}

/// The y coordinate of a cost in microseconds; costs below the axis are drawn on it.
fn y_of_cost(microseconds: f64) -> f64 {
    y_of(microseconds.max(0.1).log10())
}

fn log10(size: usize) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX)).log10()
}

fn x_of(decade: f64) -> f64 {
    let [left, right, ..] = MARGIN;
    let [from, to] = SIZES;
    left + (decade - from) / (to - from) * (WIDTH - left - right)
}

fn y_of(decade: f64) -> f64 {
    let [.., top, bottom] = MARGIN;
    let [from, to] = COSTS;
    HEIGHT - bottom - (decade - from) / (to - from) * (HEIGHT - top - bottom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::SoakResult;
    use crate::rounds::Measurement;
    use crate::variant::Variant;

    fn chart(added: &[(Series, usize, f64)]) -> Result<String> {
        let row = |&(series, size, added): &(Series, usize, f64)| {
            (Variant { series, size }, Measurement { added, ..Measurement::default() })
        };
        let soak = SoakResult {
            updates: 0,
            requests: 0,
            update_seconds: [0.0; 2],
            memory_after_updates: [0; 2],
            memory_after_requests: [0; 2],
        };
        draw(&Results { rounds: 1, requests: added.iter().map(row).collect(), loads: Vec::new(), soak })
    }

    #[test]
    fn both_axes_are_logarithmic() -> Result<()> {
        let svg = chart(&[
            (Series::Cheapest, 0, 1.0),
            (Series::Principals, 10, 0.1),
            (Series::Principals, 1_000, 10.0),
            (Series::Principals, 100_000, 10_000.0),
        ])?;
        // The lower left corner, the middle (two of five decades up), the upper right corner.
        assert!(svg.contains("points=\"70.0,370.0 310.0,234.0 550.0,30.0\""), "{svg}");
        assert!(svg.contains("<title>identity-authz, 1,000: 10.00 µs</title>"), "{svg}");
        assert!(
            svg.contains("y1=\"302.0\" x2=\"550\" y2=\"302.0\" stroke=\"#333\""),
            "the cheapest filter's line: {svg}"
        );
        Ok(())
    }

    #[test]
    fn a_cost_below_the_axis_is_drawn_on_the_axis() -> Result<()> {
        let svg = chart(&[(Series::Principals, 10, -0.5)])?;
        assert!(svg.contains("cx=\"70.0\" cy=\"370.0\""), "{svg}");
        Ok(())
    }

    #[test]
    fn labels_of_lines_that_meet_do_not_overlap() -> Result<()> {
        let svg = chart(&[(Series::Cheapest, 0, 2.0), (Series::Principals, 10, 2.0), (Series::Lua, 10, 2.0)])?;
        let mut heights: Vec<f64> = svg
            .lines()
            .filter_map(|line| line.strip_prefix("<text x=\"560.0\" y=\"")?.split('"').next()?.parse().ok())
            .collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 3, "{svg}");
        assert!(heights.windows(2).all(|pair| matches!(pair, [above, below] if below - above >= 17.0)), "{heights:?}");
        Ok(())
    }
}
