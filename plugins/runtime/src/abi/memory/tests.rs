use super::*;

fn answer(bytes: &[u8]) -> Result<Bytes, Status> {
    call_for_bytes(|data, length| {
        let memory = allocate(bytes.len());
        // SAFETY: the memory has this many bytes, and the pointers are to locals of `call_for_bytes`.
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
            1 => ARENA_CAPACITY,
            2 => ARENA_CAPACITY + 1 + (turn >> 45) % ARENA_CAPACITY,
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
        let refused = call_for_bytes(|_, _| {
            allocate(100);
            10
        });
        assert_eq!(refused.err(), Some(Status(10)));
        let values = [answer(b"cluster.local"), answer(&[7; 900])];
        let in_the_arena = |value: &Result<Bytes, Status>| value.as_ref().is_ok_and(|it| it.storage == Storage::Arena);
        assert!(values.iter().all(in_the_arena));
    }
}

#[test]
fn the_memory_of_a_long_value_is_kept_for_the_next() {
    let storage = |length| answer(&vec![7; length]).map(|value| (value.storage, value.as_ptr())).expect("an answer");
    let (_, kept) = storage(70_000);
    for length in [ARENA_CAPACITY + 1, 70_000, 70_100, 100_000] {
        let refused = call_for_bytes(|_, _| {
            allocate(length);
            10
        });
        assert_eq!(refused.err(), Some(Status(10)));
        assert_eq!(storage(length), (Storage::LargeBuffer, kept), "{length}");
    }
    let held = answer(&[7; ARENA_CAPACITY + 1]);
    assert_eq!(storage(ARENA_CAPACITY + 1).0, Storage::Box);
    drop(held);
    assert_eq!(storage(LARGE_BUFFER_MAX).0, Storage::LargeBuffer);
    assert_eq!(storage(LARGE_BUFFER_MAX + 1).0, Storage::Box);
}
