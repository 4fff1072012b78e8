;; Imports what no processor is given; a host names it and refuses the file.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "process") (result i32)
    (call $random_get (i32.const 0) (i32.const 16))))
