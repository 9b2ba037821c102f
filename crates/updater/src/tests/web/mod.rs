//! Every call of the API and every error, over real connections, with the daemon's own loop behind it.

mod access;
mod bad_input;
mod calls;
mod github;
mod http;
mod looking_on;
mod uploads;

use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};

use bundle::Digest;
use serde_json::Value;

use self::http::{Answer, Call};
use crate::{
    daemon::{self, Heartbeat},
    github::worker,
    web::{self, access::password},
};
use device::testing::{
    bundles::{self, Version},
    device::Device,
};
use device::{
    control::{
        board::{Board, Live},
        progress::Silent,
        requests::Requests,
    },
    engine::drop_directory::DropDirectory,
    store::{Token, Update},
};

const OTA: &str = "/api/v1/ota";

/// A device with its API, and the daemon, whose turns the test takes.
struct Api {
    device: Device,
    address: SocketAddr,
    requests: Arc<Requests>,
    board: Arc<Board>,
    heartbeat: Heartbeat,
    intake: RefCell<DropDirectory>,
    password: String,
    token: String,
    _bell: mpsc::Receiver<()>,
}

impl Api {
    fn of(device: Device) -> Self {
        let (bell, rung) = mpsc::channel();
        let requests = Arc::new(Requests::new(bell));
        let board = Arc::new(Board::default());
        let address = web::start_for_test(&device.config, &requests, &board);
        let password = password::reset(&device.config).unwrap().to_string();
        let api = Self {
            device,
            address,
            requests,
            board,
            heartbeat: Heartbeat::start(),
            intake: RefCell::default(),
            password,
            token: String::new(),
            _bell: rung,
        };
        let token = api.add_token("ci", false);
        Self { token, ..api }
    }

    /// A device on which 1.0.0 runs.
    fn new() -> Self {
        Self::of(Device::with(&Version::good("1.0.0")))
    }

    fn add_token(&self, name: &str, read_only: bool) -> String {
        let secret = format!("ota_secret-of-{name}");
        let token = Token {
            name: name.to_owned(),
            secret: Digest::of(secret.as_bytes()),
            read_only,
            created_on: "2026-01-31T12:00:00Z".to_owned(),
        };
        self.device.store().remove_token(name).ok();
        self.device.store().add_token(&token).unwrap();
        secret
    }

    /// A call below the API's base, with the token of a script.
    fn call(&self, method: &'static str, path: &str) -> Call {
        Call::new(self.address, method, &format!("{OTA}{path}"))
            .header("authorization", &format!("Bearer {}", self.token))
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path).send();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Sends a call while the daemon executes its command.
    fn send(&self, call: Call) -> Answer {
        let sent = thread::spawn(move || call.send());
        let live = Live::new(&Silent, self.board.clone());
        while !sent.is_finished() {
            daemon::serve(&self.daemon(&live)).unwrap();
            thread::yield_now();
        }
        sent.join().unwrap()
    }

    /// The daemon looks into `updates/` until nothing is there.
    fn take_in(&self) {
        let live = Live::new(&Silent, self.board.clone());
        for _ in 0..3 {
            daemon::turn(&self.daemon(&live), &mut self.intake.borrow_mut()).unwrap();
            self.device.wait(5);
        }
    }

    fn daemon<'a>(&'a self, progress: &'a Live<'_>) -> daemon::Device<'a> {
        daemon::Device {
            config: &self.device.config,
            engine: &self.device.world,
            clock: &self.device.world,
            progress,
            heartbeat: &self.heartbeat,
            requests: &self.requests,
        }
    }

    /// The worker that downloads does what is to be done.
    fn download(&self) {
        let clock = device::system::clock::SystemClock::start();
        worker::turn_for_test(&self.device.config, &clock);
    }

    /// Registers a version, and gives its update's name.
    fn register(&self, version: &str) -> String {
        let answer = self
            .call("POST", "")
            .json(&serde_json::json!({ "version": version }))
            .send();
        assert_eq!(answer.status, 201, "{answer:?}");
        self.newest().public_id
    }

    fn newest(&self) -> Update {
        self.device.update()
    }

    /// The bytes of a version's bundle.
    fn bundle(&self, version: &Version) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        fs::read(bundles::write(directory.path(), version, Some(&self.device.key))).unwrap()
    }

    fn upload(&self, bytes: &[u8]) -> Answer {
        self.send(self.call("POST", "/upload").form("bundle.tar.gz", bytes))
    }

    /// Logs in as a browser on the page would, and gives the cookie.
    fn log_in(&self) -> String {
        let answer = self
            .anonymous("POST", "/session")
            .json(&serde_json::json!({ "password": self.password }))
            .send();
        assert_eq!(answer.status, 204, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A call without credentials.
    fn anonymous(&self, method: &'static str, path: &str) -> Call {
        Call::new(self.address, method, &format!("{OTA}{path}"))
    }

    /// A call that the page makes.
    fn of_page(&self, method: &'static str, path: &str, cookie: &str) -> Call {
        self.anonymous(method, path)
            .header("cookie", cookie)
            .header("origin", &format!("http://{}", self.address))
    }

    /// The files in `updates/`, hidden ones too.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.device.config.updates()).unwrap();
        let files = entries.map(Result::unwrap).filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

/// The status, and what a person reads.
#[track_caller]
fn expect(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let said = answer.json();
    let said = said["detail"].as_str().unwrap_or_default();
    assert!(said.contains(detail), "`{said}` does not say `{detail}`");
}
