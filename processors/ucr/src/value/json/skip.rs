//! Goes over values that nobody reads.

use super::{JsonError, Reader, TOO_MANY_DIGITS};
use crate::number::MOST_INTEGER_DIGITS;

impl Reader<'_> {
    /// Checks a value as [`Self::value`] does, and builds nothing.
    pub(super) fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.skip_text()
            }
            Some(b'{') => self.nested(Self::skip_dict),
            Some(b'[') => self.nested(Self::skip_list),
            Some(b'-' | b'0'..=b'9') => {
                let (length, is_integer) = self.number_text()?;
                // No integer of 64 bits is that long.
                if is_integer && length > MOST_INTEGER_DIGITS {
                    return Err(self.error(TOO_MANY_DIGITS));
                }
                Ok(())
            }
            _ => self.value().map(|_| ()),
        }
    }

    fn skip_dict(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.expect(b'"', "expected a key in quotes")?;
            self.skip_text()?;
            self.colon()?;
            self.skip_value()?;
            if self.is_last_entry()? {
                return Ok(());
            }
        }
    }

    fn skip_list(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_value()?;
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.error("expected , or ] in a list")),
            }
            self.skip_whitespace();
        }
        self.at += 1;
        Ok(())
    }

    /// Behind the opening quote.
    fn skip_text(&mut self) -> Result<(), JsonError> {
        loop {
            self.plain_run();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.error("a control character in a text")),
                None => return Err(self.error("a text without an end")),
            }
        }
    }
}
