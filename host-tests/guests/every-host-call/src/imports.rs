//! The host functions of ABI 0.2.1.

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(crate) fn proxy_log(level: u32, message: *const u8, length: usize) -> u32;
    pub(crate) fn proxy_get_log_level(level: *mut u32) -> u32;
    pub(crate) fn proxy_get_status(code: *mut u32, data: *mut *mut u8, length: *mut usize) -> u32;
    pub(crate) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(crate) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    pub(crate) fn proxy_set_effective_context(context: u32) -> u32;
    pub(crate) fn proxy_done() -> u32;
    pub(crate) fn proxy_call_foreign_function(
        name: *const u8,
        name_length: usize,
        argument: *const u8,
        argument_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    pub(crate) fn proxy_get_property(
        path: *const u8,
        path_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    pub(crate) fn proxy_set_property(path: *const u8, path_length: usize, value: *const u8, length: usize) -> u32;
    pub(crate) fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    pub(crate) fn proxy_get_buffer_status(kind: u32, length: *mut usize, flags: *mut u32) -> u32;
    pub(crate) fn proxy_set_buffer_bytes(
        kind: u32,
        start: usize,
        replaced: usize,
        data: *const u8,
        length: usize,
    ) -> u32;
    pub(crate) fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    pub(crate) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, length: *mut usize) -> u32;
    pub(crate) fn proxy_get_header_map_size(map: u32, size: *mut usize) -> u32;
    pub(crate) fn proxy_set_header_map_pairs(map: u32, pairs: *const u8, length: usize) -> u32;
    pub(crate) fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_length: usize,
        value: *const u8,
        length: usize,
    ) -> u32;
    pub(crate) fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_length: usize,
        value: *const u8,
        length: usize,
    ) -> u32;
    pub(crate) fn proxy_remove_header_map_value(map: u32, key: *const u8, key_length: usize) -> u32;
    pub(crate) fn proxy_get_shared_data(
        key: *const u8,
        key_length: usize,
        data: *mut *mut u8,
        length: *mut usize,
        version: *mut u32,
    ) -> u32;
    pub(crate) fn proxy_set_shared_data(
        key: *const u8,
        key_length: usize,
        value: *const u8,
        length: usize,
        version: u32,
    ) -> u32;
    pub(crate) fn proxy_register_shared_queue(name: *const u8, length: usize, queue: *mut u32) -> u32;
    pub(crate) fn proxy_resolve_shared_queue(
        vm_id: *const u8,
        vm_id_length: usize,
        name: *const u8,
        length: usize,
        queue: *mut u32,
    ) -> u32;
    pub(crate) fn proxy_enqueue_shared_queue(queue: u32, data: *const u8, length: usize) -> u32;
    pub(crate) fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, length: *mut usize) -> u32;
    pub(crate) fn proxy_define_metric(kind: u32, name: *const u8, length: usize, metric: *mut u32) -> u32;
    pub(crate) fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    pub(crate) fn proxy_record_metric(metric: u32, value: u64) -> u32;
    pub(crate) fn proxy_get_metric(metric: u32, value: *mut u64) -> u32;
    pub(crate) fn proxy_http_call(
        cluster: *const u8,
        cluster_length: usize,
        headers: *const u8,
        headers_length: usize,
        body: *const u8,
        body_length: usize,
        trailers: *const u8,
        trailers_length: usize,
        timeout: u32,
        call: *mut u32,
    ) -> u32;
    pub(crate) fn proxy_grpc_call(
        service: *const u8,
        service_length: usize,
        name: *const u8,
        name_length: usize,
        method: *const u8,
        method_length: usize,
        metadata: *const u8,
        metadata_length: usize,
        message: *const u8,
        message_length: usize,
        timeout: u32,
        call: *mut u32,
    ) -> u32;
    pub(crate) fn proxy_grpc_stream(
        service: *const u8,
        service_length: usize,
        name: *const u8,
        name_length: usize,
        method: *const u8,
        method_length: usize,
        metadata: *const u8,
        metadata_length: usize,
        stream: *mut u32,
    ) -> u32;
    pub(crate) fn proxy_grpc_send(stream: u32, message: *const u8, length: usize, end_of_stream: u32) -> u32;
    pub(crate) fn proxy_grpc_close(stream: u32) -> u32;
    pub(crate) fn proxy_grpc_cancel(call: u32) -> u32;
    pub(crate) fn proxy_continue_stream(kind: u32) -> u32;
    pub(crate) fn proxy_close_stream(kind: u32) -> u32;
    pub(crate) fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        grpc_status: i32,
    ) -> u32;
}
