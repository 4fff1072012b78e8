//! Decimal numbers as Python's `decimal` module has them: any number of digits, trailing zeros kept, and arithmetic
//! at 28 significant digits, half to even.

mod arithmetic;
mod digits;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::Zero;
use std::cmp::Ordering;
use std::fmt;

use digits::{decimal_length, half_even, magnitudes, scaled, signed, ten_to, written};

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
        if let Some(short) = Self::parse_short(text.as_bytes()) {
            return Some(short);
        }
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

    /// What documents nearly always hold: up to 18 ASCII digits with a point or without; `None` for all else.
    fn parse_short(text: &[u8]) -> Option<Self> {
        const MOST_BYTES: usize = 18;
        let (negative, number) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let point = number.iter().position(|byte| *byte == b'.');
        if number.len() > MOST_BYTES || number.len() == usize::from(point.is_some()) {
            return None;
        }
        let mut digits = 0_u64;
        for (at, byte) in number.iter().enumerate() {
            match byte {
                b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
                b'.' if Some(at) == point => {}
                _ => return None,
            }
        }
        let places = point.map_or(0, |point| number.len() - point - 1);
        let exponent = -i64::try_from(places).ok()?;
        Some(Self { negative, kind: Kind::Finite { digits: BigUint::from(digits), exponent } })
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
            Kind::Finite { digits, exponent } => Some((self.negative, written(digits), *exponent)),
            Kind::Infinity | Kind::NotANumber => None,
        }
    }

    fn plain(&self) -> String {
        let Kind::Finite { digits, exponent } = &self.kind else { return self.to_string() };
        let sign = if self.negative { "-" } else { "" };
        let places = usize::try_from(-exponent).unwrap_or(0);
        let mut text = written(digits);
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
            Kind::Finite { digits, exponent } => (written(digits), *exponent),
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
