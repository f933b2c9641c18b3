//! Limits of the memory that configurations take.
//!
//! Envoy tries a configuration in a VM that it makes for that, and then loads it on each worker beside those that are
//! there. If that traps or returns false, the worker goes on without the filter, and requests pass. So the trial refuses
//! what takes much memory, and a worker that has no room for as much denies instead of loading.

/// Most pages of 64 KiB that a VM has after its first configuration.
const MAX_FIRST: usize = 512 << 4;

/// Pages that the memory of a VM can have: 32 bits of addresses.
const MAX_PAGES: usize = 1 << 16;

/// Describes why a VM that has so many pages after its first configuration refuses it, if it does.
pub(crate) fn excess(pages: usize) -> Option<String> {
    (pages > MAX_FIRST).then(|| {
        format!(
            "takes {} MiB of memory to load, the limit is {}; shorten long values, or split the policies between proxies",
            mebibytes(pages),
            mebibytes(MAX_FIRST)
        )
    })
}

/// Describes why a VM that has so many pages, and loaded a configuration before, loads no more, if so.
pub(crate) fn shortage(pages: usize) -> Option<String> {
    (pages > MAX_PAGES - MAX_FIRST).then(|| {
        format!(
            "a configuration is not loaded, and what it is for is denied: this worker's VM takes {} MiB of memory of {}, and a configuration may take {}; restart Envoy, and give filters with large policies a vm_id each",
            mebibytes(pages),
            mebibytes(MAX_PAGES),
            mebibytes(MAX_FIRST)
        )
    })
}

fn mebibytes(pages: usize) -> usize {
    pages >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_configuration_has_a_limit() {
        assert_eq!(excess(8192), None);
        assert_eq!(
            excess(8193 + 16).as_deref(),
            Some(
                "takes 513 MiB of memory to load, the limit is 512; shorten long values, or split the policies between proxies"
            )
        );
    }

    #[test]
    fn a_vm_keeps_room_for_a_configuration() {
        assert_eq!(shortage(65_536 - 8192), None);
        assert_eq!(
            shortage(65_536 - 8192 + 16).as_deref(),
            Some(
                "a configuration is not loaded, and what it is for is denied: this worker's VM takes 3585 MiB of memory of 4096, and a configuration may take 512; restart Envoy, and give filters with large policies a vm_id each"
            )
        );
    }
}
