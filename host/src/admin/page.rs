//! The page for people: how every pillow is, in plain HTML that needs nothing else and renews itself.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde_json::Value;

use crate::model::PillowName;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;\
color:#222;background:#fff}table{border-collapse:collapse;width:100%;margin:1em 0}th,td{padding:.35em .7em;\
text-align:left;border-bottom:1px solid #ddd;vertical-align:top}th{font-weight:600}.n{text-align:right;\
font-variant-numeric:tabular-nums}.s{border-radius:.3em;padding:.1em .5em;background:#e6e6e6}.running{background:\
#d3efd5}.waiting,.starting,.paused{background:#fdedc4}.halted,.failed,.gone{background:#f8d0cd}.why{color:#7a2a25}\
details{margin:.2em 0}code{font-size:.9em}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}\
th,td{border-color:#444}.s,.running,.waiting,.starting,.paused,.halted,.failed,.gone{color:#111}.why{color:#f0a9a4}}";

/// Text between tags, whoever wrote it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The page, of what the hosts say of their pillows, how many failures are parked, and why this host is not ready.
pub(super) fn render(statuses: &[Value], parked: &HashMap<PillowName, u64>, hindrances: &[String]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>pillowtop</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
         <style>{STYLE}</style></head><body><h1>pillowtop</h1>"
    );
    match hindrances {
        [] => page += "<p><span class=\"s running\">ready</span></p>",
        _ => {
            page += "<p><span class=\"s failed\">not ready</span></p><ul class=\"why\">";
            for hindrance in hindrances {
                page += &format!("<li>{}</li>", Escaped(hindrance));
            }
            page += "</ul>";
        }
    }
    page += "<table><thead><tr><th>Pillow</th><th>State</th><th class=\"n\">Lag</th><th class=\"n\">Rate/s</th>\
             <th class=\"n\">Settled</th><th class=\"n\">Written</th><th class=\"n\">Parked now</th>\
             <th class=\"n\">Generation</th><th>Processors</th></tr></thead><tbody>";
    for status in statuses {
        page += &row(status, parked);
    }
    page += "</tbody></table><p><a href=\"/status\">status</a> · <a href=\"/metrics\">metrics</a> · \
             <a href=\"/readyz\">readyz</a></p></body></html>";
    page
}

/// The row of a pillow on one host.
fn row(entry: &Value, parked: &HashMap<PillowName, u64>) -> String {
    let (status, name) = (&entry["status"], entry["pillow"].as_str().unwrap_or("?"));
    let is_alive = entry["alive"] == true;
    let state = match (is_alive, status["state"].as_str()) {
        (true, Some(state)) => state,
        (false, Some(_)) => "gone",
        (_, None) => "not running",
    };
    let number = |pointer: &str| status.pointer(pointer).map_or_else(|| "–".to_owned(), Value::to_string);
    let lanes: Vec<(&String, &Value)> = status["lanes"].as_object().into_iter().flatten().collect();
    let lag: Option<u64> = lanes.iter().map(|(_, lane)| lane["lag"].as_u64()).sum();
    let lag =
        if lanes.is_empty() { "–".to_owned() } else { lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string()) };
    let rate = status["rate"].as_f64().map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
    let parked = parked.get(&PillowName::new(name)).copied().unwrap_or(0);
    format!(
        "<tr><td>{}<br><small>{}</small></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{rate}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{parked}</td><td class=\"n\">{}</td>\
         <td>{}</td></tr>",
        Escaped(name),
        Escaped(entry["host"].as_str().unwrap_or("")),
        state_cell(state, status),
        lag_cell(&lag, &lanes),
        number("/counts/settled"),
        number("/counts/written"),
        number("/generation"),
        processors(status),
    )
}

fn state_cell(state: &str, status: &Value) -> String {
    let mut cell = format!("<span class=\"s {}\">{}</span>", Escaped(state), Escaped(state));
    if let Some(since) = status["since"].as_str() {
        cell += &format!("<br><small>since {}</small>", Escaped(since));
    }
    let causes = status["causes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let kept = status.pointer("/last_swap/error").and_then(Value::as_str);
    let kept = kept.map(|error| format!("the running processors were kept: {error}"));
    for why in status["reason"].as_str().into_iter().chain(causes).chain(kept.as_deref()) {
        cell += &format!("<div class=\"why\">{}</div>", Escaped(why));
    }
    cell
}

fn lag_cell(lag: &str, lanes: &[(&String, &Value)]) -> String {
    if lanes.is_empty() {
        return lag.to_owned();
    }
    let mut cell = format!("<details><summary>{lag}</summary>");
    for (partition, lane) in lanes {
        cell += &format!(
            "<div>{}: lag {}, in flight {}, settled {}</div>",
            Escaped(partition),
            lane["lag"].as_u64().map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
            lane["in_flight"].as_u64().unwrap_or(0),
            Escaped(lane["settled"].as_str().unwrap_or("nothing")),
        );
    }
    cell + "</details>"
}

fn processors(status: &Value) -> String {
    let mut cell = String::new();
    for processor in status["processors"].as_array().into_iter().flatten() {
        let digest: String = processor["digest"].as_str().unwrap_or_default().chars().take(12).collect();
        let name = processor["name"].as_str().unwrap_or("?");
        cell += &format!("<div>{} <code>{}</code></div>", Escaped(name), Escaped(&digest));
        for problem in processor["problems"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            cell += &format!("<div class=\"why\">{}</div>", Escaped(problem));
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pillow_shows_its_state_its_lanes_and_what_is_parked() {
        let statuses = [
            json!({"pillow": "forms", "host": "h1", "alive": true, "status": {
                "state": "waiting", "reason": "sink: no answer", "since": "2026-02-03T10:00:00Z", "rate": 12.4,
                "counts": {"settled": 7, "written": 5}, "generation": 3,
                "lanes": {"form-sql/0": {"lag": 4, "in_flight": 1, "settled": "17"}},
                "processors": [{"name": "visits", "digest": "0123456789abcdef", "problems": []}]}}),
            json!({"pillow": "cases", "alive": false}),
        ];
        let parked = HashMap::from([(PillowName::new("forms"), 9)]);
        let page = render(&statuses, &parked, &["forms waits: sink: no answer".to_owned()]);
        for part in [
            "not ready",
            "<span class=\"s waiting\">waiting</span>",
            "<div class=\"why\">sink: no answer</div>",
            "<summary>4</summary><div>form-sql/0: lag 4, in flight 1, settled 17</div>",
            "<td class=\"n\">12</td><td class=\"n\">7</td><td class=\"n\">5</td><td class=\"n\">9</td><td class=\"n\">3</td>",
            "visits <code>0123456789ab</code>",
            "<span class=\"s not running\">not running</span>",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn nothing_that_a_server_or_a_guest_says_becomes_markup() {
        let evil = "<script>alert('x')</script>";
        let statuses = [json!({"pillow": evil, "host": evil, "alive": true, "status": {
            "state": evil, "reason": evil, "since": evil, "causes": [evil], "last_swap": {"error": evil},
            "lanes": {evil: {"settled": evil}}, "processors": [{"name": evil, "digest": evil, "problems": [evil]}]}})];
        let page = render(&statuses, &HashMap::new(), &[evil.to_owned()]);
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = render(&[], &HashMap::new(), &[]);
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
