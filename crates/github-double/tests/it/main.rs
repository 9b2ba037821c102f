//! What the double promises: GitHub's rules, its limits, its answers, and faults when they are ordered.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod client;
mod downloads;
mod faults;
mod limits;
mod releases;

use client::{Answer, send};
use github_double::{Access, Draft, GitHub};

const REPOSITORY: &str = "acme/webmacs";
const WRITE: (&str, &str) = ("authorization", "Bearer writer");
const READ: (&str, &str) = ("authorization", "Bearer reader");
const FILE: (&str, &str) = ("content-type", "application/gzip");

/// A double with one repository, and a token of each kind.
fn github() -> GitHub {
    let github = GitHub::start().unwrap();
    let mut world = github.world();
    world.add_repository(REPOSITORY);
    world.add_token("writer", Access::Write);
    world.add_token("reader", Access::Read);
    drop(world);
    github
}

fn draft(tag: &str) -> Draft {
    Draft {
        tag: tag.to_owned(),
        ..Draft::default()
    }
}

/// A JSON call about the repository.
fn call(github: &GitHub, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let url = format!("{}/repos/{REPOSITORY}{path}", github.api_url());
    send(method, &url, headers, body.as_bytes()).unwrap()
}

/// Where a release's files go.
fn upload_url(github: &GitHub, release: u64) -> String {
    let answer = call(github, "GET", &format!("/releases/{release}"), &[WRITE], "");
    let url = answer.json()["upload_url"].as_str().unwrap().to_owned();
    url.replace("{?name,label}", "?name=")
}

fn upload(github: &GitHub, release: u64, name: &str, content: &[u8]) -> Answer {
    send(
        "POST",
        &format!("{}{name}", upload_url(github, release)),
        &[WRITE, FILE],
        content,
    )
    .unwrap()
}

fn expect_described(github: &GitHub) {
    assert_eq!(github.violations(), Vec::<String>::new());
}
