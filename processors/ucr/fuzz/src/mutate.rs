//! Changes JSON as a tree, so that nearly every input is a configuration and not a text with a comma too many.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::seeds;

/// Constants that conversions, limits and dates treat specially.
const LITERALS: &str = r#"[
    null, true, false, 0, 1, -1, 2.5, 1e400, -0.0, 1e-320, 9223372036854775807, -9223372036854775808, 0.1, 150, 1600,
    99999999999999999999, 123456789012345678901234567890123456789012345678901234567890, 5000000, "", " ", "a b c",
    "2015-01-31", "2015-01-31T10:00:00.000000Z", "9999-12-31", "0001-01-01", "10:30", "12", "1.5", "nan", "inf", "1e9",
    "1e99999999", "\u0000", "é\ud83d\ude00", "identity", "a", "_id", "form", "domain", "named", "a * a", "'x' * 10**9",
    "(a+)+$", "$..*", [], {}, [null], [[]], ["a", "b"], {"a": 1}
]"#;

/// A generator of numbers that needs no state beyond one word.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() % bound.max(1)
    }

    fn of<'t, T>(&mut self, choices: &'t [T]) -> Option<&'t T> {
        choices.get(self.below(choices.len()))
    }
}

/// Changes `data[..size]` in place, and says how long it is now. Falls back on changing bytes.
pub fn json(data: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed) << 1 | 1);
    dice.next();
    if dice.below(8) > 0 {
        if let Some(mutated) = data.get(..size).and_then(|text| mutated(text, &mut dice)) {
            if mutated.len() <= most.min(data.len()) {
                data[..mutated.len()].copy_from_slice(&mutated);
                return mutated.len();
            }
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, most)
}

fn mutated(text: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut tree: Value = serde_json::from_slice(text).ok()?;
    for _ in 0..=dice.below(4) {
        let count = nodes(&tree);
        let other = pick(&mut tree, dice.below(count))?.clone();
        let chosen = pick(&mut tree, dice.below(count))?;
        change(chosen, &other, dice);
    }
    serde_json::to_vec(&tree).ok()
}

fn literals() -> &'static [Value] {
    static READ: OnceLock<Vec<Value>> = OnceLock::new();
    READ.get_or_init(|| serde_json::from_str(LITERALS).unwrap_or_default())
}

/// Specifications of all types, from the documentation.
fn templates() -> &'static [Value] {
    static TEMPLATES: OnceLock<Vec<Value>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut templates = Vec::new();
        for example in seeds::examples() {
            let example: Option<Value> = serde_json::from_str(&example).ok();
            example.iter().for_each(|example| collect(example, &mut templates));
        }
        templates
    })
}

fn collect(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        Value::Object(entries) => {
            if entries.contains_key("type") {
                found.push(value.clone());
            }
            entries.values().for_each(|value| collect(value, found));
        }
        _ => {}
    }
}

fn change(chosen: &mut Value, other: &Value, dice: &mut Dice) {
    match dice.below(12) {
        0 | 1 => {
            *chosen = dice.of(literals()).cloned().unwrap_or_default();
        }
        2 | 3 => *chosen = other.clone(),
        4 | 5 => *chosen = dice.of(templates()).cloned().unwrap_or_default(),
        // A template around what is here.
        6 | 7 => {
            let Some(mut template) = dice.of(templates()).cloned() else { return };
            let count = nodes(&template);
            if let Some(place) = pick(&mut template, 1 + dice.below(count - 1)) {
                *place = chosen.take();
            }
            *chosen = template;
        }
        _ => change_within(chosen, other, dice),
    }
}

fn change_within(chosen: &mut Value, other: &Value, dice: &mut Dice) {
    match chosen {
        Value::Array(elements) => {
            let at = dice.below(elements.len());
            match dice.below(4) {
                0 if at < elements.len() => {
                    elements.remove(at);
                }
                1 => elements.insert(at, other.clone()),
                2 => {
                    if let Some(element) = elements.get(at).cloned() {
                        let copies = 1 << dice.below(6);
                        elements.extend(std::iter::repeat_n(element, copies));
                    }
                }
                _ => elements.reverse(),
            }
        }
        Value::Object(entries) => {
            let keys: Vec<String> = entries.keys().cloned().collect();
            let Some(key) = dice.of(&keys) else { return };
            match dice.below(3) {
                0 => {
                    entries.remove(key);
                }
                1 => {
                    entries.insert(key.clone(), other.clone());
                }
                _ => {
                    let from = dice.of(templates()).and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
                    let names: Vec<&String> = from.keys().collect();
                    if let (Some(name), Some(value)) = (dice.of(&names), entries.remove(key)) {
                        entries.insert((*name).clone(), value);
                    }
                }
            }
        }
        Value::String(text) => change_text(text, dice),
        _ => *chosen = other.clone(),
    }
}

fn change_text(text: &mut String, dice: &mut Dice) {
    let characters: Vec<char> = text.chars().collect();
    let at = dice.below(characters.len() + 1);
    let (before, behind) = characters.split_at(at);
    let inserted = match dice.below(4) {
        0 => char::from_u32(u32::try_from(dice.below(0x80)).unwrap_or(0)).unwrap_or(' ').to_string(),
        1 => dice.of(literals()).map_or_else(String::new, |literal| literal.to_string().trim_matches('"').to_owned()),
        2 => characters.iter().collect(),
        _ => String::new(),
    };
    let cut = dice.below(2);
    *text = before.iter().copied().chain(inserted.chars()).chain(behind.iter().skip(cut).copied()).collect();
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(nodes).sum(),
        Value::Object(entries) => entries.values().map(nodes).sum(),
        _ => 0,
    }
}

/// The node of a number, counted from the root as 0.
fn pick(value: &mut Value, number: usize) -> Option<&mut Value> {
    if number == 0 {
        return Some(value);
    }
    let mut left = number - 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(elements) => elements.iter_mut().collect(),
        Value::Object(entries) => entries.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let count = nodes(child);
        if left < count {
            return pick(child, left);
        }
        left -= count;
    }
    None
}
