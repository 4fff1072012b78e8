//! Sources that are followed, once each.

use std::fs;
use std::sync::Arc;

use super::super::assemble::Resources;
use super::super::disk::Disk;
use super::super::load::load;
use super::super::scan::Texts;
use super::{Found, Lists};

const SETTINGS: &str = "[database]\nurl = \"sqlite:p.db\"\n[feeds.log]\nkind = \"changelog\"\n\
    [documents.store]\nkind = \"inline\"\n[limits]\nworkers = 1\n";

fn manifest(name: &str, query: &str) -> String {
    format!(
        "name = \"{name}\"\n[feed]\nfrom = \"log\"\ntopics = [\"t\"]\n[documents]\ndefault = \"store\"\n\
         [[processors]]\nname = \"p\"\nmodule = \"p.wasm\"\n\
         [[processors.config-lists]]\nkey = \"k\"\nquery = \"{query}\"\n"
    )
}

#[tokio::test]
async fn pillows_that_name_one_source_share_what_is_read_and_none_is_read_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (file, pipelines) = (folder.path().join("pillowtop.toml"), folder.path().join("pipelines"));
    fs::create_dir(&pipelines).unwrap();
    let settings = load(&file, &Texts { settings: Some(SETTINGS.to_owned()), ..Texts::default() }).settings.unwrap();
    let resources = Arc::new(Resources::open(&settings).await.unwrap());
    let mut disk = Disk::new(file, pipelines.clone(), Vec::new(), (settings, Some(SETTINGS.to_owned())));
    let mut lists = Lists::new(resources);
    for name in ["a", "b"] {
        fs::write(pipelines.join(format!("{name}.toml")), manifest(name, "select '1'")).unwrap();
    }
    fs::write(pipelines.join("c.toml"), manifest("c", "select 'no JSON' union all select '2'")).unwrap();
    let mut seen = disk.look();
    lists.fill(&mut seen);
    assert_eq!(lists.followed.len(), 2, "a and b share one");
    assert!(seen.wanted.values().all(super::super::plan::Shape::is_loading));
    while seen.wanted.values().any(super::super::plan::Shape::is_loading) {
        lists.changed().await;
        lists.fill(&mut seen);
    }
    let of = |name: &str| match &seen.wanted[&crate::model::PillowName::new(name)].lists[0][0] {
        Found::Ready(content) => Arc::clone(content),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&of("a"), &of("b")));
    assert_eq!((of("c").elements.len(), of("c").troubles.len()), (1, 1));
    let status = lists.status(&seen);
    assert_eq!(status[&crate::model::PillowName::new("a")][0]["elements"], 1);

    fs::remove_file(pipelines.join("c.toml")).unwrap();
    let mut seen = disk.look();
    lists.fill(&mut seen);
    assert_eq!(lists.followed.len(), 1);
}
