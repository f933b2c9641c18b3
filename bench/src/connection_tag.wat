;; The floor for a filter that caches a decision per connection: it gets a callback per context, and tests whether the
;; connection has a tag in its filter state. The first request on the connection sets the tag.
(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "sallyport.ctag")
  (data (i32.const 1040) "declare_property")
  ;; DeclarePropertyArguments: the name, and the life span DOWNSTREAM_CONNECTION.
  (data (i32.const 1056) "\0a\0esallyport.ctag\28\02")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 2048)
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (i32.eqz (call $call (i32.const 1040) (i32.const 16) (i32.const 1056) (i32.const 18) (i32.const 512) (i32.const 516))))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $get (i32.const 1024) (i32.const 14) (i32.const 512) (i32.const 516))
      (then (drop (call $set (i32.const 1024) (i32.const 14) (i32.const 0) (i32.const 0)))))
    i32.const 0))
