//! `memcmp` for WASM, which has no instruction for it: Rust's own goes byte by byte there, and comparing texts (keys of
//! objects, names of tables) was a tenth of what the row builder's documents cost. This one takes eight at a time.

#![expect(unsafe_code, reason = "the compiler calls it by its name and hands it raw memory")]

/// What the compiler calls for `==` and `cmp` of slices and texts.
///
/// # Safety
/// `a` and `b` lead to at least `length` bytes each.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise is passed on.
    unsafe { compare(a, b, length) }
}

/// Negative, zero or positive, as the first different byte says.
///
/// # Safety
/// `a` and `b` lead to at least `length` bytes each.
#[inline(always)]
unsafe fn compare(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // Not through slices: their comparison is this very function.
    while at + 8 <= length {
        // SAFETY: eight bytes from here on lie within both; they need not be aligned.
        let (one, other) =
            unsafe { (a.add(at).cast::<u64>().read_unaligned(), b.add(at).cast::<u64>().read_unaligned()) };
        if one != other {
            // The first byte is the most significant one then.
            return if u64::from_be(one) < u64::from_be(other) { -1 } else { 1 };
        }
        at += 8;
    }
    while at < length {
        // SAFETY: it lies within both.
        let (one, other) = unsafe { (*a.add(at), *b.add(at)) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
        at += 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use std::cmp::Ordering;

    fn order(a: &[u8], b: &[u8]) -> Ordering {
        let length = a.len().min(b.len());
        // SAFETY: both have that many bytes.
        unsafe { compare(a.as_ptr(), b.as_ptr(), length) }.cmp(&0)
    }

    #[test]
    fn the_first_different_byte_decides() {
        let equal = b"0123456789abcdefgh";
        assert_eq!(order(equal, &equal.clone()), Ordering::Equal);
        for at in 0..equal.len() {
            let mut smaller = *equal;
            smaller[at] = 0;
            // What stands behind says the opposite.
            smaller[at + 1..].fill(0xff);
            assert_eq!(order(equal, &smaller), Ordering::Greater, "{at}");
            assert_eq!(order(&smaller, equal), Ordering::Less, "{at}");
        }
    }

    proptest! {
        #[test]
        fn it_orders_as_slices_do(start in any::<Vec<u8>>(), a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            let length = a.len().min(b.len());
            let whole = |rest: &[u8]| [&start[..], &rest[..length]].concat();
            let (a, b) = (whole(&a), whole(&b));
            assert_eq!(order(&a, &b), a.cmp(&b));
        }
    }
}
