//! Small collections with one implementation for all element types, which keeps the modules small.

pub(crate) mod bytes;
pub(crate) mod map;
pub(crate) mod sort;
