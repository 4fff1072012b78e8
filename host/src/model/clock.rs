//! Where the time comes from: injected, so that tests and replays can hold it.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Tells the time of day. Durations are measured with `tokio::time`, not with this.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Always this instant.
    Fixed(Timestamp),
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Fixed(instant) => *instant,
        }
    }
}

/// The one form in which a time leaves the engine: RFC 3339, UTC, six digits of a second, `Z`.
pub fn timestamp_text(instant: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    PRINTER.timestamp_to_string(&instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_with_microseconds_and_z() {
        let instant: Timestamp = "2026-02-03T10:00:00.1234567Z".parse().unwrap();
        assert_eq!(timestamp_text(instant), "2026-02-03T10:00:00.123456Z");
    }
}
