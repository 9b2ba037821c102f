//! The engine of a simulated device: Docker, Compose, and the few statements that a database is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write},
};

use bundle::{Digest, manifest::Health};

use super::{
    bundles::PLATFORM,
    world::{Container, Database, Image, Machine, World},
};
use crate::{
    Error, Result,
    containers::{
        ContainerEngine, ContainerFacts, ContainerHealth, EngineFacts, ImageFacts, ImageStore, Input, Project, Service,
        Services, Stack, WriteArchive, env_file::EnvFile,
    },
    system::crash,
};

/// A service of the compose file: name, image, and what it depends on.
fn parse(stack: &Stack) -> Result<Vec<(String, String, Vec<String>)>> {
    let text = std::fs::read_to_string(&stack.file).map_err(Error::io("read", &stack.file))?;
    let path = stack.env_file.clone().unwrap_or_else(|| stack.directory.join(".env"));
    let env = EnvFile::parse(&std::fs::read_to_string(&path).map_err(Error::io("read", &path))?);
    let version = env
        .get("APP_VERSION")
        .ok_or_else(|| Error::engine("read the compose file", "APP_VERSION is not set"))?;
    Ok(text
        .lines()
        .map(|line| {
            let mut words = line.split(' ').map(|word| word.replace("${APP_VERSION}", &version));
            (words.next().unwrap(), words.next().unwrap(), words.collect())
        })
        .collect())
}

fn pins(stack: &Stack) -> serde_json::Value {
    match &stack.pins {
        Some(path) => serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
        None => serde_json::Value::Null,
    }
}

/// The image that a service runs.
fn pinned(machine: &Machine, pins: &serde_json::Value, service: &str, reference: &str) -> Digest {
    match pins["services"][service]["image"].as_str() {
        Some(id) => id.parse().unwrap(),
        None => machine.tags[reference],
    }
}

impl ContainerEngine for World {
    fn facts(&self) -> Result<EngineFacts> {
        Ok(EngineFacts {
            version: "26.1.5".to_owned(),
            store: ImageStore::Classic,
            platform: PLATFORM.parse().unwrap(),
            root: "/tmp".into(),
        })
    }

    fn compose(&self) -> Result<Option<String>> {
        Ok(Some("2.26.1".to_owned()))
    }

    fn image(&self, name: &str) -> Result<Option<ImageFacts>> {
        let machine = self.0.borrow();
        let id = name.parse().ok().or_else(|| machine.tags.get(name).copied());
        Ok(id.and_then(|id| machine.images.get(&id).map(|image| facts_of(&machine, id, image))))
    }

    fn images(&self) -> Result<Vec<ImageFacts>> {
        let machine = self.0.borrow();
        Ok(machine
            .images
            .iter()
            .map(|(id, image)| facts_of(&machine, *id, image))
            .collect())
    }

    fn load(&self, write: &mut WriteArchive<'_>) -> Result<()> {
        let mut archive = Vec::new();
        write(&mut archive).map_err(|error| Error::engine("load", error))?;
        self.effect("load", |machine| {
            let mut files = BTreeMap::new();
            for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().to_string_lossy().into_owned();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.insert(name, bytes);
            }
            let index: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
            for image in index.as_array().unwrap() {
                let config = &files[image["Config"].as_str().unwrap()];
                let json: serde_json::Value = serde_json::from_slice(config).unwrap();
                let diff_ids: Vec<Digest> = serde_json::from_value(json["rootfs"]["diff_ids"].clone()).unwrap();
                let sent = image["Layers"].as_array().unwrap();
                for (place, (diff_id, path)) in diff_ids.iter().zip(sent).enumerate() {
                    let chain = &diff_ids[..=place];
                    let there = machine.images.values().any(|image| image.diff_ids.starts_with(chain));
                    if !there && !files.contains_key(path.as_str().unwrap()) {
                        return Err(Error::engine("load", format!("layer {diff_id} is missing")));
                    }
                }
                let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                let loaded = Image {
                    env: text(&json["config"]["Env"][0]),
                    diff_ids,
                    architecture: text(&json["architecture"]),
                };
                let id = Digest::of(config);
                machine.images.insert(id, loaded);
                // A name goes to what is loaded last, even if another image had it.
                for name in image["RepoTags"].as_array().into_iter().flatten() {
                    machine.tags.insert(text(name), id);
                }
            }
            Ok(())
        })
    }

    fn try_create(&self, image: &Digest) -> Result<()> {
        match self.0.borrow().images.contains_key(image) {
            true => Ok(()),
            false => Err(Error::engine("create a container", "no such image")),
        }
    }

    fn tag(&self, image: &Digest, reference: &str) -> Result<()> {
        self.effect("tag", |machine| {
            if !machine.images.contains_key(image) {
                return Err(Error::engine("tag", format!("no such image: {image}")));
            }
            machine.tags.insert(reference.to_owned(), *image);
            Ok(())
        })
    }

    fn remove_image(&self, name: &str) -> Result<()> {
        self.effect("remove image", |machine| {
            let Ok(id) = name.parse::<Digest>() else {
                machine.tags.remove(name);
                return Ok(());
            };
            if machine.containers.values().any(|container| container.image == id) {
                return Err(Error::engine("remove an image", "it is in use"));
            }
            machine.images.remove(&id);
            machine.tags.retain(|_, tagged| *tagged != id);
            Ok(())
        })
    }

    fn project(&self, stack: &Stack) -> Result<Project> {
        let services = parse(stack)?.into_iter().map(|(name, image, _)| Service {
            name,
            image: Some(image),
            builds: false,
            restarted_with: Vec::new(),
        });
        Ok(Project {
            name: self.0.borrow().project.clone(),
            services: services.collect(),
        })
    }

    fn containers(&self, _stack: &Stack) -> Result<Vec<ContainerFacts>> {
        let machine = self.0.borrow();
        // As the demo's backend, whose own check asks itself.
        let health = |service: &str| match service {
            "backend" if machine.backend().2 == "unhealthy" => ContainerHealth::Unhealthy,
            "backend" => ContainerHealth::Healthy,
            _ => ContainerHealth::None,
        };
        let facts = |(service, container): (&String, &Container)| ContainerFacts {
            id: format!("{service}-{}", container.image),
            service: service.clone(),
            image: container.image,
            running: container.running,
            state: if container.running { "running" } else { "exited" }.to_owned(),
            health: health(service),
            restarts: container.restarts,
            started_at: container.started.to_string(),
            exit_code: container.exit_code,
            once: false,
        };
        Ok(machine.containers.iter().map(facts).collect())
    }

    fn changed(&self, stack: &Stack) -> Result<Vec<String>> {
        let machine = self.0.borrow();
        let pins = pins(stack);
        let mut changed = Vec::new();
        for (name, reference, _) in parse(stack)? {
            let wanted = pinned(&machine, &pins, &name, &reference);
            if machine
                .containers
                .get(&name)
                .is_none_or(|container| container.image != wanted)
            {
                changed.push(name);
            }
        }
        Ok(changed)
    }

    fn up(&self, stack: &Stack, services: Services<'_>) -> Result<()> {
        let all = parse(stack)?;
        let pins = pins(stack);
        let mut wanted: BTreeSet<String> = match services {
            Services::All => all.iter().map(|(name, ..)| name.clone()).collect(),
            Services::Only(names) => names.iter().cloned().collect(),
        };
        for (name, _, needs) in all.iter().rev() {
            if wanted.contains(name) {
                wanted.extend(needs.iter().cloned());
            }
        }
        self.effect("up", |machine| {
            if services == Services::All {
                machine
                    .containers
                    .retain(|name, _| all.iter().any(|(known, ..)| known == name));
            }
            for (name, reference, needs) in all.iter().filter(|(name, ..)| wanted.contains(name)) {
                let id = pinned(machine, &pins, name, reference);
                if !machine.images.contains_key(&id) {
                    return Err(Error::engine("start", format!("no such image: {id}")));
                }
                if let Some(need) = needs.iter().find(|need| !machine.is_up(need)) {
                    return Err(Error::engine("start", format!("dependency {need} failed to start")));
                }
                let same = machine
                    .containers
                    .get(name)
                    .is_some_and(|container| container.image == id);
                if !same {
                    let container = Container {
                        image: id,
                        running: false,
                        started: 0,
                        restarts: 0,
                        exit_code: 0,
                    };
                    machine.containers.insert(name.clone(), container);
                    *machine.recreated.entry(name.clone()).or_default() += 1;
                }
                if !machine.is_up(name) {
                    machine.start(name);
                }
            }
            Ok(())
        })
    }

    fn stop(&self, _stack: &Stack) -> Result<()> {
        self.effect("stop", |machine| {
            for container in machine.containers.values_mut() {
                container.running = false;
            }
            Ok(())
        })
    }

    fn stop_containers(&self, containers: &[ContainerFacts]) -> Result<()> {
        self.effect("stop", |machine| {
            for stopped in containers {
                machine.containers.get_mut(&stopped.service).unwrap().running = false;
            }
            Ok(())
        })
    }

    fn down_with_volumes(&self, stack: &Stack) -> Result<()> {
        self.down(stack)?;
        self.0.borrow_mut().databases.clear();
        Ok(())
    }

    fn down(&self, _stack: &Stack) -> Result<()> {
        self.effect("down", |machine| {
            machine.containers.clear();
            Ok(())
        })
    }

    fn exec(
        &self,
        _stack: &Stack,
        service: &str,
        command: &[&str],
        input: Input<'_>,
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        let database = command[command.len() - 1];
        let mut text = String::new();
        if let Some(input) = input {
            input.read_to_string(&mut text).unwrap();
        }
        if !self.0.borrow().is_up(service) {
            return Err(Error::engine(
                "run a program",
                format!("service \"{service}\" is not running"),
            ));
        }
        let answer = if command[0] == "pg_dump" {
            self.effect("dump", |machine| Ok(dump(&machine.databases[database])))?
        } else if command.contains(&"--single-transaction") {
            self.effect("restore", |machine| {
                machine.databases.insert(database.to_owned(), undump(&text));
                Ok(String::new())
            })?
        } else {
            self.sql(text.trim().trim_end_matches(';'))?
        };
        output
            .write_all(answer.as_bytes())
            .map_err(|error| Error::engine("write", error))
    }

    fn ask_health(&self, _stack: &Stack, _health: &Health) -> Result<(), String> {
        self.0.borrow().answers()
    }

    fn logs(&self, stack: &Stack, _lines: u32) -> Result<String> {
        // Real programs print such lines.
        let env = EnvFile::parse(&std::fs::read_to_string(stack.directory.join(".env")).unwrap_or_default());
        Ok(format!(
            "connecting with {}",
            env.get("DB_PASSWORD").unwrap_or_default()
        ))
    }

    fn sync(&self) {
        crash::point("sync");
    }
}

impl World {
    /// The few statements that [`crate::stack::postgres`] uses.
    fn sql(&self, sql: &str) -> Result<String> {
        let names: Vec<_> = sql.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        match sql.split(' ').next().unwrap() {
            "SELECT" if sql.contains("pg_database_size") => Ok("170004|1000\n".to_owned()),
            "SELECT" if sql == "SELECT 1" => Ok("1\n".to_owned()),
            "SELECT" if sql.contains("pg_terminate_backend") => Ok(String::new()),
            "SELECT" => {
                let name = sql.split('\'').nth(1).unwrap();
                let there = self.0.borrow().databases.contains_key(name);
                Ok(if there { "1\n" } else { "" }.to_owned())
            }
            "DROP" => self.effect("drop database", |machine| {
                machine.databases.remove(&names[0]);
                Ok(String::new())
            }),
            "CREATE" => self.effect("create database", |machine| {
                machine.databases.insert(names[0].clone(), Database::default());
                Ok(String::new())
            }),
            "BEGIN;" => self.effect("swap databases", |machine| {
                for pair in names.chunks(2) {
                    assert!(!machine.databases.contains_key(&pair[1]), "{pair:?}");
                    let moved = machine.databases.remove(&pair[0]).unwrap();
                    machine.databases.insert(pair[1].clone(), moved);
                }
                Ok(String::new())
            }),
            _ => panic!("unknown SQL: {sql}"),
        }
    }
}

fn dump(database: &Database) -> String {
    let rows: String = database.rows.iter().map(|row| format!("{row}\n")).collect();
    format!("{}\n{rows}-- PostgreSQL database dump complete\n", database.revision)
}

fn undump(text: &str) -> Database {
    let mut lines = text.lines();
    Database {
        revision: lines.next().unwrap().parse().unwrap(),
        rows: lines
            .filter(|line| line.starts_with("row"))
            .map(str::to_owned)
            .collect(),
    }
}

fn facts_of(machine: &Machine, id: Digest, image: &Image) -> ImageFacts {
    ImageFacts {
        id,
        references: machine
            .tags
            .iter()
            .filter(|(_, tagged)| **tagged == id)
            .map(|(name, _)| name.clone())
            .collect(),
        diff_ids: image.diff_ids.clone(),
        architecture: image.architecture.clone(),
    }
}
