//! The daemon: recovers, then applies what is dropped into `updates/` and what has come from GitHub, if that may be, and
//! does what people ask for over the page and the API ([`device::control::requests`]). It ends when another program has taken its
//! file's place, for the service manager to start that one ([`device::engine::self_update`]).
//!
//! The page is served from the start, so that it shows how an interrupted update is finished.
//!
//! `inotify` says when something happens there; a look every ten seconds finds what file systems without it bring. The
//! lock is held only while something is done, so commands by hand go on in between.

pub mod automatic;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher as _};
use sd_notify::NotifyState;
use tracing::info;

use crate::{github::Waker, web};
use device::{
    Error, Result,
    config::Config,
    containers::ContainerEngine,
    control::{
        board::{Board, Live},
        progress::Progress,
        requests::Requests,
    },
    engine::{
        Means, Updater,
        drop_directory::DropDirectory,
        lock::Lock,
        self_update::{self, Watch},
    },
    store::Store,
    system::clock::Clock,
};

/// How often the directory is read without a notification.
const SCAN: Duration = Duration::from_secs(10);

/// How soon it is read again while it holds a file.
const SOON: Duration = Duration::from_secs(1);

/// How long the loop may take for one turn in which nothing is applied, before the watchdog is no longer fed.
pub(crate) const STALLED: Duration = Duration::from_secs(120);

/// How long a program that is on trial must run to have passed it. Five starts that end or hang before that are within the
/// interval in which the service manager counts them (`StartLimitIntervalSec`), and then it falls back.
pub(crate) const TRIAL: Duration = Duration::from_secs(30);

/// Runs until the process is ended, or another program has taken its place. `waker` gets downloads going.
///
/// # Errors
/// The directories cannot be created, or the record cannot be opened: the service manager restarts it.
pub fn run(
    config: &Config,
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    progress: &dyn Progress,
    waker: Option<Waker>,
) -> Result<()> {
    config.make_directories()?;
    let program = Watch::start(config);
    let heartbeat = Heartbeat::start();
    let (events, inbox) = mpsc::channel();
    let board = Arc::new(Board::default());
    let requests = Arc::new(Requests::new(events.clone()));
    let live = Live::new(progress, board.clone());
    let progress: &dyn Progress = &live;
    let starting = requests.acting("the updater, which is starting,");
    web::start(config, &requests, &board, waker);
    wait_for_engine(engine, progress, &heartbeat);
    let means = Means {
        config,
        engine,
        clock,
        progress,
    };
    recover(means, &heartbeat);
    board.rest();
    drop(starting);
    // Only now: a boot that waits for us shall find the device in order.
    report_state(&[NotifyState::Ready, NotifyState::Status("waiting for bundles")]);
    let ready = Instant::now();
    let mut on_trial = true;
    let _watcher = watch(config, events, progress);
    let device = Device {
        config,
        engine,
        clock,
        progress,
        heartbeat: &heartbeat,
        requests: &requests,
    };
    let mut dropped = DropDirectory::default();
    let mut said = None;
    loop {
        heartbeat.beat();
        let turned = serve(&device).and_then(|()| turn(&device, &mut dropped));
        board.rest();
        match turned {
            Ok(()) => said = None,
            // A command holds the lock; the next turn tries again.
            Err(Error::Busy { .. }) => {}
            // A repeated error is reported once.
            Err(error) => {
                let text = format!("error: {error}");
                if said.as_ref() != Some(&text) {
                    progress.note(&text);
                }
                said = Some(text);
            }
        }
        if on_trial && ready.elapsed() >= TRIAL {
            on_trial = false;
            if let Err(error) = self_update::settle(config) {
                progress.note(&format!("error: {error}"));
            }
        }
        if program.is_replaced(config) {
            progress.note("another updater has taken this one's place");
            return Ok(());
        }
        let pause = if dropped.is_waiting() { SOON } else { SCAN };
        // Disconnected without a watcher: then the pause is all there is.
        match inbox.recv_timeout(pause) {
            Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(pause),
            Ok(()) if requests.is_waiting() => {}
            // One copy gives thousands of events.
            Ok(()) => {
                thread::sleep(Duration::from_millis(200));
                while inbox.try_recv().is_ok() {}
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// What the loop works with.
pub(crate) struct Device<'a> {
    pub(crate) config: &'a Config,
    pub(crate) engine: &'a dyn ContainerEngine,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) heartbeat: &'a Heartbeat,
    pub(crate) requests: &'a Requests,
}

impl<'a> Device<'a> {
    /// Takes the lock and finishes what was interrupted, then does `act`.
    fn acting<T>(&self, act: impl FnOnce(&mut Updater<'a>) -> Result<T>) -> Result<T> {
        let lock = Lock::take(&self.config.lock(), "updater daemon")?;
        let _busy = self.heartbeat.busy();
        let _acting = self.requests.acting("another update");
        let means = Means {
            config: self.config,
            engine: self.engine,
            clock: self.clock,
            progress: self.progress,
        };
        act(&mut Updater::recovered(means, lock)?)
    }
}

/// Runs the requests of the API.
pub(crate) fn serve(device: &Device<'_>) -> Result<()> {
    while let Some(request) = device.requests.next() {
        info!(request = ?request.command, "a request over the API");
        let mut waiting = Some(request);
        let done = device.acting(|updater| {
            let Some(request) = waiting.take() else { return Ok(()) };
            let begun = match updater.begin(&request.command) {
                Ok(begun) => begun,
                Err(error) => {
                    request.answer(Err(error));
                    return Ok(());
                }
            };
            request.answer(Ok(()));
            let Some(begun) = begun else { return Ok(()) };
            report_state(&[NotifyState::Status("applying what was asked for")]);
            // How it ended is in the record, where the client looks.
            match updater.finish(begun) {
                Err(error @ Error::Store(_)) => Err(error),
                Err(error) => {
                    updater.progress.note(&error.to_string());
                    Ok(())
                }
                Ok(_) => Ok(()),
            }
        });
        report_state(&[NotifyState::Status("waiting for bundles")]);
        match (done, waiting) {
            (Err(error), Some(request)) => request.answer(Err(error)),
            (done, _) => done?,
        }
    }
    Ok(())
}

/// Reads `updates/` once, and applies what can be applied.
pub(crate) fn turn(device: &Device<'_>, dropped: &mut DropDirectory) -> Result<()> {
    let store = Store::open(&device.config.database())?;
    let nothing_lies_there = dropped.quiet_files(device.config, device.clock.elapsed())?.is_empty();
    let nothing_is_due = automatic::due(device.config, &store, device.clock)?.is_none();
    if nothing_lies_there && nothing_is_due && store.active()?.is_none() {
        return Ok(());
    }
    // An active update without a lock holder: its process has died, or could not write its record
    // on a full disk.
    drop(store);
    device.acting(|updater| {
        if let Some(stuck) = updater.store.stuck()? {
            return Err(Error::Stuck(stuck.error.unwrap_or_default()));
        }
        report_state(&[NotifyState::Status("applying a bundle")]);
        for (path, outcome) in updater.take_in(dropped)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match outcome {
                Ok(state) => updater.progress.note(&format!("{name}: {}", state.phase)),
                Err(error) => updater.progress.note(&format!("{name}: {error}")),
            }
        }
        automatic::apply_what_is_due(updater)?;
        report_state(&[NotifyState::Status("waiting for bundles")]);
        Ok(())
    })
}

/// Finishes what was interrupted, before anything else is done.
fn recover(means: Means<'_>, heartbeat: &Heartbeat) {
    let _busy = heartbeat.busy();
    let recovered = Lock::take(&means.config.lock(), "updater daemon").and_then(|lock| Updater::recovered(means, lock));
    // What does not work now is seen in `updater status`; the daemon still takes what comes next.
    if let Err(error) = recovered {
        means.progress.note(&format!("error: {error}"));
    }
}

fn wait_for_engine(engine: &dyn ContainerEngine, progress: &dyn Progress, heartbeat: &Heartbeat) {
    let mut said = false;
    while let Err(error) = engine.facts() {
        if !said {
            progress.note(&format!("waiting for the Docker engine: {error}"));
            said = true;
        }
        // Starting takes as long as the engine does; the service manager is notified of that.
        report_state(&[NotifyState::ExtendTimeoutUsec(60_000_000)]);
        heartbeat.beat();
        thread::sleep(Duration::from_secs(2));
    }
}

/// A watch on `updates/`; none where the system has none, and then the regular look is enough.
fn watch(config: &Config, events: mpsc::Sender<()>, progress: &dyn Progress) -> Option<notify::RecommendedWatcher> {
    let on_event = move |_: notify::Result<notify::Event>| {
        // The receiver lives as long as the daemon.
        events.send(()).ok();
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(&config.updates(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            progress.note(&format!(
                "no notice of new files ({error}); looking every {} s",
                SCAN.as_secs()
            ));
            None
        }
    }
}

fn report_state(state: &[NotifyState<'_>]) {
    // Without a service manager there is no receiver.
    sd_notify::notify(state).ok();
}

/// Feeds the service manager's watchdog as long as the loop turns, or something is being applied.
pub(crate) struct Heartbeat {
    start: Instant,
    last: Arc<AtomicU64>,
    busy: Arc<AtomicBool>,
}

/// While it lives, the loop need not turn.
pub(crate) struct Busy<'a>(&'a Heartbeat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl Heartbeat {
    pub(crate) fn start() -> Self {
        let heartbeat = Self {
            start: Instant::now(),
            last: Arc::default(),
            busy: Arc::default(),
        };
        if let Some(period) = sd_notify::watchdog_enabled() {
            let (start, last, busy) = (heartbeat.start, heartbeat.last.clone(), heartbeat.busy.clone());
            thread::spawn(move || {
                loop {
                    let silent = start
                        .elapsed()
                        .saturating_sub(Duration::from_secs(last.load(Ordering::Relaxed)));
                    let busy = busy.load(Ordering::Relaxed);
                    if busy || silent < STALLED {
                        report_state(&[NotifyState::Watchdog]);
                    }
                    if busy {
                        // An interrupted update is finished before we are ready, and takes what it takes.
                        let microseconds = u32::try_from(period.as_micros()).unwrap_or(u32::MAX);
                        report_state(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
                    }
                    thread::sleep(period / 2);
                }
            });
        }
        heartbeat
    }

    fn beat(&self) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn busy(&self) -> Busy<'_> {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self)
    }
}
