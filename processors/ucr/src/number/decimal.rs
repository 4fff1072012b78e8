//! Decimal numbers as Python's `decimal` module has them: any number of digits, trailing zeros kept, and arithmetic
//! at 28 significant digits, half to even.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, ToPrimitive, Zero};
use std::cmp::Ordering;
use std::fmt;

/// Significant digits of results of arithmetic, Python's default context.
const PRECISION: u64 = 28;

/// More digits than this are refused when a number has to be written out in full.
const MOST_DIGITS: i64 = 20_000;

#[derive(Clone, Debug)]
pub struct Decimal {
    negative: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Finite { digits: BigUint, exponent: i64 },
    Infinity,
    NotANumber,
}

/// An operation that Python refuses, or whose result would be too large to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("division of a decimal by zero")]
    DivisionByZero,
    #[error("invalid operation on decimals")]
    Invalid,
    #[error("a decimal with too many digits")]
    TooLarge,
}

impl Decimal {
    /// Reads what Python's `Decimal(text)` reads: surrounding whitespace, underscores, exponents, `nan` and `inf`.
    pub fn parse(text: &str) -> Option<Self> {
        let trimmed = super::stripped(text);
        let mut plain = String::with_capacity(trimmed.len());
        for c in trimmed.chars() {
            match c {
                '_' => {}
                c if c.is_ascii() => plain.push(c),
                c => plain.push(char::from_digit(super::unicode_digit(c)?, 10)?),
            }
        }
        let (negative, unsigned) = match plain.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
        };
        let lower = unsigned.to_ascii_lowercase();
        if lower == "inf" || lower == "infinity" {
            return Some(Self { negative, kind: Kind::Infinity });
        }
        if let Some(payload) = lower.strip_prefix("snan").or_else(|| lower.strip_prefix("nan")) {
            let legal = payload.bytes().all(|byte| byte.is_ascii_digit());
            return legal.then_some(Self { negative, kind: Kind::NotANumber });
        }
        let (mantissa, exponent) = match lower.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (lower.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Self { negative, kind: Kind::Finite { digits: BigUint::parse_bytes(digits.as_bytes(), 10)?, exponent } })
    }

    pub fn from_integer(integer: &BigInt) -> Self {
        let kind = Kind::Finite { digits: integer.magnitude().clone(), exponent: 0 };
        Self { negative: integer.sign() == Sign::Minus, kind }
    }

    /// The exact binary value of a float.
    pub fn from_float(float: f64) -> Self {
        let negative = float.is_sign_negative();
        if float.is_nan() {
            return Self { negative: false, kind: Kind::NotANumber };
        }
        if float.is_infinite() {
            return Self { negative, kind: Kind::Infinity };
        }
        let bits = float.to_bits();
        let raw_exponent = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
        let fraction = bits & ((1 << 52) - 1);
        let (mut mantissa, mut exponent) =
            if raw_exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), raw_exponent - 1075) };
        if mantissa == 0 {
            return Self { negative, kind: Kind::Finite { digits: BigUint::zero(), exponent: 0 } };
        }
        while exponent < 0 && mantissa % 2 == 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        let power = u32::try_from(exponent.unsigned_abs()).unwrap_or(0);
        let digits = BigUint::from(mantissa);
        let kind = if exponent >= 0 {
            Kind::Finite { digits: digits << power, exponent: 0 }
        } else {
            // m / 2^n is m * 5^n / 10^n.
            Kind::Finite { digits: digits * BigUint::from(5u8).pow(power), exponent }
        };
        Self { negative, kind }
    }

    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::NotANumber)
    }

    pub fn is_infinite(&self) -> bool {
        matches!(self.kind, Kind::Infinity)
    }

    pub fn is_negative(&self) -> bool {
        self.negative
    }

    pub fn is_zero(&self) -> bool {
        matches!(&self.kind, Kind::Finite { digits, .. } if digits.is_zero())
    }

    /// The whole part, cut towards zero.
    ///
    /// # Errors
    ///
    /// Infinity and not-a-number are [`DecimalError::Invalid`].
    pub fn truncate(&self) -> Result<BigInt, DecimalError> {
        let Kind::Finite { digits, exponent } = &self.kind else { return Err(DecimalError::Invalid) };
        let magnitude = if *exponent >= 0 {
            scaled(digits, *exponent)?
        } else if exponent.unsigned_abs() > decimal_length(digits) {
            BigUint::zero()
        } else {
            digits / ten_to(exponent.unsigned_abs())
        };
        Ok(signed(self.negative, magnitude))
    }

    pub fn to_float(&self) -> f64 {
        let magnitude = match &self.kind {
            Kind::NotANumber => return f64::NAN,
            Kind::Infinity => f64::INFINITY,
            Kind::Finite { digits, exponent } => format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN),
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// As an integer, when it is a whole number that can be written out.
    pub fn to_integer_exact(&self) -> Option<BigInt> {
        let whole = self.truncate().ok()?;
        (self.compare(&Self::from_integer(&whole)) == Some(Ordering::Equal)).then_some(whole)
    }

    /// Exact order; `None` beside not-a-number.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.is_nan() || other.is_nan() {
            return None;
        }
        if self.is_zero() && other.is_zero() {
            return Some(Ordering::Equal);
        }
        let sign = |decimal: &Self| match (decimal.is_zero(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal {
            return Some(by_sign);
        }
        let magnitude = match (&self.kind, &other.kind) {
            (Kind::Infinity, Kind::Infinity) => Ordering::Equal,
            (Kind::Infinity, _) => Ordering::Greater,
            (_, Kind::Infinity) => Ordering::Less,
            (Kind::Finite { digits: a, exponent: i }, Kind::Finite { digits: b, exponent: j }) => {
                magnitudes(a, *i, b, *j)
            }
            _ => return None,
        };
        Some(if self.negative { magnitude.reverse() } else { magnitude })
    }

    #[must_use]
    pub fn negate(&self) -> Self {
        // Python's unary minus applies the context: it rounds, and minus zero is zero.
        let negated = Self { negative: !self.negative && !self.is_zero(), kind: self.kind.clone() };
        negated.rounded()
    }

    /// The positive of it, rounded to the context like Python's unary plus.
    #[must_use]
    pub fn plus(&self) -> Self {
        Self { negative: self.negative && !self.is_zero(), kind: self.kind.clone() }.rounded()
    }

    #[must_use]
    pub fn absolute(&self) -> Self {
        Self { negative: false, kind: self.kind.clone() }.rounded()
    }

    /// # Errors
    ///
    /// Infinity minus infinity is invalid.
    pub fn add(&self, other: &Self) -> Result<Self, DecimalError> {
        let (a, i, b, j) = match (&self.kind, &other.kind) {
            (Kind::NotANumber, _) | (_, Kind::NotANumber) => return Ok(Self::not_a_number()),
            (Kind::Infinity, Kind::Infinity) if self.negative != other.negative => return Err(DecimalError::Invalid),
            (Kind::Infinity, _) => return Ok(self.clone()),
            (_, Kind::Infinity) => return Ok(other.clone()),
            (Kind::Finite { digits: a, exponent: i }, Kind::Finite { digits: b, exponent: j }) => (a, *i, b, *j),
        };
        // A number far below the last digit of the other only matters for rounding: a one in a low place does.
        let low = i.min(j);
        let high_digits = |digits: &BigUint, exponent: i64| if digits.is_zero() { 0 } else { exponent - low };
        if high_digits(a, i).max(high_digits(b, j)) > MOST_DIGITS {
            let (large, small) = if i > j { (self, other) } else { (other, self) };
            if large.is_zero() {
                return Ok(small.rounded());
            }
            return Ok(large.nudged(small).rounded());
        }
        let left = signed(self.negative, scaled_or_zero(a, i - low));
        let right = signed(other.negative, scaled_or_zero(b, j - low));
        let sum = left + right;
        let negative = sum.sign() == Sign::Minus || (sum.is_zero() && self.negative && other.negative);
        Ok(Self { negative, kind: Kind::Finite { digits: sum.magnitude().clone(), exponent: low } }.rounded())
    }

    /// # Errors
    ///
    /// Infinity minus infinity is invalid.
    pub fn subtract(&self, other: &Self) -> Result<Self, DecimalError> {
        self.add(&Self { negative: !other.negative, kind: other.kind.clone() })
    }

    /// # Errors
    ///
    /// Zero times infinity is invalid.
    pub fn multiply(&self, other: &Self) -> Result<Self, DecimalError> {
        let negative = self.negative != other.negative;
        match (&self.kind, &other.kind) {
            (Kind::NotANumber, _) | (_, Kind::NotANumber) => Ok(Self::not_a_number()),
            (Kind::Infinity, _) if other.is_zero() => Err(DecimalError::Invalid),
            (_, Kind::Infinity) if self.is_zero() => Err(DecimalError::Invalid),
            (Kind::Infinity, _) | (_, Kind::Infinity) => Ok(Self { negative, kind: Kind::Infinity }),
            (Kind::Finite { digits: a, exponent: i }, Kind::Finite { digits: b, exponent: j }) => {
                let exponent = i.checked_add(*j).ok_or(DecimalError::TooLarge)?;
                Ok(Self { negative, kind: Kind::Finite { digits: a * b, exponent } }.rounded())
            }
        }
    }

    /// # Errors
    ///
    /// Division by zero, and infinity by infinity.
    pub fn divide(&self, other: &Self) -> Result<Self, DecimalError> {
        let negative = self.negative != other.negative;
        let (a, i, b, j) = match (&self.kind, &other.kind) {
            (Kind::NotANumber, _) | (_, Kind::NotANumber) => return Ok(Self::not_a_number()),
            (Kind::Infinity, Kind::Infinity) => return Err(DecimalError::Invalid),
            (Kind::Infinity, _) => return Ok(Self { negative, kind: Kind::Infinity }),
            (_, Kind::Infinity) => {
                return Ok(Self { negative, kind: Kind::Finite { digits: BigUint::zero(), exponent: 0 } });
            }
            (Kind::Finite { digits: a, exponent: i }, Kind::Finite { digits: b, exponent: j }) => (a, *i, b, *j),
        };
        if b.is_zero() {
            return Err(if a.is_zero() { DecimalError::Invalid } else { DecimalError::DivisionByZero });
        }
        let ideal = i.checked_sub(j).ok_or(DecimalError::TooLarge)?;
        if a.is_zero() {
            return Ok(Self { negative, kind: Kind::Finite { digits: BigUint::zero(), exponent: ideal } });
        }
        // Enough digits that rounding to the precision is right, with one more that says "there was a rest".
        let wanted = (decimal_length(b) + PRECISION + 2).saturating_sub(decimal_length(a));
        let (mut digits, rest) = (a * ten_to(wanted)).div_rem(b);
        let mut exponent = ideal - i64::try_from(wanted).unwrap_or(i64::MAX);
        if rest.is_zero() {
            // An exact result goes back towards the ideal exponent.
            let ten = BigUint::from(10u8);
            while exponent < ideal {
                let (quotient, remainder) = digits.div_rem(&ten);
                if !remainder.is_zero() {
                    break;
                }
                digits = quotient;
                exponent += 1;
            }
        } else {
            digits = digits * 10u8 + 1u8;
            exponent -= 1;
        }
        Ok(Self { negative, kind: Kind::Finite { digits, exponent } }.rounded())
    }

    /// Quotient cut towards zero and rest with the sign of the dividend, as Python's decimals (unlike its integers)
    /// have `//` and `%`.
    ///
    /// # Errors
    ///
    /// Division by zero, infinities, and quotients of more digits than the precision.
    pub fn divide_with_rest(&self, other: &Self) -> Result<(Self, Self), DecimalError> {
        let (a, i, b, j) = match (&self.kind, &other.kind) {
            (Kind::NotANumber, _) | (_, Kind::NotANumber) => return Ok((Self::not_a_number(), Self::not_a_number())),
            (Kind::Infinity, _) => return Err(DecimalError::Invalid),
            (Kind::Finite { .. }, Kind::Infinity) => {
                let zero = Kind::Finite { digits: BigUint::zero(), exponent: 0 };
                return Ok((Self { negative: self.negative != other.negative, kind: zero }, self.plus()));
            }
            (Kind::Finite { digits: a, exponent: i }, Kind::Finite { digits: b, exponent: j }) => (a, *i, b, *j),
        };
        if b.is_zero() {
            return Err(if a.is_zero() { DecimalError::Invalid } else { DecimalError::DivisionByZero });
        }
        let low = i.min(j);
        let (quotient, rest) = scaled(a, i - low)?.div_rem(&scaled(b, j - low)?);
        if decimal_length(&quotient) > PRECISION {
            return Err(DecimalError::Invalid);
        }
        let quotient = Kind::Finite { digits: quotient, exponent: 0 };
        let rest = Self { negative: self.negative, kind: Kind::Finite { digits: rest, exponent: low } }.rounded();
        Ok((Self { negative: self.negative != other.negative, kind: quotient }, rest))
    }

    /// Rounded half to even at so many digits behind the point, like `round(decimal, places)`.
    ///
    /// # Errors
    ///
    /// More digits than the precision, infinities.
    pub fn quantized(&self, places: i64) -> Result<Self, DecimalError> {
        let Kind::Finite { digits, exponent } = &self.kind else { return Err(DecimalError::Invalid) };
        let target = -places;
        let digits = if *exponent >= target {
            scaled(digits, exponent - target)?
        } else {
            half_even(digits, (target - exponent).unsigned_abs())
        };
        if decimal_length(&digits) > PRECISION {
            return Err(DecimalError::Invalid);
        }
        Ok(Self { negative: self.negative, kind: Kind::Finite { digits, exponent: target } })
    }

    /// With exactly so many digits behind the point, whatever the number of digits; `None` for infinities.
    pub fn fixed(&self, places: u32) -> Option<String> {
        let Kind::Finite { digits, exponent } = &self.kind else { return None };
        let target = -i64::from(places);
        let digits = if *exponent >= target {
            scaled(digits, exponent - target).ok()?
        } else {
            half_even(digits, (target - exponent).unsigned_abs())
        };
        Some(Self { negative: self.negative, kind: Kind::Finite { digits, exponent: target } }.plain())
    }

    /// Digits and exponent, for formatting; `None` for infinities and not-a-number.
    pub fn parts(&self) -> Option<(bool, String, i64)> {
        match &self.kind {
            Kind::Finite { digits, exponent } => Some((self.negative, digits.to_string(), *exponent)),
            Kind::Infinity | Kind::NotANumber => None,
        }
    }

    fn not_a_number() -> Self {
        Self { negative: false, kind: Kind::NotANumber }
    }

    fn rounded(&self) -> Self {
        let Kind::Finite { digits, exponent } = &self.kind else { return self.clone() };
        let length = decimal_length(digits);
        if length <= PRECISION {
            return self.clone();
        }
        let excess = length - PRECISION;
        let mut digits = half_even(digits, excess);
        let mut exponent = exponent + i64::try_from(excess).unwrap_or(i64::MAX);
        if decimal_length(&digits) > PRECISION {
            digits /= 10u8;
            exponent += 1;
        }
        Self { negative: self.negative, kind: Kind::Finite { digits, exponent } }
    }

    /// This number with a tiny bit of the other's sign put far behind its last digit.
    fn nudged(&self, other: &Self) -> Self {
        let Kind::Finite { digits, exponent } = &self.kind else { return self.clone() };
        if other.is_zero() {
            return self.clone();
        }
        let places = PRECISION + 4;
        let shifted = digits * ten_to(places);
        let digits = if self.negative == other.negative { shifted + 1u8 } else { shifted - 1u8 };
        let exponent = exponent - i64::try_from(places).unwrap_or(0);
        Self { negative: self.negative, kind: Kind::Finite { digits, exponent } }
    }

    fn plain(&self) -> String {
        let Kind::Finite { digits, exponent } = &self.kind else { return self.to_string() };
        let sign = if self.negative { "-" } else { "" };
        let places = usize::try_from(-exponent).unwrap_or(0);
        let mut text = digits.to_string();
        if places == 0 {
            return format!("{sign}{text}");
        }
        if text.len() <= places {
            text.insert_str(0, &"0".repeat(places + 1 - text.len()));
        }
        text.insert(text.len() - places, '.');
        format!("{sign}{text}")
    }
}

/// As Python's `str(Decimal)`: plain down to 1e-6, with an exponent below and for trailing zeros before the point.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let (digits, exponent) = match &self.kind {
            Kind::NotANumber => return f.write_str("NaN"),
            Kind::Infinity => return write!(f, "{sign}Infinity"),
            Kind::Finite { digits, exponent } => (digits.to_string(), *exponent),
        };
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let adjusted = exponent + length - 1;
        if exponent <= 0 && adjusted >= -6 {
            return f.write_str(&self.plain());
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        write!(f, "{sign}{first}{point}{rest}E{adjusted:+}")
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Longer exponents than a decimal can have are refused by Python as well.
    if digits.is_empty() || digits.len() > 17 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

fn magnitudes(a: &BigUint, i: i64, b: &BigUint, j: i64) -> Ordering {
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

fn signed(negative: bool, magnitude: BigUint) -> BigInt {
    BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude)
}

fn scaled(digits: &BigUint, places: i64) -> Result<BigUint, DecimalError> {
    match places {
        0 => Ok(digits.clone()),
        _ if digits.is_zero() => Ok(BigUint::zero()),
        1..=MOST_DIGITS => Ok(digits * ten_to(places.unsigned_abs())),
        _ => Err(DecimalError::TooLarge),
    }
}

fn scaled_or_zero(digits: &BigUint, places: i64) -> BigUint {
    scaled(digits, places).unwrap_or_else(|_| BigUint::zero())
}

fn ten_to(power: u64) -> BigUint {
    BigUint::from(10u8).pow(u32::try_from(power).unwrap_or(u32::MAX))
}

/// Number of decimal digits; zero has one.
fn decimal_length(digits: &BigUint) -> u64 {
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
fn half_even(digits: &BigUint, cut: u64) -> BigUint {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn text_is_kept_with_its_trailing_zeros() {
        for text in
            ["1.50", "0.0", "-0", "1E+3", "1E-7", "0.000001", "Infinity", "-Infinity", "NaN", "12345678901234567890.5"]
        {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal(" 1_000.5 ").to_string(), "1000.5");
        assert_eq!(decimal(".5").to_string(), "0.5");
        assert_eq!(decimal("5.").to_string(), "5");
        assert!(Decimal::parse("").is_none() && Decimal::parse("1e").is_none() && Decimal::parse("0x1").is_none());
    }

    #[test]
    fn a_float_has_its_exact_binary_value() {
        assert_eq!(Decimal::from_float(0.1).to_string(), "0.1000000000000000055511151231257827021181583404541015625");
        assert_eq!(Decimal::from_float(2.0).to_string(), "2");
        assert_eq!(Decimal::from_float(1e20).to_string(), "100000000000000000000");
    }

    #[test]
    fn division_rounds_half_to_even_at_28_digits() {
        let third = decimal("1").divide(&decimal("3")).unwrap();
        assert_eq!(third.to_string(), "0.3333333333333333333333333333");
        assert_eq!(decimal("6").divide(&decimal("2.0")).unwrap().to_string(), "3");
        assert_eq!(decimal("1").divide(&decimal("0")).unwrap_err(), DecimalError::DivisionByZero);
    }

    #[test]
    fn numbers_of_very_different_size_neither_overflow_nor_take_for_ever() {
        let sum = decimal("1e900000000").add(&decimal("1")).unwrap();
        assert_eq!(sum.compare(&decimal("1e900000000")), Some(Ordering::Equal));
        assert_eq!(decimal("1e900000000").truncate().unwrap_err(), DecimalError::TooLarge);
        assert_eq!(decimal("1e-900000000").truncate().unwrap(), BigInt::zero());
    }
}
