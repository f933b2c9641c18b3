//! Paths with `{*}` for one segment and `{**}` for any number of them.

use std::fmt;

/// The most operators that a template may have, as Envoy's `uri_template` allows.
const MAX_OPERATORS: usize = 5;

/// Class of bytes that an operator stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SegmentBytes {
    /// Envoy's class for variables (`source/extensions/path/uri_template_lib/uri_template_internal.cc`, 1.40), so that
    /// an ALLOW allows what Envoy's own filter would.
    Envoy,
    /// Any byte but `/`, so that a DENY cannot be bypassed with a byte outside Envoy's class.
    Any,
}

impl SegmentBytes {
    /// Reports whether a byte inside one segment is of this class.
    pub(crate) fn holds(self, byte: u8) -> bool {
        match self {
            Self::Envoy => byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=*".contains(&byte),
            Self::Any => byte != b'/',
        }
    }
}

/// Segment of a template before a `{**}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Literal(Box<[u8]>),
    /// `{*}`: one segment that is not empty.
    One,
}

/// A path of `to.operation.paths` with `{*}` or `{**}` in it (Istio 1.22 and later).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PathTemplate {
    /// The segments up to `{**}`, or all of them.
    pub(crate) segments: Vec<Segment>,
    /// Literal after a `{**}`, from its slash on. `{**}` stands for any bytes, including slashes, or none.
    pub(crate) rest: Option<Box<[u8]>>,
    pub(crate) bytes: SegmentBytes,
}

impl PathTemplate {
    /// Reports whether Istio treats `text` as a template.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.contains(['{', '}'])
    }

    /// Parses a template. Fails, with the fix, on what Istio's validation refuses and on what makes Envoy stop.
    pub(crate) fn parse(text: &str, bytes: SegmentBytes) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!("the path template `{text}` must start with a slash"));
        };
        let mut segments = Vec::new();
        let mut rest: Option<String> = None;
        let mut operators = 0;
        for segment in inner.split('/') {
            match (segment, &mut rest) {
                ("{*}" | "{**}", Some(_)) => {
                    return Err(format!(
                        "`{text}` has an operator after {{**}}, which must be the last one: Envoy 1.40 terminates on two {{**}}"
                    ));
                }
                ("{**}", None) => rest = Some(String::new()),
                ("{*}", None) => segments.push(Segment::One),
                (literal, _) if literal.contains(['{', '}', '*']) => {
                    return Err(format!(
                        "`{literal}` in `{text}` is neither {{*}}, {{**}} nor plain text; an operator stands for whole segments, as in `/orders/{{*}}/items`"
                    ));
                }
                (literal, Some(tail)) => {
                    tail.push('/');
                    tail.push_str(literal);
                }
                (literal, None) => segments.push(Segment::Literal(literal.as_bytes().into())),
            }
            operators += usize::from(segment.starts_with('{'));
        }
        if operators > MAX_OPERATORS {
            return Err(format!("`{text}` has {operators} operators, the limit is {MAX_OPERATORS}"));
        }
        Ok(Self { segments, rest: rest.map(|tail| tail.into_bytes().into()), bytes })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => write!(f, "/{}", String::from_utf8_lossy(literal))?,
                Segment::One => f.write_str("/{*}")?,
            }
        }
        match &self.rest {
            Some(tail) => write!(f, "/{{**}}{}", String::from_utf8_lossy(tail)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn rows() {
        let rows: [(&str, &str, bool); 17] = [
            ("/a/{*}/b", "/a/x/b", true),
            ("/a/{*}/b", "/a//b", false),
            ("/a/{*}/b", "/a/x/y/b", false),
            ("/a/{*}/b", "/a/x/b/", false),
            ("/a/{*}", "/a/", false),
            ("/{*}", "/a", true),
            ("/a/{**}", "/a", false),
            ("/a/{**}", "/a/", true),
            ("/a/{**}", "/a/b/c", true),
            ("/a/{**}", "/a//", true),
            ("/a/{**}/z", "/a/b/z", true),
            ("/a/{**}/z", "/a//z", true),
            ("/a/{**}/z", "/a/z", false),
            ("/{**}", "/", true),
            ("/a/{*}/{**}", "/a/b/", true),
            ("/a/{*}/{**}", "/a/b", false),
            ("/a/{*}/", "/a/b/", true),
        ];
        for (template, path, expected) in rows {
            let parsed = PathTemplate::parse(template, SegmentBytes::Any);
            assert_eq!(parsed.map(|parsed| parsed.matches(path.as_bytes())), Ok(expected), "{template} on {path}");
        }
    }

    #[test]
    fn a_byte_outside_envoys_class_is_no_way_past_a_deny() {
        for path in ["/admin/x|", "/admin/a\"b", "/admin/[", "/admin/a\\b", "/admin/`", "/admin/\u{e4}"] {
            let matches =
                |bytes| PathTemplate::parse("/admin/{*}", bytes).map(|template| template.matches(path.as_bytes()));
            assert_eq!(matches(SegmentBytes::Any), Ok(true), "{path}");
            assert_eq!(matches(SegmentBytes::Envoy), Ok(false), "{path}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let rows = [
            ("a/{*}", "the path template `a/{*}` must start with a slash"),
            (
                "/{**}/a/{**}",
                "`/{**}/a/{**}` has an operator after {**}, which must be the last one: Envoy 1.40 terminates on two {**}",
            ),
            (
                "/a{*}/b",
                "`a{*}` in `/a{*}/b` is neither {*}, {**} nor plain text; an operator stands for whole segments, as in `/orders/{*}/items`",
            ),
            (
                "/{id}",
                "`{id}` in `/{id}` is neither {*}, {**} nor plain text; an operator stands for whole segments, as in `/orders/{*}/items`",
            ),
            ("/{*}/{*}/{*}/{*}/{*}/{*}", "`/{*}/{*}/{*}/{*}/{*}/{*}` has 6 operators, the limit is 5"),
        ];
        for (template, message) in rows {
            assert_eq!(PathTemplate::parse(template, SegmentBytes::Any).err().as_deref(), Some(message));
        }
    }

    #[test]
    fn is_written_as_it_was_read() {
        for text in ["/a/{*}/b", "/{**}", "/a/{**}/b/c", "/a/{*}/"] {
            let written = PathTemplate::parse(text, SegmentBytes::Any).map(|template| template.to_string());
            assert_eq!(written.as_deref(), Ok(text));
        }
    }
}
