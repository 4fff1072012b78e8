//! Settings that change while the host runs.

use std::fs;

use super::world::{Pillow, World};

#[test]
fn changed_settings_are_named_with_their_users_and_hold_nothing_up() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    world.put_manifest(&cases);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    let settings = fs::read_to_string(world.path("pillowtop.toml")).unwrap();
    let moved = settings.replace("folder = \"search\"", "folder = \"elsewhere\"");
    world.put("pillowtop.toml", format!("{moved}\n[log]\nlevel = \"debug\"\n"));
    world.wait_for_log("sinks.search (used by cases), log");
    world.wait_for_log("changed settings take effect when the host starts again");
    // Broken ones are a problem of their own: manifests mean the settings that the host runs with.
    world.put("pillowtop.toml", "[database");
    world.wait_for_log("pillowtop.toml:1");
    cases.version = "v2".to_owned();
    world.put_manifest(&cases);
    world.wait_for_log("takes over");
    // A command needs settings that are right.
    world.put("pillowtop.toml", &settings);
    world.wait_for_generation("cases", 2);
    assert!(!world.path("elsewhere").exists());
    host.stop();
}
