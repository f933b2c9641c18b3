//! The memory that the host writes its answers into: short ones into one piece that is used over and over, since a
//! request asks for a few short values and lets go of them soon, a long one into a piece that is kept for the next, the
//! longest into memory of their own.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::Deref;
use std::ptr::NonNull;

use super::Status;

/// How many bytes of short values there can be at once.
const SIZE: usize = 2048;

/// Where short values are, one after the other.
///
/// It starts anew when the last value in it is gone, so no value is ever written over.
struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
    held: Cell<usize>,
}

thread_local! {
    static ARENA: Arena =
        const { Arena { memory: UnsafeCell::new([0; SIZE]), used: Cell::new(0), held: Cell::new(0) } };
}

impl Arena {
    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    fn allocate(&self, size: usize) -> Option<*mut u8> {
        let used = self.used.get();
        let end = used.checked_add(size).filter(|end| *end <= SIZE)?;
        self.used.set(end);
        // SAFETY: `used` is within the memory.
        Some(unsafe { self.start().add(used) })
    }

    fn holds(&self, data: *const u8) -> bool {
        let start = self.start().addr();
        (start..start + SIZE).contains(&data.addr())
    }

    /// Before an answer is asked for: what was allocated and never received is free, once nothing else is held.
    fn reuse(&self) {
        if self.held.get() == 0 {
            self.used.set(0);
        }
    }
}

/// How many bytes are kept for the next long value at the most.
const KEPT: usize = 1 << 20;

/// Where a long value is, one at a time.
///
/// The text of a configuration has to stand in one piece. If its memory were given back, policies would be spread over
/// it, and an update would now and then find no such piece and let the memory of the VM grow, which never shrinks.
struct LargeBuffer {
    memory: RefCell<Vec<u8>>,
    /// Whether it was given out since the last answer was asked for, or is held.
    used: Cell<bool>,
    held: Cell<bool>,
}

thread_local! {
    static SPARE: LargeBuffer =
        const { LargeBuffer { memory: RefCell::new(Vec::new()), used: Cell::new(false), held: Cell::new(false) } };
}

impl LargeBuffer {
    fn allocate(&self, size: usize) -> Option<*mut u8> {
        if size > KEPT || self.used.replace(true) {
            return None;
        }
        let mut memory = self.memory.borrow_mut();
        if memory.len() < size {
            // The old one goes first. Texts that grow little by little do not ask for a new one each time.
            *memory = Vec::new();
            *memory = vec![0; size.next_power_of_two()];
        }
        Some(memory.as_mut_ptr())
    }

    fn holds(&self, data: *const u8) -> bool {
        self.used.get() && data == self.memory.borrow().as_ptr()
    }

    /// Before an answer is asked for, as in the arena.
    fn reuse(&self) {
        self.used.set(self.held.get());
    }
}

/// Memory for the host to write `size` bytes into, which [`received`] takes back.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let short = ARENA.with(|arena| arena.allocate(size));
    let kept = || SPARE.with(|spare| spare.allocate(size));
    short.or_else(kept).unwrap_or_else(|| Box::into_raw(vec![0_u8; size].into_boxed_slice()).cast())
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Arena,
    LargeBuffer,
    /// In a boxed slice.
    Own,
}

/// Bytes that the host has given.
pub struct Bytes {
    data: NonNull<u8>,
    length: usize,
    place: Place,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { data: NonNull::dangling(), length: 0, place: Place::Own }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `received` got this many written bytes, which are nobody else's until `drop`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        match self.place {
            Place::Arena => ARENA.with(|arena| arena.held.set(arena.held.get() - 1)),
            Place::LargeBuffer => SPARE.with(|spare| spare.held.set(false)),
            // SAFETY: `allocate` made these bytes as a boxed slice of this length; one of no bytes frees nothing.
            Place::Own => {
                drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.data.as_ptr(), self.length)) })
            }
        }
    }
}

/// What a host function that gives bytes has given.
pub(super) fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Bytes, Status> {
    ARENA.with(Arena::reuse);
    SPARE.with(LargeBuffer::reuse);
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut length = 0_usize;
    let status = Status(call(&raw mut data, &raw mut length));
    if status != Status::OK {
        return Err(status);
    }
    Ok(taken(data, length))
}

/// What a host function has given that succeeded, by what it wrote of where that is.
#[inline(always)]
pub(super) fn taken(data: *mut u8, length: usize) -> Bytes {
    let Some(data) = NonNull::new(data).filter(|_| length > 0) else { return Bytes::default() };
    // On success the host has had these `length` bytes made by `allocate`, has written them all, and has given up the
    // pointer.
    let place = ARENA.with(|arena| {
        if arena.holds(data.as_ptr()) {
            arena.held.set(arena.held.get() + 1);
            return Place::Arena;
        }
        SPARE.with(|spare| match spare.holds(data.as_ptr()) {
            true => {
                spare.held.set(true);
                Place::LargeBuffer
            }
            false => Place::Own,
        })
    });
    Bytes { data, length, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &[u8]) -> Result<Bytes, Status> {
        received(|data, length| {
            let memory = allocate(bytes.len());
            // SAFETY: the memory has this many bytes, and the pointers are to locals of `received`.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
                *data = memory;
                *length = bytes.len();
            }
            0
        })
    }

    #[test]
    fn what_is_held_is_never_written_over() {
        let mut held: Vec<(Bytes, Vec<u8>)> = Vec::new();
        let mut turn = 1_usize;
        for step in 0..20_000_usize {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = match (turn >> 33) % 7 {
                0 => 0,
                1 => SIZE,
                2 => SIZE + 1 + (turn >> 45) % SIZE,
                _ => (turn >> 40) % 700,
            };
            let expected: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(31) ^ step).to_le_bytes()[0]).collect();
            held.push((answer(&expected).expect("an answer"), expected));
            if (turn >> 50).is_multiple_of(3) {
                let gone = (turn >> 20) % held.len();
                drop(held.swap_remove(gone));
            }
            if held.len() > 12 {
                held.clear();
            }
            for (bytes, expected) in &held {
                assert_eq!(&bytes[..], expected, "at step {step}");
            }
        }
    }

    #[test]
    fn short_values_take_no_memory_of_their_own_and_failures_none_for_good() {
        for _ in 0..10_000 {
            let refused = received(|_, _| {
                allocate(100);
                10
            });
            assert_eq!(refused.err(), Some(Status(10)));
            let values = [answer(b"cluster.local"), answer(&[7; 900])];
            let in_the_arena = |value: &Result<Bytes, Status>| value.as_ref().is_ok_and(|it| it.place == Place::Arena);
            assert!(values.iter().all(in_the_arena));
        }
    }

    #[test]
    fn the_memory_of_a_long_value_is_kept_for_the_next() {
        let place = |length| answer(&vec![7; length]).map(|value| (value.place, value.as_ptr())).expect("an answer");
        let (_, kept) = place(70_000);
        for length in [SIZE + 1, 70_000, 70_100, 100_000] {
            let refused = received(|_, _| {
                allocate(length);
                10
            });
            assert_eq!(refused.err(), Some(Status(10)));
            assert_eq!(place(length), (Place::LargeBuffer, kept), "{length}");
        }
        let held = answer(&[7; SIZE + 1]);
        assert_eq!(place(SIZE + 1).0, Place::Own);
        drop(held);
        assert_eq!(place(KEPT).0, Place::LargeBuffer);
        assert_eq!(place(KEPT + 1).0, Place::Own);
    }
}
