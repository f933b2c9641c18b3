//! From report to enforcement, and back, in a strip.

use anyhow::{Result, ensure};
use sallyport_analysis::Answer;

use crate::drawing::Drawing;
use crate::palette::Ink;
use crate::shop::{Asked, Gate, Shop};
use crate::text::Text;

const READS: Asked = Asked { from: ("shop", "frontend"), method: "GET", host: "", path: "/orders/17" };
const DELETES: Asked = Asked { method: "DELETE", ..READS };

/// Width of a card, and from one to the next.
const WIDTH: f64 = 178.0;
const STEP: f64 = 196.0;

/// A card of the strip.
struct Card {
    title: &'static str,
    /// Line of the configuration.
    code: &'static str,
    /// Answer to the request that no policy allows.
    becomes: Answer,
    text: &'static str,
}

const CARDS: [Card; 4] = [
    Card {
        title: "1  Report",
        code: "mode: report",
        becomes: Answer::WouldBeDenied,
        text: "Every request is decided and goes on. Nothing is denied, so nothing is protected yet.",
    },
    Card {
        title: "2  Would deny",
        code: "decision: would_deny",
        becomes: Answer::WouldBeDenied,
        text: "Log and counters say who would be denied what, and why. Allow what is right; tell callers of the rest.",
    },
    Card {
        title: "3  Enforce",
        code: "mode: enforce",
        becomes: Answer::Denied,
        text: "Move a new file into the place of the old one. The next request is decided by it, without a restart.",
    },
    Card {
        title: "4  And back",
        code: "mode: report",
        becomes: Answer::WouldBeDenied,
        text: "Move the file of before back. One that is refused never takes the place of a good one.",
    },
];

/// Draws the strip.
pub(crate) fn draw() -> Result<String> {
    let (reporting, enforcing) = (Shop::read(Gate::In, true)?, Shop::read(Gate::In, false)?);
    for shop in [&reporting, &enforcing] {
        ensure!(shop.explain(&READS)?.answer == Answer::Allowed, "{} is denied", READS.line());
    }
    let mut drawing = Drawing::new(
        800.0,
        340.0,
        "From report mode to enforcement, and back",
        &format!(
            "Four steps. Report: {0} by {1} goes on, although no policy allows it. Would deny: log and counters tell. \
             Enforce: {0} is denied, and {2} goes on as before. Back: the file of before, without a restart.",
            DELETES.line(),
            DELETES.from.1,
            READS.line()
        ),
    );
    for (card, number) in CARDS.iter().zip(0_u32..) {
        let shop = if card.becomes == Answer::Denied { &enforcing } else { &reporting };
        let answer = shop.explain(&DELETES)?.answer;
        ensure!(answer == card.becomes, "{}: {} is {}", card.title, DELETES.line(), answer.as_str());
        draw_card(&mut drawing, card, 16.0 + f64::from(number) * STEP);
        if number > 0 {
            let x = 16.0 + f64::from(number) * STEP;
            drawing.arrow(&[[x - 17.0, 36.0], [x - 1.0, 36.0]], Ink::Dim);
        }
    }
    let (first, last) = (16.0 + WIDTH / 2.0, 16.0 + 3.0 * STEP + WIDTH / 2.0);
    drawing.arrow(&[[last, 290.0], [last, 316.0], [first, 316.0], [first, 291.0]], Ink::Dim);
    let again = "one mv, without a restart";
    drawing.text(&Text::new(f64::midpoint(first, last), 308.0, again).size(13.0).ink(Ink::Dim).middle());
    Ok(drawing.svg())
}

fn draw_card(drawing: &mut Drawing, card: &Card, x: f64) {
    let ink = if card.becomes == Answer::Denied { Ink::Bad } else { Ink::Warn };
    drawing.card([x, 16.0, WIDTH, 274.0], Ink::Card, Ink::Line);
    drawing.text(&Text::new(x + 14.0, 41.0, card.title).size(15.0).bold());
    draw_request(drawing, x, 78.0, &READS, "goes on", Ink::Good);
    let becomes = if card.becomes == Answer::Denied { "403" } else { "goes on, logged" };
    draw_request(drawing, x, 122.0, &DELETES, becomes, ink);
    drawing.line(&[[x + 14.0, 156.0], [x + WIDTH - 14.0, 156.0]], Ink::Line, 1.0);
    drawing.text(&Text::new(x + 14.0, 178.0, card.code).size(12.5).bold().mono());
    let first = Text::new(x + 14.0, 199.0, "");
    drawing.paragraph(&first, card.text, WIDTH - 24.0, 12.5, false);
}

/// Draws what becomes of a request: its line, an arrow that goes on or is stopped, and words.
fn draw_request(drawing: &mut Drawing, x: f64, y: f64, asked: &Asked, becomes: &str, ink: Ink) {
    drawing.text(&Text::new(x + 14.0, y, asked.line()).size(12.5).mono());
    if ink == Ink::Bad {
        drawing.line(&[[x + 14.0, y + 14.0], [x + 30.0, y + 14.0]], ink, 2.5);
        drawing.refusal(x + 38.0, y + 14.0);
    } else {
        drawing.arrow(&[[x + 14.0, y + 14.0], [x + 46.0, y + 14.0]], ink);
    }
    drawing.text(&Text::new(x + 54.0, y + 18.0, becomes).size(12.5).bold().ink(ink));
}
