//! The updater drives Compose on real engines: services up, recreated, asked, executed in, stopped, gone.

use std::{fs, thread, time::Duration};

use bundle::manifest::Health;
use device::containers::{ContainerEngine as _, ContainerFacts, ContainerHealth, Services, Stack};
use device::testing::sample::Packed;
use xtask::engines::Kind;

use crate::load::{Lab, base, top};

/// The port of the sample on this machine.
const PORT: &str = "18481";

const COMPOSE: &str = r#"
name: sample-project
services:
  web:
    image: sample:1.0.0
    command: [serve]
    environment: { PASSWORD: "${DB_PASSWORD:?}", WHICH: "${WHICH}" }
    ports: ["${PORT}:8000"]
    stop_signal: SIGKILL
    healthcheck: { test: [CMD, /tool, version], interval: 1s }
  hidden:
    image: sample:1.0.0
    command: [serve]
    stop_signal: SIGKILL
"#;

fn stack(lab: &Lab) -> Stack {
    let directory = lab.directory.path().join("product");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("compose.yml"), COMPOSE).unwrap();
    let environment = format!("DB_PASSWORD=hunter2hunter2\nPORT={PORT}\nWHICH=file\n");
    fs::write(directory.join(".env"), environment).unwrap();
    Stack {
        directory,
        file: "compose.yml".into(),
        pins: None,
        env_file: None,
    }
}

fn health(service: &str, url: &str) -> Health {
    Health {
        service: service.to_owned(),
        url: url.to_owned(),
        attempts: 1,
        interval_seconds: 1,
        soak_seconds: 0,
    }
}

fn service<'a>(containers: &'a [ContainerFacts], name: &str) -> &'a ContainerFacts {
    containers.iter().find(|container| container.service == name).unwrap()
}

/// Asks until the answer is the wanted one: a program needs a moment to start.
fn eventually<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    for _ in 0..50 {
        if let Ok(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(200));
    }
    ask().unwrap()
}

fn a_day(kind: Kind) {
    let lab = Lab::start(kind);
    let docker = &lab.docker;
    let bundle = lab.bundle("1.0.0", vec![base(Packed::Gzip), top("1.0.0", Packed::Gzip)]);
    let id = lab.load(&bundle).unwrap().id;
    docker.tag(&id, "sample:1.0.0").unwrap();
    let stack = stack(&lab);

    let services = docker.project(&stack).unwrap().services;
    let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["hidden", "web"]);
    assert_eq!(services[1].image.as_deref(), Some("sample:1.0.0"));

    docker.up(&stack, Services::Only(&["web".to_owned()])).unwrap();
    assert_eq!(docker.containers(&stack).unwrap().len(), 1);
    docker.up(&stack, Services::All).unwrap();
    let containers = docker.containers(&stack).unwrap();
    assert_eq!(containers.len(), 2);
    assert!(
        containers
            .iter()
            .all(|container| container.running && container.image == id)
    );
    assert_eq!(service(&containers, "hidden").health, ContainerHealth::None);
    eventually(|| match service(&docker.containers(&stack).unwrap(), "web").health {
        ContainerHealth::Healthy => Ok(()),
        other => Err(format!("{other:?}")),
    });

    // By published port, by the container's own address, and by whole URL.
    eventually(|| docker.ask_health(&stack, &health("web", "/health")));
    eventually(|| docker.ask_health(&stack, &health("hidden", "/health")));
    docker
        .ask_health(&stack, &health("web", &format!("http://127.0.0.1:{PORT}/health")))
        .unwrap();
    let sick = docker.ask_health(&stack, &health("web", "/other")).unwrap_err();
    assert!(
        sick.ends_with(&format!("127.0.0.1:{PORT}/other: 503 Service Unavailable: no database")),
        "{sick}"
    );

    let sent = sample_bytes();
    let (mut input, mut output) = (sent.as_slice(), Vec::new());
    docker
        .exec(&stack, "web", &["/tool", "cat"], Some(&mut input), &mut output)
        .unwrap();
    assert!(output == sent, "{} of {} bytes came back", output.len(), sent.len());
    let failed = docker
        .exec(&stack, "web", &["/nothing"], None, &mut Vec::new())
        .unwrap_err();
    assert!(!failed.to_string().contains("hunter2"), "{failed}");

    in_use(&lab, &id.to_string());
    recreated_by_half(&lab, &stack);

    docker.stop(&stack).unwrap();
    let stopped = docker.containers(&stack).unwrap();
    assert!(stopped.len() == 2 && stopped.iter().all(|container| !container.running));
    assert!(docker.ask_health(&stack, &health("web", "/health")).is_err());
    docker.logs(&stack, 10).unwrap();
    docker.down(&stack).unwrap();
    assert_eq!(docker.containers(&stack).unwrap(), []);
    broken_files(&lab, &stack);
}

fn sample_bytes() -> Vec<u8> {
    device::testing::sample::noise(4, 3 * 1024 * 1024 + 17)
}

/// What a container uses stays, with all its names.
fn in_use(lab: &Lab, id: &str) {
    let names = || lab.docker.image(id).unwrap().unwrap().references;
    let before = names();
    let refused = lab.docker.remove_image(id).unwrap_err().to_string();
    assert!(refused.contains("uses it"), "{refused}");
    assert_eq!(names(), before);
    lab.docker.remove_image("sample:0.0.0").unwrap();
}

/// An update was interrupted while Compose recreated a container: the old one has another name, and the new one has its.
fn recreated_by_half(lab: &Lab, stack: &Stack) {
    let old = service(&lab.docker.containers(stack).unwrap(), "web").id.clone();
    let docker = |arguments: &[&str]| lab.device.docker().args(arguments).ignore_stdout().run().unwrap();
    docker(&["rename", &old, "stale"]);
    docker(&["stop", "--time", "0", &old]);
    let labels =
        ["project=sample-project", "service=hidden", "oneoff=True"].map(|label| format!("com.docker.compose.{label}"));
    let mut create = vec!["create", "--name", "sample-project-web-1"];
    create.extend(labels.iter().flat_map(|label| ["--label", label]));
    create.extend(["sample:1.0.0", "serve"]);
    docker(&create);
    docker(&["rm", "--force", "stale"]);
    lab.docker.up(stack, Services::All).unwrap();
    let containers = lab.docker.containers(stack).unwrap();
    assert!(
        containers.len() == 2 && containers.iter().all(|container| container.running),
        "{containers:?}"
    );
}

/// What Compose says of files that make no sense is passed on, but for the secrets in it.
fn broken_files(lab: &Lab, stack: &Stack) {
    fs::write(stack.directory.join(".env"), "DB_PASSWORD\"=hunter2hunter2\nPORT=1\n").unwrap();
    let error = lab.docker.project(stack).unwrap_err().to_string();
    assert!(error.contains("failed to read"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn compose_does_what_the_updater_says() {
    for kind in Kind::DEVICES {
        eprintln!("{kind:?}");
        a_day(kind);
    }
}
