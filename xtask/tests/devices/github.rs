//! A real device and a double of GitHub: a newer version is found, downloaded through a broken line and a killed updater,
//! and applied; the next one by the daemon alone.

use std::{fs, time::Duration};

use github_double::{Break, Draft, Effect, Fault, GitHub, Host};
use serde_json::Value;
use xtask::engines::Kind;

use crate::{
    site::Site,
    versions::{Bundles, V2_0_0, V2_1_0, V2_5_0, Version},
};

const REPOSITORY: &str = "owner/webmacs";

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn newer_versions_come_from_github() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let github = GitHub::start().unwrap();
    github.world().add_repository(REPOSITORY);
    configure(
        &site,
        &format!(
            "[github]\nrepository = \"{REPOSITORY}\"\napi = \"{}\"\n",
            github.api_url()
        ),
    );
    let witness = site.witness();

    let output = site.run(&["check"]).expect(0);
    assert!(output.stdout.contains("no release is published"), "{}", output.stdout);
    let size = publish(&site, &github, &V2_1_0);
    let answer: Value = serde_json::from_str(&site.run(&["check", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(
        (&answer["current_version"], &answer["github_latest_version"]),
        (&"2.0.0".into(), &"2.1.0".into())
    );
    assert_eq!(answer["update_available"], true);
    github.forget_requests();
    site.run(&["check"]).expect(0);
    let statuses: Vec<_> = github.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [304]);

    // The line breaks, then the updater is killed, then a person repeats it.
    github.fault(Fault::new(Host::Storage, "GET", "", cut_after(size / 3)));
    site.run_until("download recorded", &["download"]).expect_killed();
    let status = site.status();
    assert_eq!(status["downloads"][0]["version"], "2.1.0");
    let kept = status["downloads"][0]["bytes"].as_u64().unwrap();
    assert!(kept > 0, "{status}");
    site.run(&["download", "2.1.0", "--apply"]).expect(0);
    let ranges = ranges(&github);
    assert_eq!(ranges.last(), Some(&format!("bytes={kept}-")), "{ranges:?}");
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(site.names("opt/updates/downloads"), [""; 0]);
    assert!(site.names("opt/updates/applied").contains(&name(&V2_1_0)));
    let output = site.run(&["check"]).expect(0);
    assert!(output.stdout.contains("2.1.0 is up to date"), "{}", output.stdout);

    // The daemon finishes what a command began, and applies it, as it may.
    let size = publish(&site, &github, &V2_5_0);
    configure(&site, "[automatic]\napply = true\n");
    github.fault(Fault::new(Host::Storage, "GET", "", cut_after(size / 2)));
    site.run_until("download recorded", &["download"]).expect_killed();
    let _daemon = site.daemon();
    site.wait("the daemon has applied 2.5.0", Duration::from_secs(180), &|| {
        site.status()["update"]["phase"] == "completed" && site.status()["current"]["version"] == "2.5.0"
    });
    site.expect_runs(&V2_5_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
    assert_eq!(site.updates_tried(), 3);
    assert_eq!(github.violations(), [""; 0]);
}

/// Publishes a version's bundle; its size in bytes.
fn publish(site: &Site, github: &GitHub, version: &Version) -> u64 {
    let bytes = fs::read(site.bundle(version)).unwrap();
    let draft = Draft {
        tag: format!("v{}", version.number),
        ..Draft::default()
    };
    github.world().publish(REPOSITORY, draft, &[(&name(version), &bytes)]);
    bytes.len() as u64
}

fn name(version: &Version) -> String {
    format!("webmacs-update-{}-amd64.tar.gz", version.number)
}

fn cut_after(after: u64) -> Effect {
    Effect::Download {
        after,
        ending: Break::Reset,
    }
}

/// The parts of files that were asked for.
fn ranges(github: &GitHub) -> Vec<String> {
    let requests = github.requests().into_iter();
    let of_files = requests.filter(|request| request.host == Host::Storage);
    of_files
        .map(|request| request.header("range").unwrap_or("all").to_owned())
        .collect()
}

/// Adds to the updater's configuration.
fn configure(site: &Site, text: &str) {
    let path = site.path("etc/updater.toml");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{before}\n{text}")).unwrap();
}
