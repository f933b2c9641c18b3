//! Texts, and how wide they are.

use std::fmt::Write as _;

use crate::palette::Ink;

/// Width of a letter relative to the size, of the widest common sans-serif and monospaced fonts.
const LETTER: [f64; 2] = [0.585, 0.605];

/// A line of text.
#[derive(Clone, Debug)]
pub struct Text {
    x: f64,
    y: f64,
    text: String,
    size: f64,
    ink: Ink,
    is_bold: bool,
    is_mono: bool,
    anchor: &'static str,
}

impl Text {
    /// Returns a line whose baseline begins at a point.
    pub fn new(x: f64, y: f64, text: impl Into<String>) -> Self {
        Self { x, y, text: text.into(), size: 14.0, ink: Ink::Text, is_bold: false, is_mono: false, anchor: "start" }
    }

    /// Sets the size.
    #[must_use]
    pub fn size(self, size: f64) -> Self {
        Self { size, ..self }
    }

    /// Sets the colour.
    #[must_use]
    pub fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }

    /// Makes it bold.
    #[must_use]
    pub fn bold(self) -> Self {
        Self { is_bold: true, ..self }
    }

    /// Sets it in a monospaced font.
    #[must_use]
    pub fn mono(self) -> Self {
        Self { is_mono: true, ..self }
    }

    /// Puts its middle at the point.
    #[must_use]
    pub fn middle(self) -> Self {
        Self { anchor: "middle", ..self }
    }

    /// Puts its end at the point.
    #[must_use]
    pub fn end(self) -> Self {
        Self { anchor: "end", ..self }
    }

    /// Returns the height of its baseline.
    pub(crate) fn y(&self) -> f64 {
        self.y
    }

    /// Returns another line of its kind.
    pub(crate) fn with(&self, y: f64, text: String) -> Self {
        Self { y, text, ..self.clone() }
    }

    /// Returns its elements.
    pub(crate) fn svg(&self) -> String {
        let Self { x, y, size, ink, .. } = self;
        let mut svg = format!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" class=\"f-{}", ink.class());
        svg.push_str(if self.is_mono { " mono" } else { "" });
        svg.push_str(if self.is_bold { " bold\"" } else { "\"" });
        if self.anchor != "start" {
            // Writing to a String never fails.
            let _written = write!(svg, " text-anchor=\"{}\"", self.anchor);
        }
        let _written = writeln!(svg, ">{}</text>", escape(&self.text));
        svg
    }
}

/// Wraps a text between words, so that no line is wider than `width` pixels at a size.
pub fn wrap(text: &str, width: f64, size: f64, is_mono: bool) -> Vec<String> {
    let letter = size * LETTER.get(usize::from(is_mono)).copied().unwrap_or(1.0);
    let fits = |line: &str| f64::from(u32::try_from(line.chars().count()).unwrap_or(u32::MAX)) * letter <= width;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if fits(&format!("{line} {word}")) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Escapes a text for XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let lines = wrap("no ALLOW policy matches this", 100.0, 10.0, true);
        assert_eq!(lines, ["no ALLOW policy", "matches this"]);
        assert_eq!(wrap("cluster.local/ns/shop/sa/frontend", 20.0, 10.0, true).len(), 1);
    }

    #[test]
    fn texts_are_escaped() {
        let svg = Text::new(1.0, 2.0, "<a> & \"b\"").svg();
        assert!(svg.contains(">&lt;a&gt; &amp; &quot;b&quot;</text>"), "{svg}");
    }
}
