//! Every crash point of every life: the updater ends there, starts again, and the device is whole.
//!
//! Points lie before and after every write of the record and every effect. Ending after an effect and before its record
//! means that the effect is done twice.

use crate::testing::{
    bundles::{Form, Version},
    device::Device,
};
use crate::{engine::Updater, state::Phase};

/// A life, and what it may end in.
struct Life {
    name: &'static str,
    from: Option<Version>,
    to: Version,
    /// Whether the update is complete before the part that is looked at, which is then its rollback.
    rollback: bool,
    ends_in: &'static [&'static str],
}

fn lives() -> Vec<Life> {
    let faulty = |fault, version| Version { fault, ..version };
    let life = |name, from: Option<Version>, to, rollback, ends_in| Life {
        name,
        from,
        to,
        rollback,
        ends_in,
    };
    let old = || Some(Version::good("2.0.0"));
    vec![
        life("install", None, Version::good("2.0.0"), false, &["2.0.0"]),
        life("update", old(), Version::good("2.1.0"), false, &["2.1.0"]),
        life("gated update", old(), Version::migrating("2.1.0"), false, &["2.1.0"]),
        life(
            "failing update",
            old(),
            faulty("unhealthy", Version::good("2.1.0")),
            false,
            &["2.0.0"],
        ),
        life(
            "failing gated update",
            old(),
            faulty("crash-loop", Version::migrating("2.1.0")),
            false,
            &["2.0.0"],
        ),
        life("rollback", old(), Version::good("2.1.0"), true, &["2.0.0"]),
        life("update in parts", old(), Version::split("2.1.0"), false, &["2.1.0"]),
        life(
            "failing update in parts",
            Some(Version::split("2.0.0")),
            faulty("unhealthy", Version::split("2.1.0")),
            false,
            &["2.0.0"],
        ),
        life(
            "installing an old bundle",
            None,
            Version::legacy("2.0.0"),
            false,
            &["2.0.0"],
        ),
        life(
            "update to an old bundle",
            old(),
            Version::legacy("2.1.0"),
            false,
            &["2.1.0"],
        ),
        life(
            "failing update to an old bundle",
            old(),
            faulty("unhealthy", Version::legacy("2.1.0")),
            false,
            &["2.0.0"],
        ),
        life(
            "rollback to an old bundle",
            Some(Version::legacy("2.0.0")),
            Version::readable("2.1.0"),
            true,
            &["2.0.0"],
        ),
        life(
            "rollback from an old bundle",
            old(),
            Version::legacy("2.1.0"),
            true,
            &["2.0.0"],
        ),
    ]
}

impl Life {
    /// The device just before, and what is then done.
    fn prepare(&self) -> (Device, i64) {
        let unsigned = self
            .from
            .iter()
            .chain([&self.to])
            .any(|version| version.form == Form::Legacy);
        let device = if unsigned {
            Device::without_keys()
        } else {
            Device::new()
        };
        let device = match &self.from {
            Some(version) => device.having(version),
            None => device,
        };
        let id = device.drop_bundle(&self.to).id;
        if self.rollback {
            device.run(|updater| updater.apply(id)).unwrap();
            device.wait(20);
        }
        (device, id)
    }

    fn act(&self, updater: &mut Updater<'_>, id: i64) {
        // The outcome is checked from outside.
        if self.rollback {
            updater.roll_back(id, None).ok();
        } else {
            updater.apply(id).ok();
        }
    }

    /// What is done after a crash, as the daemon does it: go on, or begin what was not begun.
    fn resume(&self, device: &Device, id: i64) {
        device.run(|updater| {
            updater.recover().unwrap();
            let phase = updater.store.update(id).unwrap().state.phase;
            if phase == Phase::Pending || self.rollback && phase == Phase::Completed {
                self.act(updater, id);
            }
        });
    }
}

#[test]
fn the_updater_may_end_at_every_point() {
    let mut total = 0;
    for life in lives() {
        let (device, id) = life.prepare();
        let points = device.points(|updater| life.act(updater, id));
        let end = device.expect_whole(life.name);
        assert!(life.ends_in.contains(&end.as_str()), "{}: {end}", life.name);
        let (device, id) = life.prepare();
        let before = device.snapshot();
        for place in 0..points.len() {
            device.restore(&before);
            let point = device.run_until(place, |updater| life.act(updater, id)).unwrap();
            let what = format!("{}, ended at {place} ({point})", life.name);
            device.world.reboot();
            life.resume(&device, id);
            let end = device.expect_whole(&what);
            assert!(life.ends_in.contains(&end.as_str()), "{what}: ended with {end}");
            device.expect_whole_sets(&what);
            assert_eq!(device.run(|updater| updater.recover()).unwrap(), None, "{what}");
        }
        println!("{}: {} of {} points", life.name, points.len(), points.len());
        total += points.len();
    }
    println!("{total} of {total} points");
    assert!(total > 300, "only {total} points");
}

#[test]
fn the_updater_may_end_at_every_point_of_going_on_too() {
    for life in lives() {
        let (device, id) = life.prepare();
        let points = device.points(|updater| life.act(updater, id)).len();
        let (device, id) = life.prepare();
        let before = device.snapshot();
        // A few crash points, each with every one that follows.
        for first in (0..points).step_by(points / 5 + 1) {
            device.restore(&before);
            device.run_until(first, |updater| life.act(updater, id)).unwrap();
            device.world.reboot();
            let ended_once = device.snapshot();
            for second in 0.. {
                device.restore(&ended_once);
                let ended = device.run_until(second, |updater| {
                    updater.recover().unwrap();
                });
                device.world.reboot();
                life.resume(&device, id);
                let what = format!("{}, ended at {first}, then at {second} ({ended:?})", life.name);
                let end = device.expect_whole(&what);
                assert!(life.ends_in.contains(&end.as_str()), "{what}: ended with {end}");
                if ended.is_none() {
                    break;
                }
            }
        }
    }
}

/// Each effect fails, once and for ever, at every place: the device is whole, or stuck and says so until it is
/// repaired.
#[test]
fn every_effect_may_fail() {
    let mut count = 0;
    for life in lives() {
        let (device, id) = life.prepare();
        let before = device.world.0.borrow().effects.len();
        device.run(|updater| life.act(updater, id));
        let mut effects = device.world.0.borrow().effects[before..].to_vec();
        effects.sort();
        effects.dedup();
        let (device, id) = life.prepare();
        let before = device.snapshot();
        for effect in effects {
            for times in [1, 1000] {
                device.restore(&before);
                device.world.fail(&effect, times);
                device.run(|updater| life.act(updater, id));
                device.world.heal();
                let what = format!("{}: {effect} fails {times} times", life.name);
                if device.update().state.phase == Phase::Stuck {
                    assert!(device.update().error.is_some(), "{what}");
                    device.run(|updater| updater.retry()).ok();
                }
                if life.from.is_some() || device.store().current().unwrap().is_some() {
                    device.expect_whole(&what);
                }
                count += 1;
            }
        }
    }
    println!("{count} failures");
}

/// An updater that is ended again and again gives up, and the previous version runs.
#[test]
fn what_ends_again_and_again_is_given_up() {
    let life = &lives()[1];
    let (device, id) = life.prepare();
    let points = device.points(|updater| life.act(updater, id));
    let place = points.iter().position(|point| point == "before load").unwrap();
    let (device, id) = life.prepare();
    device.run_until(place, |updater| life.act(updater, id)).unwrap();
    for _ in 0..10 {
        let ended = device.run_until_point("before load", |updater| {
            updater.recover().unwrap();
        });
        if !ended {
            break;
        }
    }
    assert_eq!(device.expect_whole("given up"), "2.0.0");
    let error = device.update().error.unwrap();
    assert!(error.contains("interrupted"), "{error}");
}
