//! Bad input: one clear error each, and nothing half done.

use super::{REPOSITORY, Site};
use crate::publish::{Session, asset::Asset};

/// Publishes as `token` in `repository`; gives the error and its exit code, and sees to it that nothing was made.
fn error(site: &Site, token: &str, repository: &str) -> (String, u8) {
    let target = site.target(token, repository);
    let opened = Session::open(target, &site.wanted.version, &site.wanted.commit, site.patience);
    let error = opened.and_then(|session| session.publish(&site.wanted)).unwrap_err();
    assert!(error.hint().is_some(), "no hint: {error}");
    assert!(site.double.world().repository(REPOSITORY).releases.is_empty());
    assert_eq!(site.double.violations(), Vec::<String>::new());
    (error.to_string(), error.exit_code())
}

#[test]
fn tokens_and_repositories() {
    let site = Site::new();
    let expect = |token, repository, text: &str| {
        assert_eq!(error(&site, token, repository), (text.to_owned(), 6));
    };
    expect(
        "unknown",
        REPOSITORY,
        "GitHub does not accept the token: Bad credentials",
    );
    expect(
        "reader",
        REPOSITORY,
        "the token may not make a draft in acme/web: Resource not accessible by personal access token",
    );
    expect(
        "writer",
        "acme/other",
        "GitHub has no repository acme/other, or the token cannot see it",
    );
}

#[test]
fn tags() {
    let site = Site::new();
    site.double.world().repository(REPOSITORY).remove_tag("v2.1.0");
    assert_eq!(
        error(&site, "writer", REPOSITORY),
        ("acme/web has no tag v2.1.0".to_owned(), 3)
    );
    let other = {
        let mut world = site.double.world();
        let repository = world.repository(REPOSITORY);
        let other = repository.commit("main", "another");
        repository.tag("v2.1.0", &other);
        other
    };
    let commit = &site.wanted.commit;
    let text = format!("the tag v2.1.0 at GitHub is on {other}, but the bundles were made from {commit}");
    assert_eq!(error(&site, "writer", REPOSITORY), (text, 3));
}

#[test]
fn a_version_that_is_published_with_other_content() {
    let mut site = Site::new();
    site.publish().unwrap();
    let before = format!("{:?}", site.double.world().repository(REPOSITORY).releases);
    site.wanted.assets[2] = Asset::of_bytes("SHA256SUMS", b"other".to_vec());
    let error = site.publish().unwrap_err();
    let text = "v2.1.0 is published already, and differs: SHA256SUMS: it has 4 bytes instead of 5";
    assert_eq!(error.to_string(), text);
    assert_eq!(error.exit_code(), 6);
    assert_eq!(
        format!("{:?}", site.double.world().repository(REPOSITORY).releases),
        before
    );
}

#[test]
fn a_file_that_changes_while_it_is_sent() {
    let mut site = Site::new();
    site.wanted.assets[1].digest = format!("sha256:{:064}", 0);
    let error = site.publish().unwrap_err().to_string();
    assert!(error.contains("did the file change?"), "{error}");
    assert!(site.double.world().repository(REPOSITORY).latest().is_none());
}

#[test]
fn a_file_that_has_become_shorter() {
    let mut site = Site::new();
    site.wanted.assets[1].size = 10_000_000;
    let error = site.publish().unwrap_err().to_string();
    assert!(error.starts_with("cannot upload an asset"), "{error}");
    assert!(site.double.world().repository(REPOSITORY).latest().is_none());
}

#[test]
fn a_name_that_github_changes() {
    let mut site = Site::new();
    site.wanted.assets[1].name = "acme part".to_owned();
    let error = site.publish().unwrap_err().to_string();
    assert_eq!(error, "acme part cannot be an asset: GitHub stored it as acme.part");
}
