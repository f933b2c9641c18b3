//! `operation.paths`: the path without query and fragment.

pub(crate) mod pattern;

use std::borrow::Cow;
use std::rc::Rc;

use crate::attributes::readings::path::spelling::one_spelling;
use crate::attributes::readings::path::{self, MAX_COMPARED, PathReadings};
use crate::attributes::request::{PseudoHeader, Request, without_query};
use crate::attributes::wording::describe_reading;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField, Phrase};
use crate::authz::fields::path::pattern::PathPattern;
use crate::authz::fields::reader::{FieldContext, FieldReader};
use crate::collections::sort::sort_by;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::EvalError;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::path_template::SegmentBytes;
use crate::matcher::path_template_index::TemplateIndex;
use crate::matcher::readings_index::{ReadingsIndex, ValueIndex, ValueList};
use crate::matcher::string_index::{LiteralPrefix, StringIndex};
use crate::matcher::value_ids::{Matched, ValueId};

/// Bytes of the longest path whose deciding reading is found for the reason of a denial.
const MAX_EXPLAINED: usize = 1 << 10;

/// The patterns of this field, looked up by path.
pub(crate) struct Index {
    made: PathReadings,
    patterns: ReadingsIndex<Patterns>,
    /// Templates of Envoy's class, in order: no byte that has to be encoded is of it.
    of_envoys_class: Vec<ValueId>,
}

impl Index {
    pub(crate) fn new(patterns: impl Iterator<Item = (PathPattern, ValueId)>, made: PathReadings) -> Self {
        let patterns: Vec<_> = patterns.collect();
        let is_of_envoys_class = |pattern: &PathPattern| matches!(pattern, PathPattern::Template(template) if template.bytes == SegmentBytes::Envoy);
        let templates = patterns.iter().filter(|(pattern, _)| is_of_envoys_class(pattern));
        let mut of_envoys_class: Vec<_> = templates.map(|(_, id)| *id).collect();
        sort_by(&mut of_envoys_class, Ord::cmp);
        let read = |number, pattern: &PathPattern| pattern.read(number);
        let patterns = ReadingsIndex::new(patterns, made.numbers(), PathPattern::is_plain, read);
        Self { made, patterns, of_envoys_class }
    }

    pub(crate) fn lookup(&self, path: Option<&[u8]>, found: &mut FieldMatch) {
        let Some(path) = path.map(without_query) else { return };
        match path::is_plain(path) {
            true => self.patterns.written().lookup(path, &mut found.any),
            false => self.lookup_readings(path, found),
        }
    }

    /// Describes the reading of `path` that decides whether a list matches; `None` if the original path decides.
    pub(crate) fn deciding_reading(&self, path: &[u8], list: &ValueList<'_>, has_template: bool) -> Option<String> {
        let path = without_query(path);
        if path::is_too_long(path, self.made) {
            return Some(format!(
                "the path can be read in several ways and is not compared, since it has more than {MAX_COMPARED} bytes"
            ));
        }
        if path.len() > MAX_EXPLAINED {
            return None;
        }
        let (path, _) = one_spelling(path);
        let readings = path::readings(&path, self.made);
        let (number, reading) = self.patterns.deciding(&path, &readings, list)?;
        Some(describe_reading("path", reading, &PathReadings::remedy(*number, has_template)))
    }

    #[cold]
    #[inline(never)]
    fn lookup_readings(&self, path: &[u8], found: &mut FieldMatch) {
        if path::is_too_long(path, self.made) {
            found.uncompared = true;
            return;
        }
        let (path, encoded) = one_spelling(path);
        self.patterns.lookup(&path, &path::readings(&path, self.made), found);
        if encoded && !self.of_envoys_class.is_empty() {
            for matched in found.each.iter_mut().chain([&mut found.any]) {
                matched.retain(|id| self.of_envoys_class.binary_search(id).is_err());
            }
        }
    }
}

/// The patterns of one reading.
struct Patterns {
    not_empty: Option<ValueId>,
    text: StringIndex,
    /// Template indexes, one for each class of segment bytes in use.
    templates: Vec<TemplateIndex>,
}

impl ValueIndex for Patterns {
    type Pattern = PathPattern;

    fn build(patterns: Vec<(PathPattern, ValueId)>) -> Self {
        let (mut not_empty, mut texts, mut envoy, mut any) = (None, Vec::new(), Vec::new(), Vec::new());
        for (pattern, id) in patterns {
            match pattern {
                PathPattern::NotEmpty => not_empty = Some(id),
                PathPattern::Text(text) => texts.push((text, id)),
                PathPattern::Template(template) if template.bytes == SegmentBytes::Envoy => envoy.push((template, id)),
                PathPattern::Template(template) => any.push((template, id)),
            }
        }
        let listed = [(SegmentBytes::Envoy, envoy), (SegmentBytes::Any, any)];
        let templates = listed
            .into_iter()
            .filter(|(_, templates)| !templates.is_empty())
            .map(|(bytes, templates)| TemplateIndex::new(bytes, templates.into_iter()))
            .collect();
        Self { not_empty, text: StringIndex::new(texts), templates }
    }

    fn lookup(&self, path: &[u8], matched: &mut Matched) {
        if let Some(id) = self.not_empty
            && !path.is_empty()
        {
            matched.push(id);
        }
        self.text.lookup(path, matched);
        for templates in &self.templates {
            templates.lookup(path, matched);
        }
    }
}

impl FieldIndex for Index {
    fn has_several_readings(&self, request: &mut dyn Request) -> bool {
        request.path().ok().flatten().is_some_and(|path| !path::is_plain(without_query(path)))
    }

    fn describe_reading(&self, request: &mut dyn Request, list: &ValueList<'_>, has_template: bool) -> Option<String> {
        self.deciding_reading(request.path().ok()??, list, has_template)
    }

    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        Index::lookup(self, request.path()?, found);
        Ok(())
    }

    fn pseudo_header(&self) -> Option<PseudoHeader> {
        Some(PseudoHeader::Path)
    }

    fn literal_prefix(&self, value: ValueId) -> Option<LiteralPrefix<'_>> {
        self.patterns.written().text.literal_prefix(value)
    }
}

/// The path of the request, without query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    readings: PathReadings,
}

impl MatchField for Path {
    type Pattern = PathPattern;

    const RANK: u8 = 32;
    const REQUEST_HEADER: bool = true;
    const PHRASE: Phrase = Phrase::Path;

    fn subject(&self) -> Cow<'static, str> {
        // Its values say where they are.
        "".into()
    }

    fn http_key(&self) -> Option<String> {
        Some("paths".to_owned())
    }

    fn describe(pattern: &PathPattern) -> String {
        pattern.describe()
    }

    fn index(self, patterns: Vec<(PathPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(Index::new(patterns.into_iter(), self.readings))
    }
}

/// `operation.paths` and `operation.notPaths`.
pub(crate) const OPERATION: FieldReader = FieldReader { keys: ["paths", "notPaths"], read };

fn read(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    let patterns = read_values(node, |text| PathPattern::parse(text, context.operators))?;
    Some(FieldValues::shared(Path { readings: context.path_readings }, patterns))
}
