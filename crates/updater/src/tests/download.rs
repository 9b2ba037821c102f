//! Downloads from a double of GitHub: interrupted, refused, cut off, changed meanwhile; and gone on with.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use github_double::{Access, Break, Effect, Fault as Wrong, Host};

use super::site::{REPOSITORY, Site};
use crate::github::Then;
use device::testing::device::Device;
use device::{
    Error,
    control::progress::{Progress, Silent},
    state::{Event, Phase},
    store::{Change, Store},
};

/// A bundle's name.
const NAME: &str = "app-update-2.1.0.tar.gz";

/// What may have to be fetched twice after a power cut: what is brought to the disk and recorded at once.
const STEP: u64 = 4 << 20;

/// What the double counts as sent and no client receives when it cuts a connection: what it has not written yet.
const IN_FLIGHT: u64 = 1 << 20;

const MIB: u64 = 1 << 20;

impl Site {
    /// A device with nothing installed, and a release of 2.1.0 whose bundle has `content`.
    fn with(content: &[u8]) -> Self {
        let site = Self::new(Device::new());
        site.publish("v2.1.0", &[(NAME, content)]);
        site
    }

    /// How many bytes of files were sent.
    fn sent(&self) -> u64 {
        let requests = self.double.requests().into_iter();
        requests
            .filter(|request| request.host == Host::Storage)
            .map(|request| request.sent)
            .sum()
    }

    /// How much of a file is safe on the disk.
    fn kept(&self) -> u64 {
        let id = self.device.update().id;
        self.store().fetched(id).unwrap().unwrap_or_default().bytes
    }

    /// From where on a file was asked for last.
    fn asked_from(&self) -> u64 {
        let requests = self.double.requests();
        let last = requests.iter().rfind(|request| request.host == Host::Storage).unwrap();
        let range = last.header("range").unwrap_or("bytes=0-");
        assert!(range == "bytes=0-" || last.header("if-range").is_some());
        range
            .strip_prefix("bytes=")
            .unwrap()
            .strip_suffix('-')
            .unwrap()
            .parse()
            .unwrap()
    }

    fn fault(&self, effect: Effect) {
        self.double.fault(Wrong::new(Host::Storage, "GET", "", effect));
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.device.config.downloads()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn place(&self) -> PathBuf {
        self.device.config.downloads().join(NAME)
    }

    #[track_caller]
    fn expect_downloaded(&self, content: &[u8]) {
        let update = self.device.update();
        assert_eq!((update.state.phase, &update.error), (Phase::Pending, &None));
        assert_eq!(update.bundle, Some(self.place()));
        assert!(fs::read(self.place()).unwrap() == content, "another content");
        assert_eq!(self.names(), [NAME]);
        assert_eq!(self.double.violations(), [""; 0]);
    }
}

/// Bytes that tell every place from every other.
fn content(length: u64) -> Vec<u8> {
    (0..length / 8)
        .flat_map(|place| (place ^ 0x5555).to_le_bytes())
        .collect()
}

/// Numbers that look random and are the same each time.
fn places(count: usize, below: u64) -> Vec<u64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    (0..count).map(|_| next()).collect()
}

/// Ends the process, as far as a test can tell, when so many bytes have come.
struct EndsAfter(AtomicU64);

/// What a process that was ended leaves on the stack.
struct Ended;

impl Progress for EndsAfter {
    fn phase(&self, _: &str, _: Phase) {}
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn note(&self, _: &str) {}

    fn advance(&self, bytes: u64) {
        let left = self.0.load(Ordering::Relaxed);
        if left < bytes {
            resume_unwind(Box::new(Ended));
        }
        self.0.store(left - bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_bundle_is_hidden_until_it_is_whole() {
    let content = content(3 * MIB);
    let site = Site::with(&content);
    let update = site.request("2.1.0", Then::Wait);
    assert_eq!((update.state.phase, update.bundle), (Phase::Downloading, None));
    site.fault(Effect::Download {
        after: MIB,
        ending: Break::Reset,
    });
    site.fetch().unwrap_err();
    assert_eq!(site.names(), [format!(".partial-{NAME}")]);
    let fetched = site.store().fetched(update.id).unwrap().unwrap();
    assert_eq!((fetched.bytes > 0, fetched.total), (true, 3 * MIB));
    let update = site.fetch().unwrap();
    site.expect_downloaded(&content);
    assert_eq!(update.changelog, "- what v2.1.0 brings");
    assert_eq!(update.file_size, Some(3 * MIB));
    // Asking for it again changes nothing.
    site.double.forget_requests();
    assert_eq!(site.request("2.1.0", Then::Wait), update);
    assert_eq!(site.double.requests().len(), 0);
}

#[test]
fn cut_off_at_ten_places_it_goes_on_each_time() {
    let size = 24 * MIB;
    let content = content(size);
    let site = Site::with(&content);
    site.request("2.1.0", Then::Wait);
    let mut refetched = Vec::new();
    for after in places(10, 5 * MIB) {
        let here = site.kept();
        let sent = site.sent();
        site.fault(Effect::Download {
            after,
            ending: Break::Reset,
        });
        let error = match site.fetch() {
            Ok(_) => break,
            Err(error) => error.to_string(),
        };
        assert!(error.contains("broke"), "{error}");
        let update = site.device.update();
        assert_eq!((update.state.phase, update.error), (Phase::Downloading, Some(error)));
        assert_eq!(site.asked_from(), here);
        let came = site.kept() - here;
        refetched.push(site.sent() - sent - came);
    }
    if site.device.update().state.phase == Phase::Downloading {
        site.fetch().unwrap();
    }
    site.expect_downloaded(&content);
    // Everything that came counts.
    assert!(site.sent() - size <= refetched.iter().sum(), "{refetched:?}");
    assert!(refetched.iter().all(|bytes| *bytes <= IN_FLIGHT), "{refetched:?}");
}

/// The process ends without a chance to do anything, and what was not synced is something else after the power is back.
#[test]
fn a_power_cut_costs_one_step() {
    let size = 24 * MIB;
    let content = content(size);
    let site = Site::with(&content);
    let id = site.request("2.1.0", Then::Wait).id;
    let mut cuts = 0;
    for after in places(10, 7 * MIB) {
        let here = site.kept();
        // What is here is reported, too, as it is hashed and as it is shown.
        let progress = EndsAfter(AtomicU64::new(2 * here + after));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            site.github().fetch(&mut site.store(), id, &progress).map(drop)
        }));
        match ended {
            Ok(fetched) => fetched.unwrap(),
            Err(payload) if payload.is::<Ended>() => cuts += 1,
            Err(payload) => resume_unwind(payload),
        }
        if site.device.update().state.phase != Phase::Downloading {
            break;
        }
        assert_eq!(site.asked_from(), here);
        let kept = site.kept();
        // What comes in one piece, and so ends it a little early, is smaller than this.
        assert!(kept + STEP + MIB > here + after, "{here} {after} {kept}");
        let path = site.device.config.downloads().join(format!(".partial-{NAME}"));
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        bytes[usize::try_from(kept).unwrap()..].fill(0);
        // A file may also be longer than anything that was written to it.
        bytes.resize(length + 1000, 0);
        fs::write(&path, bytes).unwrap();
    }
    assert!(cuts >= 3, "{cuts}");
    if site.device.update().state.phase == Phase::Downloading {
        site.fetch().unwrap();
    }
    site.expect_downloaded(&content);
}

#[test]
fn ended_at_any_point_it_goes_on() {
    let content = content(2 * STEP + 8);
    let site = Site::with(&content);
    let id = site.request("2.1.0", Then::Wait).id;
    let before = site.device.snapshot();
    let fetch = |site: &Site, store: &mut Store| site.github().fetch(store, id, &Silent).map(drop);
    let mut names = Vec::new();
    for place in 0.. {
        site.device.restore(&before);
        let ended = site
            .device
            .run_until(place, |updater| fetch(&site, &mut updater.store).unwrap());
        let Some(name) = ended else { break };
        let kept = site.kept();
        site.double.forget_requests();
        if site.device.update().state.phase == Phase::Downloading {
            site.fetch().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        site.expect_downloaded(&content);
        if kept == content.len() as u64 {
            assert_eq!(site.sent(), 0, "{name}");
        } else {
            assert_eq!(site.asked_from(), kept, "{name}");
        }
        names.push((name, kept));
    }
    let size = content.len() as u64;
    for (point, at) in [
        ("download synced", 0),
        ("download recorded", STEP),
        ("download synced", STEP),
        ("download recorded", size),
        ("download named", size),
        ("before downloaded", size),
    ] {
        let is_it = |(name, kept): &(String, u64)| name == point && kept.abs_diff(at) < MIB;
        assert!(names.iter().any(is_it), "{point} {at}: {names:?}");
    }
}

#[test]
fn every_fault_is_named_and_passes_or_waits_for_a_person() {
    let content = content(6 * MIB);
    let cut = |ending| Effect::Download { after: MIB, ending };
    for (what, host, effect, named, phase) in [
        ("reset", Host::Storage, Effect::Reset, "broke", Phase::Downloading),
        ("cut off", Host::Storage, cut(Break::Reset), "broke", Phase::Downloading),
        (
            "stall",
            Host::Storage,
            Effect::Stall,
            "sent nothing",
            Phase::Downloading,
        ),
        (
            "stall in the middle",
            Host::Storage,
            cut(Break::Stall),
            "sent nothing",
            Phase::Downloading,
        ),
        (
            "bad gateway",
            Host::Storage,
            Effect::BadGateway,
            "502 Bad Gateway",
            Phase::Downloading,
        ),
        (
            "bad gateway before",
            Host::Web,
            Effect::BadGateway,
            "502 Bad Gateway",
            Phase::Downloading,
        ),
        (
            "no list of releases",
            Host::Api,
            Effect::BadGateway,
            "502 Bad Gateway",
            Phase::Downloading,
        ),
        (
            "a list that stalls",
            Host::Api,
            Effect::Stall,
            "sent nothing",
            Phase::Downloading,
        ),
        (
            "a limit",
            Host::Api,
            Effect::PrimaryLimit(600),
            "wait 11 min",
            Phase::Downloading,
        ),
        (
            "another limit",
            Host::Api,
            Effect::SecondaryLimit(120),
            "wait 2 min",
            Phase::Downloading,
        ),
        (
            "one bit",
            Host::Storage,
            Effect::Flip(4 * MIB + 5),
            "is damaged",
            Phase::Failed,
        ),
        (
            "elsewhere",
            Host::Web,
            Effect::Elsewhere,
            "elsewhere.example is not asked",
            Phase::Failed,
        ),
        (
            "elsewhere later",
            Host::Storage,
            Effect::Elsewhere,
            "elsewhere.example is not asked",
            Phase::Failed,
        ),
    ] {
        let site = Site::with(&content);
        site.request("2.1.0", Then::Wait);
        site.double.fault(Wrong::new(host, "GET", "", effect));
        let error = site.fetch().unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains(named), "{what}: {error}");
        let update = site.device.update();
        assert_eq!(update.state.phase, phase, "{what}");
        assert!(update.error.unwrap().contains(named), "{what}");
        assert_eq!(site.double.take_back_faults(), 0, "{what}");
        // The next try does it, and the record is the same.
        assert_eq!(site.request("2.1.0", Then::Wait).id, update.id, "{what}");
        site.fetch().unwrap_or_else(|error| panic!("{what}: {error}"));
        site.expect_downloaded(&content);
    }
}

#[test]
fn what_fails_again_and_again_is_given_up_at_a_terminal_only() {
    let content = content(6 * MIB);
    let site = Site::with(&content);
    let id = site.request("2.1.0", Then::Wait).id;
    // As long as something comes, it goes on.
    let cut = || Effect::Download {
        after: MIB / 2,
        ending: Break::Reset,
    };
    for _ in 0..8 {
        site.fault(cut());
    }
    site.github().fetch_patiently(&mut site.store(), id, &Silent).unwrap();
    site.expect_downloaded(&content);

    let site = Site::with(&content);
    let id = site.request("2.1.0", Then::Wait).id;
    site.double
        .fault(Wrong::new(Host::Storage, "GET", "", Effect::BadGateway).times(99));
    let began = site.device.elapsed();
    let error = site
        .github()
        .fetch_patiently(&mut site.store(), id, &Silent)
        .unwrap_err();
    assert!(error.to_string().contains("502"), "{error}");
    assert_eq!(site.device.elapsed() - began, Duration::from_secs(1 + 2 + 4 + 8 + 16));
    assert_eq!(site.device.update().state.phase, Phase::Downloading);
}

#[test]
fn a_file_that_is_replaced_meanwhile_is_begun_anew() {
    for same_size in [true, false] {
        let (old, new) = (content(6 * MIB), content(if same_size { 6 * MIB } else { 5 * MIB }));
        let new: Vec<u8> = new.into_iter().map(|byte| byte ^ 1).collect();
        let site = Site::new(Device::new());
        let release = site.publish("v2.1.0", &[(NAME, &old)]);
        site.request("2.1.0", Then::Wait);
        site.fault(Effect::Download {
            after: 3 * MIB,
            ending: Break::Reset,
        });
        site.fetch().unwrap_err();
        {
            let mut world = site.double.world();
            world.repository(REPOSITORY).release_mut(release).assets.clear();
            world.add_asset(REPOSITORY, release, NAME, &new);
        }
        let error = site.fetch().unwrap_err().to_string();
        assert!(error.contains("was changed on GitHub"), "{error}");
        let update = site.device.update();
        assert_eq!((update.state.phase, update.error), (Phase::Downloading, Some(error)));
        site.fetch().unwrap();
        site.expect_downloaded(&new);
    }
}

#[test]
fn a_file_that_is_gone_fails() {
    let site = Site::new(Device::new());
    let release = site.publish("v2.1.0", &[(NAME, &content(MIB))]);
    site.request("2.1.0", Then::Wait);
    site.fault(Effect::Reset);
    site.fetch().unwrap_err();
    site.double
        .world()
        .repository(REPOSITORY)
        .release_mut(release)
        .assets
        .clear();
    let error = site.fetch().unwrap_err().to_string();
    assert!(error.contains("no bundle for linux/amd64"), "{error}");
    assert_eq!(site.device.update().state.phase, Phase::Failed);
    let error = {
        site.request("9.9.9", Then::Wait);
        site.fetch().unwrap_err().to_string()
    };
    assert!(error.contains("no release of 9.9.9"), "{error}");
}

#[test]
fn a_download_that_is_no_longer_wanted() {
    let site = Site::with(&content(2 * STEP));
    let id = site.request("2.1.0", Then::Wait).id;
    struct Deletes<'a>(&'a Site, i64);
    impl Progress for Deletes<'_> {
        fn phase(&self, _: &str, _: Phase) {}
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn note(&self, _: &str) {}
        fn advance(&self, _: u64) {
            // Another process does: it is not `downloading` any more.
            let change = Change::default();
            self.0
                .store()
                .record(self.1, Event::Failed, &change, "2026-01-31T12:00:00Z")
                .ok();
        }
    }
    let error = site
        .github()
        .fetch(&mut site.store(), id, &Deletes(&site, id))
        .unwrap_err();
    assert!(error.to_string().contains("not wanted any more"), "{error}");
    assert_eq!(site.device.update().state.phase, Phase::Failed);
}

/// Does something while downloads are on a disk of so many MiB, which only root may make.
fn on_a_disk_of(mebibytes: u64, site: &Site, act: impl FnOnce()) {
    let directory = site.device.config.downloads();
    let run = |command: &mut std::process::Command| assert!(command.status().unwrap().success());
    let size = format!("size={mebibytes}m");
    run(std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(&directory));
    let ended = catch_unwind(AssertUnwindSafe(act));
    run(std::process::Command::new("umount").arg(&directory));
    ended.unwrap();
}

#[test]
fn a_disk_that_is_too_small_is_found_before_anything_is_fetched() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let content = content(6 * MIB);
    let site = Site::with(&content);
    on_a_disk_of(4, &site, || {
        site.request("2.1.0", Then::Wait);
        let error = site.fetch().unwrap_err().to_string();
        assert!(error.contains("needs 6291456 more bytes"), "{error}");
        assert_eq!(site.device.update().state.phase, Phase::Failed);
        assert_eq!(site.sent(), 0);
    });
    site.request("2.1.0", Then::Wait);
    site.fetch().unwrap();
    site.expect_downloaded(&content);
}

/// What was reserved for the rest is no longer free, and still the download's own.
#[test]
fn a_disk_that_is_just_large_enough_is_so_when_the_download_goes_on() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let content = content(12 * MIB);
    let site = Site::with(&content);
    on_a_disk_of(78, &site, || {
        site.request("2.1.0", Then::Wait);
        site.fault(Effect::Download {
            after: 5 * MIB,
            ending: Break::Reset,
        });
        site.fetch().unwrap_err();
        assert_eq!(site.device.update().state.phase, Phase::Downloading);
        site.fetch().unwrap();
        site.expect_downloaded(&content);
    });
}

#[test]
fn a_token_goes_to_the_api_and_nowhere_else() {
    let content = content(MIB);
    let mut site = Site::with(&content);
    site.double.world().repository(REPOSITORY).private = true;
    site.double.world().add_token("the-secret", Access::Read);
    site.request("2.1.0", Then::Wait);
    let error = site.fetch().unwrap_err();
    assert!(error.to_string().contains("knows no repository owner/app"), "{error}");
    assert!(error.hint().unwrap().contains("token-file"));

    let path = site.device.config.etc.join("token");
    device::system::files::write(&path, b"the-secret\n", 0o600).unwrap();
    site.device.config.github.as_mut().unwrap().token_file = Some(path);
    site.double.forget_requests();
    site.request("2.1.0", Then::Wait);
    site.fetch().unwrap();
    site.expect_downloaded(&content);
    let requests = site.double.requests();
    assert!(requests.iter().any(|request| request.host == Host::Storage));
    for request in requests {
        let token = request.header("authorization");
        let expected = (request.host == Host::Api).then_some("Bearer the-secret");
        assert_eq!(token, expected, "{:?} {}", request.host, request.path);
    }
}
