//! The demo's programs as child processes.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use crate::{eventually, http, http::Answer};

/// A port without a listener.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that runs; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// `backend`, `controller` or `frontend` with nothing but these variables in its environment.
pub(crate) fn program(name: &str, port: u16, variables: &[(&str, &str)]) -> Command {
    let path = match name {
        "backend" => env!("CARGO_BIN_EXE_backend"),
        "controller" => env!("CARGO_BIN_EXE_controller"),
        "frontend" => env!("CARGO_BIN_EXE_frontend"),
        _ => panic!("no program is called {name}"),
    };
    let mut command = Command::new(path);
    command
        .env_clear()
        .envs(variables.iter().copied())
        .env("PORT", port.to_string());
    command
}

impl Running {
    /// Starts a program and collects its log.
    pub(crate) fn start(name: &str, port: u16, variables: &[(&str, &str)]) -> Self {
        let mut child = program(name, port, variables).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reader = thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in stderr.lines() {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line.unwrap());
                    log.push('\n');
                }
            }
        });
        Self {
            child,
            port,
            log,
            reader: Some(reader),
        }
    }

    /// A backend that is healthy.
    pub(crate) fn backend(port: u16, database: &str) -> Self {
        let backend = Self::start(
            "backend",
            port,
            &[("DATABASE_URL", database), ("WEBMACS_VERSION", "2.1.0")],
        );
        backend.healthy();
        backend
    }

    /// Waits until `/health` is 200.
    pub(crate) fn healthy(&self) -> Answer {
        eventually(&format!("health of {}\n{}", self.port, self.log()), || {
            self.get("/health").filter(|answer| answer.status == 200)
        })
    }

    /// The answer to a GET, if there is one.
    pub(crate) fn get(&self, path: &str) -> Option<Answer> {
        http::request(self.port, "GET", path, &[], "").ok()
    }

    /// What it logged until now.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as a power cut would: no signal handler runs.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }

    /// Ends it as Docker does, and gives its exit status and log.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(asked.success());
        self.ended()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Runs `<name> healthcheck`.
pub(crate) fn healthcheck(name: &str, port: u16) -> Output {
    program(name, port, &[]).arg("healthcheck").output().unwrap()
}
