//! A record's life: updates and releases are recorded, and survive.

use std::collections::BTreeMap;

use bundle::{Digest, manifest::DataRule};
use semver::Version;

use super::*;
use crate::{
    Error,
    state::{Event, Phase, State},
};

const NOW: &str = "2026-01-31T12:00:00Z";

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state/updates.sqlite")).unwrap();
    (directory, store)
}

fn new() -> NewUpdate {
    NewUpdate {
        version: Version::new(2, 1, 0),
        changelog: "- better".to_owned(),
        bundle: Some("/opt/webmacs/updates/a.tar.gz".into()),
        manifest_digest: Some(Digest::of(b"manifest")),
        file_size: Some(7),
    }
}

#[test]
fn an_update_survives_reopening() {
    let (directory, mut store) = store();
    let added = store.add(&new(), NOW).unwrap();
    store.record(added.id, Event::Start, &Change::default(), NOW).unwrap();
    drop(store);
    let store = Store::open(&directory.path().join("state/updates.sqlite")).unwrap();
    let found = store.active().unwrap().unwrap();
    assert_eq!(found.state.phase, Phase::Verifying);
    assert_eq!(found.public_id, added.public_id);
    assert_eq!(store.journal(found.id).unwrap().len(), 1);
}

#[test]
fn what_cannot_happen_is_not_recorded() {
    let (_directory, mut store) = store();
    let id = store.add(&new(), NOW).unwrap().id;
    let refused = store.record(id, Event::Loaded, &Change::default(), NOW);
    assert!(matches!(refused, Err(Error::Illegal(_))));
    assert_eq!(store.update(id).unwrap().state, State::NEW);
    assert!(store.journal(id).unwrap().is_empty());
}

#[test]
fn replaying_the_journal_gives_the_state() {
    let (_directory, mut store) = store();
    let id = store.add(&new(), NOW).unwrap().id;
    for event in [
        Event::Start,
        Event::VerifiedGated,
        Event::Interrupted,
        Event::BackedUp,
        Event::Failed,
    ] {
        store.record(id, event, &Change::default(), NOW).unwrap();
    }
    let last = store.journal(id).unwrap().pop().unwrap();
    assert_eq!(last.phase, store.update(id).unwrap().state.phase.name());
    assert_eq!(last.phase, "undoing");
}

#[test]
fn a_release_is_recorded_once_per_bundle() {
    let (_directory, mut store) = store();
    let mut release = Release {
        id: 0,
        version: Version::new(2, 0, 0),
        manifest_digest: Some(Digest::of(b"a")),
        directory: None,
        bundle: None,
        pins: BTreeMap::new(),
        data: DataRule::default(),
        made_on: NOW.to_owned(),
    };
    let first = store.add_release(&release).unwrap();
    release.bundle = Some("/moved".into());
    assert_eq!(store.add_release(&release).unwrap(), first);
    assert_eq!(store.release(first).unwrap().bundle, release.bundle);
    store.adopt(first).unwrap();
    assert_eq!(store.current().unwrap().unwrap().id, first);
    assert_eq!(store.previous().unwrap(), None);
}

#[test]
fn the_database_survives_a_power_cut_by_its_settings() {
    let (_directory, store) = store();
    let pragma = |name| {
        store
            .connection
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
    // 2 is FULL.
    assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2));
}
