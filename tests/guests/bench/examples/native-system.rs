//! The work natively, with the system's allocator.

mod native;

fn main() {
    native::serve();
}
