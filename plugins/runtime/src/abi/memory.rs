//! Memory that the host writes its results into.
//!
//! Short values share one arena that is reused, since a request reads a few short values and drops them soon. One long
//! value at a time goes into a buffer that is kept for the next one. Anything else gets a box of its own.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::Deref;
use std::ptr::NonNull;

use crate::abi::status::Status;

/// Capacity of the arena in bytes.
const ARENA_CAPACITY: usize = 2048;

/// Bump allocator for short values.
///
/// The arena restarts when the last live value in it is dropped, so a live value is never overwritten.
struct Arena {
    memory: UnsafeCell<[u8; ARENA_CAPACITY]>,
    /// Bytes handed out since the arena last started anew.
    in_use: Cell<usize>,
    /// Values that have not been dropped.
    live: Cell<usize>,
}

thread_local! {
    static ARENA: Arena =
        const { Arena { memory: UnsafeCell::new([0; ARENA_CAPACITY]), in_use: Cell::new(0), live: Cell::new(0) } };
}

impl Arena {
    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    fn allocate(&self, size: usize) -> Option<*mut u8> {
        let in_use = self.in_use.get();
        let end = in_use.checked_add(size).filter(|end| *end <= ARENA_CAPACITY)?;
        self.in_use.set(end);
        // SAFETY: `in_use` is within the memory.
        Some(unsafe { self.start().add(in_use) })
    }

    fn contains(&self, data: *const u8) -> bool {
        let start = self.start().addr();
        (start..start + ARENA_CAPACITY).contains(&data.addr())
    }

    /// Reclaims what was allocated and never adopted, once no value is live. Called before each host call.
    fn reclaim(&self) {
        if self.live.get() == 0 {
            self.in_use.set(0);
        }
    }
}

/// Largest value in bytes whose buffer is kept for the next one.
const LARGE_BUFFER_MAX: usize = 1 << 20;

/// Buffer for one long value at a time.
///
/// The text of a configuration needs one contiguous piece. If that were given back, compiled policies would be spread
/// over it, an update would now and then find no such piece, and the memory of the VM would grow, which never shrinks.
struct LargeBuffer {
    memory: RefCell<Vec<u8>>,
    /// True if it was handed out since the last host call, or is live.
    in_use: Cell<bool>,
    live: Cell<bool>,
}

thread_local! {
    static LARGE_BUFFER: LargeBuffer =
        const { LargeBuffer { memory: RefCell::new(Vec::new()), in_use: Cell::new(false), live: Cell::new(false) } };
}

impl LargeBuffer {
    fn allocate(&self, size: usize) -> Option<*mut u8> {
        if size > LARGE_BUFFER_MAX || self.in_use.replace(true) {
            return None;
        }
        let mut memory = self.memory.borrow_mut();
        if memory.len() < size {
            // The old buffer is freed first. Rounding up spares values that grow little by little a new one each time.
            *memory = Vec::new();
            *memory = vec![0; size.next_power_of_two()];
        }
        Some(memory.as_mut_ptr())
    }

    fn contains(&self, data: *const u8) -> bool {
        self.in_use.get() && data == self.memory.borrow().as_ptr()
    }

    /// Releases what the host did not take; see [`Arena::reclaim`].
    fn reclaim(&self) {
        self.in_use.set(self.live.get());
    }
}

/// Allocates `size` bytes for the host to write into, which [`adopt`] takes back.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let short = ARENA.with(|arena| arena.allocate(size));
    let long = || LARGE_BUFFER.with(|buffer| buffer.allocate(size));
    short.or_else(long).unwrap_or_else(|| Box::into_raw(vec![0_u8; size].into_boxed_slice()).cast())
}

/// Place that bytes are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    Arena,
    LargeBuffer,
    Box,
}

/// Bytes that the host returned.
pub struct Bytes {
    data: NonNull<u8>,
    length: usize,
    storage: Storage,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { data: NonNull::dangling(), length: 0, storage: Storage::Box }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        match NonNull::new(Box::into_raw(bytes.into_boxed_slice()).cast()) {
            Some(data) => Self { data, length, storage: Storage::Box },
            None => Self::default(),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `adopt` got this many initialized bytes, which this value owns until `drop`.
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
        match self.storage {
            Storage::Arena => ARENA.with(|arena| arena.live.set(arena.live.get() - 1)),
            Storage::LargeBuffer => LARGE_BUFFER.with(|buffer| buffer.live.set(false)),
            // SAFETY: the bytes were made as a boxed slice of this length; one of no bytes frees nothing.
            Storage::Box => {
                drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.data.as_ptr(), self.length)) })
            }
        }
    }
}

/// Makes a host call that returns bytes through two out pointers.
pub(super) fn call_for_bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Bytes, Status> {
    ARENA.with(Arena::reclaim);
    LARGE_BUFFER.with(LargeBuffer::reclaim);
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut length = 0_usize;
    let status = Status(call(&raw mut data, &raw mut length));
    if status != Status::OK {
        return Err(status);
    }
    Ok(adopt(data, length))
}

/// Takes ownership of the bytes of a successful host call.
#[inline(always)]
pub(super) fn adopt(data: *mut u8, length: usize) -> Bytes {
    let Some(data) = NonNull::new(data).filter(|_| length > 0) else { return Bytes::default() };
    // On success the host has allocated these `length` bytes by `allocate`, has written them all, and has given up the
    // pointer.
    let storage = ARENA.with(|arena| {
        if arena.contains(data.as_ptr()) {
            arena.live.set(arena.live.get() + 1);
            return Storage::Arena;
        }
        LARGE_BUFFER.with(|buffer| match buffer.contains(data.as_ptr()) {
            true => {
                buffer.live.set(true);
                Storage::LargeBuffer
            }
            false => Storage::Box,
        })
    });
    Bytes { data, length, storage }
}

#[cfg(test)]
mod tests;
