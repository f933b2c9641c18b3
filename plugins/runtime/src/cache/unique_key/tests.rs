use std::collections::HashSet;

use super::*;

#[test]
fn keys_are_short_and_differ_by_time_and_count() {
    const NOW: u128 = 1_795_392_000_123_456_789;
    let mut keys = HashSet::new();
    for time in [NOW, NOW + 1, NOW + 1_000, NOW + (1 << 32), u128::from(u64::MAX)] {
        for count in [0, 1, 2, 63, 64, 1 << 31, u32::MAX] {
            let key = UniqueKey::encode(b'+', time, count);
            assert_eq!(key.as_str().len(), 17, "{key:?}");
            assert_eq!(key.as_str().as_bytes(), key.as_bytes());
            assert!(key.as_bytes().iter().all(u8::is_ascii_graphic), "{key:?}");
            assert!(keys.insert(key));
        }
    }
}
