//! Where a form was filled in, from the text that the phone sends.

/// `latitude longitude altitude accuracy` as the JSON of a point; none for anything else, and for what is nowhere on
/// Earth, because an index refuses such a document as a whole.
pub fn point(text: &str) -> Option<String> {
    let mut parts = text.split_ascii_whitespace();
    let (latitude, longitude, altitude, accuracy) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    number(altitude)?;
    number(accuracy)?;
    let latitude = within(latitude, 90.0)?;
    let longitude = within(longitude, 180.0)?;
    Some(format!("{{\"lat\":{latitude},\"lon\":{longitude}}}"))
}

/// The number as JSON, with the digits of the text where JSON would write it so.
fn within(text: &str, limit: f64) -> Option<String> {
    let number = number(text)?;
    if number.abs() > limit {
        return None;
    }
    let as_json = serde_json::from_str::<f64>(text);
    Some(if as_json.is_ok() { text.to_owned() } else { number.to_string() })
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(point(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_location_becomes_a_point() {
        // Acceptance case 89.
        check("42.7 -21 0 0", Some(r#"{"lat":42.7,"lon":-21}"#));
        check("not valid", None);
    }

    #[test]
    fn digits_are_kept_and_what_json_does_not_write_is_rewritten() {
        check("-1.95361100000000001 30.0605 1567.5 4.0", Some(r#"{"lat":-1.95361100000000001,"lon":30.0605}"#));
        check("+42.70 .5 1. 0", Some(r#"{"lat":42.7,"lon":0.5}"#));
    }

    #[test]
    fn what_is_nowhere_is_no_point() {
        for text in [
            "",
            "91 0 0 0",
            "0 -180.1 0 0",
            "NaN 0 0 0",
            "inf 0 0 0",
            "1 2",
            "1 2 3",
            "1 2 3 4 5",
            "a b c d",
            "1 2 x 0",
        ] {
            check(text, None);
        }
    }
}
