//! Arithmetic at the precision of Python's default context.

use num_bigint::{BigUint, Sign};
use num_integer::Integer;
use num_traits::Zero;

use super::digits::{MOST_DIGITS, decimal_length, half_even, scaled, scaled_or_zero, signed, ten_to};
use super::{Decimal, DecimalError, Kind};

/// Significant digits of results of arithmetic, Python's default context.
const PRECISION: u64 = 28;

impl Decimal {
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
}
