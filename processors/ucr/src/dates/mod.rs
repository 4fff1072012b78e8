//! Dates: reading, arithmetic, writing, and the Ethiopian calendar.
