//! The product's health: whether it is healthy, and stays so.
//!
//! The product is asked as often as the manifest says, at its interval; as long as a container's own health check
//! reports "starting" (a migration on an SD card), attempts are not counted, up to [`PATIENCE`]. Then containers must stay
//! up for the declared while: not one may restart, which a single look at a crash loop would not show.

use std::{collections::BTreeMap, time::Duration};

use bundle::manifest::Health;

use crate::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine, ContainerFacts, ContainerHealth, Stack},
    stack::release,
    store::Release,
    system::{clock::Clock, timing::timed},
};

/// The longest time for which "starting" extends the attempts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How often containers are inspected while they must stay up.
const LOOK: Duration = Duration::from_secs(2);

/// The health check where a release declares none: containers only.
const DEFAULT: (u32, u32, u32) = (10, 5, 30);

/// Whose health is checked, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// The stack that runs.
    pub stack: Stack,
    /// How the product is asked; without it only containers are looked at.
    pub health: Option<Health>,
    /// The services that are meant; all of the stack if none are named. Where the one that is asked is not among them, their
    /// containers answer.
    pub only: Option<Vec<String>>,
    /// The service that migrates the data. That it runs does not tell whether it has: its health check, its end or the
    /// product's answer does.
    pub migrates: Option<String>,
}

impl Question {
    /// Whether a release that runs is healthy, as its manifest says how to ask.
    ///
    /// # Errors
    /// The manifest is there and cannot be read.
    pub fn about(config: &Config, release: &Release) -> Result<Self> {
        Ok(Self {
            stack: release::stack(config, release),
            health: release::manifest(release)?.and_then(|manifest| manifest.health),
            only: None,
            migrates: None,
        })
    }

    fn limits(&self) -> (u32, Duration, Duration) {
        let (attempts, interval, soak) = self.health.as_ref().map_or(DEFAULT, |health| {
            (health.attempts, health.interval_seconds, health.soak_seconds)
        });
        (
            attempts.max(1),
            Duration::from_secs(interval.into()),
            Duration::from_secs(soak.into()),
        )
    }

    fn containers(&self, engine: &dyn ContainerEngine) -> Result<Vec<ContainerFacts>> {
        let mut containers = engine.containers(&self.stack)?;
        if let Some(only) = &self.only {
            containers.retain(|container| only.contains(&container.service));
        }
        Ok(containers)
    }

    fn ask(&self, engine: &dyn ContainerEngine, containers: &[ContainerFacts]) -> Result<(), String> {
        self.answer_of(containers)?;
        self.asked()
            .map_or(Ok(()), |health| engine.ask_health(&self.stack, health))
    }

    /// What the containers say.
    fn answer_of(&self, containers: &[ContainerFacts]) -> Result<(), String> {
        if let Some(container) = containers.iter().find(|container| !is_well(container)) {
            return Err(describe(container));
        }
        if let Some(missing) = self
            .only
            .iter()
            .flatten()
            .find(|service| !containers.iter().any(|container| container.service == **service))
        {
            return Err(format!("{missing} has no container"));
        }
        if self.asked().is_some() {
            return Ok(());
        }
        match containers.iter().find(|container| self.may_be_migrating(container)) {
            Some(container) => Err(format!(
                "{} runs, and has no health check that would say that the data is migrated",
                container.service
            )),
            None if containers.is_empty() => Err("there are no containers".to_owned()),
            None => Ok(()),
        }
    }

    /// How the product is asked, if the service that answers is meant.
    fn asked(&self) -> Option<&Health> {
        let meant = |health: &&Health| self.only.as_ref().is_none_or(|only| only.contains(&health.service));
        self.health.as_ref().filter(meant)
    }

    fn may_be_migrating(&self, container: &ContainerFacts) -> bool {
        self.migrates.as_ref() == Some(&container.service)
            && container.running
            && container.health == ContainerHealth::None
    }
}

/// Checks once.
pub fn is_healthy(engine: &dyn ContainerEngine, question: &Question) -> bool {
    question
        .containers(engine)
        .is_ok_and(|containers| question.ask(engine, &containers).is_ok())
}

/// Checks until the product is healthy, and passes every answer to `seen`.
///
/// # Errors
/// [`Error::Unhealthy`] with the last answer; the engine does not answer.
pub fn wait(
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    question: &Question,
    seen: &mut dyn FnMut(String),
) -> Result<()> {
    let service = question.health.as_ref().map(|health| health.service.as_str());
    timed(
        tracing::debug_span!("health wait", service),
        ToString::to_string,
        || ask_until_healthy(engine, clock, question, seen),
    )
}

fn ask_until_healthy(
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    question: &Question,
    seen: &mut dyn FnMut(String),
) -> Result<()> {
    let (attempts, interval, _) = question.limits();
    let began = clock.elapsed();
    let mut attempt = 0;
    loop {
        let containers = question.containers(engine)?;
        let answer = match question.ask(engine, &containers) {
            Ok(()) => {
                seen("healthy".to_owned());
                return Ok(());
            }
            Err(answer) => answer,
        };
        let starting = containers.iter().any(|container| {
            container.running && container.health == ContainerHealth::Starting
                || container.once && question.may_be_migrating(container)
        });
        seen(if starting {
            format!("starting: {answer}")
        } else {
            answer.clone()
        });
        if !starting || clock.elapsed().saturating_sub(began) > PATIENCE {
            attempt += 1;
        }
        if attempt >= attempts {
            return Err(Error::Unhealthy(format!(
                "not healthy after {attempts} attempts, {} s apart: {answer}",
                interval.as_secs()
            )));
        }
        clock.sleep(interval);
    }
}

/// Watches that containers stay up for the declared while, then asks once more.
pub(crate) fn soak(
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    question: &Question,
    seen: &mut dyn FnMut(String),
) -> Result<()> {
    let service = question.health.as_ref().map(|health| health.service.as_str());
    timed(tracing::debug_span!("soak", service), ToString::to_string, || {
        watch(engine, clock, question, seen)
    })
}

fn watch(
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    question: &Question,
    seen: &mut dyn FnMut(String),
) -> Result<()> {
    let (_, _, soak) = question.limits();
    let began = clock.elapsed();
    let before = starts(&question.containers(engine)?);
    loop {
        let containers = question.containers(engine)?;
        let now = starts(&containers);
        for container in &containers {
            let changed = before.get(&container.id) != now.get(&container.id);
            if !container.running && !has_ended_well(container) || changed {
                return Err(Error::Unhealthy(format!("did not stay up: {}", describe(container))));
            }
        }
        if let Some(gone) = before.keys().find(|id| !now.contains_key(*id)) {
            return Err(Error::Unhealthy(format!("did not stay up: container {gone} is gone")));
        }
        let passed = clock.elapsed().saturating_sub(began);
        if passed >= soak {
            // A health check that failed meanwhile gets the attempts that it is declared to have.
            return wait(engine, clock, question, seen);
        }
        clock.sleep(LOOK.min(soak.saturating_sub(passed)));
    }
}

/// When each container was started, and how often.
fn starts(containers: &[ContainerFacts]) -> BTreeMap<String, (String, u64)> {
    containers
        .iter()
        .map(|container| (container.id.clone(), (container.started_at.clone(), container.restarts)))
        .collect()
}

fn is_well(container: &ContainerFacts) -> bool {
    has_ended_well(container)
        || container.running
            && container.state == "running"
            && matches!(container.health, ContainerHealth::None | ContainerHealth::Healthy)
}

/// A service that runs once has ended.
fn has_ended_well(container: &ContainerFacts) -> bool {
    !container.running && container.state == "exited" && container.exit_code == 0
}

fn describe(container: &ContainerFacts) -> String {
    let ContainerFacts {
        service,
        state,
        health,
        restarts,
        exit_code,
        ..
    } = container;
    match (container.running, health) {
        (true, ContainerHealth::Unhealthy) => format!("{service} is unhealthy"),
        (true, ContainerHealth::Starting) => format!("{service} is starting"),
        _ if *restarts > 0 => format!("{service} is {state} and was restarted {restarts} times"),
        (false, _) => format!("{service} is {state} with exit code {exit_code}"),
        _ => format!("{service} is {state}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, health: ContainerHealth, once: bool) -> ContainerFacts {
        ContainerFacts {
            id: service.to_owned(),
            service: service.to_owned(),
            image: bundle::Digest::of(b""),
            running: true,
            state: "running".to_owned(),
            health,
            restarts: 0,
            started_at: String::new(),
            exit_code: 0,
            once,
        }
    }

    #[test]
    fn that_it_runs_does_not_tell_that_the_data_is_migrated() {
        let question = Question {
            stack: Stack {
                directory: "/".into(),
                file: "a".into(),
                pins: None,
                env_file: None,
            },
            health: None,
            only: Some(vec!["db".to_owned(), "migration".to_owned()]),
            migrates: Some("migration".to_owned()),
        };
        for (health, running, well) in [
            (ContainerHealth::None, true, false),
            (ContainerHealth::Healthy, true, true),
            (ContainerHealth::None, false, true),
        ] {
            let migration = ContainerFacts {
                running,
                state: if running { "running" } else { "exited" }.to_owned(),
                ..container("migration", health, true)
            };
            let containers = [container("db", ContainerHealth::None, false), migration];
            assert_eq!(question.answer_of(&containers).is_ok(), well, "{containers:?}");
        }
    }
}
