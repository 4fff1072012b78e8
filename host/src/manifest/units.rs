//! Sizes and times with their units: `64 KiB`, `250 ms`.

use std::time::Duration;

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// A size in bytes.
///
/// # Errors
/// Says how to write one.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES).ok_or_else(|| help("size", "64 KiB", &SIZES))
}

/// A time.
///
/// # Errors
/// Says how to write one.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &TIMES).map(Duration::from_millis).ok_or_else(|| help("time", "250 ms", &TIMES))
}

/// The size in the largest unit that says it exactly.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// The time in the largest unit that says it exactly.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, scale)| amount != 0 && amount.is_multiple_of(*scale));
    let (name, scale) = exact.or(units.last()).copied().unwrap_or(("", 1));
    format!("{} {name}", amount / scale)
}

fn help(what: &str, example: &str, units: &[(&str, u64)]) -> String {
    let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    format!("write a {what} as a whole number and one of {}, such as \"{example}\"", names.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_times_have_a_unit() {
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_duration("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2min"), Ok(Duration::from_secs(120)));
        for text in ["64", "64 KB", "KiB", "-1 B", "1.5 MiB", "99999999999 GiB", "", "64 KiB ", "6 4 B"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let help = "write a time as a whole number and one of ms, s, min, h, d, such as \"250 ms\"";
        assert_eq!(parse_duration("5"), Err(help.to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(amount in 0..u64::from(u32::MAX)) {
            prop_assert_eq!(parse_size(&show_size(amount)), Ok(amount));
            let time = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&show_duration(time)), Ok(time));
        }
    }
}
