//! The chart: added CPU time by the number of principals, both axes logarithmic.

use std::fmt::Write as _;

use anyhow::Result;

use crate::results::{Results, grouped};
use crate::variant::Series;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Room around the axes: left, right, top, bottom.
const MARGIN: [f64; 4] = [70.0, 210.0, 30.0, 50.0];

const LINES: [(Series, &str, &str); 4] = [
    (Series::Principals, "identity-authz", "#0b6e4f"),
    (Series::IstioPrincipals, "RBAC as Istio emits it", "#b3261e"),
    (Series::MatcherTree, "RBAC with a matcher tree", "#5b6b7b"),
    (Series::Lua, "Lua", "#8a5a00"),
];

/// Decades of the axes: principals from 10, microseconds from 0.1.
const SIZES: [f64; 2] = [1.0, 5.0];
const COSTS: [f64; 2] = [-1.0, 4.0];

/// Draws it as SVG.
pub(crate) fn draw(results: &Results) -> Result<String> {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let [left, right, top, bottom] = MARGIN;
    let (end, floor) = (WIDTH - right, HEIGHT - bottom);
    for (decade, label) in [(1, "10"), (2, "100"), (3, "1,000"), (4, "10,000"), (5, "100,000")] {
        let x = across(f64::from(decade));
        writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{floor}\" stroke=\"#e6e6e6\"/>")?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", floor + 20.0)?;
    }
    for (decade, label) in [(-1, "0.1"), (0, "1"), (1, "10"), (2, "100"), (3, "1,000"), (4, "10,000")] {
        let y = down(f64::from(decade));
        writeln!(svg, "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#e6e6e6\"/>")?;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 8.0, y + 4.0)?;
    }
    writeln!(svg, "<text x=\"{left}\" y=\"18\">added CPU time of a request, µs</text>")?;
    let middle = f64::midpoint(left, end);
    writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">principals</text>", HEIGHT - 10.0)?;
    if let Some(cheapest) = results.added(Series::Cheapest, 0) {
        let y = down(cheapest.max(0.1).log10());
        writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#333\" stroke-dasharray=\"5 4\"/>"
        )?;
    }
    let mut labels = vec![("the cheapest Wasm filter", "#333", results.added(Series::Cheapest, 0).unwrap_or(0.1))];
    for (series, name, color) in LINES {
        let points: Vec<_> = results.of(series).map(|(size, found)| (size, found.added)).collect();
        let mut line = String::new();
        for (size, added) in &points {
            let (x, y) = (across(log10(*size)), down(added.max(0.1).log10()));
            write!(line, "{x:.1},{y:.1} ")?;
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"><title>{name}, {}: {added:.2} µs</title></circle>",
                grouped(*size)
            )?;
        }
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            line.trim_end()
        )?;
        labels.extend(points.last().map(|(_, added)| (name, color, *added)));
    }
    // The dearest on top, and no name over another.
    labels.sort_by(|(_, _, one), (_, _, other)| other.total_cmp(one));
    let mut lowest = f64::NEG_INFINITY;
    for (name, color, added) in labels {
        let y = (down(added.max(0.1).log10()) + 4.0).max(lowest + 17.0);
        lowest = y;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{color}\">{name}</text>", end + 10.0)?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn log10(size: usize) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX)).log10()
}

fn across(decade: f64) -> f64 {
    let [left, right, ..] = MARGIN;
    let [from, to] = SIZES;
    left + (decade - from) / (to - from) * (WIDTH - left - right)
}

fn down(decade: f64) -> f64 {
    let [.., top, bottom] = MARGIN;
    let [from, to] = COSTS;
    HEIGHT - bottom - (decade - from) / (to - from) * (HEIGHT - top - bottom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::Soaked;
    use crate::rounds::Measured;
    use crate::variant::Variant;

    fn drawn(added: &[(Series, usize, f64)]) -> Result<String> {
        let row = |&(series, size, added): &(Series, usize, f64)| {
            (Variant { series, size }, Measured { added, ..Measured::default() })
        };
        let soaked = Soaked { updates: 0, requests: 0, times: [0.0; 2], by_updates: [0; 2], by_requests: [0; 2] };
        draw(&Results { rounds: 1, requests: added.iter().map(row).collect(), loaded: Vec::new(), soaked })
    }

    #[test]
    fn both_axes_are_logarithmic() -> Result<()> {
        let svg = drawn(&[
            (Series::Cheapest, 0, 1.0),
            (Series::Principals, 10, 0.1),
            (Series::Principals, 1_000, 10.0),
            (Series::Principals, 100_000, 10_000.0),
        ])?;
        // From the lower left corner by the middle, two decades of five above the floor, to the upper right corner.
        assert!(svg.contains("points=\"70.0,370.0 310.0,234.0 550.0,30.0\""), "{svg}");
        assert!(svg.contains("<title>identity-authz, 1,000: 10.00 µs</title>"), "{svg}");
        assert!(
            svg.contains("y1=\"302.0\" x2=\"550\" y2=\"302.0\" stroke=\"#333\""),
            "the cheapest filter's line: {svg}"
        );
        Ok(())
    }

    #[test]
    fn a_cost_below_the_axis_stays_in_the_picture() -> Result<()> {
        let svg = drawn(&[(Series::Principals, 10, -0.5)])?;
        assert!(svg.contains("cx=\"70.0\" cy=\"370.0\""), "{svg}");
        Ok(())
    }

    #[test]
    fn names_of_lines_that_meet_stand_below_each_other() -> Result<()> {
        let svg = drawn(&[(Series::Cheapest, 0, 2.0), (Series::Principals, 10, 2.0), (Series::Lua, 10, 2.0)])?;
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
