//! Chromium, driven over WebDriver as a person would: clicks, keys, and what is to be seen.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);

/// The looks that a person prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    Light,
    Dark,
}

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    runtime: Runtime,
    client: Option<Client>,
}

impl Browser {
    pub(crate) fn start(looks: Looks) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Chromium's own names: 0 is dark, 1 is light.
        let scheme = u8::from(looks == Looks::Light);
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--window-size=1280,900",
            format!("--blink-settings=preferredColorScheme={scheme}"),
        ]);
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let address = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        let client = loop {
            let mut builder = ClientBuilder::new(hyper_util_connector());
            builder.capabilities(capabilities.as_object().unwrap().clone());
            match runtime.block_on(builder.connect(&address)) {
                Ok(client) => break client,
                Err(error) => assert!(started.elapsed() < PATIENCE, "no browser: {error}"),
            }
            thread::sleep(Duration::from_millis(200));
        };
        Self {
            driver,
            runtime,
            client: Some(client),
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    pub(crate) fn open(&self, address: &str) {
        self.runtime.block_on(self.client().goto(address)).unwrap();
    }

    fn find(&self, selector: &str) -> Option<Element> {
        self.runtime.block_on(self.client().find(Locator::Css(selector))).ok()
    }

    /// The element, once it is there and can be seen.
    #[track_caller]
    fn visible(&self, selector: &str) -> Element {
        let seen = || {
            let found = self.find(selector)?;
            let shown = self.runtime.block_on(found.is_displayed()).ok()?;
            shown.then_some(found)
        };
        self.eventually(&format!("`{selector}` is to be seen"), PATIENCE, seen)
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.eventually(&format!("`{selector}` can be clicked"), PATIENCE, || {
            let found = self.find(selector)?;
            self.runtime.block_on(found.click()).ok()
        });
    }

    #[track_caller]
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let found = self.visible(selector);
        self.runtime.block_on(found.clear()).unwrap();
        self.runtime.block_on(found.send_keys(text)).unwrap();
    }

    /// Chooses a file.
    #[track_caller]
    pub(crate) fn choose(&self, selector: &str, file: &Path) {
        let found = self.find(selector).unwrap();
        self.runtime.block_on(found.send_keys(file.to_str().unwrap())).unwrap();
    }

    /// What is to be read in an element; empty if it is not there.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self
            .find(selector)
            .and_then(|found| self.runtime.block_on(found.text()).ok());
        text.unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, selector: &str, text: &str) {
        self.wait_long_for(selector, text, PATIENCE);
    }

    #[track_caller]
    pub(crate) fn wait_long_for(&self, selector: &str, text: &str, limit: Duration) {
        let started = Instant::now();
        while !self.text(selector).contains(text) {
            assert!(
                started.elapsed() < limit,
                "`{text}` does not appear in `{selector}`: `{}`\n{}",
                self.text(selector),
                self.text("body")
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client().execute(script, Vec::new()))
            .unwrap()
    }

    /// Runs a script that hands its result to its last argument.
    pub(crate) fn run_to_end(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client().execute_async(script, Vec::new()))
            .unwrap()
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        self.runtime
            .block_on(self.client().set_window_size(width, height))
            .unwrap();
    }

    /// Keeps what is to be seen: in `docs/` if that is asked for, or else below `target/`.
    pub(crate) fn keep(&self, name: &str) {
        let root = xtask::checkout::root().unwrap();
        let directory: PathBuf = match std::env::var_os("UPDATE_SCREENSHOTS") {
            Some(_) => root.join("docs/src/guide/images"),
            None => root.join("target/screenshots"),
        };
        fs::create_dir_all(&directory).unwrap();
        let image = self.runtime.block_on(self.client().screenshot()).unwrap();
        fs::write(directory.join(format!("{name}.png")), image).unwrap();
    }

    /// The page does not scroll sideways.
    #[track_caller]
    pub(crate) fn expect_fits(&self) {
        let wide = self.run("return [document.documentElement.scrollWidth, innerWidth]");
        assert!(wide[0].as_u64() <= wide[1].as_u64(), "{wide}");
    }

    /// axe-core finds nothing to object to in what is to be seen now.
    #[track_caller]
    pub(crate) fn expect_accessible(&self, axe: &str, what: &str) {
        self.run(axe);
        let found = self.run_to_end(
            "const done = arguments[arguments.length - 1];
             axe.run().then(({ violations }) => done(violations.map(({ id, help, nodes }) =>
               `${id}: ${help}: ${nodes.map(({ html }) => html).join(' | ')}`)), (error) => done([String(error)]));",
        );
        assert_eq!(found, json!([]), "{what}");
    }

    #[track_caller]
    fn eventually<T>(&self, what: &str, limit: Duration, look: impl Fn() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(started.elapsed() < limit, "never: {what}\n{}", self.text("body"));
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn hyper_util_connector() -> hyper_util::client::legacy::connect::HttpConnector {
    hyper_util::client::legacy::connect::HttpConnector::new()
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep("of-a-failure");
        }
        if let Some(client) = self.client.take() {
            self.runtime.block_on(client.close()).ok();
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
