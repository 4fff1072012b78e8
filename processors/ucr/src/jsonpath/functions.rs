//! The quoted operators: `` `len` ``, `` `sub(/a/, b)` `` and their like.

use super::Node;
use crate::regex::Pattern;

pub(super) fn named_operator(text: &str) -> Result<Node, String> {
    match text {
        "this" => Ok(Node::This),
        "parent" => Ok(Node::Parent),
        "len" => Ok(Node::Len),
        "sorted" => Ok(Node::Sorted(Vec::new())),
        text if text.starts_with("split(") => {
            split(text).ok_or_else(|| format!("`{text}` is not split(c, segment, most)"))
        }
        text if text.starts_with("sub(") => sub(text),
        text if text.starts_with("str()") => Ok(Node::Str),
        text => Err(format!("unknown named operator `{text}`")),
    }
}

fn split(text: &str) -> Option<Node> {
    let inside = text.strip_prefix("split(")?;
    let separator = inside.chars().next().filter(|separator| *separator != '\n')?;
    let rest = arguments(inside.get(separator.len_utf8()..)?)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let segment = rest.get(..digits)?.parse().ok()?;
    let rest = arguments(rest.get(digits..)?)?;
    let most = if rest.starts_with("-1)") {
        -1
    } else {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(digits..).filter(|behind| behind.starts_with(')'))?;
        rest.get(..digits)?.parse().ok()?
    };
    Some(Node::Split { separator: separator.to_string(), segment, most })
}

/// Behind `,` and at least one blank.
fn arguments(text: &str) -> Option<&str> {
    let behind = text.strip_prefix(',')?;
    let rest = behind.trim_start();
    (rest.len() < behind.len()).then_some(rest)
}

/// `sub(/pattern/, replacement)`, each reaching as far as it can.
fn sub(text: &str) -> Result<Node, String> {
    let wrong = || format!("`{text}` is not sub(/pattern/, replacement)");
    let line = text.split('\n').next().unwrap_or_default();
    let inside = line.strip_prefix("sub(/").ok_or_else(wrong)?;
    let end = inside.rfind(')').ok_or_else(wrong)?;
    let inside = inside.get(..end).ok_or_else(wrong)?;
    let (pattern, replacement) = inside
        .rmatch_indices("/,")
        .find_map(|(at, _)| {
            let replacement = arguments(inside.get(at + 1..)?)?;
            Some((inside.get(..at)?, replacement))
        })
        .ok_or_else(wrong)?;
    let pattern = Pattern::compile(pattern.trim())?;
    Ok(Node::Sub(Box::new(pattern), replacement.trim().to_owned()))
}
