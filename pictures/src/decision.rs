//! A decision, step by step: two requests of one caller, step by step.

use anyhow::{Context, Result, ensure};
use sallyport_analysis::{Answer, Explanation};

use crate::drawing::Drawing;
use crate::palette::Ink;
use crate::shop::{Asked, Gate, Shop};
use crate::text::{Text, wrap};

const READS: Asked = Asked { from: ("shop", "frontend"), method: "GET", host: "", path: "/orders/17" };
/// Its path is a refund where the upstream drops what follows a semicolon.
const REFUNDS: Asked = Asked { path: "/orders/17/refund;x", ..READS };

/// Left edge of the names of the steps.
const NAMES: f64 = 20.0;
/// Left edges of the two requests.
const COLUMNS: [f64; 2] = [192.0, 500.0];
/// Width of a card.
const WIDTH: f64 = 296.0;

/// A step: its name, its explanation, and what it finds of each request in lines with their colours.
struct Step {
    name: &'static str,
    about: [&'static str; 2],
    found: [Vec<(String, Ink)>; 2],
}

/// Draws how a decision is made.
pub(crate) fn draw() -> Result<String> {
    let shop = Shop::read(Gate::In, false)?;
    let asked = [READS, REFUNDS];
    let answers = [shop.explain(&READS)?, shop.explain(&REFUNDS)?];
    let [allowed, denied] = &answers;
    ensure!(allowed.answer == Answer::Allowed && denied.answer == Answer::Denied, "{answers:?}");
    let denying = shop.policies("DENY");
    let policy = denied.policy.clone().context("no policy denies")?;
    ensure!(denying.contains(&policy), "{policy} is none of {denying:?}");

    let mut drawing = Drawing::new(
        800.0,
        600.0,
        "How a decision is made",
        &format!(
            "Two requests of {}, from certificate to answer. {}: {}. {}: {}.",
            READS.principal(),
            READS.line(),
            allowed.reason,
            REFUNDS.line(),
            denied.reason
        ),
    );
    let mut y = 16.0;
    for (column, asked) in COLUMNS.into_iter().zip(&asked) {
        drawing.card([column - 12.0, y, WIDTH, 40.0], Ink::AccentWash, Ink::Accent);
        let line = Text::new(column, y + 25.0, asked.line()).size(13.0).bold().mono();
        drawing.text(&line);
    }
    drawing.text(&Text::new(NAMES, y + 25.0, "Request").bold());
    y += 40.0;
    for step in steps(&shop, &answers, &policy) {
        y = draw_step(&mut drawing, &step, y);
    }
    y = draw_answers(&mut drawing, &answers, y);
    drawing.set_height(y + 16.0);
    Ok(drawing.svg())
}

fn steps(shop: &Shop, answers: &[Explanation; 2], policy: &str) -> [Step; 4] {
    let [allowed, denied] = answers;
    let plain = |text: String| (text, Ink::Text);
    let readings = |answer: &Explanation| answer.readings.iter().cloned().map(plain).collect();
    let passed = |name: &String| (format!("{name}: no"), Ink::Dim);
    let asked = |name: &String| match name == policy {
        true => (format!("{name}: matches"), Ink::Bad),
        false => passed(name),
    };
    let denying = shop.policies("DENY");
    let before = denying.iter().position(|name| name == policy).map_or(denying.len(), |at| at + 1);
    let allowing = allowed.policy.clone().unwrap_or_default();
    let allow = |name: String| match name == allowing {
        true => (format!("{name}: matches"), Ink::Good),
        false => passed(&name),
    };
    let principal = || vec![plain(READS.principal())];
    Step::all([
        [principal(), principal()],
        [readings(allowed), readings(denied)],
        [denying.iter().map(passed).collect(), denying.iter().take(before).map(asked).collect()],
        [
            shop.policies("ALLOW").into_iter().filter(|name| *name == allowing).map(allow).collect(),
            vec![("not asked any more".to_owned(), Ink::Dim)],
        ],
    ])
}

impl Step {
    fn all(found: [[Vec<(String, Ink)>; 2]; 4]) -> [Self; 4] {
        let names = [
            ("Who asks", ["by the certificate", "that Envoy validated"]),
            ("What for", ["every way in which", "the path can be read"]),
            ("DENY policies", ["one reading that", "matches is enough"]),
            ("ALLOW policies", ["every reading", "has to match"]),
        ];
        let mut names = names.into_iter();
        found.map(|found| {
            let (name, about) = names.next().unwrap_or_default();
            Self { name, about, found }
        })
    }
}

/// Draws a step below `y`, and returns where it ends.
fn draw_step(drawing: &mut Drawing, step: &Step, y: f64) -> f64 {
    for column in COLUMNS {
        drawing.arrow(&[[column + 4.0, y + 1.0], [column + 4.0, y + 20.0]], Ink::Dim);
    }
    let top = y + 40.0;
    drawing.text(&Text::new(NAMES, top, step.name).bold());
    for (line, below) in step.about.into_iter().zip([18.0, 34.0]) {
        drawing.text(&Text::new(NAMES, top + below, line).size(12.5).ink(Ink::Dim));
    }
    let mut bottom = top + 34.0;
    for (column, found) in COLUMNS.into_iter().zip(&step.found) {
        for (line, below) in found.iter().zip(0_u32..) {
            let (text, ink) = line;
            let at = top + f64::from(below) * 19.0;
            let line = Text::new(column, at, text.clone()).size(12.5).mono().ink(*ink);
            drawing.text(&if matches!(ink, Ink::Good | Ink::Bad) { line.bold() } else { line });
            bottom = bottom.max(at);
        }
    }
    bottom + 8.0
}

/// Draws the answers below `y`, and returns where they end.
fn draw_answers(drawing: &mut Drawing, answers: &[Explanation; 2], y: f64) -> f64 {
    drawing.text(&Text::new(NAMES, y + 46.0, "Answer").bold());
    drawing.text(&Text::new(NAMES, y + 64.0, "and its reason,").size(12.5).ink(Ink::Dim));
    drawing.text(&Text::new(NAMES, y + 80.0, "for log and counters").size(12.5).ink(Ink::Dim));
    let wrapped = answers.each_ref().map(|answer| wrap(&answer.reason, WIDTH - 24.0, 12.5, false));
    let lines = wrapped.iter().map(Vec::len).max().and_then(|lines| u32::try_from(lines).ok()).unwrap_or_default();
    let height = 38.0 + f64::from(lines) * 17.0;
    for ((column, answer), reason) in COLUMNS.into_iter().zip(answers).zip(wrapped) {
        let is_allowed = answer.answer == Answer::Allowed;
        let (ink, says) = if is_allowed { (Ink::Good, "on to the service") } else { (Ink::Bad, "403") };
        drawing.arrow(&[[column + 4.0, y + 1.0], [column + 4.0, y + 20.0]], Ink::Dim);
        drawing.card([column - 12.0, y + 24.0, WIDTH, height], ink.wash(), ink);
        drawing.text(&Text::new(column, y + 46.0, says).bold().ink(ink));
        for (line, below) in reason.into_iter().zip(0_u32..) {
            drawing.text(&Text::new(column, y + 66.0 + f64::from(below) * 17.0, line).size(12.5));
        }
    }
    y + 24.0 + height
}
