//! The colours, each of which has a meaning and a value in both schemes.

use std::fmt::Write as _;

/// A colour by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Background of the drawing.
    Page,
    /// Background of a card on the page.
    Card,
    /// Borders and rules.
    Line,
    /// Text.
    Text,
    /// Text of less weight.
    Dim,
    /// Allowed.
    Good,
    /// Denied.
    Bad,
    /// Would be denied.
    Warn,
    /// The filters.
    Accent,
    /// Background of what is allowed.
    GoodWash,
    /// Background of what is denied.
    BadWash,
    /// Background of what would be denied.
    WarnWash,
    /// Background of a filter.
    AccentWash,
}

impl Ink {
    /// Every colour: its class, its light and its dark value. Texts have a contrast of at least 4.5 to each background.
    const ALL: [(Self, &'static str, &'static str, &'static str); 13] = [
        (Self::Page, "page", "#ffffff", "#0d1117"),
        (Self::Card, "card", "#f6f8fa", "#161b22"),
        (Self::Line, "line", "#c4ccd4", "#454c56"),
        (Self::Text, "text", "#1f2328", "#f0f6fc"),
        (Self::Dim, "dim", "#57606a", "#9ca5af"),
        (Self::Good, "good", "#116329", "#56d364"),
        (Self::Bad, "bad", "#b3161f", "#ff7b72"),
        (Self::Warn, "warn", "#7d4e00", "#e3b341"),
        (Self::Accent, "accent", "#0550ae", "#79c0ff"),
        (Self::GoodWash, "good-wash", "#e6f6ea", "#10281a"),
        (Self::BadWash, "bad-wash", "#ffefed", "#341416"),
        (Self::WarnWash, "warn-wash", "#fff6d9", "#2e2508"),
        (Self::AccentWash, "accent-wash", "#e8f2ff", "#0f2440"),
    ];

    /// Returns the name of its class.
    pub(crate) fn class(self) -> &'static str {
        Self::ALL.iter().find(|(ink, ..)| *ink == self).map_or("", |(_, class, ..)| class)
    }

    /// Returns the class of shapes that are filled with it.
    pub fn fill(self) -> String {
        format!("f-{}", self.class())
    }

    /// Returns the background for texts of this colour.
    pub fn wash(self) -> Self {
        match self {
            Self::Good => Self::GoodWash,
            Self::Bad => Self::BadWash,
            Self::Warn => Self::WarnWash,
            Self::Accent => Self::AccentWash,
            _ => Self::Card,
        }
    }
}

/// Returns the rules of all colours. They are written out, since not every program that shows SVG knows variables.
pub(crate) fn style() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (_, class, light_value, dark_value) in Ink::ALL {
        for (rules, value) in [(&mut light, light_value), (&mut dark, dark_value)] {
            // Writing to a String never fails.
            let _written = write!(rules, ".f-{class}{{fill:{value}}}.s-{class}{{stroke:{value}}}");
        }
    }
    format!("{light}@media(prefers-color-scheme:dark){{{dark}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the relative luminance of a colour as in `#1f2328` (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = colour.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn texts_have_enough_contrast_in_both_schemes() {
        let value = |ink: Ink, is_dark: bool| {
            let found = Ink::ALL.iter().find(|(other, ..)| *other == ink);
            found.map_or("", |(_, _, light, dark)| if is_dark { dark } else { light })
        };
        let texts = [Ink::Text, Ink::Dim, Ink::Good, Ink::Bad, Ink::Warn, Ink::Accent];
        for is_dark in [false, true] {
            for text in texts {
                let washes = [Ink::GoodWash, Ink::BadWash, Ink::WarnWash, Ink::AccentWash];
                for ground in [Ink::Page, Ink::Card].into_iter().chain(washes) {
                    let (one, other) = (luminance(value(text, is_dark)), luminance(value(ground, is_dark)));
                    let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(contrast >= 4.5, "{text:?} on {ground:?}, dark: {is_dark}: {contrast:.2}");
                }
            }
        }
    }
}
