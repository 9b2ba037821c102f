use super::{READ, REPOSITORY, WRITE, call, draft, expect_described, github, send};

fn location(github: &github_double::GitHub) -> String {
    let release = call(github, "GET", "/releases/latest", &[], "").json();
    let url = release["assets"][0]["browser_download_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let redirect = send("GET", &url, &[], b"").unwrap();
    assert_eq!(redirect.status, 302);
    redirect.header("location").to_owned()
}

#[test]
fn a_download_is_redirected_and_can_be_resumed() {
    let github = github();
    github
        .world()
        .publish(REPOSITORY, draft("v1.0.0"), &[("a", b"0123456789")]);
    let location = location(&github);
    let whole = send("GET", &location, &[], b"").unwrap();
    assert_eq!(whole.body, b"0123456789");
    let etag = whole.header("etag").to_owned();

    let expect = |headers: &[(&str, &str)], status: u16, body: &[u8]| {
        let answer = send("GET", &location, headers, b"").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (status, body), "{headers:?}");
    };
    expect(&[("range", "bytes=4-")], 206, b"456789");
    expect(&[("range", "bytes=4-5")], 206, b"45");
    expect(&[("range", "bytes=-3")], 206, b"789");
    expect(&[("range", "bytes=4-"), ("if-range", &etag)], 206, b"456789");
    expect(&[("range", "bytes=4-"), ("if-range", "\"other\"")], 200, b"0123456789");
    expect(&[("if-none-match", &etag)], 304, b"");
    assert_eq!(
        send("GET", &location, &[("range", "bytes=10-")], b"").unwrap().status,
        416
    );
    let forged = location.replace("sig=", "sig=0");
    assert_eq!(send("GET", &forged, &[], b"").unwrap().status, 403);
    let sent: u64 = github
        .requests()
        .iter()
        .filter(|request| request.path.contains("sig"))
        .map(|r| r.sent)
        .sum();
    assert_eq!(sent, 10 + 6 + 2 + 3 + 6 + 10);
    expect_described(&github);
}

#[test]
fn a_private_repository_gives_nothing_without_a_token() {
    let github = github();
    github
        .world()
        .publish(REPOSITORY, draft("v1.0.0"), &[("a", b"0123456789")]);
    github.world().repository(REPOSITORY).private = true;
    assert_eq!(call(&github, "GET", "/releases/latest", &[], "").status, 404);
    let release = call(&github, "GET", "/releases/latest", &[READ], "").json();
    let asset = release["assets"][0]["url"].as_str().unwrap().to_owned();
    let binary = ("accept", "application/octet-stream");
    let redirect = send("GET", &asset, &[READ, binary], b"").unwrap();
    assert_eq!(redirect.status, 302);
    assert_eq!(
        send("GET", redirect.header("location"), &[], b"").unwrap().body,
        b"0123456789"
    );
    expect_described(&github);
}

#[test]
fn a_file_of_a_draft_is_not_to_be_had() {
    let github = github();
    github
        .world()
        .add_draft(REPOSITORY, draft("v1.0.0"), &[("a", b"0123456789")]);
    let releases = call(&github, "GET", "/releases", &[WRITE], "").json();
    let url = releases[0]["assets"][0]["browser_download_url"].as_str().unwrap();
    assert!(url.contains("untagged-"), "{url}");
    assert_eq!(send("GET", url, &[], b"").unwrap().status, 404);
}
