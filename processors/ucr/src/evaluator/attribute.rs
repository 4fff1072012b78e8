//! Attributes: the fields of dates and durations, and properties of dicts written with a dot.

use super::run::{Evaluated, invalid};
use crate::value::{Moment, Value};

/// Names that the original's library lets nobody see.
pub(super) fn is_forbidden(name: &str) -> bool {
    name.starts_with('_') || name.starts_with("func_") || ["format", "format_map", "mro"].contains(&name)
}

pub(super) fn get<'a>(value: &Value<'a>, name: &str) -> Evaluated<'a> {
    if is_forbidden(name) {
        return Err(invalid("a forbidden attribute"));
    }
    if let Some(field) = field(value, name) {
        return Ok(field);
    }
    // A method is something, though nothing that could be called or stored.
    if let Some(method) = methods(value).split(' ').find(|method| *method == name) {
        return Ok(Value::Function(method));
    }
    value.property(name).cloned().ok_or_else(|| invalid("an unknown attribute"))
}

fn field<'a>(value: &Value<'a>, name: &str) -> Option<Value<'a>> {
    let int = |number: i64| Some(Value::Int(number));
    match value {
        Value::Date(date) => match name {
            "year" => int(date.year().into()),
            "month" => int(date.month().into()),
            "day" => int(date.day().into()),
            _ => None,
        },
        Value::DateTime(Moment { civil, offset_minutes }) => match name {
            "tzinfo" if offset_minutes.is_none() => Some(Value::Null),
            "year" => int(civil.year().into()),
            "month" => int(civil.month().into()),
            "day" => int(civil.day().into()),
            "hour" => int(civil.hour().into()),
            "minute" => int(civil.minute().into()),
            "second" => int(civil.second().into()),
            "microsecond" => int(i64::from(civil.subsec_nanosecond()) / 1000),
            "fold" => int(0),
            _ => None,
        },
        Value::Duration(duration) => {
            let (days, seconds, microseconds) = duration.parts();
            match name {
                "days" => int(days),
                "seconds" => int(seconds),
                "microseconds" => int(microseconds),
                _ => None,
            }
        }
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => match name {
            "real" | "numerator" => Some(match value {
                Value::Bool(flag) => Value::Int(i64::from(*flag)),
                integer => integer.clone(),
            }),
            "imag" => int(0),
            "denominator" => int(1),
            _ => None,
        },
        Value::Float(_) => match name {
            "real" => Some(value.clone()),
            "imag" => Some(Value::Float(0.0)),
            _ => None,
        },
        Value::Decimal(_) => match name {
            "real" => Some(value.clone()),
            "imag" => Some(Value::decimal(crate::number::Decimal::from_integer(&0.into()))),
            _ => None,
        },
        _ => None,
    }
}

/// Everything else that values of these types have by a name that may be seen.
fn methods(value: &Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => "bit_length conjugate from_bytes to_bytes",
        Value::Float(_) => "as_integer_ratio conjugate fromhex hex is_integer",
        Value::Decimal(_) => {
            "adjusted as_integer_ratio as_tuple canonical compare compare_signal compare_total compare_total_mag conjugate \
             copy_abs copy_negate copy_sign exp fma from_float is_canonical is_finite is_infinite is_nan is_normal is_qnan \
             is_signed is_snan is_subnormal is_zero ln log10 logb logical_and logical_invert logical_or logical_xor max \
             max_mag min min_mag next_minus next_plus next_toward normalize number_class quantize radix remainder_near \
             rotate same_quantum scaleb shift sqrt to_eng_string to_integral to_integral_exact to_integral_value"
        }
        Value::Str(_) => {
            "capitalize casefold center count encode endswith expandtabs find index isalnum isalpha isdecimal isdigit \
             isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition \
             replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate \
             upper zfill"
        }
        Value::Date(_) => {
            "ctime fromordinal fromtimestamp isocalendar isoformat isoweekday max min replace resolution strftime timetuple \
             today toordinal weekday"
        }
        Value::DateTime(_) => {
            "astimezone combine ctime date dst fromordinal fromtimestamp isocalendar isoformat isoweekday max min now replace \
             resolution strftime strptime time timestamp timetuple timetz today toordinal tzinfo tzname utcfromtimestamp \
             utcnow utcoffset utctimetuple weekday"
        }
        Value::Time(_) => "dst isoformat max min replace resolution strftime tzinfo tzname utcoffset",
        Value::Duration(_) => "max min resolution total_seconds",
        Value::List(_) => "append clear copy count extend index insert pop remove reverse sort",
        Value::Tuple(_) => "count index",
        Value::Set(_) => {
            "add clear copy difference difference_update discard intersection intersection_update isdisjoint issubset \
             issuperset pop remove symmetric_difference symmetric_difference_update union update"
        }
        Value::Dict(_) => "clear copy fromkeys get items keys pop popitem setdefault update values",
        Value::Null | Value::Function(_) => "",
    }
}
