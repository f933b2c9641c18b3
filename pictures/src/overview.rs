//! The place of the filters: the way in, the way out, and one request that is refused.

use anyhow::{Result, ensure};
use sallyport_analysis::Answer;

use crate::drawing::Drawing;
use crate::palette::Ink;
use crate::shop::{Asked, Gate, Shop};
use crate::text::Text;

const FRONTEND: Asked = Asked { from: ("shop", "frontend"), method: "GET", host: "", path: "/orders/17" };
const INTRUDER: Asked = Asked { from: ("dev", "intruder"), ..FRONTEND };
const PAYMENTS: Asked =
    Asked { from: ("shop", "payments"), method: "CONNECT", host: "api.partner.example:443", path: "" };

/// Left edges and widths of the three columns: outside, Envoy, services.
const LEFT: [f64; 2] = [16.0, 180.0];
const ENVOY: [f64; 2] = [236.0, 384.0];
const RIGHT: [f64; 2] = [666.0, 118.0];

/// Draws where the filters sit.
pub(crate) fn draw() -> Result<String> {
    let ingress = Shop::read(Gate::In, false)?;
    let refused = ingress.explain(&INTRUDER)?;
    ensure!(ingress.explain(&FRONTEND)?.answer == Answer::Allowed, "the frontend is denied");
    ensure!(refused.answer == Answer::Denied, "the intruder is let in");
    ensure!(Shop::read(Gate::Out, false)?.explain(&PAYMENTS)?.answer == Answer::Allowed, "payments are kept in");

    let mut drawing = Drawing::new(
        800.0,
        404.0,
        "Where Sallyport sits",
        &format!(
            "A client's request passes Envoy with the filters baseline-deny and identity-authz to the service orders. \
             The request of an intruder is refused by identity-authz: {}. On the way out, the service payments reaches \
             api.partner.example through an Envoy with the filter egress-allowlist.",
            refused.reason
        ),
    );
    draw_way_in(&mut drawing);
    draw_refusal(&mut drawing, &refused.reason, refused.policy.as_deref().unwrap_or_default());
    draw_way_out(&mut drawing);
    Ok(drawing.svg())
}

fn draw_way_in(drawing: &mut Drawing) {
    let [envoy, width] = ENVOY;
    drawing.card([envoy, 16.0, width, 184.0], Ink::Card, Ink::Line);
    drawing.text(&Text::new(envoy + 18.0, 38.0, "your Envoy").size(13.0).ink(Ink::Dim));
    party(drawing, LEFT, 48.0, FRONTEND.from.1, &FRONTEND.line());
    party(drawing, LEFT, 124.0, "intruder next door", &INTRUDER.line());
    party(drawing, RIGHT, 48.0, "orders", "service");
    filter(drawing, [envoy + 18.0, 48.0, 160.0, 140.0], "baseline-deny", ["an attack tool,", "by its own words?"]);
    filter(drawing, [envoy + 212.0, 48.0, 160.0, 140.0], "identity-authz", ["may this workload", "do this here?"]);
    drawing.arrow(&[[198.0, 76.0], [252.0, 76.0]], Ink::Good);
    drawing.arrow(&[[416.0, 76.0], [446.0, 76.0]], Ink::Good);
    drawing.arrow(&[[610.0, 76.0], [664.0, 76.0]], Ink::Good);
    drawing.arrow(&[[198.0, 160.0], [252.0, 160.0]], Ink::Bad);
    drawing.line(&[[416.0, 160.0], [438.0, 160.0]], Ink::Bad, 2.5);
    drawing.refusal(448.0, 160.0);
}

fn draw_refusal(drawing: &mut Drawing, reason: &str, policy: &str) {
    let [envoy, width] = ENVOY;
    drawing.line(&[[448.0, 171.0], [448.0, 212.0]], Ink::Bad, 1.5);
    drawing.card([envoy, 212.0, width, 82.0], Ink::BadWash, Ink::Bad);
    drawing.text(&Text::new(envoy + 14.0, 233.0, format!("403, by {policy}")).size(14.0).bold().ink(Ink::Bad));
    let first = Text::new(envoy + 14.0, 252.0, "");
    drawing.paragraph(&first, reason, width - 24.0, 12.5, false);
}

fn draw_way_out(drawing: &mut Drawing) {
    let [envoy, width] = ENVOY;
    drawing.card([envoy, 306.0, width, 84.0], Ink::Card, Ink::Line);
    drawing.text(&Text::new(envoy + 18.0, 332.0, "your Envoy, way out").size(13.0).ink(Ink::Dim));
    filter(drawing, [envoy + 190.0, 316.0, 182.0, 64.0], "egress-allowlist", ["may it reach that host?", ""]);
    party(drawing, RIGHT, 320.0, PAYMENTS.from.1, "service");
    let host = PAYMENTS.host.split(':').next().unwrap_or_default();
    party(drawing, LEFT, 320.0, host, "outside");
    drawing.arrow(&[[664.0, 348.0], [610.0, 348.0]], Ink::Good);
    drawing.arrow(&[[424.0, 348.0], [198.0, 348.0]], Ink::Good);
}

/// Draws a client, a service or a host.
fn party(drawing: &mut Drawing, [x, width]: [f64; 2], y: f64, name: &str, what: &str) {
    drawing.card([x, y, width, 56.0], Ink::Page, Ink::Line);
    let middle = x + width / 2.0;
    drawing.text(&Text::new(middle, y + 24.0, name).bold().middle());
    let what = Text::new(middle, y + 43.0, what).size(12.5).ink(Ink::Dim).middle();
    drawing.text(&what);
}

fn filter(drawing: &mut Drawing, [x, y, width, height]: [f64; 4], name: &str, question: [&str; 2]) {
    drawing.card([x, y, width, height], Ink::AccentWash, Ink::Accent);
    let (middle, top) = (x + width / 2.0, y + height / 2.0 - if question[1].is_empty() { 4.0 } else { 12.0 });
    drawing.text(&Text::new(middle, top, name).bold().ink(Ink::Accent).middle());
    for (line, below) in question.into_iter().zip([19.0, 36.0]).filter(|(line, _)| !line.is_empty()) {
        drawing.text(&Text::new(middle, top + below, line).size(13.0).middle());
    }
}
