//! The demo as an animated drawing: its rows appear one after another, and stay.

use pictures::{Drawing, Ink, Text, wrap};

use crate::outcome::Outcome;

const WIDTH: f64 = 800.0;
/// Left edges of client and request, and the right edge of the response.
const COLUMNS: [f64; 3] = [20.0, 226.0, 780.0];
/// Width of the reasons.
const REASON: f64 = 760.0;
/// Size of letters.
const SIZE: f64 = 12.5;
/// Seconds until all rows are there. WCAG 2.2 asks for a way to stop what moves for more than five.
const SECONDS: f64 = 4.8;

/// Draws the tables of the demo, each with the file whose policies decide.
pub(crate) fn draw(tables: &[(&str, &[Outcome])]) -> String {
    let outcomes: Vec<&Outcome> = tables.iter().flat_map(|(_, outcomes)| *outcomes).collect();
    let said: Vec<String> = outcomes
        .iter()
        .map(|outcome| format!("{}, {}: {}", outcome.client, outcome.request, outcome.response))
        .collect();
    let mut drawing = Drawing::new(
        WIDTH,
        0.0,
        "What make demo prints",
        &format!("Requests of several clients, each with its answer. {}.", said.join(". ")),
    );
    let step = SECONDS / f64::from(u32::try_from(outcomes.len()).unwrap_or(1).max(1));
    // Without motion every row is there from the first moment.
    drawing.style(
        "@media(prefers-reduced-motion:no-preference){.row{animation:appear .3s both}@keyframes appear{from{opacity:0}}}",
    );
    drawing.text(&Text::new(COLUMNS[0], 32.0, "$ make demo").size(14.0).bold().mono());
    let (mut y, mut delay) = (44.0, 0.0);
    for (file, outcomes) in tables {
        y += 18.0;
        drawing.text(&Text::new(COLUMNS[0], y, format!("policies of {file}")).size(SIZE).ink(Ink::Dim));
        for outcome in *outcomes {
            y += 10.0;
            drawing.element(&format!("<g class=\"row\" style=\"animation-delay:{delay:.2}s\">"));
            y = draw_row(&mut drawing, outcome, y);
            drawing.element("</g>");
            delay += step;
        }
        y += 12.0;
    }
    drawing.set_height(y + 4.0);
    drawing.svg()
}

/// Draws an outcome below `y`, and returns where it ends.
fn draw_row(drawing: &mut Drawing, outcome: &Outcome, y: f64) -> f64 {
    let ink = if outcome.is_allowed { Ink::Good } else { Ink::Bad };
    drawing.line(&[[COLUMNS[0], y], [WIDTH - 20.0, y]], Ink::Line, 0.6);
    let y = y + 20.0;
    let [client, request, response] = COLUMNS;
    // Of an egress request the response is what the host said.
    let answer = match outcome.is_allowed && !outcome.response.starts_with(|letter: char| letter.is_ascii_digit()) {
        true => "reached",
        false => &outcome.response,
    };
    let reason = match outcome.is_allowed {
        true => format!("{}: {}", outcome.policy, outcome.reason),
        false => without_free_ports(&outcome.reason),
    };
    drawing.text(&Text::new(client, y, outcome.client).size(SIZE).bold());
    drawing.text(&Text::new(request, y, &outcome.request).size(SIZE).mono());
    drawing.text(&Text::new(response, y, answer).size(SIZE).bold().ink(ink).end());
    let mut below = y;
    for line in wrap(&reason, REASON, SIZE, false) {
        below += 17.0;
        drawing.text(&Text::new(client, below, line).size(SIZE).ink(Ink::Dim));
    }
    below
}

/// Removes the ports of the demo's servers, which are others in each run.
fn without_free_ports(reason: &str) -> String {
    let words = reason.split(' ').map(|word| match word.split_once(':') {
        Some((host, port)) if port.len() == 5 && port.parse::<u16>().is_ok() => host,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_free_by_chance_are_not_drawn() {
        let reason = "no rule lists this host: CONNECT to evil.example:35265 by x (https://sqlmap.org)";
        let drawn = "no rule lists this host: CONNECT to evil.example by x (https://sqlmap.org)";
        assert_eq!(without_free_ports(reason), drawn);
    }
}
