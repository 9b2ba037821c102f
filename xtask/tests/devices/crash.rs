//! The updater dies as by `kill -9`, on a real engine, at every point: before and after every write of its record and
//! every effect. Then the device boots, and must be whole.
//!
//! A [`Life`] is something that is done with the updater. Its points are what a run without a crash passes, written down by
//! the updater itself; a point that is passed several times is that many points. For each: put the device where the life begins,
//! do it and die there, `updater start` as at boot, look. Nothing is wiped in between: a device that survived one crash goes
//! on with the next.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use xtask::engines::Kind;

use crate::{
    site::Site,
    versions::{Bundles, GATED_CRASH_LOOP, UNHEALTHY, V2_0_0, V2_1_0, V2_2_0, Version},
    witness::Witness,
};

/// What is done when the updater dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// 2.0.0 → 2.1.0.
    Update,
    /// 2.1.0 → 2.0.0, by a person.
    Rollback,
    /// 2.0.0 → 2.2.0: 2.0.0 cannot read its data.
    GatedUpdate,
    /// 2.0.0 → 2.9.1, which is never healthy.
    FailingUpdate,
    /// 2.0.0 → 2.9.4, which migrates and does not stay up.
    FailingGatedUpdate,
}

/// A point of a life, and the how manieth time it is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    name: String,
    time: u32,
}

/// A device and the witness that writes to it.
struct Patient {
    site: Site,
    witness: Witness,
}

impl Life {
    const ALL: [Self; 5] = [
        Self::Update,
        Self::Rollback,
        Self::GatedUpdate,
        Self::FailingUpdate,
        Self::FailingGatedUpdate,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::GatedUpdate => "gated update",
            Self::FailingUpdate => "failing update",
            Self::FailingGatedUpdate => "failing gated update",
        }
    }

    /// The version that runs before.
    fn from(self) -> Version {
        match self {
            Self::Rollback => V2_1_0,
            _ => V2_0_0,
        }
    }

    /// The version that it is about.
    fn to(self) -> Version {
        match self {
            Self::Update => V2_1_0,
            Self::Rollback => V2_0_0,
            Self::GatedUpdate => V2_2_0,
            Self::FailingUpdate => UNHEALTHY,
            Self::FailingGatedUpdate => GATED_CRASH_LOOP,
        }
    }

    /// Whether it ends with the version that ran before.
    fn fails(self) -> bool {
        matches!(self, Self::FailingUpdate | Self::FailingGatedUpdate)
    }

    fn arguments(self, site: &Site) -> Vec<String> {
        match self {
            Self::Rollback => vec!["rollback".to_owned()],
            _ => {
                // Dropped, as most are: then where the bundle ends up is part of what is looked at.
                let name = bundle_name(&self.to());
                let place = site.path("opt/updates").join(&name);
                for directory in ["opt/updates/applied", "opt/updates/failed"] {
                    fs::remove_file(site.path(directory).join(&name)).ok();
                }
                fs::copy(site.bundle(&self.to()), &place).unwrap();
                vec!["apply".to_owned(), place.display().to_string()]
            }
        }
    }
}

impl Patient {
    fn new() -> Self {
        let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
        let witness = site.witness();
        Self { site, witness }
    }

    /// Brings the device to where a life begins: the version before runs, and the images of another have to be loaded.
    fn prepare(&self, life: Life) {
        self.bring(life);
        if life != Life::Rollback {
            self.site.forget_images(&life.to());
        }
    }

    fn bring(&self, life: Life) {
        let runs = self.site.env("WEBMACS_VERSION").unwrap();
        if runs == life.from().number {
            return;
        }
        match (runs.as_str(), life) {
            ("2.0.0", Life::Rollback) => self.site.apply(&V2_1_0).expect(0),
            ("2.1.0", _) => self.site.run(&["rollback"]).expect(0),
            ("2.2.0", _) => {
                let refused = self.site.run(&["rollback"]).expect(3);
                let (_, since) = refused.stderr.split_once("--discard-data-since ").unwrap();
                let since = since.split([';', '\n', ' ']).next().unwrap();
                self.site.run(&["rollback", "--discard-data-since", since]).expect(0)
            }
            (runs, life) => panic!("{runs} runs before {life:?}"),
        };
        assert_eq!(self.site.env("WEBMACS_VERSION").as_deref(), Some(life.from().number));
    }

    /// The points of a life, found by living it once.
    fn points(&self, life: Life) -> Vec<Point> {
        self.prepare(life);
        let arguments = life.arguments(&self.site);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (outcome, names) = self.site.run_logged(&arguments);
        outcome.expect(if life.fails() { 4 } else { 0 });
        numbered(names)
    }

    /// Lives a life, dies at a point, boots, and looks.
    fn die_at(&self, life: Life, point: &Point) {
        self.prepare(life);
        let what = format!("{}, ended at {point}", life.name());
        eprintln!("{what}");
        let discarded_before = self.site.databases_beside();
        let arguments = life.arguments(&self.site);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.site.run_until(&point.to_string(), &arguments).expect_killed();
        // Some lives fail after the crash, too; how they ended is looked at below.
        let booted = self.site.run(&["start"]);
        assert_eq!(booted.code, Some(0), "{what}: {booted:?}");
        let runs = self.site.env("WEBMACS_VERSION").unwrap();
        let possible = [life.from(), life.to()];
        let version = possible.iter().find(|version| version.number == runs);
        let version = version.unwrap_or_else(|| panic!("{what}: {runs} runs"));
        assert!(!life.fails() || *version == life.from(), "{what}: {runs} runs");
        self.site.wait_for_health();
        self.site.expect_runs(version);
        self.witness.expect_writes();
        self.expect_nothing_lost(&discarded_before, &what);
        if life != Life::Rollback {
            self.expect_bundle_put_away(life, &what);
        }
        // A second boot has nothing to do.
        let containers = self.site.containers();
        let tried = self.site.updates_tried();
        self.site.run(&["start"]).expect(0);
        assert_eq!(self.site.containers(), containers, "{what}");
        assert_eq!(self.site.updates_tried(), tried, "{what}");
        assert_eq!(self.site.names("state/work"), Vec::<String>::new(), "{what}");
    }

    /// Everything that was acknowledged is in the database, or, where a person chose so in [`Patient::prepare`], in one that
    /// was kept.
    fn expect_nothing_lost(&self, beside: &[String], what: &str) {
        let acknowledged = self.witness.lists().acknowledged;
        let mut kept = self.site.stored("webmacs");
        for database in beside.iter().filter(|name| name.starts_with("webmacs_discarded_")) {
            kept.extend(self.site.stored(database));
        }
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|(id, value)| kept.get(*id) != Some(value))
            .collect();
        assert!(
            lost.is_empty(),
            "{what}: {} of {} are lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
    }

    /// A bundle is where it was, if its update was not even recorded, or in `applied/` or `failed/`.
    fn expect_bundle_put_away(&self, life: Life, what: &str) {
        let name = bundle_name(&life.to());
        let found: Vec<_> = ["opt/updates", "opt/updates/applied", "opt/updates/failed"]
            .into_iter()
            .filter(|directory| self.site.path(directory).join(&name).exists())
            .collect();
        let status = self.site.status();
        let phase = status["update"]["phase"].as_str().unwrap();
        let expected = match phase {
            "completed" => "opt/updates/applied",
            "failed" => "opt/updates/failed",
            // It was recorded and not begun; the daemon finds it again.
            "pending" | "rolled_back" => "opt/updates",
            phase => panic!("{what}: {phase}"),
        };
        assert_eq!(found, [expected], "{what}: {phase}");
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.time {
            1 => f.write_str(&self.name),
            time => write!(f, "{}#{time}", self.name),
        }
    }
}

/// Names in the order in which they were passed, each with how often it was so far.
fn numbered(names: Vec<String>) -> Vec<Point> {
    let mut times = BTreeMap::new();
    names
        .into_iter()
        .map(|name| {
            let time = times.entry(name.clone()).or_insert(0);
            *time += 1;
            Point { name, time: *time }
        })
        .collect()
}

fn bundle_name(version: &Version) -> String {
    format!("webmacs-update-{}-amd64.tar.gz", version.number)
}

/// In this order, each life begins where the one before has ended.
const CHOSEN: [(Life, &str); 14] = [
    (Life::Update, "after start"),
    (Life::Rollback, "after roll_back"),
    (Life::Update, "database dumped"),
    (Life::Rollback, "files in place"),
    (Life::Update, "image loaded"),
    (Life::Rollback, "services started"),
    (Life::Update, "services started"),
    (Life::Rollback, "before restored"),
    (Life::Update, "before stayed"),
    (Life::Rollback, "after restored"),
    (Life::FailingGatedUpdate, "services stopped"),
    (Life::FailingGatedUpdate, "database restored"),
    (Life::FailingGatedUpdate, "database replaced"),
    (Life::GatedUpdate, "after stayed"),
];

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_updater_may_die_at_chosen_points() {
    let patient = Patient::new();
    for (life, name) in CHOSEN {
        let point = Point {
            name: name.to_owned(),
            time: 1,
        };
        patient.die_at(life, &point);
    }
    eprintln!("{} of {} points", CHOSEN.len(), CHOSEN.len());
}

/// `UPDATER_CRASH_LIVES` limits it to some, by their names with commas between.
#[test]
#[ignore = "takes hours; `cargo xtask torture` runs it"]
fn torture_the_updater_may_die_at_every_point() {
    let wanted = std::env::var("UPDATER_CRASH_LIVES").ok();
    let is_wanted = |life: &Life| {
        let mut names = wanted.iter().flat_map(|names| names.split(','));
        wanted.is_none() || names.any(|name| name == life.name())
    };
    let patient = Patient::new();
    let lives: Vec<_> = Life::ALL.into_iter().filter(is_wanted).collect();
    let results: Vec<_> = lives.into_iter().map(|life| (life, patient.points(life))).collect();
    let mut left: Vec<_> = results.iter().map(|(life, points)| (*life, points.iter())).collect();
    loop {
        left.retain(|(_, points)| points.len() > 0);
        // A life that begins where the device is needs no way back.
        let runs = patient.site.env("WEBMACS_VERSION").unwrap();
        let place = left
            .iter()
            .position(|(life, _)| life.from().number == runs)
            .unwrap_or(0);
        let Some((life, points)) = left.get_mut(place) else {
            break;
        };
        patient.die_at(*life, points.next().unwrap());
    }
    for (life, points) in &results {
        eprintln!("{}: {} of {} points", life.name(), points.len(), points.len());
    }
    let page = xtask::checkout::root()
        .unwrap()
        .join("docs/src/reference/crash-points.md");
    fs::write(page, page_of(&results)).unwrap();
}

/// The page of the book that tells of a run in which all went well.
fn page_of(results: &[(Life, Vec<Point>)]) -> String {
    let mut text = String::from(PAGE);
    let total: usize = results.iter().map(|(_, points)| points.len()).sum();
    // Writing to a String cannot fail.
    writeln!(text, "\n| what is done | points at which the updater died |\n|---|---|").ok();
    for (life, points) in results {
        let (name, count) = (life.name(), points.len());
        writeln!(text, "| {name} | {count} of {count} |").ok();
    }
    writeln!(text, "| together | {total} of {total} |").ok();
    for (life, points) in results {
        writeln!(text, "\n## {}\n", life.name()).ok();
        for point in points {
            writeln!(text, "1. {point}").ok();
        }
    }
    text
}

const PAGE: &str = "\
# Crash points

<!-- Written by `cargo xtask torture`; do not edit. -->

The updater is ended as by `kill -9` before and after every write of its record and every effect, on a real engine with
the demo product and real PostgreSQL, while a witness outside of the stack writes readings all the time. Then `updater start`
runs, as at boot. Asserted after each: the previous or the target version runs, with exactly its images, and is healthy;
every reading that was acknowledged is there; the bundle is in `applied/`, in `failed/`, or, where nothing was begun,
in its place; starting a second time does nothing.

A `kill -9` keeps what the kernel has not written to the disk yet, so this says nothing about power cuts.
A point that is passed several times has a number. Updates that are not in the table were not completed in the last run.
";
