//! What a host counts of its swaps, with the host in this process.

use pillowtop::control::{Host, HostEnd, Options, Until};
use pillowtop::feed::Share;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::world::{Pillow, World, until};

#[test]
fn swaps_and_refusals_are_counted() {
    let world = World::new();
    let mut cases = Pillow::new("cases", "case-sql", "v1");
    let works = cases.mode;
    world.put_manifest(&cases);
    let options = Options {
        settings: world.path("pillowtop.toml"),
        pipelines: world.path("pipelines"),
        only: Vec::new(),
        until: Until::Stopped,
        share: Share::WHOLE,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let host = runtime.block_on(Box::pin(Host::open(options))).unwrap();
    let metrics = std::sync::Arc::clone(host.metrics());
    let stop = CancellationToken::new();
    let (told, observer) = (stop.clone(), watch::Sender::new(Vec::new()));
    let running = std::thread::spawn(move || runtime.block_on(Box::pin(host.run(told, observer))));
    let says = |lines: &[&str]| {
        until(&format!("the metrics say {lines:?}"), || {
            let text = metrics.encode();
            if lines.iter().all(|line| text.lines().any(|said| said == *line)) { Ok(()) } else { Err(text) }
        });
    };
    let (ok, failed) = (
        "pillowtop_swaps_total{pillow=\"cases\",result=\"ok\"}",
        "pillowtop_swaps_total{pillow=\"cases\",result=\"failed\"}",
    );
    let generation = "pillowtop_generation{pillow=\"cases\"}";
    says(&[&format!("{generation} 1"), &format!("{ok} 0"), &format!("{failed} 0")]);
    cases.mode = "refuse";
    world.put_manifest(&cases);
    says(&[&format!("{generation} 1"), &format!("{ok} 0"), &format!("{failed} 1")]);
    cases.mode = "fail";
    world.put_manifest(&cases);
    says(&[&format!("{generation} 2"), &format!("{ok} 1"), &format!("{failed} 1")]);
    // A restart with other bounds replaces the processors as well.
    cases.tables = "[failures]\nhalt-above = 0.5\nwindow = 10\nminimum = 1\n";
    world.put_manifest(&cases);
    says(&[&format!("{generation} 3"), &format!("{ok} 2"), "pillowtop_halted{pillow=\"cases\"} 0"]);
    world.publish("case-sql", &["poison-1", "poison-2"]);
    says(&["pillowtop_halted{pillow=\"cases\"} 1", "pillowtop_restarts_total{pillow=\"cases\"} 1"]);
    // Processors that work let it go on; merely resumed, it would halt again at the same changes.
    cases.mode = works;
    world.put_manifest(&cases);
    says(&["pillowtop_halted{pillow=\"cases\"} 0"]);
    stop.cancel();
    assert_eq!(running.join().unwrap(), HostEnd::Done);
}
