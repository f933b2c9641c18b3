//! A `google.protobuf.Struct` of which only the values that are asked for are decoded.

use std::cell::OnceCell;
use std::mem;

use crate::collections::map::hashed;
use crate::config::document::protobuf_struct::{self, Field, MAX_DEPTH, Message, pair, short_text};
use crate::config::value::Value;

/// Reason why a Struct is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The bytes are no Struct.
    Malformed,
    /// It has more values than the caller takes.
    TooManyValues,
}

/// The entries of a Struct, found by their keys. Values are decoded when they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct StructView {
    /// The wire form.
    bytes: Box<[u8]>,
    entries: Vec<Entry>,
    /// The last entry of each bucket, which leads to those before it. There are about as many buckets as entries, so all
    /// the names that policies ask for pass each entry a few times, whatever keys there are.
    buckets: Vec<u32>,
}

/// The end of a bucket.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry {
    start: usize,
    end: usize,
    /// The hash of the key.
    hash: u32,
    /// The entry before it in its bucket.
    before: u32,
    /// The value as an object, once that was asked for.
    nested: OnceCell<Option<Box<StructView>>>,
}

impl StructView {
    /// Finds the entries of a Struct. Takes what it holds at any depth off the number of `values` that are left.
    pub(crate) fn new(bytes: &[u8], values: &mut usize) -> Result<Self, Unread> {
        let mut message = Message(bytes);
        let mut entries = Vec::new();
        while !message.is_empty() {
            let entry = repeated(&mut message)?;
            let (key, content) = pair(entry).ok_or(Unread::Malformed)?;
            *values = values.checked_sub(1).ok_or(Unread::TooManyValues)?;
            count(content, MAX_DEPTH, values)?;
            let end = bytes.len() - message.0.len();
            let start = end - entry.len();
            entries.push(Entry { start, end, hash: hashed(key), before: NONE, nested: OnceCell::new() });
        }
        let count = entries.len().next_power_of_two();
        let mut buckets = vec![NONE; count];
        for (place, entry) in (0..).zip(&mut entries) {
            if let Some(last) = buckets.get_mut(bucket(entry.hash, count)) {
                entry.before = mem::replace(last, place);
            }
        }
        Ok(Self { bytes: bytes.into(), entries, buckets })
    }

    /// Decodes the value at a path of keys; `None` if there is none. The last of repeated keys counts.
    pub(crate) fn value<N: AsRef<str>>(&self, path: &[N]) -> Result<Option<Value>, Unread> {
        let content = self.content_at(path);
        content.map(|content| protobuf_struct::read_value(content).ok_or(Unread::Malformed)).transpose()
    }

    /// Calls `each` with the value at a path of keys, or with each of its items where it is a list.
    pub(crate) fn each_scalar<'s, N: AsRef<str>>(
        &'s self,
        path: &[N],
        each: &mut dyn FnMut(Scalar<'s>),
    ) -> Result<(), Unread> {
        let Some(content) = self.content_at(path) else { return Ok(()) };
        let Some(mut items) = list(content) else {
            each(scalar(content).ok_or(Unread::Malformed)?);
            return Ok(());
        };
        while !items.is_empty() {
            each(scalar(repeated(&mut items)?).ok_or(Unread::Malformed)?);
        }
        Ok(())
    }

    fn content_at<N: AsRef<str>>(&self, path: &[N]) -> Option<&[u8]> {
        let (last, way) = path.split_last()?;
        let mut view = self;
        for key in way {
            let entry = view.entry(key.as_ref())?;
            view = entry.nested.get_or_init(|| view.nested(entry)).as_ref()?;
        }
        view.entry(last.as_ref()).map(|entry| view.content(entry))
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn nested(&self, entry: &Entry) -> Option<Box<Self>> {
        // Its values were counted with those of the whole.
        Self::new(object(self.content(entry))?, &mut usize::MAX.clone()).ok().map(Box::new)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let hash = hashed(key.as_bytes());
        let mut place = *self.buckets.get(bucket(hash, self.buckets.len()))?;
        // The last of repeated keys comes first.
        while let Some(entry) = self.entries.get(place as usize) {
            if entry.hash == hash && self.pair(entry).is_some_and(|(name, _)| name == key.as_bytes()) {
                return Some(entry);
            }
            place = entry.before;
        }
        None
    }

    fn content(&self, entry: &Entry) -> &[u8] {
        self.pair(entry).map_or(&[], |(_, content)| content)
    }

    fn pair(&self, entry: &Entry) -> Option<(&[u8], &[u8])> {
        pair(self.bytes.get(entry.start..entry.end)?)
    }
}

/// The bucket of a hash among so many, a power of two.
fn bucket(hash: u32, buckets: usize) -> usize {
    hash as usize & (buckets - 1)
}

/// The entries of a Struct in their order that are objects themselves: the key, and the wire form of its Struct.
pub(crate) fn objects(structure: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Unread>> {
    let mut message = Message(structure);
    let entries = std::iter::from_fn(move || match message.is_empty() {
        true => None,
        false => Some(repeated(&mut message).and_then(|entry| pair(entry).ok_or(Unread::Malformed))),
    });
    entries.filter_map(|entry| entry.map(|(key, value)| Some((key, object(value)?))).transpose())
}

/// The wire form of the Struct that a value is; `None` if it is another.
fn object(value: &[u8]) -> Option<&[u8]> {
    let mut message = Message(value);
    match message.field()? {
        (5, Field::Bytes(structure)) if message.is_empty() => Some(structure),
        _ => None,
    }
}

/// The items of the list that a value is; `None` if it is another.
fn list(value: &[u8]) -> Option<Message<'_>> {
    let mut message = Message(value);
    match message.field()? {
        (6, Field::Bytes(items)) if message.is_empty() => Some(Message(items)),
        _ => None,
    }
}

/// A value without others in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'b> {
    Text(&'b str),
    Bool(bool),
    Number(f64),
    /// Null, a list or an object.
    Other,
}

fn scalar(value: &[u8]) -> Option<Scalar<'_>> {
    if let Some(text) = short_text(value) {
        return Some(Scalar::Text(str::from_utf8(text).ok()?));
    }
    let mut message = Message(value);
    if message.is_empty() {
        return Some(Scalar::Other);
    }
    let kind = message.field()?;
    if !message.is_empty() {
        return None;
    }
    Some(match kind {
        (2, Field::Fixed64(bytes)) => Scalar::Number(f64::from_le_bytes(bytes)),
        (3, Field::Bytes(bytes)) => Scalar::Text(str::from_utf8(bytes).ok()?),
        (4, Field::Varint(bool)) => Scalar::Bool(bool != 0),
        (1, Field::Varint(_)) | (5 | 6, Field::Bytes(_)) => Scalar::Other,
        _ => return None,
    })
}

/// The content of field 1, the only one of Structs and lists.
fn repeated<'b>(message: &mut Message<'b>) -> Result<&'b [u8], Unread> {
    if let Some(content) = message.short_first() {
        return Ok(content);
    }
    match message.field() {
        Some((1, Field::Bytes(content))) => Ok(content),
        _ => Err(Unread::Malformed),
    }
}

/// Takes the values within a value off the number that is left.
fn count(value: &[u8], deepest: usize, left: &mut usize) -> Result<(), Unread> {
    // Most values hold no others.
    if let [tag, ..] = value
        && *tag < 0x80
        && !matches!(*tag >> 3, 5 | 6)
    {
        return Ok(());
    }
    let mut message = Message(value);
    let (content, is_object) = match message.field() {
        Some((number @ (5 | 6), Field::Bytes(content))) => (content, number == 5),
        _ => return Ok(()),
    };
    let deepest = deepest.checked_sub(1).ok_or(Unread::Malformed)?;
    let mut message = Message(content);
    while !message.is_empty() {
        let item = repeated(&mut message)?;
        let item = if is_object { pair(item).ok_or(Unread::Malformed)?.1 } else { item };
        *left = left.checked_sub(1).ok_or(Unread::TooManyValues)?;
        count(item, deepest, left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::protobuf_writer::{entry, field};

    #[test]
    fn each_of_many_keys_is_found_and_the_last_of_repeated_ones_counts() {
        let key = |number: usize| format!("c{number}");
        let text = |number: usize, round: usize| entry(&key(number), &field(3, format!("{number}/{round}").as_bytes()));
        for count in [0, 1, 2, 3, 100, 1_000] {
            // Keys with an even number come twice.
            let bytes: Vec<u8> = (0..2)
                .flat_map(|round| (0..count).step_by(round + 1).flat_map(move |number| text(number, 1 - round)))
                .collect();
            let view = StructView::new(&bytes, &mut usize::MAX.clone()).expect("a Struct");
            for number in 0..count {
                let expected = format!("{number}/{}", number % 2);
                let found = view.value(&[key(number)]).expect("a value");
                assert_eq!(found.as_ref().and_then(Value::as_str), Some(expected.as_str()), "{count} keys");
            }
            assert_eq!(view.value(&[key(count)]), Ok(None), "{count} keys");
        }
    }
}
