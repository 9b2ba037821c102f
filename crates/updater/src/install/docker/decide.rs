//! What is there → what to do about Docker and Compose. Nothing is asked or done here.

use std::collections::BTreeMap;

use device::{Error, Result};

/// Packages of the Compose plugin, by distributor: Docker, Ubuntu, Debian from 13 on.
const COMPOSE_PACKAGES: [&str; 3] = ["docker-compose-plugin", "docker-compose-v2", "docker-compose"];

/// What is there of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// It answers.
    Answers,
    /// It is installed, and does not answer.
    Silent,
    /// There is none.
    Missing,
}

/// What is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) engine: Engine,
    /// Whether the engine was named.
    pub(super) named: bool,
    /// The program `docker`.
    pub(super) client: bool,
    /// The Compose plugin.
    pub(super) compose: bool,
    /// Whether the bundle brings a plugin for this machine.
    pub(super) bundled: bool,
    /// The packages that can be had, each with its version; none where there is no apt.
    pub(super) packages: Option<BTreeMap<String, String>>,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These packages of the distribution.
    Packages(Vec<String>),
    /// The engine that is installed.
    StartEngine,
    /// The plugin in the bundle.
    BundledPlugin,
}

/// What is there → what to do.
pub(super) fn decide(found: &Found) -> Result<Vec<Step>> {
    let has = |name: &str| {
        found
            .packages
            .as_ref()
            .is_some_and(|packages| packages.contains_key(name))
    };
    let mut packages = Vec::new();
    let mut steps = Vec::new();
    match found.engine {
        Engine::Answers => {}
        Engine::Silent | Engine::Missing if found.named => {
            return Err(Error::refused(
                "the Docker engine that was named does not answer",
                "start it, or leave --docker-host and $DOCKER_HOST away",
            ));
        }
        Engine::Silent => steps.push(Step::StartEngine),
        Engine::Missing if has("docker.io") => {
            packages.push("docker.io");
            steps.push(Step::StartEngine);
        }
        Engine::Missing => return Err(nothing_to_install("Docker is not installed", found)),
    }
    if !found.client {
        // From Debian 13 on the program is a package of its own, which the engine's only recommends.
        match (has("docker-cli"), packages.is_empty(), has("docker.io")) {
            (true, ..) => packages.push("docker-cli"),
            (false, false, _) => {}
            (false, true, true) => packages.push("docker.io"),
            (false, true, false) => {
                return Err(nothing_to_install("the program `docker` is not installed", found));
            }
        }
    }
    if !found.compose {
        let usable = |name: &&&str| {
            let version = found.packages.as_ref().and_then(|packages| packages.get(**name));
            // Debian 12's docker-compose is version 1, another program.
            version.is_some_and(|version| major(version) >= 2)
        };
        match COMPOSE_PACKAGES.iter().find(usable) {
            _ if found.bundled => steps.push(Step::BundledPlugin),
            Some(package) => packages.push(package),
            None => return Err(nothing_to_install("Docker Compose 2 is not installed", found)),
        }
    }
    if !packages.is_empty() {
        let packages = packages.into_iter().map(str::to_owned).collect();
        steps.insert(0, Step::Packages(packages));
    }
    Ok(steps)
}

fn nothing_to_install(message: &str, found: &Found) -> Error {
    let why = match &found.packages {
        None => "this system has no apt",
        Some(_) => "no package of it can be had here",
    };
    Error::refused(format!("{message}, and {why}"), what_to_bring(found))
}

/// What a person has to bring where there is no network.
pub(super) fn what_to_bring(found: &Found) -> String {
    let compose = if found.bundled || found.compose {
        ""
    } else {
        "; for Compose 2 a bundle with a Compose plugin for this platform (`compose-plugin` in the declaration), or the \
         package docker-compose-plugin, docker-compose-v2 or docker-compose (2 or later)"
    };
    format!(
        "connect a network and run it again, or bring the distribution's packages docker.io, docker-cli (where there is \
         one), containerd, runc, iptables and what they need, and install them: apt-get install ./*.deb{compose}"
    )
}

/// The major version in a package's version, without epoch: `2:2.26.1-4` is 2.
pub(super) fn major(version: &str) -> u32 {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &[(&str, &str)] = &[("docker.io", "20.10.24+dfsg1-1"), ("docker-compose", "1.29.2-3")];
    const TRIXIE: &[(&str, &str)] = &[
        ("docker.io", "26.1.5+dfsg1-9"),
        ("docker-cli", "26.1.5+dfsg1-9"),
        ("docker-compose", "2.26.1-4"),
    ];
    const UBUNTU: &[(&str, &str)] = &[
        ("docker.io", "27.5.1-0ubuntu3"),
        ("docker-compose", "1.29.2-6"),
        ("docker-compose-v2", "2.33.0"),
    ];
    const DOCKERS: &[(&str, &str)] = &[
        ("docker.io", "20.10.24+dfsg1-1"),
        ("docker-compose-plugin", "2.29.7-1~debian.12~bookworm"),
    ];
    const NOTHING: &[(&str, &str)] = &[];

    /// What is there, and what is done: `+name` a package, `start`, `plugin`.
    #[track_caller]
    fn check(engine: Engine, there: &str, packages: Option<&[(&str, &str)]>, expected: &str) {
        let found = Found {
            engine,
            named: there.contains("named"),
            client: there.contains("client"),
            compose: there.contains("compose"),
            bundled: there.contains("bundled"),
            packages: packages.map(|packages| {
                let owned = |(name, version): &(&str, &str)| ((*name).to_owned(), (*version).to_owned());
                packages.iter().map(owned).collect()
            }),
        };
        let words = match decide(&found) {
            Err(error) => format!("{error} hint: {}", error.hint().unwrap()),
            Ok(steps) => steps
                .into_iter()
                .map(|step| match step {
                    Step::Packages(names) => format!("+{}", names.join("+")),
                    Step::StartEngine => "start".to_owned(),
                    Step::BundledPlugin => "plugin".to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        match expected.strip_prefix("refused: ") {
            Some(part) => assert!(words.contains(part), "{words}"),
            None => assert_eq!(words, expected, "{engine:?} {there} {packages:?}"),
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        for packages in [None, Some(NOTHING), Some(BOOKWORM), Some(TRIXIE)] {
            check(Engine::Answers, "client compose", packages, "");
            check(Engine::Answers, "client compose bundled", packages, "");
            check(Engine::Silent, "client compose", packages, "start");
        }
    }

    #[test]
    fn what_is_missing_comes_from_the_distribution_and_compose_from_the_bundle_first() {
        use Engine::{Answers, Missing, Silent};
        check(Missing, "bundled", Some(BOOKWORM), "+docker.io start plugin");
        check(Missing, "", Some(TRIXIE), "+docker.io+docker-cli+docker-compose start");
        check(Missing, "bundled", Some(TRIXIE), "+docker.io+docker-cli start plugin");
        check(Missing, "", Some(UBUNTU), "+docker.io+docker-compose-v2 start");
        check(Missing, "", Some(DOCKERS), "+docker.io+docker-compose-plugin start");
        check(Answers, "client", Some(TRIXIE), "+docker-compose");
        check(Answers, "client bundled", None, "plugin");
        check(Answers, "client bundled", Some(TRIXIE), "plugin");
        check(Answers, "compose", Some(TRIXIE), "+docker-cli");
        check(Answers, "compose", Some(BOOKWORM), "+docker.io");
        check(Silent, "client bundled", Some(NOTHING), "start plugin");
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        use Engine::{Answers, Missing, Silent};
        check(Missing, "", Some(NOTHING), "refused: docker.io, docker-cli");
        check(Missing, "", Some(NOTHING), "refused: compose-plugin");
        check(Missing, "bundled", None, "refused: this system has no apt");
        // Debian 12's docker-compose is version 1.
        check(
            Missing,
            "",
            Some(BOOKWORM),
            "refused: Docker Compose 2 is not installed",
        );
        check(
            Answers,
            "client",
            Some(BOOKWORM),
            "refused: Docker Compose 2 is not installed",
        );
        check(
            Answers,
            "",
            Some(NOTHING),
            "refused: the program `docker` is not installed",
        );
        check(Missing, "named", Some(TRIXIE), "refused: was named");
        check(Silent, "named client compose", Some(TRIXIE), "refused: was named");
    }

    #[test]
    fn major_versions_are_read() {
        assert_eq!(["2.26.1-4", "2:2.1", "1.29.2-3", "v2"].map(major), [2, 2, 1, 0]);
    }
}
