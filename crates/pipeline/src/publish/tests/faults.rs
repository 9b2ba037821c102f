//! Every fault at every request, survived within the run and by a run after it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use github_double::{Break, Effect, Fault, Host, MakeLatest};

use super::{REPOSITORY, Site};
use crate::publish::Patience;

/// A fault's name, and how to make one.
type Kind = (&'static str, fn() -> Effect);

/// What can go wrong at any request.
const ANYWHERE: [Kind; 6] = [
    ("502 with HTML", || Effect::BadGateway),
    ("502 with HTML, though it was done", || Effect::BadGatewayAfterwards),
    ("reset", || Effect::Reset),
    ("reset, though it was done", || Effect::ResetAfterwards),
    ("no answer", || Effect::Stall),
    ("secondary limit", || Effect::SecondaryLimit(0)),
];

/// What can go wrong at an upload.
const UPLOADS: [Kind; 5] = [
    ("nothing taken, 502", || upload(0, Break::BadGateway)),
    ("half taken, 502", || upload(400, Break::BadGateway)),
    ("half taken, reset", || upload(400, Break::Reset)),
    ("half taken, nothing more", || upload(400, Break::Stall)),
    ("nothing taken, nothing more", || upload(0, Break::Stall)),
];

fn upload(after: u64, ending: Break) -> Effect {
    Effect::Upload { after, ending }
}

/// A request of a publication: host, method, and how many of the same kind come before it.
fn requests() -> Vec<(Host, &'static str, usize)> {
    let site = Site::new();
    site.publish().unwrap();
    let mut requests: Vec<(Host, &'static str, usize)> = Vec::new();
    for request in site.double.requests() {
        let methods = ["GET", "POST", "PATCH", "DELETE"];
        let method = methods.into_iter().find(|method| *method == request.method).unwrap();
        let before = requests
            .iter()
            .filter(|(host, known, _)| *host == request.host && *known == method);
        let before = before.count();
        requests.push((request.host, method, before));
    }
    requests
}

/// One fault at one request.
struct Case {
    name: String,
    fault: Fault,
    attempts: u32,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (host, method, before) in requests() {
        let uploads = if host == Host::Uploads { UPLOADS.as_slice() } else { &[] };
        for (what, effect) in ANYWHERE.iter().chain(uploads) {
            for attempts in [5, 1] {
                cases.push(Case {
                    name: format!("{what} at {method} {} of {host:?}, {attempts} attempts", before + 1),
                    fault: Fault::new(host, method, "", effect()).after(before),
                    attempts,
                });
            }
        }
    }
    cases
}

impl Case {
    /// With one attempt the run with the fault fails, and it is run again.
    fn check(self) {
        let name = &self.name;
        let mut site = Site::new();
        site.patience.attempts = self.attempts;
        site.patience.stall = Duration::from_millis(400);
        site.double.fault(self.fault);
        let runs = if self.attempts == 1 { 4 } else { 1 };
        let done = (0..runs).any(|_| site.publish().is_ok());
        assert!(done, "{name}: {:?}", site.publish().err());
        assert_eq!(site.double.take_back_faults(), 0, "{name}: the fault did not happen");
        site.expect_complete(name);
    }
}

#[test]
fn every_fault_ends_in_one_complete_release() {
    let cases = cases();
    let count = cases.len();
    let cases = Mutex::new(cases);
    let survived = AtomicUsize::new(0);
    // Most of them wait.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let next = || cases.lock().unwrap().pop();
                while let Some(case) = next() {
                    case.check();
                    survived.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("faults survived: {} of {count}", survived.into_inner());
    assert!(count > 100, "only {count} cases");
}

#[test]
fn drafts_that_appear_meanwhile_are_removed() {
    // In front of each request of the run.
    let mut survived = 0;
    let all = requests();
    for (host, method, before) in &all {
        let site = Site::new();
        let draft = site.draft();
        let appears = Effect::meanwhile(move |world| {
            world.add_draft(REPOSITORY, draft.clone(), &[("SHA256SUMS", b"old")]);
        });
        site.double.fault(Fault::new(*host, method, "", appears).after(*before));
        site.publish().unwrap();
        // One that came after the last look is found by the next run.
        site.publish().unwrap();
        site.expect_complete(&format!("a draft before {method} {} of {host:?}", before + 1));
        survived += 1;
    }
    println!("second drafts removed: {survived} of {}", all.len());
}

#[test]
fn what_is_published_by_hand_before_it_is_complete_is_not_touched() {
    for immutable in [false, true] {
        let site = Site::new();
        site.double.world().repository(REPOSITORY).immutable_releases = immutable;
        // In front of the second of three files; the third does not arrive.
        site.double.fault(Fault::new(
            Host::Uploads,
            "POST",
            "name=acme%2Epart",
            published_by_hand(),
        ));
        site.double
            .fault(Fault::new(Host::Uploads, "POST", "name=SHA256SUMS", Effect::BadGateway));
        let assets = || {
            let mut world = site.double.world();
            let assets = &world.repository(REPOSITORY).releases[0].assets;
            assets.iter().map(|asset| asset.id).collect::<Vec<_>>()
        };
        let error = site.publish().unwrap_err().to_string();
        assert!(
            error.starts_with("v2.1.0 is published already, and differs:"),
            "{error}"
        );
        assert!(error.ends_with("SHA256SUMS is missing"), "{error}");
        let left = assets();
        assert_eq!(site.publish().unwrap_err().to_string(), error);
        assert_eq!(assets(), left, "it was touched");
    }
}

fn published_by_hand() -> Effect {
    Effect::meanwhile(|world| {
        let repository = world.repository(REPOSITORY);
        let id = repository.releases[0].id;
        repository.publish_by_hand(id, MakeLatest::True);
    })
}

#[test]
fn a_complete_draft_that_is_published_by_hand_is_as_good() {
    let site = Site::new();
    site.double
        .fault(Fault::new(Host::Api, "PATCH", "", published_by_hand()));
    site.publish().unwrap();
    site.expect_complete("published by hand at the end");
}

#[test]
fn a_list_that_is_older_than_the_draft_makes_no_second_one() {
    let site = Site::new();
    // The draft is hidden from the next list and comes back after it.
    let draft = std::sync::Arc::new(std::sync::Mutex::new(None));
    let hidden = std::sync::Arc::clone(&draft);
    let hide = Effect::meanwhile(move |world| {
        let releases = &mut world.repository(REPOSITORY).releases;
        *hidden.lock().unwrap() = releases.pop();
    });
    let show = Effect::meanwhile(move |world| {
        let release = draft.lock().unwrap().take();
        world.repository(REPOSITORY).releases.extend(release);
    });
    site.double
        .fault(Fault::new(Host::Api, "GET", "per_page", hide).after(1));
    site.double.fault(Fault::new(Host::Api, "GET", "/releases/1", show));
    site.publish().unwrap();
    assert_eq!(site.double.take_back_faults(), 0);
    site.expect_complete("an old list");
}

#[test]
fn the_primary_limit_is_waited_for_if_it_is_short() {
    let site = Site::new();
    site.double
        .fault(Fault::new(Host::Api, "GET", "", Effect::PrimaryLimit(0)));
    site.publish().unwrap();
    site.expect_complete("a short limit");

    let site = Site::new();
    site.double
        .fault(Fault::new(Host::Api, "POST", "", Effect::PrimaryLimit(1800)));
    let error = site.publish().unwrap_err();
    assert_eq!(error.exit_code(), 6);
    let text = error.to_string();
    assert!(
        text.starts_with("cannot make a draft: GitHub allows no request for another 1"),
        "{text}"
    );
}

#[test]
fn it_is_given_up_with_the_last_answer() {
    let site = Site::new();
    site.double
        .fault(Fault::new(Host::Api, "PATCH", "", Effect::BadGateway).times(100));
    let error = site.publish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot publish the release: GitHub answered 502: Bad Gateway (4 attempts)"
    );
    assert_eq!(error.exit_code(), 6);
    assert!(error.hint().unwrap().contains("the same command"));
    // Nothing was published, and the next run goes on.
    assert!(site.double.world().repository(REPOSITORY).latest().is_none());
    site.double.take_back_faults();
    site.publish().unwrap();
    site.expect_complete("after it was given up");
}

#[test]
fn a_server_that_never_keeps_what_it_takes_ends_it() {
    let mut site = Site::new();
    site.double.world().limits.creating = 1000;
    site.patience = Patience {
        attempts: 3,
        ..site.patience
    };
    let loses = Effect::meanwhile(|world| world.repository(REPOSITORY).releases[0].assets.clear());
    site.double
        .fault(Fault::new(Host::Api, "GET", "per_page", loses).after(1).times(1000));
    let error = site.publish().unwrap_err().to_string();
    assert!(error.contains("it is not settling"), "{error}");
}
