use super::{READ, REPOSITORY, WRITE, call, draft, github};

#[test]
fn nothing_new_is_free_for_those_who_say_who_they_are() {
    let github = github();
    github.world().publish(REPOSITORY, draft("v1.0.0"), &[]);
    let latest = |headers: &[(&str, &str)]| call(&github, "GET", "/releases/latest", headers, "");
    let etag = latest(&[]).header("etag").to_owned();
    let known = ("if-none-match", etag.as_str());
    let answer = latest(&[known]);
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(github.world().limits.used(), (2, 0));
    assert_eq!(latest(&[known, READ]).status, 304);
    assert_eq!(github.world().limits.used(), (2, 0));

    github.world().publish(REPOSITORY, draft("v1.0.1"), &[]);
    assert_eq!(latest(&[known, READ]).status, 200);
    assert_eq!(github.world().limits.used(), (2, 1));
}

#[test]
fn an_address_has_so_many_requests_an_hour() {
    let github = github();
    github.world().limits.anonymous = 2;
    let ask = |headers: &[(&str, &str)]| call(&github, "GET", "/releases", headers, "");
    assert_eq!(ask(&[]).header("x-ratelimit-remaining"), "1");
    assert_eq!(ask(&[]).header("x-ratelimit-remaining"), "0");
    let refused = ask(&[]);
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert!(refused.header("x-ratelimit-reset").parse::<u64>().unwrap() > 1_000_000_000);
    assert_eq!(ask(&[READ]).status, 200);
    github.world().limits.reset();
    assert_eq!(ask(&[]).status, 200);
}

#[test]
fn creating_too_fast_has_to_wait() {
    let github = github();
    github.world().limits.creating = 1;
    let create = || {
        call(
            &github,
            "POST",
            "/releases",
            &[WRITE],
            r#"{"tag_name":"v1.0.0","draft":true}"#,
        )
    };
    assert_eq!(create().status, 201);
    let refused = create();
    assert_eq!((refused.status, refused.header("retry-after")), (403, "60"));
}
