//! Registries: whether those that a build takes images from answer.
//!
//! Flow: one image for each registry → all registries asked at once, by the tool that also locks and vendors → a warning
//! for each that does not answer in time.
//!
//! A warning only: BuildKit takes an image from its cache without asking, and whether it has one cannot be asked cheaply.
//! A registry that answers with an error is left to the build, whose message then names the image.

use std::{
    collections::BTreeMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Problem,
    build::buildx::registry_manifest,
    plan::pins::{Origin, Pin},
};

/// How long a registry may take. One that answers takes about a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the messages of a registry that cannot be reached have in common: they come from Go's `net`.
const UNREACHABLE: [&str; 9] = [
    "connection refused",
    "connection reset",
    "deadline exceeded",
    "dial tcp",
    "handshake timeout",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "no such host",
];

/// Warns of registries that cannot be reached, of those that `pins` need.
pub(super) fn registries(pins: &[Pin], builder: Option<&str>) -> Vec<Problem> {
    let builder = builder.map(str::to_owned);
    unreachable(pins, PATIENCE, move |reference| {
        match registry_manifest(reference, builder.as_deref()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.stderr().lines().last().unwrap_or("no answer").trim().to_owned()),
        }
    })
}

/// Asks each registry once with `ask`, which gives the end of the tool's message.
fn unreachable<A>(pins: &[Pin], patience: Duration, ask: A) -> Vec<Problem>
where
    A: Fn(&str) -> Result<(), String> + Clone + Send + 'static,
{
    let mut images: BTreeMap<&str, Vec<&Pin>> = BTreeMap::new();
    for pin in pins {
        if let Origin::Registry { .. } | Origin::Unpinned = pin.origin {
            images.entry(registry_of(&pin.reference)).or_default().push(pin);
        }
    }
    let started = Instant::now();
    let asked: Vec<_> = images
        .into_iter()
        .filter_map(|(registry, pins)| {
            let (sender, answer) = mpsc::channel();
            let (ask, source) = (ask.clone(), pins.first()?.source());
            // Not joined: a tool that waits for the network longer than we do must not hold the release up.
            thread::spawn(move || sender.send(ask(&source)).ok());
            Some((registry, pins, answer))
        })
        .collect();
    let problems = asked.into_iter().filter_map(|(registry, pins, answer)| {
        let left = patience.saturating_sub(started.elapsed());
        let message = match answer.recv_timeout(left) {
            Ok(Ok(())) => return None,
            Ok(Err(message)) if !UNREACHABLE.iter().any(|sign| message.contains(sign)) => return None,
            Ok(Err(message)) => message,
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        let references: Vec<_> = pins.iter().map(|pin| pin.reference.as_str()).collect();
        let problem = Problem::warning(
            registry,
            format!(
                "the registry cannot be reached ({message}); the build fails unless the builder has {} in its cache",
                references.join(", ")
            ),
        );
        Some(problem.hint(
            "`cargo xtask vendor` where it can be reached, then `release --offline` here; for a trial, `cargo xtask setup` \
             makes substitutes",
        ))
    });
    problems.collect()
}

/// The registry that Docker asks for `reference`.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn pin(reference: &str) -> Pin {
        Pin {
            reference: reference.to_owned(),
            origin: Origin::Unpinned,
        }
    }

    fn check(references: &[&str], answer: Result<(), &str>, expected: &[&str]) {
        let pins: Vec<_> = references.iter().map(|reference| pin(reference)).collect();
        let answer = answer.map_err(str::to_owned);
        let problems = unreachable(&pins, Duration::from_secs(5), move |_| answer.clone());
        let subjects: Vec<_> = problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(subjects, expected);
        for problem in problems {
            assert!(!problem.is_error(), "{problem}");
            assert!(problem.to_string().contains("cargo xtask vendor"), "{problem}");
            assert!(problem.to_string().contains("cargo xtask setup"), "{problem}");
        }
    }

    #[test]
    fn a_registry_that_cannot_be_reached_is_a_warning() {
        let references = [
            "rust:1-trixie",
            "acme/web:1",
            "registry.example:5000/web:1",
            "localhost/web:1",
        ];
        let registries = ["docker.io", "localhost", "registry.example:5000"];
        for message in [
            "ERROR: failed to do request: dial tcp: lookup registry.example: no such host",
            "ERROR: failed to do request: net/http: TLS handshake timeout",
        ] {
            check(&references, Err(message), &registries);
        }
    }

    #[test]
    fn a_registry_that_answers_is_left_to_the_build() {
        check(&["rust:1-trixie"], Ok(()), &[]);
        check(
            &["rust:1-trixie"],
            Err("ERROR: docker.io/library/rust:1-trixie: not found"),
            &[],
        );
        check(&["rust:1-trixie"], Err("ERROR: 401 Unauthorized"), &[]);
    }

    #[test]
    fn only_registries_that_are_needed_are_asked_and_each_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let vendored = Pin {
            origin: Origin::Substitute {
                layout: "vendor/rust".into(),
                digest: bundle::Digest::of(b"rust"),
                made_by: "a test".to_owned(),
            },
            ..pin("elsewhere.example/rust:1")
        };
        let pins = [pin("rust:1"), pin("postgres:17"), vendored];
        let counter = Arc::clone(&asked);
        let problems = unreachable(&pins, Duration::from_secs(5), move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!((problems.len(), asked.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn a_silent_registry_does_not_hold_the_release_up() {
        let started = Instant::now();
        let problems = unreachable(&[pin("rust:1")], Duration::ZERO, |_| {
            thread::sleep(Duration::from_secs(3));
            Ok(())
        });
        assert_eq!(problems.len(), 1);
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
