;; A component that starts well and is a processor of another contract: it exports version 9.9.9, and has no version
;; that this host serves.
(component
  (core module $module
    (func (export "configure") (result i32) (i32.const 0)))
  (core instance $instance (instantiate $module))
  (func $configure (result u32) (canon lift (core func $instance "configure")))
  (instance $guest (export "configure" (func $configure)))
  (export "pillowtop:processor/guest@9.9.9" (instance $guest)))
