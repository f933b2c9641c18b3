;; The least that a filter does which decides by who asks and for what: it learns of each context, and asks for the
;; connection and the headers of the request.
(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "connection\00id")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 2048)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 1024) (i32.const 13) (i32.const 512) (i32.const 516)))
    (drop (call $headers (i32.const 0) (i32.const 512) (i32.const 516)))
    i32.const 0))
