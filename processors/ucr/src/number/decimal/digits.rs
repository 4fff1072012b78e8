//! The digits of decimals: whole numbers without a sign, moved by powers of ten.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, ToPrimitive, Zero};
use std::cmp::Ordering;

use super::DecimalError;

/// More digits than this are refused when a number has to be written out in full.
pub(super) const MOST_DIGITS: i64 = 20_000;

pub(super) fn magnitudes(a: &BigUint, i: i64, b: &BigUint, j: i64) -> Ordering {
    let adjusted = |digits: &BigUint, exponent: i64| i64::try_from(decimal_length(digits)).unwrap_or(0) + exponent;
    let by_size = adjusted(a, i).cmp(&adjusted(b, j));
    if by_size != Ordering::Equal {
        return by_size;
    }
    // Of the same size, the exponents differ by no more than the digits are long.
    match i.cmp(&j) {
        Ordering::Equal => a.cmp(b),
        Ordering::Greater => (a * ten_to((i - j).unsigned_abs())).cmp(b),
        Ordering::Less => a.cmp(&(b * ten_to((j - i).unsigned_abs()))),
    }
}

pub(super) fn signed(negative: bool, magnitude: BigUint) -> BigInt {
    BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude)
}

pub(super) fn scaled(digits: &BigUint, places: i64) -> Result<BigUint, DecimalError> {
    match places {
        0 => Ok(digits.clone()),
        _ if digits.is_zero() => Ok(BigUint::zero()),
        1..=MOST_DIGITS => Ok(digits * ten_to(places.unsigned_abs())),
        _ => Err(DecimalError::TooLarge),
    }
}

pub(super) fn scaled_or_zero(digits: &BigUint, places: i64) -> BigUint {
    scaled(digits, places).unwrap_or_else(|_| BigUint::zero())
}

pub(super) fn ten_to(power: u64) -> BigUint {
    BigUint::from(10u8).pow(u32::try_from(power).unwrap_or(u32::MAX))
}

/// The digits as text, quickly for those that fit a machine's word.
pub(super) fn written(digits: &BigUint) -> String {
    digits.to_u64().map_or_else(|| digits.to_string(), |small| small.to_string())
}

/// Number of decimal digits; zero has one.
pub(super) fn decimal_length(digits: &BigUint) -> u64 {
    if let Some(small) = digits.to_u64() {
        return u64::from(small.checked_ilog10().unwrap_or(0)) + 1;
    }
    // log10(2) from below, then corrected by at most one.
    let guess = (digits.bits() - 1) * 30_102 / 100_000;
    let mut length = guess.max(1);
    while *digits >= ten_to(length) {
        length += 1;
    }
    length
}

/// Cuts so many digits off the end, rounding half to even.
pub(super) fn half_even(digits: &BigUint, cut: u64) -> BigUint {
    if cut > decimal_length(digits) {
        return BigUint::zero();
    }
    let unit = ten_to(cut);
    let (quotient, rest) = digits.div_rem(&unit);
    match (rest * 2u8).cmp(&unit) {
        Ordering::Less => quotient,
        Ordering::Greater => quotient + BigUint::one(),
        Ordering::Equal if quotient.is_even() => quotient,
        Ordering::Equal => quotient + BigUint::one(),
    }
}
