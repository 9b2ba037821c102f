//! A simulated device: its images, containers, databases, and time.
//!
//! The product behaves as the demo product does: the backend migrates the database to its revision when it starts, and
//! refuses one that is too new; while backend and front end run, a witness writes a row a second and remembers each that
//! was acknowledged. Every effect is a crash point before and after it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use bundle::Digest;

use crate::{
    Error, Result,
    system::{clock::Clock, crash},
};

/// The device, shared by every updater that runs on it.
#[derive(Clone, Default)]
pub struct World(pub Rc<RefCell<Machine>>);

/// What a device consists of.
#[derive(Clone, Default)]
pub struct Machine {
    /// What the compose files call the project.
    pub project: String,
    /// How far the time of day is off, in seconds.
    pub clock_error: i64,
    pub images: BTreeMap<Digest, Image>,
    pub tags: BTreeMap<String, Digest>,
    pub containers: BTreeMap<String, Container>,
    pub databases: BTreeMap<String, Database>,
    /// Rows that were acknowledged to the witness.
    pub acknowledged: BTreeSet<String>,
    pub seconds: u64,
    /// Effects that fail, each with how often it still does.
    pub failing: BTreeMap<String, u32>,
    /// Effects, in order.
    pub effects: Vec<String>,
    /// How often each service was (re)created.
    pub recreated: BTreeMap<String, u32>,
}

#[derive(Clone)]
pub struct Image {
    pub env: String,
    pub diff_ids: Vec<Digest>,
    pub(super) architecture: String,
}

#[derive(Clone)]
pub struct Container {
    pub image: Digest,
    pub running: bool,
    pub(super) started: u64,
    pub(super) restarts: u64,
    pub(super) exit_code: i64,
}

#[derive(Clone, Default, Debug, PartialEq)]
pub struct Database {
    pub revision: u64,
    pub rows: BTreeSet<String>,
}

impl World {
    /// Makes an effect fail so many times.
    pub fn fail(&self, effect: &str, times: u32) {
        self.0.borrow_mut().failing.insert(effect.to_owned(), times);
    }

    pub fn heal(&self) {
        self.0.borrow_mut().failing.clear();
    }

    /// The machine loses power: containers stop, and the engine starts them again at boot.
    pub fn reboot(&self) {
        let mut machine = self.0.borrow_mut();
        let services: Vec<_> = machine.containers.keys().cloned().collect();
        for service in ["db", "backend", "frontend"] {
            if services.iter().any(|known| known == service) && machine.containers[service].running {
                machine.start(service);
            }
        }
    }

    /// The engine is restarted, and every service says `restart: always`.
    pub fn start_everything(&self) {
        let mut machine = self.0.borrow_mut();
        for service in ["db", "backend", "frontend"] {
            machine.start(service);
        }
    }

    pub(super) fn effect<T>(&self, name: &str, act: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        crash::point(&format!("before {name}"));
        let result = {
            let mut machine = self.0.borrow_mut();
            machine.effects.push(name.to_owned());
            let fails = machine.failing.get_mut(name).is_some_and(|times| {
                let fails = *times > 0;
                *times = times.saturating_sub(1);
                fails
            });
            if fails {
                Err(Error::engine(name, "it was told to fail"))
            } else {
                act(&mut machine)
            }
        };
        crash::point(&format!("after {name}"));
        result
    }
}

impl Machine {
    fn env_of(&self, service: &str) -> String {
        self.containers
            .get(service)
            .and_then(|container| self.images.get(&container.image))
            .map_or_else(String::new, |image| image.env.clone())
    }

    /// Version, revision and fault of the backend.
    pub(super) fn backend(&self) -> (String, u64, String) {
        let env = self.env_of("backend");
        let mut words = env.trim_start_matches("BACKEND=").split(' ').map(str::to_owned);
        let version = words.next().unwrap_or_default();
        let revision = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        (version, revision, words.next().unwrap_or_default())
    }

    pub fn is_up(&self, service: &str) -> bool {
        self.containers.get(service).is_some_and(|container| container.running)
    }

    pub(super) fn start(&mut self, service: &str) {
        let seconds = self.seconds;
        if let Some(container) = self.containers.get_mut(service) {
            container.running = true;
            container.started = seconds;
            container.exit_code = 0;
        }
        match service {
            "db" if self.databases.is_empty() => {
                self.databases.insert("app".to_owned(), Database::default());
            }
            "backend" => self.start_backend(),
            _ => {}
        }
    }

    fn start_backend(&mut self) {
        let (_, revision, fault) = self.backend();
        let database = self.databases.get("app").cloned().unwrap_or_default();
        let ended = !self.is_up("db") || database.revision > revision || fault == "bad-migration";
        if ended {
            let container = self.containers.get_mut("backend").unwrap();
            container.running = false;
            container.exit_code = 1;
        } else {
            let database = self.databases.entry("app".to_owned()).or_default();
            database.revision = revision;
        }
    }

    pub fn answers(&self) -> Result<(), String> {
        let (version, _, fault) = self.backend();
        match fault.as_str() {
            _ if !self.is_up("frontend") => Err("connection refused".to_owned()),
            _ if !self.is_up("backend") || !self.is_up("db") => Err("502".to_owned()),
            "unhealthy" => Err(format!("503 {version}")),
            _ => Ok(()),
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            let (_, _, fault) = self.backend();
            if fault == "crash-loop" && self.is_up("backend") {
                let now = self.seconds;
                let container = self.containers.get_mut("backend").unwrap();
                if now > container.started + 4 {
                    container.restarts += 1;
                    container.started = now;
                }
            }
            if self.answers().is_ok() {
                let row = format!("row {}", self.seconds);
                self.databases.get_mut("app").unwrap().rows.insert(row.clone());
                self.acknowledged.insert(row);
            }
        }
    }
}

impl Clock for World {
    fn now(&self) -> jiff::Timestamp {
        let machine = self.0.borrow();
        let seconds = i64::try_from(machine.seconds).unwrap();
        jiff::Timestamp::from_second(1_770_000_000 + seconds + machine.clock_error).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.borrow().seconds)
    }

    fn sleep(&self, time: Duration) {
        self.0.borrow_mut().pass(time.as_secs().max(1));
    }
}
