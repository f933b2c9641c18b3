//! One drawing: shapes and texts, in the order in which they cover each other.

use std::fmt::Write as _;

use crate::palette::{Ink, style};
use crate::text::{Text, escape, wrap};

/// Fonts of the system, so that a drawing carries none.
const FONTS: &str = "text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}\
    .mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}\
    .bold{font-weight:600}";

/// Radius of corners.
const RADIUS: f64 = 8.0;

/// A drawing.
#[derive(Clone, Debug)]
pub struct Drawing {
    width: f64,
    height: f64,
    title: String,
    description: String,
    style: String,
    body: String,
}

impl Drawing {
    /// Returns an empty drawing of a size. Screen readers say the title and the description, so the latter tells what
    /// the drawing shows.
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let (title, description) = (title.to_owned(), description.to_owned());
        Self { width, height, title, description, style: String::new(), body: String::new() }
    }

    /// Sets the height, where it follows from what was drawn.
    pub fn set_height(&mut self, height: f64) {
        self.height = height;
    }

    /// Adds rules to the style sheet.
    pub fn style(&mut self, rules: &str) {
        self.style.push_str(rules);
    }

    /// Adds an element as it is.
    pub fn element(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// Adds a text.
    pub fn text(&mut self, text: &Text) {
        self.body.push_str(&text.svg());
    }

    /// Adds a text of several lines below each other, and returns where the next would be.
    pub fn paragraph(&mut self, first: &Text, text: &str, width: f64, size: f64, is_mono: bool) -> f64 {
        let mut y = first.y();
        for line in wrap(text, width, size, is_mono) {
            let line = first.with(y, line).size(size);
            self.text(&if is_mono { line.mono() } else { line });
            y += size * 1.35;
        }
        y
    }

    /// Adds a card.
    pub fn card(&mut self, [x, y, width, height]: [f64; 4], ground: Ink, border: Ink) {
        self.rectangle([x, y, width, height], RADIUS, &format!("f-{} s-{}", ground.class(), border.class()));
    }

    /// Adds a label: a text on a ground of its colour, with its left edge and the baseline at a point. Returns its width.
    pub fn label(&mut self, x: f64, y: f64, text: &str, ink: Ink, width: f64) {
        self.rectangle([x, y - 14.0, width, 19.0], 9.5, &format!("f-{} s-{}", ink.wash().class(), ink.class()));
        self.text(&Text::new(x + width / 2.0, y, text).size(12.5).bold().ink(ink).middle());
    }

    fn rectangle(&mut self, [x, y, width, height]: [f64; 4], radius: f64, class: &str) {
        self.element(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\" class=\"{class}\"/>"
        ));
    }

    /// Adds a line through points.
    pub fn line(&mut self, points: &[[f64; 2]], ink: Ink, width: f64) {
        let points: String = points.iter().map(|[x, y]| format!("{x:.1},{y:.1} ")).collect();
        self.element(&format!(
            "<polyline points=\"{}\" fill=\"none\" class=\"s-{}\" stroke-width=\"{width}\"/>",
            points.trim_end(),
            ink.class()
        ));
    }

    /// Adds an arrow along points, straight or around corners.
    pub fn arrow(&mut self, points: &[[f64; 2]], ink: Ink) {
        let [.., [from_x, from_y], [x, y]] = points else { return };
        let length = (x - from_x).hypot(y - from_y).max(1.0);
        let (along_x, along_y) = ((x - from_x) / length, (y - from_y) / length);
        let mut shaft = points.to_vec();
        if let Some(end) = shaft.last_mut() {
            *end = [x - along_x * 7.0, y - along_y * 7.0];
        }
        self.line(&shaft, ink, 2.5);
        let corner = |side: f64| (x - along_x * 10.0 - along_y * side, y - along_y * 10.0 + along_x * side);
        let ((left_x, left_y), (right_x, right_y)) = (corner(5.5), corner(-5.5));
        self.element(&format!(
            "<path d=\"M{x:.1} {y:.1}L{left_x:.1} {left_y:.1}L{right_x:.1} {right_y:.1}Z\" class=\"f-{}\"/>",
            ink.class()
        ));
    }

    /// Adds the mark of a refusal: a cross in a circle around a point.
    pub fn refusal(&mut self, x: f64, y: f64) {
        self.element(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"10\" class=\"f-bad-wash s-bad\" stroke-width=\"2\"/>\
             <path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\" class=\"s-bad\" stroke-width=\"2.5\" fill=\"none\"/>",
            x - 4.0,
            y - 4.0
        ));
    }

    /// Returns the SVG.
    pub fn svg(&self) -> String {
        let Self { width, height, title, description, style: own, body } = self;
        let mut svg = String::new();
        // Writing to a String never fails.
        let _written = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"title description\">\n<title id=\"title\">{}</title>\n\
             <desc id=\"description\">{}</desc>\n<style>{FONTS}{}{own}</style>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"{RADIUS}\" class=\"f-page s-line\"/>\n{body}</svg>\n",
            escape(title),
            escape(description),
            style(),
            width - 1.0,
            height - 1.0
        );
        svg
    }
}
