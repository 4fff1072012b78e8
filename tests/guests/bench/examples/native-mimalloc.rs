//! The work natively, with mimalloc, which is the host's allocator.

mod native;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    native::serve();
}
