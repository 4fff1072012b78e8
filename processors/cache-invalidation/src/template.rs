//! Names of keys with places for what is known of a change: `doc:{id}`.

use crate::keys::Facts;

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Id,
    Type,
    Domain,
    Source,
}

const PLACES: [(&str, Place); 4] =
    [("id", Place::Id), ("type", Place::Type), ("domain", Place::Domain), ("source", Place::Source)];

impl Template {
    /// Reads a template. `{{` stands for a brace.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must not be empty".to_owned());
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or("has a { without its }")?;
            let place = PLACES.iter().find(|(known, _)| *known == name);
            let (_, place) = place
                .ok_or_else(|| format!("names {{{name}}}; there are {{id}}, {{type}}, {{domain}} and {{source}}"))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(*place));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The key for a change; none when the change does not say what the template wants.
    pub fn key(&self, facts: &Facts<'_>) -> Option<String> {
        let mut key = String::new();
        for piece in &self.0 {
            key.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Place(Place::Id) => facts.id,
                Piece::Place(Place::Type) => facts.document_type?,
                Piece::Place(Place::Domain) => facts.domain?,
                Piece::Place(Place::Source) => facts.source,
            });
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: Option<&str>) {
        let facts = Facts { id: "i", source: "s", document_type: Some("T"), domain: None };
        assert_eq!(Template::parse(template).unwrap().key(&facts).as_deref(), expected, "{template}");
    }

    #[test]
    fn what_is_known_takes_its_place() {
        check("doc:{id}", Some("doc:i"));
        check("{source}/{type}/{id}/", Some("s/T/i/"));
        check("plain", Some("plain"));
        check("a{{b}}{id}", Some("a{b}}i"));
    }

    #[test]
    fn without_what_it_wants_there_is_no_key() {
        check("{domain}:{id}", None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert_eq!(Template::parse("").unwrap_err(), "must not be empty");
        assert_eq!(Template::parse("a{id").unwrap_err(), "has a { without its }");
        assert!(Template::parse("{ID}").unwrap_err().starts_with("names {ID}"));
    }
}
