use github_double::{Break, Effect, Fault, Host, MakeLatest, State};

use super::{FILE, REPOSITORY, WRITE, call, draft, expect_described, github, send, upload, upload_url};

#[test]
fn a_gateway_fails_before_or_after() {
    let github = github();
    let create = || {
        call(
            &github,
            "POST",
            "/releases",
            &[WRITE],
            r#"{"tag_name":"v1.0.0","draft":true}"#,
        )
    };
    github.fault(Fault::new(Host::Api, "POST", "/releases", Effect::BadGateway).after(1));
    github.fault(Fault::new(Host::Api, "POST", "/releases", Effect::BadGatewayAfterwards).after(1));
    assert_eq!(create().status, 201);
    let failed = create();
    assert_eq!(
        (failed.status, failed.header("content-type")),
        (502, "text/html; charset=utf-8")
    );
    assert_eq!(create().status, 502);
    assert_eq!(create().status, 201);
    // The second was not done; the third was, though it was answered with 502.
    assert_eq!(github.world().repository(REPOSITORY).releases.len(), 3);
    assert_eq!(github.take_back_faults(), 0);
}

#[test]
fn connections_are_cut() {
    let github = github();
    let url = format!("{}/repos/{REPOSITORY}/releases", github.api_url());
    github.fault(Fault::new(Host::Api, "POST", "/releases", Effect::Reset));
    github.fault(Fault::new(Host::Api, "POST", "/releases", Effect::ResetAfterwards));
    let create = || send("POST", &url, &[WRITE], br#"{"tag_name":"v1.0.0","draft":true}"#);
    assert!(create().is_err());
    assert_eq!(github.world().repository(REPOSITORY).releases.len(), 0);
    assert!(create().is_err());
    assert_eq!(github.world().repository(REPOSITORY).releases.len(), 1);
}

#[test]
fn an_upload_breaks_and_leaves_a_starter() {
    let github = github();
    let release = github.world().add_draft(REPOSITORY, draft("v1.0.0"), &[]);
    let broken = |after, ending| Fault::new(Host::Uploads, "POST", "name=", Effect::Upload { after, ending });
    github.fault(broken(3, Break::BadGateway));
    assert_eq!(upload(&github, release, "a", b"0123456789").status, 502);
    github.fault(broken(3, Break::Reset));
    let url = upload_url(&github, release);
    assert!(send("POST", &format!("{url}b"), &[WRITE, FILE], b"0123456789").is_err());
    let states = || {
        let mut world = github.world();
        let assets = &world.repository(REPOSITORY).releases[0].assets;
        assets.iter().map(|asset| asset.state).collect::<Vec<_>>()
    };
    assert_eq!(states(), [State::Starter, State::Starter]);
    assert_eq!(upload(&github, release, "a", b"0123456789").status, 422);
    let asset = github.world().repository(REPOSITORY).releases[0].assets[0].id;
    assert_eq!(
        call(&github, "DELETE", &format!("/releases/assets/{asset}"), &[WRITE], "").status,
        204
    );
    assert_eq!(upload(&github, release, "a", b"0123456789").status, 201);
    expect_described(&github);
}

#[test]
fn a_download_is_cut_or_damaged() {
    let github = github();
    github
        .world()
        .publish(REPOSITORY, draft("v1.0.0"), &[("a", b"0123456789")]);
    let release = call(&github, "GET", "/releases/latest", &[], "").json();
    let url = release["assets"][0]["browser_download_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let location = send("GET", &url, &[], b"").unwrap().header("location").to_owned();
    let ending = Break::Reset;
    github.fault(Fault::new(
        Host::Storage,
        "GET",
        "",
        Effect::Download { after: 4, ending },
    ));
    assert!(send("GET", &location, &[], b"").is_err());
    assert_eq!(github.requests().last().unwrap().sent, 4);
    github.fault(Fault::new(Host::Storage, "GET", "", Effect::Flip(2)));
    assert_eq!(send("GET", &location, &[], b"").unwrap().body, b"0133456789");
}

#[test]
fn another_client_acts_meanwhile() {
    let github = github();
    let release = github.world().add_draft(REPOSITORY, draft("v1.0.0"), &[]);
    let by_hand = Effect::meanwhile(move |world| {
        world.repository(REPOSITORY).publish_by_hand(release, MakeLatest::True);
    });
    github.fault(Fault::new(Host::Api, "GET", "/latest", by_hand));
    assert_eq!(call(&github, "GET", "/releases/latest", &[], "").status, 200);
}
