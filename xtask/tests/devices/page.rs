//! The updater's page in a real browser, on a device with a real engine; its accessibility; its API against its document.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use github_double::{Draft, GitHub};
use xtask::{engines::Kind, setup};

use crate::{
    browser::{Browser, Looks},
    site::{PORT, Site, UPDATER_PORT},
    versions::{BAD_MIGRATION, Bundles, V2_0_0, V2_1_0, Version},
};

const REPOSITORY: &str = "owner/webmacs";

/// What the document cannot say: that bytes are a bundle, and fit; that a session and a token are two ways in, of which the
/// token given here always counts. The events never end, and the media type of tus is none that is known to the program;
/// `crates/updater/src/tests/web` makes these calls.
const SCHEMATHESIS: &str = r#"
[[operations]]
include-path = "/api/v1/ota/events"
enabled = false

[[operations]]
include-path = "/api/v1/ota/uploads/{id}"
include-method = "PATCH"
enabled = false

# An unknown header is no reason to refuse an upload.
[[operations]]
include-path = "/api/v1/ota/uploads"
include-method = "POST"
checks.negative_data_rejection.enabled = false

[checks]
ignored_auth.enabled = false
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "429"]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "401", "403", "404", "409", "413", "429"]
"#;

/// How long an update may take.
const UPDATE: Duration = Duration::from_secs(120);

/// A device with a daemon whose page is open.
struct Watched {
    browser: Browser,
    password: String,
    github: GitHub,
    site: Site,
}

impl Watched {
    fn start(version: &Version, looks: Looks) -> (Self, crate::site::Daemon) {
        let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), version);
        let github = GitHub::start().unwrap();
        github.world().add_repository(REPOSITORY);
        let settings = format!(
            "\n[github]\nrepository = \"{REPOSITORY}\"\napi = \"{}\"\n",
            github.api_url()
        );
        let path = site.path("etc/updater.toml");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
        let password = new_password(&site);
        let daemon = site.daemon();
        site.wait("the page is served", Duration::from_secs(20), &|| {
            TcpStream::connect(("127.0.0.1", UPDATER_PORT)).is_ok()
        });
        let watched = Self {
            browser: Browser::start(looks),
            password,
            github,
            site,
        };
        (watched, daemon)
    }

    fn log_in(&self) {
        self.browser.write("#password", &self.password);
        self.browser.click("#login-form button");
        self.browser.wait_for("#connection", "Connected");
        self.browser.wait_for("#list-title", "Updates (");
    }

    fn publish(&self, version: &str, name: &str, bundle: &[u8]) {
        let draft = Draft {
            tag: format!("v{version}"),
            target: String::new(),
            name: version.to_owned(),
            body: format!("WebMACS {version}"),
            prerelease: false,
        };
        self.github.world().publish(REPOSITORY, draft, &[(name, bundle)]);
    }

    fn upload(&self, version: &Version) {
        self.browser.choose("#file", &self.site.bundle(version));
        self.browser.click("#upload-start");
    }
}

fn new_password(site: &Site) -> String {
    let output = site.run(&["reset-password"]);
    output.stdout.trim().rsplit(' ').next().unwrap().to_owned()
}

fn direct() -> String {
    format!("http://127.0.0.1:{UPDATER_PORT}/ota/")
}

#[test]
#[ignore = "needs Docker engines and a browser; `cargo xtask ci` runs it"]
fn a_person_updates_a_device_in_a_browser() {
    let (watched, _daemon) = Watched::start(&V2_0_0, Looks::Light);
    let Watched { browser, site, .. } = &watched;
    // At the product's own address: this page lives through the restart of the front end that passes it on.
    browser.open(&format!("http://127.0.0.1:{PORT}/ota"));
    browser.wait_for("#login-version", "2.0.0");
    browser.keep("login");
    browser.write("#password", "not the password");
    browser.click("#login-form button");
    browser.wait_for("#login-error", "The password is wrong");
    watched.log_in();
    browser.wait_for("#version", "2.0.0");

    // The four answers of GitHub.
    browser.wait_for("#github", "No releases published yet");
    watched.publish("2.0.0", "webmacs-update-2.0.0.tar.gz", b"of no interest");
    browser.click("#check");
    browser.wait_for("#github", "installed");
    assert!(browser.text("#github").contains("Release page"));
    let bundle = fs::read(site.bundle(&V2_1_0)).unwrap();
    watched.publish("2.1.0", "webmacs-update-2.1.0-amd64.tar.gz", &bundle);
    browser.click("#check");
    browser.wait_for("#github .badge", "newer");
    browser.wait_for("#version-badge", "update available");
    browser.wait_for("#github button", "Download Bundle");
    browser.keep("newer");

    // A bundle is uploaded, and its course is followed to its end.
    watched.upload(&V2_1_0);
    browser.wait_for("#course-title", "Installing 2.1.0");
    browser.wait_long_for("#steps .now", "Start new version", UPDATE);
    browser.keep("installing");
    browser.wait_long_for("#course-title", "2.1.0 is installed", UPDATE);
    browser.wait_for("#version", "2.1.0");
    browser.wait_for("#github .badge", "installed");
    site.expect_runs(&V2_1_0);
    browser.keep("installed");

    // One that does not work says why, and the version before runs.
    watched.upload(&BAD_MIGRATION);
    browser.wait_for("#course-title", "Installing 2.9.3");
    browser.wait_long_for("#course-title", "2.9.3 was not installed", UPDATE);
    browser.wait_for("#course-result", "2.1.0 runs");
    browser.wait_for(".update .why", "backend");
    browser.keep("failed");
    site.expect_runs(&V2_1_0);

    // Going back says what becomes of the data.
    browser.click(".update:nth-child(2) .buttons button");
    browser.wait_for("#confirm-title", "Roll back to 2.0.0?");
    assert!(browser.text("#confirm-text").contains("No data is changed"));
    browser.keep("roll-back");
    browser.click("#confirm-do");
    browser.wait_long_for("#course-title", "2.1.0 was rolled back", UPDATE);
    browser.wait_for("#version", "2.0.0");
    site.expect_runs(&V2_0_0);

    // And forward again, from GitHub: the bundle is still here.
    browser.click("#check");
    browser.click("#github button");
    browser.wait_long_for("#course-title", "2.1.0 is installed", UPDATE);
    site.expect_runs(&V2_1_0);

    let address = format!("http://127.0.0.1:{PORT}/api/v1/ota/check");
    let check = Command::new("curl").args(["--silent", &address]).output().unwrap();
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(check["current_version"], "2.1.0");
}

#[test]
#[ignore = "needs Docker engines and a browser; `cargo xtask ci` runs it"]
fn the_page_is_for_everyone_and_on_every_screen() {
    let axe = fs::read_to_string(setup::axe().unwrap()).unwrap();
    let (watched, daemon) = Watched::start(&V2_0_0, Looks::Dark);
    let Watched { browser, site, .. } = &watched;
    browser.open(&direct());
    browser.wait_for("#login-version", "2.0.0");
    browser.expect_accessible(&axe, "login");
    watched.log_in();

    // A version is registered by hand; its notes are text, with any content.
    browser.click("#new");
    browser.write("#new-version", "3.0");
    browser.click("#new-form button[type=submit]");
    browser.wait_for("#new-error", "is not a semantic version");
    browser.expect_accessible(&axe, "new update, with an error");
    browser.write("#new-version", "3.0.0");
    browser.write(
        "#new-notes",
        "# News\n- **bold** <img src=x onerror=\"document.title='run'\">\n- [click](javascript:alert(1))\n- https://example.com/a",
    );
    browser.keep("new-update");
    browser.click("#new-form button[type=submit]");
    browser.wait_for(".update h3", "3.0.0");
    browser.wait_for(".update .badge", "Waiting for its bundle");
    browser.click(".update summary");
    browser.wait_for(".update .notes", "<img src=x onerror=");
    assert_eq!(browser.run("return document.querySelectorAll('.notes img').length"), 0);
    let links = browser.run("return [...document.querySelectorAll('.notes a')].map((link) => link.href)");
    assert_eq!(links, serde_json::json!(["https://example.com/a"]));
    assert_ne!(browser.run("return document.title"), "run");
    browser.click("#audit summary");
    browser.wait_for("#audit-lines", "register 3.0.0");
    browser.expect_accessible(&axe, "everything open, dark");
    browser.keep("dark");

    // By keyboard alone.
    browser.run("document.getElementById('check').focus()");
    assert_eq!(browser.run("return document.activeElement.id"), "check");

    // A narrow screen.
    browser.resize(390, 844);
    browser.expect_fits();
    browser.run("scrollTo(0, 0)");
    browser.keep("narrow");
    browser.expect_accessible(&axe, "narrow");
    browser.resize(1280, 900);

    browser.click(".update .buttons button");
    browser.wait_for("#confirm-title", "Delete the record of 3.0.0?");
    browser.expect_accessible(&axe, "a question");
    browser.click("#confirm-do");
    browser.wait_for(".update h3", "2.0.0");

    // The page lives through a restart of the updater.
    drop(daemon);
    browser.wait_for("#banner", "does not answer");
    let daemon = site.daemon();
    browser.wait_long_for("#connection", "Connected", Duration::from_secs(30));

    // GitHub is away: the local part answers.
    watched.github.fault(github_double::Fault::new(
        github_double::Host::Api,
        "GET",
        "/repos/",
        github_double::Effect::Reset,
    ));
    browser.click("#check");
    browser.wait_for("#github .warning", "GitHub");
    browser.expect_accessible(&axe, "GitHub is away");

    // Another password ends the session.
    new_password(site);
    browser.click("#new");
    browser.write("#new-version", "4.0.0");
    browser.click("#new-form button[type=submit]");
    browser.wait_for("#login-error", "Your session has ended");
    drop(daemon);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_api_is_what_its_document_says() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let token = site.run(&["token", "add", "schemathesis"]);
    let _daemon = site.daemon();
    site.wait("the API is served", Duration::from_secs(20), &|| {
        TcpStream::connect(("127.0.0.1", UPDATER_PORT)).is_ok()
    });
    new_password(&site);
    let settings = site.path("schemathesis.toml");
    fs::write(&settings, SCHEMATHESIS).unwrap();
    let document = xtask::checkout::root().unwrap().join("docs/src/reference/openapi.json");
    let program = setup::schemathesis().unwrap();
    let status = Command::new(program)
        .arg("--config-file")
        .arg(&settings)
        .arg("run")
        .arg(document)
        .args(["--url", &format!("http://127.0.0.1:{UPDATER_PORT}")])
        .args(["--header", &format!("Authorization: Bearer {}", token.stdout.trim())])
        .args([
            "--max-examples",
            "25",
            "--no-color",
            "--seed",
            "1",
            "--request-timeout",
            "60",
        ])
        .current_dir(site.path("state"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    site.expect_runs(&V2_0_0);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn many_look_on_while_a_device_is_updated() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    site.apply(&V2_1_0).expect(0);
    let token = site.run(&["token", "add", "readers"]).stdout.trim().to_owned();
    let _daemon = site.daemon();
    let again = || {
        let updates = get(&token, "/api/v1/ota").1;
        let updates: serde_json::Value = serde_json::from_str(&updates).unwrap();
        let id = updates["data"][0]["public_id"].as_str().unwrap().to_owned();
        let ask = |what: &str, status: &str| {
            let path = format!("/api/v1/ota/{id}");
            site.wait(what, UPDATE, &|| post(&token, &format!("{path}/{what}")) == 200);
            let wanted = format!("\"status\":\"{status}\"");
            site.wait(status, UPDATE, &|| {
                get(&token, &path).1.contains(&wanted) && !get(&token, &path).1.contains("ing\"")
            });
        };
        ask("rollback", "rolled_back");
        ask("apply", "completed");
        let output = site.command(&["history", "--json"]).output().unwrap();
        let history: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let phases = history[0]["facts"]["durations_ms"].as_object().unwrap().clone();
        phases.values().map(|time| time.as_f64().unwrap()).sum::<f64>() / 1000.0
    };
    site.wait("the API is served", Duration::from_secs(20), &|| {
        TcpStream::connect(("127.0.0.1", UPDATER_PORT)).is_ok() && get(&token, "/api/v1/ota").0 == 200
    });
    // Durations add up over the tries of one update.
    let before = again();
    let alone = again() - before;

    let ends = AtomicBool::new(false);
    let (watched, answers) = thread::scope(|scope| {
        let slow: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", UPDATER_PORT)).unwrap();
                stream.write_all(b"GET /api/v1/ota HTTP/1.1\r\nHost: d").unwrap();
                stream
            })
            .collect();
        let readers: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = Vec::new();
                    while !ends.load(Ordering::Relaxed) {
                        answers.push(get(&token, "/api/v1/ota").0);
                        thread::sleep(Duration::from_secs(1));
                    }
                    answers
                })
            })
            .collect();
        let watched = again() - alone - before;
        ends.store(true, Ordering::Relaxed);
        let answers: Vec<u16> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        drop(slow);
        (watched, answers)
    });
    eprintln!(
        "  an update: alone {alone:.1} s, watched {watched:.1} s, {} answers",
        answers.len()
    );
    assert!(
        answers.len() > 200 && answers.iter().all(|status| *status == 200),
        "{answers:?}"
    );
    // Unoptimised, with the readers on the same two processors; `bench web` measures what ships.
    assert!(watched < alone * 2.0 + 5.0, "alone {alone} s, watched {watched} s");
    site.expect_runs(&V2_1_0);
}

fn get(token: &str, path: &str) -> (u16, String) {
    call("GET", token, path)
}

fn post(token: &str, path: &str) -> u16 {
    call("POST", token, path).0
}

/// One call, with a connection of its own.
fn call(method: &str, token: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", UPDATER_PORT)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: device\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned());
    (status.unwrap_or_default(), body)
}
