//! What the daemon and people learn from a double of GitHub, and whole lives of updates that come from there.

use std::{cell::RefCell, fs, time::Duration};

use github_double::{Access, Draft, Effect, Fault as Wrong, Host};

use super::site::{REPOSITORY, Site};
use crate::{
    daemon::automatic,
    github::{Check, Then, worker::Worker},
};
use device::testing::{
    bundles::{self, Version},
    device::Device,
};
use device::{
    Exit,
    config::github::Channel,
    control::progress::{Progress, Silent},
    engine::preflight::Permissions,
    state::Phase,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Remembers what it is notified of.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Progress for Notes {
    fn phase(&self, _: &str, _: Phase) {}
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn note(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
}

impl Site {
    fn check(&self) -> Check {
        self.github().check(&mut self.store()).unwrap()
    }

    /// The status of every request since the last look.
    fn statuses(&self) -> Vec<u16> {
        let statuses = self.double.requests().iter().map(|request| request.status).collect();
        self.double.forget_requests();
        statuses
    }

    /// Publishes the bundle of a version, made by this device's publisher.
    fn publish_bundle(&self, version: &Version) {
        let directory = tempfile::tempdir().unwrap();
        bundles::write(directory.path(), version, Some(&self.device.key));
        let read = |entry: fs::DirEntry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        };
        let files: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| read(entry.unwrap()))
            .collect();
        let assets: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        self.publish(&format!("v{}", version.version), &assets);
    }

    /// Lets the daemon's thread look now and then within `seconds`, and the daemon after each look.
    fn live(&self, worker: &mut Worker<'_>, seconds: u64) {
        let end = self.device.elapsed() + Duration::from_secs(seconds);
        let mut chance = 0;
        while self.device.elapsed() < end {
            let pause = worker.turn(chance).as_secs();
            self.device.run(crate::daemon::automatic::apply_what_is_due).unwrap();
            // More often makes no difference but for how long the test takes.
            self.device.wait(pause.max(MINUTE * 10).min(seconds));
            chance += 77;
        }
    }
}

/// A device with 2.0.0 that knows an empty repository.
fn site() -> Site {
    Site::new(Device::with(&Version::good("2.0.0")))
}

#[test]
fn asking_again_costs_one_request_without_an_answer() {
    let site = site();
    assert_eq!(site.check().latest, None);
    site.publish_bundle(&Version::good("2.1.0"));
    site.double.forget_requests();
    let check = site.check();
    assert_eq!(site.statuses(), [200]);
    let found = check.latest.clone().unwrap();
    assert_eq!(
        (found.version.to_string().as_str(), check.error.as_ref()),
        ("2.1.0", None)
    );
    assert!(
        found
            .bundle
            .unwrap()
            .download_url
            .ends_with("/owner/app/releases/download/v2.1.0/app-update-2.1.0.tar.gz")
    );
    for _ in 0..3 {
        site.device.wait(60);
        let again = site.check();
        assert_eq!(again.latest, check.latest);
        assert!(again.checked_at > check.checked_at);
        assert_eq!(site.statuses(), [304]);
    }
    // Asked for with other settings, the answer is another.
    let mut site = site;
    site.device.config.github.as_mut().unwrap().channel = Channel::Prerelease;
    assert_eq!(site.github().last_check(&site.store()).unwrap(), Check::default());
    site.check();
    assert_eq!(site.statuses(), [200]);
    assert_eq!(site.double.violations(), [""; 0]);
}

#[test]
fn all_pages_are_read() {
    let site = site();
    for number in 0..230 {
        // The newest version is the oldest release.
        site.publish(&format!("v1.{}.0", 500 - number), &[]);
    }
    site.double.forget_requests();
    let check = site.check();
    assert_eq!(check.latest.unwrap().version.to_string(), "1.500.0");
    assert_eq!(site.statuses(), [200, 200, 200]);
    assert_eq!(site.double.violations(), [""; 0]);
}

#[test]
fn without_internet_what_was_known_is_known() {
    let site = site();
    site.publish_bundle(&Version::good("2.1.0"));
    let known = site.check();
    let Site {
        device,
        double,
        platform,
    } = site;
    drop(double);
    let github = crate::github::GitHub::new(&device.config, &device.world, &platform).unwrap();
    let check = github.check(&mut device.store()).unwrap();
    assert_eq!((&check.latest, &check.checked_at), (&known.latest, &known.checked_at));
    assert!(check.error.unwrap().starts_with("GitHub cannot be reached"));
    // The daemon takes it as it is.
    let notes = Notes::default();
    let mut worker = Worker::new(&device.config, &device.world, &platform, &notes);
    for _ in 0..30 {
        let pause = worker.turn(7);
        device.wait(pause.as_secs() + HOUR);
    }
    assert_eq!(notes.0.into_inner(), [""; 0]);
}

#[test]
fn a_limit_is_kept_to() {
    let site = site();
    site.double
        .fault(Wrong::new(Host::Api, "GET", "", Effect::PrimaryLimit(600)));
    let check = site.check();
    assert_eq!(
        check.error.unwrap(),
        "GitHub's limit is reached; it asks to wait 11 min"
    );
    assert_eq!(site.statuses(), [403]);
    // Not even by a person, or after a restart.
    site.device.wait(300);
    assert_eq!(
        site.check().error.unwrap(),
        "GitHub's limit is reached; it asks to wait 6 min"
    );
    assert_eq!(site.statuses(), [0; 0]);
    site.device.wait(310);
    assert_eq!(site.check().error, None);
    assert_eq!(site.statuses(), [200]);
}

/// Sixty requests an hour for everybody behind an address: with a token, a 304 does not count.
#[test]
fn asking_with_a_token_is_free() {
    let mut site = site();
    site.double.world().add_token("secret", Access::Read);
    site.double.world().limits.authenticated = 2;
    let path = site.device.config.etc.join("token");
    device::system::files::write(&path, b"secret", 0o600).unwrap();
    site.device.config.github.as_mut().unwrap().token_file = Some(path);
    for _ in 0..5 {
        assert_eq!(site.check().error, None);
    }
    assert_eq!(site.statuses(), [200, 304, 304, 304, 304]);
}

#[test]
fn the_daemon_asks_daily() {
    let site = site();
    let notes = Notes::default();
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    site.live(&mut worker, 10 * DAY);
    let asked = site.statuses().len();
    assert!((9..=12).contains(&asked), "{asked} times in 10 days");
    // One that restarts all the time asks no more often.
    for _ in 0..200 {
        let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
        site.live(&mut worker, 50);
    }
    assert_eq!(site.statuses().len(), 0);
    // What is new is said once, and nothing is done.
    site.publish_bundle(&Version::good("2.1.0"));
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    site.live(&mut worker, 5 * DAY);
    let notes = notes.0.into_inner();
    assert!(
        notes.len() == 1 && notes[0].starts_with("2.1.0 is available"),
        "{notes:?}"
    );
    assert_eq!(site.store().updates().unwrap().len(), 1);
}

#[test]
fn what_may_be_done_unasked_is_done_once() {
    let mut site = site();
    site.device.config.automatic.download = true;
    site.publish_bundle(&Version::good("2.1.0"));
    let notes = Notes::default();
    {
        let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
        site.live(&mut worker, HOUR);
    }
    let update = site.device.update();
    assert_eq!(
        (update.version.to_string().as_str(), update.state.phase),
        ("2.1.0", Phase::Pending)
    );
    assert!(update.bundle.unwrap().exists());
    assert_eq!(site.device.expect_whole("downloaded"), "2.0.0");

    site.device.config.automatic.apply = true;
    // The clock of these tests begins on a Monday, at 02:40 in UTC.
    let soon = "Mon-Sun 00:00-24:00".parse().unwrap();
    let never = "00:00-00:01".parse().unwrap();
    site.device.config.automatic.windows = vec![never];
    assert_eq!(
        automatic::due(&site.device.config, &site.store(), &site.device.world).unwrap(),
        None
    );
    site.device.config.automatic.windows = vec![soon];
    site.device.run(crate::daemon::automatic::apply_what_is_due).unwrap();
    assert_eq!(site.device.expect_whole("applied"), "2.1.0");
    assert_eq!(site.store().updates().unwrap().len(), 2);
    assert_eq!(fs::read_dir(site.device.config.downloads()).unwrap().count(), 0);
    // And never again, with any outcome.
    site.device.run(|updater| updater.roll_back(update.id, None)).unwrap();
    site.double.forget_requests();
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    site.live(&mut worker, 3 * DAY);
    assert_eq!(site.device.expect_whole("rolled back"), "2.0.0");
    assert!(site.double.requests().iter().all(|request| request.host == Host::Api));
}

#[test]
fn a_bundle_that_fails_is_not_fetched_again_by_itself() {
    let mut site = site();
    site.device.config.automatic.download = true;
    site.device.config.automatic.apply = true;
    site.publish_bundle(&Version {
        fault: "unhealthy",
        ..Version::good("2.1.0")
    });
    let notes = Notes::default();
    {
        let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
        site.live(&mut worker, 3 * DAY);
    }
    assert_eq!(site.device.expect_whole("undone"), "2.0.0");
    assert_eq!(site.device.update().state.phase, Phase::Failed);
    assert_eq!(site.store().updates().unwrap().len(), 2);
    let fetched = site
        .double
        .requests()
        .iter()
        .filter(|request| request.host == Host::Storage)
        .count();
    assert_eq!(fetched, 1);
    // The next version is another one.
    site.publish_bundle(&Version::good("2.1.1"));
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    site.live(&mut worker, 2 * DAY);
    assert_eq!(site.device.expect_whole("updated"), "2.1.1");
}

#[test]
fn a_download_that_fails_is_tried_less_and_less_often() {
    let site = site();
    site.publish_bundle(&Version::good("2.1.0"));
    site.check();
    site.request("2.1.0", Then::Wait);
    site.double.forget_requests();
    site.double
        .fault(Wrong::new(Host::Web, "GET", "", Effect::BadGateway).times(999));
    let notes = Notes::default();
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    let end = site.device.elapsed() + Duration::from_secs(2 * HOUR);
    let mut looks = 0;
    while site.device.elapsed() < end {
        site.device.wait(worker.turn(0).as_secs());
        looks += 1;
    }
    let tries = site
        .double
        .requests()
        .iter()
        .filter(|request| request.host == Host::Web)
        .count();
    // After 0, 1, 3, 7, 15, 31, 63 minutes.
    assert_eq!(tries, 7);
    assert!(looks <= 2 * HOUR / 10 + 10, "{looks}");
    assert_eq!(notes.0.into_inner().len(), 1);
    let update = site.device.update();
    assert_eq!(update.state.phase, Phase::Downloading);
    assert!(update.error.unwrap().contains("502"));
}

/// The same bundle was dropped from a stick before, and failed.
#[test]
fn a_bundle_that_failed_from_elsewhere_is_recognised() {
    let mut site = site();
    let bad = Version {
        fault: "unhealthy",
        ..Version::good("2.1.0")
    };
    site.device.apply(&bad).unwrap_err();
    site.device.config.automatic.download = true;
    site.device.config.automatic.apply = true;
    site.publish_bundle(&bad);
    let notes = Notes::default();
    let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
    site.live(&mut worker, 2 * DAY);
    let update = site.device.update();
    assert_eq!((update.state.phase, update.bundle), (Phase::Pending, None));
    assert!(update.error.unwrap().contains("failed before"));
    assert_eq!(site.device.expect_whole("as before"), "2.0.0");
}

#[test]
fn a_bundle_in_parts_comes_part_by_part() {
    let site = site();
    site.publish_bundle(&Version::split("2.1.0"));
    site.request("2.1.0", Then::Wait);
    let requests = |site: &Site| {
        let requests = site.double.requests().into_iter();
        requests.filter(|request| request.host == Host::Storage).count()
    };
    // The second part breaks; what is whole stays.
    site.double
        .fault(Wrong::new(Host::Storage, "GET", "", Effect::Reset).after(2));
    site.fetch().unwrap_err();
    assert_eq!(requests(&site), 3);
    let update = site.fetch().unwrap();
    let parts = site.store().download(update.id).unwrap().len() - 1;
    assert!(parts > 3);
    assert_eq!(requests(&site), 3 + parts - 1);
    assert!(
        update
            .bundle
            .as_ref()
            .unwrap()
            .to_string_lossy()
            .ends_with(".parts.json")
    );
    let path = update.bundle.unwrap();
    site.device.run(|updater| {
        let taken = updater.take_by_hand(&path, Permissions::default()).unwrap();
        assert_eq!(taken.id, update.id);
        updater.apply(taken.id).unwrap();
    });
    assert_eq!(site.device.expect_whole("updated"), "2.1.0");
    site.device.expect_whole_sets("updated");
    assert_eq!(fs::read_dir(site.device.config.downloads()).unwrap().count(), 0);
}

#[test]
fn parts_that_are_not_those_of_the_list_are_refused() {
    let site = site();
    site.publish_bundle(&Version::split("2.1.0"));
    {
        let mut world = site.double.world();
        let release = &mut world.repository(REPOSITORY).releases[0];
        release.assets.retain(|asset| !asset.name.ends_with("part-003"));
    }
    site.request("2.1.0", Then::Wait);
    let error = site.fetch().unwrap_err();
    assert!(error.to_string().contains("does not have the parts"), "{error}");
    assert_eq!(error.exit(), Exit::Problems);
    assert_eq!(site.device.update().state.phase, Phase::Failed);
    assert_eq!(site.device.expect_whole("downloaded"), "2.0.0");
}

/// A requested update is applied, at any hour, also if the updater was ended in between.
#[test]
fn downloaded_and_applied_as_it_was_asked() {
    let mut site = site();
    site.device.config.automatic.windows = vec!["00:00-00:01".parse().unwrap()];
    site.publish_bundle(&Version::good("2.1.0"));
    site.request("2.1.0", Then::Apply);
    let update = site.fetch().unwrap();
    assert_eq!(update.state.phase, Phase::Downloading);
    // Others may act meanwhile.
    site.device.run(|updater| updater.recover()).unwrap();
    site.device.run(crate::daemon::automatic::apply_what_is_due).unwrap();
    assert_eq!(site.device.expect_whole("applied"), "2.1.0");
    let error = site
        .github()
        .request(&mut site.store(), &update.version, Then::Wait)
        .unwrap_err();
    assert!(error.to_string().contains("installed already"), "{error}");
}

#[test]
fn another_update_does_not_wait_for_a_download() {
    let site = site();
    site.publish_bundle(&Version::good("2.2.0"));
    let id = site.request("2.2.0", Then::Wait).id;
    site.device.apply(&Version::good("2.1.0")).unwrap();
    let phases: Vec<_> = site
        .store()
        .updates()
        .unwrap()
        .iter()
        .map(|update| update.state.phase)
        .collect();
    assert_eq!(phases, [Phase::Completed, Phase::Downloading, Phase::Completed]);
    site.github().fetch(&mut site.store(), id, &Silent).unwrap();
}

#[test]
fn a_newer_version_takes_the_place_of_one_that_waits() {
    let mut site = site();
    site.device.config.automatic.download = true;
    let notes = Notes::default();
    let mut names = Vec::new();
    for version in ["2.1.0", "2.2.0"] {
        site.publish_bundle(&Version::good(version));
        let mut worker = Worker::new(&site.device.config, &site.device.world, &site.platform, &notes);
        site.live(&mut worker, 2 * DAY);
        let entries = fs::read_dir(site.device.config.downloads()).unwrap();
        names.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    assert_eq!(names, ["app-update-2.1.0.tar.gz", "app-update-2.2.0.tar.gz"]);
}

#[test]
fn checksums_replace_digests_that_github_does_not_know() {
    let site = Site::new(Device::new());
    let content = vec![7; 100_000];
    let sums = format!(
        "{}  app-update-2.1.0.tar.gz\n",
        bundle::Digest::of(b"something else").hex()
    );
    let draft = Draft {
        tag: "v2.1.0".to_owned(),
        ..Draft::default()
    };
    {
        let mut world = site.double.world();
        let assets: [(&str, &[u8]); 2] = [("app-update-2.1.0.tar.gz", &content), ("SHA256SUMS", sums.as_bytes())];
        let release = world.publish(REPOSITORY, draft, &assets);
        world.repository(REPOSITORY).release_mut(release).assets[0].digest = None;
    }
    site.request("2.1.0", Then::Wait);
    let error = site.fetch().unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
}
