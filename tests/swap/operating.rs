//! What operators see and do: states, pauses, checkpoints, retries.

use serde_json::json;

use super::modules;
use super::world::{Pillow, World, until};

#[test]
fn a_pillow_that_cannot_be_built_at_start_has_failed_and_says_why_until_it_can() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.mode = "refuse";
    world.put_manifest(&cases);
    world.put_manifest(&Pillow::new("forms", "form-sql", "v1"));
    let host = world.run(&[]);
    let status = world.wait_for_state("cases", "failed");
    assert!(status["reason"].as_str().unwrap().contains("told to refuse"), "{status}");
    assert!(world.cli(&["status"]).contains("told to refuse"));
    world.wait_for_generation("forms", 1);
    // Refused once, and not tried again and again.
    assert_eq!(world.log().matches("not taken over").count(), 1, "{}", world.log());
    cases.mode = "stamp";
    world.put_manifest(&cases);
    world.wait_for_generation("cases", 1);
    host.stop();
}

#[test]
fn a_halted_pillow_stays_halted_over_a_restart_until_it_is_resumed_or_mended() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.mode = "fail";
    cases.tables = "[failures]\nhalt-above = 0.5\nwindow = 10\nminimum = 2\n";
    world.put_manifest(&cases);
    world.publish("case-sql", &["poison-1", "poison-2", "poison-3", "poison-4"]);
    let host = world.run(&[]);
    let status = world.wait_for_state("cases", "halted");
    assert!(status["causes"][0].as_str().unwrap().contains("told to fail"), "{status}");
    host.stop();
    let host = world.run(&[]);
    let status = world.wait_for_state("cases", "halted");
    assert!(status["causes"][0].as_str().unwrap().contains("told to fail"), "{status}");
    // Resumed with the same processor, it halts again.
    world.cli(&["resume", "cases"]);
    until("it halts again", || {
        if world.log().matches("halted: too many").count() == 2 { Ok(()) } else { Err("it did not".to_owned()) }
    });
    world.wait_for_state("cases", "halted");
    // Mended, it goes on by itself; what was parked before the halt is for the operator.
    cases.mode = "stamp";
    world.put_manifest(&cases);
    world.wait_for_state("cases", "running");
    world.cli(&["errors", "retry", "--all"]);
    world.wait_for_rows("cases", "poison-1=v1 poison-2=v1 poison-3=v1 poison-4=v1");
    host.stop();
}

#[test]
fn a_pillow_is_paused_and_resumed_from_another_process() {
    let world = World::new();
    let mut forms = Pillow::new("forms", "form-sql", "v1");
    forms.head = "paused = true";
    world.put_manifest(&Pillow::new("cases", "case-sql", "v1"));
    world.put_manifest(&forms);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    world.cli(&["pause", "cases"]);
    world.wait_for_state("cases", "paused");
    world.publish("case-sql", &["a"]);
    world.publish("form-sql", &["f"]);
    // Beats pass: neither reads, the one because of the operator, the other because of its manifest.
    let beaten = || world.json(&["status"])[0]["at"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let before = beaten();
        until("a beat passes", || if beaten() > before { Ok(()) } else { Err(before.clone()) });
    }
    world.wait_for_rows("cases", "");
    world.wait_for_rows("forms", "");
    assert_eq!(world.status("forms").unwrap()["state"], "paused");
    world.cli(&["resume", "cases"]);
    world.wait_for_rows("cases", "a=v1");
    world.wait_for_rows("forms", "");
    forms.head = "";
    world.put_manifest(&forms);
    world.wait_for_rows("forms", "f=v1");
    host.stop();
}

#[test]
fn only_the_chosen_pillows_run_and_their_heartbeats_vanish_when_they_stop() {
    let world = World::new();
    world.put_manifest(&Pillow::new("cases", "case-sql", "v1"));
    world.put_manifest(&Pillow::new("forms", "form-sql", "v1"));
    let host = world.run(&["--only", "forms"]);
    world.wait_for_generation("forms", 1);
    assert!(world.status("cases").is_none());
    assert_eq!(world.database.number("select count(*) from pillowtop_heartbeats"), 1);
    host.stop();
    assert_eq!(world.database.number("select count(*) from pillowtop_heartbeats"), 0);
    // One that was killed leaves its own, which the next host takes away.
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    host.kill();
    assert!(world.database.number("select count(*) from pillowtop_heartbeats") > 0);
    until("the heartbeats are old", || {
        if world.status("cases").is_none() { Ok(()) } else { Err("they are not".to_owned()) }
    });
    let host = world.run(&["--only", "forms"]);
    world.wait_for_generation("forms", 1);
    until("one heartbeat is left", || match world.database.number("select count(*) from pillowtop_heartbeats") {
        1 => Ok(()),
        count => Err(format!("{count} are there")),
    });
    host.stop();
}

#[test]
fn a_checkpoint_is_set_while_no_host_runs_the_pillow() {
    let world = World::new();
    world.put_manifest(&Pillow::new("cases", "case-sql", "v1"));
    world.publish("case-sql", &["a"]);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    world.wait_for_rows("cases", "a=v1");
    let settled = "select topic || ':' || partition_number from pillowtop_checkpoints where position_first > 0 limit 1";
    let settled = || world.database.query(settled);
    until("it has settled", || if settled().is_empty() { Err("it has not".to_owned()) } else { Ok(()) });
    let partition = settled()[0][0].clone();
    let set = ["checkpoint", "set", "cases", &partition, "0", "--why", "read it again"];
    let refused = world.try_cli(&set);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is running on"), "{refused:?}");
    host.stop();
    world.cli(&set);
    world.database.execute("update cases set version = 'before'");
    let host = world.run(&[]);
    world.wait_for_rows("cases", "a=v1");
    host.stop();
}

/// Two failures, parked by a processor that fails at poison.
fn with_failures(world: &World) -> Pillow {
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.mode = "fail";
    world.put_manifest(&cases);
    world.publish("case-sql", &["poison-1", "poison-2", "sound"]);
    world.cli(&["run", "--until-caught-up"]);
    world.wait_for_rows("cases", "sound=v1");
    cases
}

#[test]
fn a_running_host_takes_retries_up() {
    let world = World::new();
    let mut cases = with_failures(&world);
    cases.mode = "stamp";
    world.put_manifest(&cases);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    let said = world.json(&["errors", "retry", "--document", "poison-1"]);
    assert_eq!((&said["retried"], &said["by_running_hosts"]), (&json!(1), &json!(1)), "{said}");
    world.wait_for_rows("cases", "poison-1=v1 sound=v1");
    assert_eq!(world.json(&["errors", "list"]).as_array().unwrap().len(), 1);
    host.stop();
}

#[test]
fn without_a_host_the_command_tries_again_itself_and_says_what_came_of_it() {
    let world = World::new();
    let mut cases = with_failures(&world);
    world.publish("case-sql", &["later"]);
    // The processor is as it was: both fail again.
    let said = world.json(&["errors", "retry", "--all"]);
    assert_eq!((&said["resolved"], &said["failed_again"][1]["message"]), (&json!(0), &json!("told to fail")), "{said}");
    let tries: Vec<String> =
        world.json(&["errors", "list"]).as_array().unwrap().iter().map(|entry| entry["attempts"].to_string()).collect();
    assert_eq!(tries, ["2", "2"]);
    // Mended and paused: a retry is asked for by an operator, and reads nothing beside.
    cases.mode = "stamp";
    world.put_manifest(&cases);
    world.cli(&["pause", "cases"]);
    let said = world.cli(&["errors", "retry", "--document", "poison-2"]);
    assert_eq!(said, "1 retried: 1 resolved, 0 failed again, 0 not tried\n");
    world.wait_for_rows("cases", "poison-2=v1 sound=v1");
    assert_eq!(world.json(&["errors", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(world.database.number("select count(*) from pillowtop_heartbeats"), 0);
    // A processor that is gone tries nothing, and nobody waits for it.
    world.put("pipelines/cases.toml", cases.text().replace("name = \"hostile\"", "name = \"other\""));
    let said = world.json(&["errors", "retry", "--all"]);
    assert_eq!(said["untried"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(world.cli(&["errors", "retry", "--document", "unknown"]), "there is nothing to try again\n");
    // A module that does not load is the command's failure, not the change's.
    world.put("modules/hostile.wasm", modules::text("wrong-contract.wat"));
    let failed = world.try_cli(&["errors", "retry", "--all"]);
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("cases did not start"), "{failed:?}");
}

#[test]
fn a_host_gives_way_to_another_one_and_goes_on_when_that_is_gone() {
    let world = World::new();
    world.put_manifest(&Pillow::new("cases", "case-sql", "v1"));
    let first = world.run(&[]);
    world.wait_for_generation("cases", 1);
    let second = world.run(&[]);
    until("the second host runs it", || match world.log().matches("starts pillow=cases").count() {
        2 => Ok(()),
        count => Err(format!("it was started {count} times")),
    });
    // The first one finds out when it settles.
    let states = || {
        let beats = world.json(&["status"]);
        let alive = beats.as_array().unwrap().iter().filter(|beat| beat["alive"] == true);
        let mut states: Vec<String> = alive.map(|beat| beat["status"]["state"].as_str().unwrap().to_owned()).collect();
        states.sort();
        states
    };
    let mut published = 0;
    until("the first host gives way", || {
        published += 1;
        world.publish("case-sql", &[&format!("d{published:04}")]);
        if states() == ["failed", "running"] { Ok(()) } else { Err(format!("they are {:?}", states())) }
    });
    assert!(!world.log().contains("halted"), "{}", world.log());
    world.publish("case-sql", &["e"]);
    until("the second host goes on", || match world.database.number("select count(*) from cases where id = 'e'") {
        1 => Ok(()),
        _ => Err("it does not".to_owned()),
    });
    second.kill();
    world.publish("case-sql", &["f"]);
    until("the first host takes it back", || {
        match world.database.number("select count(*) from cases where id = 'f'") {
            1 => Ok(()),
            _ => Err("it does not".to_owned()),
        }
    });
    first.stop();
}

#[test]
fn a_pillow_starts_when_what_it_lacks_beside_its_files_is_there() {
    let world = World::new();
    let settings = std::fs::read_to_string(world.path("pillowtop.toml")).unwrap();
    world.put("pillowtop.toml", settings.replace("from documents", "from later"));
    world.put_manifest(&Pillow::new("cases", "case-sql", "v1"));
    world.publish("case-sql", &["a"]);
    let host = world.run(&[]);
    let status = world.wait_for_state("cases", "failed");
    assert!(status["reason"].as_str().unwrap().contains("later"), "{status}");
    world.database.execute("create view later as select * from documents");
    world.wait_for_rows("cases", "a=v1");
    // Tried with growing pauses, not in a loop.
    assert!(world.log().matches("building").count() < 10, "{}", world.log());
    host.stop();
}
