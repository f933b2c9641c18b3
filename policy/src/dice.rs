//! A small fixed generator: the same configurations and requests on every machine.

/// Xorshift, from a seed that is not 0.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number of 0 to `sides`, which it is never.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// Picks one of `of`.
    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}
