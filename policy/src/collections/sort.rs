//! Sorting, once for every type: each instance of the standard library's sorts is some kilobytes of a module.

use std::cmp::Ordering;

/// Sorts `items`, equal ones in their order.
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = sorted_indices(items.len(), &|one, other| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    apply_permutation(order, &mut |one, other| items.swap(one, other));
}

/// Brings items into an order by swaps: each item moves once, and no second list of them takes memory.
fn apply_permutation(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut at = start;
        while let Some(wanted) = order.get_mut(at).map(|wanted| std::mem::replace(wanted, at)) {
            if wanted == start {
                break;
            }
            swap(at, wanted);
            at = wanted;
        }
    }
}

/// Returns the indexes of `count` items in sorted order; equal items keep their order.
pub(crate) fn sorted_indices(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|one, other| compare(*one, *other).then(one.cmp(other)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_keep_their_order() {
        let mut items: Vec<(u32, &str)> = vec![(2, "a"), (1, "b"), (2, "c"), (0, "d"), (1, "e")];
        sort_by(&mut items, |(one, _), (other, _)| one.cmp(other));
        assert_eq!(items, [(0, "d"), (1, "b"), (1, "e"), (2, "a"), (2, "c")]);
    }

    #[test]
    fn agrees_with_the_standard_library() {
        for count in 0..200_usize {
            let mut items: Vec<_> = (0..count).map(|at| (at * 7919 % 61, at)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            sort_by(&mut items, |(one, _), (other, _)| one.cmp(other));
            assert_eq!(items, expected);
        }
    }
}
