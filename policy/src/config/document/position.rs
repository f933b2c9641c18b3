//! Positions of streamed items, which can be items of opened items.

use std::fmt;

/// The index of an item in its list, and the item that the list stands in, if that is a streamed one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    pub(crate) within: Option<&'a Position<'a>>,
    pub(crate) index: usize,
}

impl Position<'_> {
    /// Returns the index in the streamed list itself, and whether the item stands deeper within that item.
    pub(crate) fn top(&self) -> (usize, bool) {
        let mut top = self;
        while let Some(within) = top.within {
            top = within;
        }
        (top.index, self.within.is_some())
    }
}

/// `[3]`, or `[3].items[7]` for an item of an opened item.
impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(within) = self.within {
            write!(f, "{within}.items")?;
        }
        write!(f, "[{}]", self.index)
    }
}
