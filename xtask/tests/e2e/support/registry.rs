//! A registry of our own on this machine.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::run::{find_program, tool};

/// A registry that ends with its value.
pub(crate) struct Registry {
    /// What it holds; deleted with it.
    _directory: TempDir,
    port: u16,
    process: Child,
}

impl Registry {
    /// Starts one on an unused port.
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = TempDir::with_prefix("registry-").unwrap();
        let process = serve(directory.path(), port);
        Self {
            port,
            process,
            _directory: directory,
        }
    }

    /// The reference of `image` in it.
    pub(crate) fn reference(&self, image: &str) -> String {
        format!("localhost:{}/{image}", self.port)
    }

    /// Pushes the image of an OCI layout, all of its platforms.
    pub(crate) fn push(&self, layout: &Path, image: &str) {
        let source = format!("oci:{}", layout.display());
        let target = format!("docker://{}", self.reference(image));
        let options = [
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ];
        tool(layout, "skopeo", &[&options[..], &[&source, &target]].concat());
    }

    /// Stops answering.
    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have been stopped already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn serve(directory: &Path, port: u16) -> Child {
    let config: PathBuf = directory.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
         http: {{ addr: \"127.0.0.1:{port}\" }}\n",
        directory.join("data").display()
    );
    fs::write(&config, text).unwrap();
    let mut process = Command::new(find_program("docker-registry"))
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(process.try_wait().unwrap().is_none(), "the registry ended at once");
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the registry does not answer"
        );
        thread::sleep(Duration::from_millis(20));
    }
    process
}
