//! Standard output, for data. A reader that has seen enough, such as `head`, is no error.

use std::io::{ErrorKind, Write as _, stdout};

/// Prints the text as it is.
pub(crate) fn say(text: &str) {
    let written = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("error: could not print: {error}");
    }
}

/// Prints the text as a line.
pub(crate) fn say_line(text: &str) {
    say(&format!("{text}\n"));
}
