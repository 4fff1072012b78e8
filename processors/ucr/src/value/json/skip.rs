//! Goes over values that nobody reads.

use super::{JsonError, Reader, TOO_MANY_DIGITS, byte, space_end};
use crate::number::MOST_INTEGER_DIGITS;

/// Which of the lists and dicts that are open are dicts: a bit for each level.
#[derive(Default)]
struct Open {
    dicts: [u64; super::MOST_DEPTH.div_ceil(64)],
    levels: usize,
}

impl Open {
    fn push(&mut self, is_dict: bool) {
        if let Some(word) = self.dicts.get_mut(self.levels / 64) {
            let bit = 1 << (self.levels % 64);
            *word = if is_dict { *word | bit } else { *word & !bit };
        }
        self.levels += 1;
    }

    fn is_in_dict(&self) -> bool {
        let level = self.levels.wrapping_sub(1);
        self.dicts.get(level / 64).is_some_and(|word| word & (1 << (level % 64)) != 0)
    }
}

impl Reader<'_> {
    /// Checks a value as [`Self::value`] does, builds nothing, and says where it ends.
    pub(super) fn value_end(&mut self, mut at: usize) -> Result<usize, JsonError> {
        let mut open = Open::default();
        loop {
            match byte(self.bytes, at) {
                b'"' => at = self.text_end(at + 1)?,
                bracket @ (b'{' | b'[') => {
                    if self.depth + open.levels == super::MOST_DEPTH {
                        return Err(self.error_at(at, "nested too deep"));
                    }
                    at = space_end(self.bytes, at + 1);
                    let is_dict = bracket == b'{';
                    if byte(self.bytes, at) == if is_dict { b'}' } else { b']' } {
                        at += 1;
                    } else {
                        open.push(is_dict);
                        if is_dict {
                            at = self.key_end(at)?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => {
                    self.at = at;
                    let (length, is_integer) = self.number_text()?;
                    // No integer of 64 bits is that long.
                    if is_integer && length > MOST_INTEGER_DIGITS {
                        return Err(self.error(TOO_MANY_DIGITS));
                    }
                    at = self.at;
                }
                _ => {
                    self.at = at;
                    self.value()?;
                    at = self.at;
                }
            }
            // Behind a value: the end of what is open, or the next value.
            loop {
                if open.levels == 0 {
                    return Ok(at);
                }
                let is_last;
                (is_last, at) = self.end_or_next(at, if open.is_in_dict() { b'}' } else { b']' })?;
                if !is_last {
                    break;
                }
                open.levels -= 1;
            }
            if open.is_in_dict() {
                at = self.key_end(at)?;
            }
        }
    }

    /// Where the value of the key begins.
    #[inline(always)]
    fn key_end(&mut self, at: usize) -> Result<usize, JsonError> {
        let start = self.opening_quote(at)?;
        let end = self.text_end(start)?;
        self.colon_end(end)
    }

    /// Behind the closing quote of a text that begins there, behind its opening quote.
    #[inline(always)]
    fn text_end(&mut self, at: usize) -> Result<usize, JsonError> {
        let end = plain_end(self.bytes, at);
        if byte(self.bytes, end) == b'"' { Ok(end + 1) } else { self.escaped_text_end(end) }
    }

    fn escaped_text_end(&mut self, at: usize) -> Result<usize, JsonError> {
        self.at = at;
        loop {
            match self.peek() {
                Some(b'"') => return Ok(self.at + 1),
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.error("a control character in a text")),
                None => return Err(self.error("a text without an end")),
            }
            self.at = plain_end(self.bytes, self.at);
        }
    }
}

/// Where the next quote, backslash or control character stands, or the end.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((block, behind)) = rest.split_first_chunk() {
        if let Some(place) = stop(block) {
            return at + place;
        }
        at += block.len();
        rest = behind;
    }
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

/// The first quote, backslash or control character among sixteen bytes.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline]
fn stop(block: &[u8; 16]) -> Option<usize> {
    use std::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_le, u8x16_splat, u64x2, v128_or};
    let (low, high) = block.split_at(8);
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
    let block = u64x2(word(low), word(high));
    let is_quote = u8x16_eq(block, u8x16_splat(b'"'));
    let is_backslash = u8x16_eq(block, u8x16_splat(b'\\'));
    let is_control = u8x16_le(block, u8x16_splat(0x1f));
    let stops = u8x16_bitmask(v128_or(v128_or(is_quote, is_backslash), is_control));
    (stops != 0).then(|| stops.trailing_zeros() as usize)
}

/// The first quote, backslash or control character among eight bytes.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
fn stop(block: &[u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let eight = u64::from_le_bytes(*block);
    let quote = eight ^ (0x22 * ONES);
    let backslash = eight ^ (0x5c * ONES);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = eight.wrapping_sub(0x20 * ONES) & !eight;
    // The highest bit of the first byte that is one of them; of bytes behind it perhaps, too.
    let stops = (is_quote | is_backslash | is_control) & HIGH;
    (stops != 0).then(|| (stops.trailing_zeros() / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_on_to_the_first_quote_backslash_or_control_character() {
        for length in 0..40 {
            let plain = "é~ !#[]\u{7f}".repeat(5);
            let plain = plain.as_bytes().get(..length).unwrap();
            assert_eq!(plain_end(plain, 0), length);
            for stop in [b'"', b'\\', 0, 0x1f, b'\n'] {
                let text = [plain, &[stop], plain, &[stop]].concat();
                assert_eq!(plain_end(&text, 0), length, "{stop}");
                assert_eq!(plain_end(&text, length + 1), 2 * length + 1, "{stop}");
            }
        }
        assert_eq!(plain_end(b"abc", 9), 9);
    }
}
