//! Every way that a file changes, and that it concerns its own pillow only.

use std::fs;
use std::os::unix::fs::symlink;

use super::modules;
use super::world::{Host, Pillow, World};

/// Two pillows, of cases and of forms, that run.
fn two() -> (World, Pillow, Pillow, Host) {
    let world = World::new();
    let (cases, forms) = (Pillow::new("cases", "case-sql", "v1"), Pillow::new("forms", "form-sql", "v1"));
    world.put_manifest(&cases);
    world.put_manifest(&forms);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    world.wait_for_generation("forms", 1);
    (world, cases, forms, host)
}

/// One pillow, of cases, that runs.
fn one() -> (World, Pillow, Host) {
    let world = World::new();
    let cases = Pillow::new("cases", "case-sql", "v1");
    world.put_manifest(&cases);
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    (world, cases, host)
}

/// What tells whether a pillow was touched: its generation and since when it is in its state.
fn marks(world: &World, pillow: &str) -> (String, String) {
    let status = world.status(pillow).unwrap();
    (status["generation"].to_string(), status["since"].to_string())
}

#[test]
fn a_save_concerns_its_own_pillow_only() {
    let (world, mut cases, mut forms, host) = two();
    let untouched = marks(&world, "forms");
    // Renamed over its place.
    cases.version = "v2".to_owned();
    world.put_manifest(&cases);
    world.wait_for_generation("cases", 2);
    // Written in place.
    cases.version = "v3".to_owned();
    fs::write(world.path("pipelines/cases.toml"), cases.text()).unwrap();
    world.wait_for_generation("cases", 3);
    world.publish("case-sql", &["a"]);
    world.wait_for_rows("cases", "a=v3");
    assert_eq!(marks(&world, "forms"), untouched);

    // What it reads and how begins it anew, and the other one does not notice.
    let untouched = marks(&world, "cases");
    forms.tables = "[batch]\ncount = 3\n";
    world.put_manifest(&forms);
    let status = world.wait_for_generation("forms", 2);
    assert_eq!(status["last_swap"]["ok"], true, "{status}");
    forms.tables = "[failures]\nhalt-above = 0.9\n";
    world.put_manifest(&forms);
    world.wait_for_generation("forms", 3);
    world.publish("form-sql", &["f"]);
    world.wait_for_rows("forms", "f=v1");
    assert_eq!(marks(&world, "cases"), untouched);
    host.stop();
}

#[test]
fn a_new_manifest_starts_its_pillow_and_a_deleted_one_stops_it() {
    let (world, cases, host) = one();
    let untouched = marks(&world, "cases");
    world.put_manifest(&Pillow::new("forms", "form-sql", "v1"));
    world.wait_for_generation("forms", 1);
    fs::remove_file(world.path("pipelines/forms.toml")).unwrap();
    world.wait_for("forms", "is gone", |status| status.is_null());
    world.wait_for_log("its manifest is gone");
    assert_eq!(marks(&world, "cases"), untouched);
    // Under another file's name it is the same pillow.
    fs::rename(world.path("pipelines/cases.toml"), world.path("pipelines/renamed.toml")).unwrap();
    world.put_manifest(&Pillow::new("forms", "form-sql", "v1"));
    world.wait_for_generation("forms", 1);
    assert_eq!(world.status("cases").unwrap()["generation"], 1);
    // A broken copy of it stops nothing either: which of the two is meant is for their owner to say.
    fs::write(world.path("pipelines/copy.toml"), cases.text()).unwrap();
    world.wait_for_log("is also declared in");
    assert_eq!(world.status("cases").unwrap()["state"], "running");
    host.stop();
}

#[test]
fn a_module_that_goes_away_leaves_the_pillow_running_and_is_taken_up_when_it_is_back() {
    let (world, _, host) = one();
    let module = world.path("modules/hostile.wasm");
    fs::remove_file(&module).unwrap();
    let status = world.wait_for("cases", "says so", |status| status["last_swap"]["ok"] == false);
    assert!(status["last_swap"]["error"].as_str().unwrap().contains("hostile.wasm"), "{status}");
    assert_eq!((&status["state"], &status["generation"]), (&"running".into(), &1.into()));
    world.publish("case-sql", &["a"]);
    world.wait_for_rows("cases", "a=v1");
    world.put("modules/hostile.wasm", modules::stamped("stamped-01"));
    world.wait_for_generation("cases", 2);
    world.publish("case-sql", &["b"]);
    world.wait_for_rows("cases", "a=v1 b=stamped-01");
    host.stop();
}

#[test]
fn a_module_that_is_written_in_two_steps_is_taken_when_it_is_whole() {
    let (world, _, host) = one();
    let (module, whole) = (world.path("modules/hostile.wasm"), modules::stamped("stamped-02"));
    fs::write(&module, &whole[..whole.len() / 3]).unwrap();
    world.wait_for("cases", "refuses the half", |status| status["last_swap"]["ok"] == false);
    fs::write(&module, &whole).unwrap();
    world.wait_for_generation("cases", 2);
    world.publish("case-sql", &["a"]);
    world.wait_for_rows("cases", "a=stamped-02");
    host.stop();
}

#[test]
fn of_two_quick_saves_the_last_one_counts() {
    let (world, mut cases, host) = one();
    for version in ["v2", "v3"] {
        cases.version = version.to_owned();
        world.put_manifest(&cases);
    }
    // One or two swaps, as the saves fell.
    world.wait_for("cases", "runs the last version", |status| {
        status["last_swap"]["ok"] == true && {
            let id = format!("d{}", status["counts"]["read"]);
            world.publish("case-sql", &[&id]);
            world.database.number("select count(*) from sqlite_schema where name = 'cases'") == 1
                && world.database.number("select count(*) from cases where version = 'v3'") > 0
        }
    });
    host.stop();
}

#[test]
fn a_broken_manifest_changes_nothing_and_is_said_once_until_it_is_right() {
    let (world, mut cases, mut forms, host) = two();
    let text = cases.text();
    fs::write(world.path("pipelines/cases.toml"), text.replace("[feed]", "[feeed]")).unwrap();
    world.wait_for_log("feeed");
    // Looked at again because of the neighbour, and not said again.
    forms.version = "v2".to_owned();
    world.put_manifest(&forms);
    world.wait_for_generation("forms", 2);
    assert_eq!(world.log().matches("unknown key `feeed`").count(), 1, "{}", world.log());
    assert_eq!(world.status("cases").unwrap()["state"], "running");
    cases.version = "v2".to_owned();
    world.put_manifest(&cases);
    world.wait_for_generation("cases", 2);
    // Broken in the same way a second time: that is news.
    fs::write(world.path("pipelines/cases.toml"), text.replace("[feed]", "[feeed]")).unwrap();
    world.wait_for("cases", "is said to be broken again", |_| world.log().matches("unknown key `feeed`").count() == 2);
    host.stop();
}

#[test]
fn a_flipped_link_to_a_file_is_followed() {
    let world = World::new();
    fs::create_dir(world.path("releases")).unwrap();
    for (name, content) in [("one", modules::stamped("stamped-01")), ("two", modules::stamped("stamped-02"))] {
        fs::write(world.path(&format!("releases/{name}.wasm")), content).unwrap();
    }
    symlink("../releases/one.wasm", world.path("modules/current.wasm")).unwrap();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.module = "../modules/current.wasm".to_owned();
    // The manifest is a link, too.
    let text = cases.text().replace("../modules", world.path("modules").to_str().unwrap());
    fs::write(world.path("releases/cases-1.toml"), &text).unwrap();
    fs::write(world.path("releases/cases-2.toml"), text.replace("index = \"cases\"", "index = \"others\"")).unwrap();
    symlink("../releases/cases-1.toml", world.path("pipelines/cases.toml")).unwrap();
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    flip(&world, "../releases/two.wasm", "modules/current.wasm");
    world.wait_for_generation("cases", 2);
    world.publish("case-sql", &["a"]);
    world.wait_for_rows("cases", "a=stamped-02");
    flip(&world, "../releases/cases-2.toml", "pipelines/cases.toml");
    world.wait_for_generation("cases", 3);
    host.stop();
}

/// As Kubernetes mounts a ConfigMap: files are links through `..data`, and `..data` is a link that is flipped.
#[test]
fn a_flipped_link_to_a_folder_is_followed() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.module = world.path("modules/hostile.wasm").to_str().unwrap().to_owned();
    for version in ["v1", "v2", "v3"] {
        cases.version = version.to_owned();
        fs::create_dir(world.path(&format!("pipelines/..{version}"))).unwrap();
        fs::write(world.path(&format!("pipelines/..{version}/cases.toml")), cases.text()).unwrap();
    }
    symlink("..v1", world.path("pipelines/..data")).unwrap();
    symlink("..data/cases.toml", world.path("pipelines/cases.toml")).unwrap();
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    flip(&world, "..v2", "pipelines/..data");
    world.wait_for_generation("cases", 2);
    fs::remove_dir_all(world.path("pipelines/..v1")).unwrap();
    flip(&world, "..v3", "pipelines/..data");
    world.wait_for_generation("cases", 3);
    world.publish("case-sql", &["a"]);
    world.wait_for_rows("cases", "a=v3");
    assert!(!world.log().contains("its manifest is gone"), "{}", world.log());
    host.stop();
}

#[test]
fn the_folder_of_the_manifests_may_be_a_link_and_may_be_gone_for_a_while() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    cases.module = world.path("modules/hostile.wasm").to_str().unwrap().to_owned();
    for version in ["v1", "v2"] {
        cases.version = version.to_owned();
        fs::create_dir(world.path(version)).unwrap();
        fs::write(world.path(&format!("{version}/cases.toml")), cases.text()).unwrap();
    }
    fs::remove_dir(world.path("pipelines")).unwrap();
    symlink("v1", world.path("pipelines")).unwrap();
    let host = world.run(&[]);
    world.wait_for_generation("cases", 1);
    flip(&world, "v2", "pipelines");
    world.wait_for_generation("cases", 2);
    fs::remove_file(world.path("pipelines")).unwrap();
    world.wait_for_log("could not read pipelines");
    symlink("v1", world.path("pipelines")).unwrap();
    world.wait_for_generation("cases", 3);
    assert!(!world.log().contains("its manifest is gone"), "{}", world.log());
    host.stop();
}

/// Lets a link point elsewhere, in one step.
fn flip(world: &World, target: &str, link: &str) {
    let beside = world.path("flipped");
    symlink(target, &beside).unwrap();
    fs::rename(beside, world.path(link)).unwrap();
}
