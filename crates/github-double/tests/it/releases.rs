use github_double::{MakeLatest, State};
use serde_json::json;

use super::{READ, REPOSITORY, WRITE, call, client::raw, draft, expect_described, github, send, upload, upload_url};

#[test]
fn a_release_is_drafted_filled_and_published() {
    let github = github();
    let body = json!({ "tag_name": "v1.0.0", "name": "1.0.0", "body": "notes", "draft": true });
    let made = call(&github, "POST", "/releases", &[WRITE], &body.to_string());
    assert_eq!((made.status, &made.json()["draft"]), (201, &json!(true)));
    let id = made.json()["id"].as_u64().unwrap();

    let asset = upload(&github, id, "a.tar.gz", b"content");
    assert_eq!(asset.status, 201);
    assert_eq!(asset.json()["state"], "uploaded");
    let digest = "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    assert_eq!(asset.json()["digest"], digest);

    // Until it is published, no one else sees it, and its tag does not lead to it.
    assert_eq!(call(&github, "GET", "/releases/tags/v1.0.0", &[WRITE], "").status, 404);
    assert_eq!(call(&github, "GET", "/releases", &[READ], "").json(), json!([]));
    assert_eq!(call(&github, "GET", &format!("/releases/{id}"), &[], "").status, 404);
    assert_eq!(call(&github, "GET", "/releases", &[WRITE], "").json()[0]["id"], id);
    assert_eq!(call(&github, "GET", "/git/ref/tags/v1.0.0", &[], "").status, 404);

    let published = call(
        &github,
        "PATCH",
        &format!("/releases/{id}"),
        &[WRITE],
        r#"{"draft":false}"#,
    );
    assert_eq!(published.json()["draft"], false);
    let latest = call(&github, "GET", "/releases/latest", &[], "").json();
    assert_eq!(
        (&latest["id"], &latest["assets"][0]["name"]),
        (&json!(id), &json!("a.tar.gz"))
    );
    let tag = call(&github, "GET", "/git/ref/tags/v1.0.0", &[], "").json();
    assert_eq!(
        call(&github, "GET", "/commits/tags/v1.0.0", &[], "").json()["sha"],
        tag["object"]["sha"]
    );
    expect_described(&github);
}

#[test]
fn what_github_refuses() {
    let github = github();
    let release = github
        .world()
        .add_draft(REPOSITORY, draft("v1.0.0"), &[("taken", b"1")]);
    github.world().publish(REPOSITORY, draft("v0.9.0"), &[]);
    let patch = |body: serde_json::Value| {
        call(
            &github,
            "PATCH",
            &format!("/releases/{release}"),
            &[WRITE],
            &body.to_string(),
        )
    };
    let create = |headers: &[(&str, &str)]| call(&github, "POST", "/releases", headers, r#"{"tag_name":"v2.0.0"}"#);

    assert_eq!(create(&[]).status, 401);
    assert_eq!(create(&[READ]).status, 403);
    assert_eq!(create(&[("authorization", "Bearer unknown")]).status, 401);
    let missing = format!("{}/repos/acme/other/releases", github.api_url());
    assert_eq!(send("GET", &missing, &[WRITE], b"").unwrap().status, 404);

    assert_eq!(patch(json!({ "body": "ä".repeat(125_000) })).status, 200);
    assert_eq!(patch(json!({ "body": "ä".repeat(125_001) })).status, 422);
    let taken = patch(json!({ "tag_name": "v0.9.0", "draft": false }));
    assert_eq!(taken.json()["errors"][0]["code"], "already_exists");
    assert_eq!(patch(json!({ "target_commitish": "nowhere" })).status, 422);

    let taken = upload(&github, release, "taken", b"2");
    assert_eq!(
        (taken.status, &taken.json()["errors"][0]["code"]),
        (422, &json!("already_exists"))
    );
    let url = upload_url(&github, release);
    let answer = raw(&format!("{url}large"), "2147483648", "");
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    expect_described(&github);
}

#[test]
fn several_drafts_may_have_the_same_tag() {
    let github = github();
    for _ in 0..2 {
        let made = call(
            &github,
            "POST",
            "/releases",
            &[WRITE],
            r#"{"tag_name":"v1.0.0","draft":true}"#,
        );
        assert_eq!(made.status, 201);
    }
    assert_eq!(github.world().repository(REPOSITORY).releases_of("v1.0.0").len(), 2);
}

#[test]
fn names_are_changed_to_what_github_likes() {
    let github = github();
    let release = github.world().add_draft(REPOSITORY, draft("v1.0.0"), &[]);
    let names = [
        ("a%20b%28c%29.tar.gz", "a.b.c..tar.gz"),
        ("v1%2Bbuild.tgz", "v1+build.tgz"),
        (".hidden", "default.hidden"),
        ("%C3%A4.zip", "default.zip"),
    ];
    for (sent, stored) in names {
        assert_eq!(upload(&github, release, sent, b"x").json()["name"], stored);
    }
}

#[test]
fn an_immutable_release_stays_as_it_is() {
    let github = github();
    github.world().repository(REPOSITORY).immutable_releases = true;
    let release = github.world().publish(REPOSITORY, draft("v1.0.0"), &[("a", b"1")]);
    let asset = github.world().repository(REPOSITORY).releases[0].assets[0].id;
    assert_eq!(upload(&github, release, "late", b"x").status, 422);
    assert_eq!(
        call(&github, "DELETE", &format!("/releases/assets/{asset}"), &[WRITE], "").status,
        422
    );
    let notes = call(
        &github,
        "PATCH",
        &format!("/releases/{release}"),
        &[WRITE],
        r#"{"body":"fixed"}"#,
    );
    assert_eq!((notes.status, &notes.json()["immutable"]), (200, &json!(true)));
    // Even when it is deleted, its tag cannot carry another release.
    assert_eq!(
        call(&github, "DELETE", &format!("/releases/{release}"), &[WRITE], "").status,
        204
    );
    let again = call(&github, "POST", "/releases", &[WRITE], r#"{"tag_name":"v1.0.0"}"#);
    assert_eq!(again.json()["errors"][0]["code"], "already_exists");
    expect_described(&github);
}

#[test]
fn which_release_is_the_latest() {
    let github = github();
    let latest = || call(&github, "GET", "/releases/latest", &[], "").json()["tag_name"].clone();
    let publish = |tag: &str, prerelease: bool, make_latest: MakeLatest| {
        let mut world = github.world();
        let id = world.add_draft(
            REPOSITORY,
            github_double::Draft {
                prerelease,
                ..draft(tag)
            },
            &[],
        );
        world.repository(REPOSITORY).publish_by_hand(id, make_latest);
    };
    assert_eq!(call(&github, "GET", "/releases/latest", &[], "").status, 404);
    publish("v2.0.0", false, MakeLatest::True);
    publish("v3.0.0-rc.1", true, MakeLatest::True);
    assert_eq!(latest(), "v2.0.0");
    publish("v1.9.1", false, MakeLatest::False);
    assert_eq!(latest(), "v2.0.0");
    // What a backport does that says nothing.
    publish("v1.9.2", false, MakeLatest::True);
    assert_eq!(latest(), "v1.9.2");
    expect_described(&github);
}

#[test]
fn lists_come_in_pages_that_are_linked_by_number() {
    let github = github();
    for patch in 0..5 {
        github.world().publish(REPOSITORY, draft(&format!("v1.0.{patch}")), &[]);
    }
    let first = call(&github, "GET", "/releases?per_page=2", &[], "");
    assert_eq!(first.json().as_array().unwrap().len(), 2);
    let link = first.header("link");
    let next = link.split('<').nth(1).unwrap().split('>').next().unwrap();
    assert!(next.contains("/repositories/"), "{link}");
    let second = send("GET", next, &[], b"").unwrap();
    assert_eq!(second.json().as_array().unwrap().len(), 2);
    assert!(second.header("link").contains(r#"rel="prev""#));
    let last = call(&github, "GET", "/releases?per_page=2&page=3", &[], "");
    assert_eq!(last.json().as_array().unwrap().len(), 1);
    assert!(!last.header("link").contains(r#"rel="next""#));
    expect_described(&github);
}

#[test]
fn an_upload_that_the_client_cuts_leaves_the_name_taken() {
    let github = github();
    let release = github.world().add_draft(REPOSITORY, draft("v1.0.0"), &[]);
    assert_eq!(
        raw(&format!("{}a.tar.gz", upload_url(&github, release)), "100", "only this"),
        ""
    );
    assert_eq!(
        github.world().repository(REPOSITORY).releases[0].assets[0].state,
        State::Starter
    );
    assert_eq!(upload(&github, release, "a.tar.gz", b"all of it").status, 422);
}

#[test]
fn a_call_that_is_not_as_described_is_seen() {
    let github = github();
    call(
        &github,
        "POST",
        "/releases",
        &[WRITE],
        r#"{"tag_name":"v1.0.0","drafty":true}"#,
    );
    call(&github, "GET", "/releases?perpage=2", &[WRITE], "");
    call(&github, "POST", "/releases", &[WRITE], r#"{"tag_name":1}"#);
    call(&github, "GET", "/actions/runs", &[WRITE], "");
    let violations = github.violations();
    assert_eq!(violations.len(), 4, "{violations:#?}");
}
