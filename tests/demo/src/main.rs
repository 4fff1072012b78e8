//! `pillowtop-demo generate --documents N --seed S`: documents as NDJSON, for `pillowtop publish`; and
//! `pillowtop-demo stubs TOPIC`: what is said about them on Kafka.

use std::io::{self, BufWriter};
use std::process::ExitCode;

const USAGE: &str = "usage: pillowtop-demo generate [--documents N] [--seed S]
       pillowtop-demo stubs TOPIC

generate writes N (3000) made-up CommCare documents to the standard output, one JSON object a line, in the order in which they
change. The same seed (1) gives the same documents.

stubs reads documents from the standard input and writes the changes that belong to TOPIC (form-sql or case-sql), with
their keys, as Kafka's console producer takes them.";

enum Wanted {
    Documents { documents: u64, seed: u64 },
    Stubs { topic: String },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match parse(&arguments) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => return say(io::stdout(), USAGE, ExitCode::SUCCESS),
        Err(problem) => return say(io::stderr(), &format!("{problem}\n\n{USAGE}"), ExitCode::from(2)),
    };
    let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let done = match wanted {
        Wanted::Documents { documents, seed } => pillowtop_demo::generate(documents, seed, out),
        Wanted::Stubs { topic } => pillowtop_demo::stubs(io::stdin().lock(), &topic, out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the documents has enough of them.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => say(io::stderr(), &format!("could not go on: {error}"), ExitCode::FAILURE),
    }
}

/// None when help is asked for.
fn parse(arguments: &[String]) -> Result<Option<Wanted>, String> {
    let (mut documents, mut seed) = (3_000, 1);
    let mut rest = arguments.iter().map(String::as_str);
    match rest.next() {
        Some("generate") => {}
        Some("stubs") => {
            let topic = rest.next().ok_or("stubs needs a topic")?.to_owned();
            return Ok(Some(Wanted::Stubs { topic }));
        }
        Some("--help" | "-h" | "help") => return Ok(None),
        Some(other) => return Err(format!("unknown command {other:?}")),
        None => return Err("a command is missing".to_owned()),
    }
    while let Some(name) = rest.next() {
        let target = match name {
            "--documents" => &mut documents,
            "--seed" => &mut seed,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other:?}")),
        };
        let value = rest.next().ok_or_else(|| format!("{name} needs a number"))?;
        *target = value.parse().map_err(|error| format!("{name} needs a number, not {value:?}: {error}"))?;
    }
    Ok(Some(Wanted::Documents { documents, seed }))
}

fn say(mut to: impl io::Write, text: &str, code: ExitCode) -> ExitCode {
    match writeln!(to, "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Result<(u64, u64), &str>) {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let parsed = parse(&arguments).map(|parsed| match parsed {
            Some(Wanted::Documents { documents, seed }) => (documents, seed),
            Some(Wanted::Stubs { .. }) | None => (0, 0),
        });
        assert_eq!(parsed, expected.map_err(str::to_owned));
    }

    #[test]
    fn arguments_are_read_or_refused() {
        check(&["generate"], Ok((3_000, 1)));
        check(&["generate", "--seed", "7", "--documents", "12"], Ok((12, 7)));
        check(&["generate", "--help"], Ok((0, 0)));
        check(&[], Err("a command is missing"));
        check(&["stubs", "case-sql"], Ok((0, 0)));
        check(&["stubs"], Err("stubs needs a topic"));
        check(&["make"], Err("unknown command \"make\""));
        check(&["generate", "--color"], Err("unknown argument \"--color\""));
        check(&["generate", "--seed"], Err("--seed needs a number"));
        check(&["generate", "--seed", "x"], Err("--seed needs a number, not \"x\": invalid digit found in string"));
    }
}
