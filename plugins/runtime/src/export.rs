//! Exports of a module: the callbacks that the host finds by name.

use std::panic;

use crate::abi;
use crate::host::{Host, Level, ProxyHost};

/// Handles `_initialize`: makes a panic, which is a bug, log its location before it ends the VM.
pub fn on_initialize() {
    panic::set_hook(Box::new(|info| ProxyHost.log(Level::Critical, &format!("sallyport: {info}"))));
}

/// Handles `proxy_on_memory_allocate`: memory for the host to write into.
pub fn on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

/// Exports a [`Plugin`](crate::Plugin) as a Proxy-Wasm module.
///
/// It exports the callbacks of ABI 0.2.1 that an HTTP filter of this repository uses and no others, since each is a call
/// into the module on every request. As a network filter the module closes every connection. With `bodies` it
/// exports a [`BodyPlugin`](crate::BodyPlugin), with `bytes` a [`BytesPlugin`](crate::BytesPlugin), which serve as
/// network filters too.
#[macro_export]
macro_rules! filter {
    ($plugin:ty) => {
        $crate::filter!(@export $plugin, on_request_headers, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(_context: u32) -> u32 {
                VM.with(|vm| vm.refuse_connection()) as u32
            }

            // If closing failed, Envoy goes on to the next filter with the connection's bytes.
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_data(_context: u32, _size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.refuse_connection()) as u32
            }
        });
    };
    ($plugin:ty, bodies) => {
        $crate::filter!(@export $plugin, on_request, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_body(context: u32, held: usize, end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_request_body(context, held, end_of_stream != 0)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_trailers(context: u32, _trailers: usize) -> u32 {
                VM.with(|vm| vm.on_request_body(context, 0, true)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_delete(context: u32) {
                VM.with(|vm| vm.on_delete(context));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
                VM.with(|vm| vm.on_new_connection(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_data(context: u32, _size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_downstream_data(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_connection_close(context: u32, _by: u32) {
                VM.with(|vm| vm.on_connection_close(context));
            }
        });
    };
    ($plugin:ty, bytes) => {
        $crate::filter!(@export $plugin, on_request_headers, {
            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
                VM.with(|vm| vm.on_connection(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_data(context: u32, size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_bytes(context, $crate::Side::Downstream, size)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_upstream_data(context: u32, size: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.on_bytes(context, $crate::Side::Upstream, size)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_downstream_connection_close(context: u32, _by: u32) {
                VM.with(|vm| vm.on_connection_close(context));
            }
        });
    };
    (@export $plugin:ty, $on_request:ident, { $($more:item)* }) => {
        mod exports {
            #![expect(unsafe_code, reason = "the host finds callbacks by their unmangled names")]

            use super::*;

            thread_local! {
                static VM: $crate::Vm<$plugin> = const { $crate::Vm::new($crate::ProxyHost) };
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_abi_version_0_2_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::on_initialize();
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
                $crate::on_memory_allocate(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
                VM.with(|vm| vm.on_context_create(context, parent));
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_configure(context: u32, size: usize) -> bool {
                VM.with(|vm| vm.on_configure(context, size))
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_request_headers(context: u32, _headers: usize, _end_of_stream: u32) -> u32 {
                VM.with(|vm| vm.$on_request(context)) as u32
            }

            #[unsafe(no_mangle)]
            extern "C" fn proxy_on_tick(context: u32) {
                VM.with(|vm| vm.on_tick(context));
            }

            $($more)*
        }
    };
}
