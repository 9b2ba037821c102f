//! The daemon's part: checks when it is time, fetches what is wanted, and says so once.
//!
//! One thread, which sleeps most of the time. What is wanted is in the record, so it makes no difference who asked: the
//! API wakes it, a command by hand is seen within seconds. Applying is the daemon's ([`crate::daemon`]).

use std::{
    collections::BTreeMap,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use bundle::Platform;

use super::{
    download::{Then, clean, goes_on},
    fault::Fault,
    repository::GitHub,
    schedule::{Schedule, doubled},
    wanted,
};
use device::{
    Error, Result,
    config::Config,
    control::progress::Progress,
    state::Phase,
    store::{Store, Update},
    system::clock::{Clock, SystemClock},
};

/// How often the record is looked at without being woken.
const LOOK: Duration = Duration::from_secs(10);

/// The wait after a download's first failure; it doubles with each that follows.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The longest of these waits.
const LONGEST_RETRY: Duration = Duration::from_secs(60 * 60);

/// Gets the worker going at once.
#[derive(Clone, Debug)]
pub struct Waker(Sender<()>);

impl Waker {
    /// Something is wanted: [`GitHub::request`].
    pub fn wake(&self) {
        // The worker lives as long as the process.
        self.0.send(()).ok();
    }
}

/// Starts it; nothing if the configuration names no repository.
///
/// # Errors
/// The system has no thread for it.
pub fn start(config: &Config, progress: Box<dyn Progress + Send>) -> Result<Option<Waker>> {
    if config.github.is_none() {
        return Ok(None);
    }
    let (sender, inbox) = mpsc::channel();
    let waker = Waker(sender);
    let (config, kept) = (config.clone(), waker.clone());
    thread::Builder::new()
        .name("github".to_owned())
        .spawn(move || {
            // Held here, so that the inbox never closes.
            let _waker = kept;
            run(&config, &*progress, &inbox);
        })
        .map_err(Error::io("start", "the thread that asks GitHub"))?;
    Ok(Some(waker))
}

fn run(config: &Config, progress: &dyn Progress, inbox: &Receiver<()>) {
    let clock = SystemClock::start();
    let platform = Platform::host();
    let mut worker = Worker::new(config, &clock, &platform, progress);
    loop {
        let pause = worker.turn(chance());
        inbox.recv_timeout(pause).ok();
        while inbox.try_recv().is_ok() {}
    }
}

/// Does what is to be done now, in the thread that calls it.
#[cfg(test)]
pub(crate) fn turn_for_test(config: &Config, clock: &dyn Clock) {
    let platform = Platform::host();
    Worker::new(config, clock, &platform, &device::control::progress::Silent).turn(0);
}

/// A random number.
fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

/// What it remembers between two looks.
pub(crate) struct Worker<'a> {
    config: &'a Config,
    clock: &'a dyn Clock,
    platform: &'a Platform,
    progress: &'a dyn Progress,
    /// When to ask; none before the record could be read.
    schedule: Option<Schedule>,
    /// When downloads that failed go on, and how often they have failed.
    paused: BTreeMap<i64, (Duration, u32)>,
    /// What was said last: once is enough, however often it happens.
    said: Option<String>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        config: &'a Config,
        clock: &'a dyn Clock,
        platform: &'a Platform,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            config,
            clock,
            platform,
            progress,
            schedule: None,
            paused: BTreeMap::new(),
            said: None,
        }
    }

    /// Does what is to be done now; how long until it is worth looking again.
    pub(crate) fn turn(&mut self, chance: u64) -> Duration {
        match self.look(chance) {
            Ok(pause) => pause,
            // A command downloads.
            Err(Error::Busy { .. }) => LOOK,
            Err(error) => {
                self.say(&format!("error: {}", error.with_hint()));
                LOOK
            }
        }
    }

    fn look(&mut self, chance: u64) -> Result<Duration> {
        let github = GitHub::new(self.config, self.clock, self.platform)?;
        let mut store = Store::open(&self.config.database())?;
        self.check(&github, &mut store, chance)?;
        let now = self.clock.elapsed();
        let is_wanted = |update: &Update| update.state.phase == Phase::Downloading && update.bundle.is_none();
        let wanted: Vec<_> = store.updates()?.into_iter().filter(is_wanted).collect();
        self.paused.retain(|id, _| wanted.iter().any(|update| update.id == *id));
        let ready = |update: &&Update| self.paused.get(&update.id).is_none_or(|(until, _)| *until <= now);
        // The newest first.
        if let Some(update) = wanted.iter().find(ready) {
            self.fetch(&github, &mut store, update)?;
            return Ok(Duration::ZERO);
        }
        Ok(LOOK)
    }

    /// Asks, if it is time.
    fn check(&mut self, github: &GitHub<'_>, store: &mut Store, chance: u64) -> Result<()> {
        let hours = github.settings.check_hours;
        if hours == 0 {
            return Ok(());
        }
        let now = self.clock.elapsed();
        let Some(mut schedule) = self.schedule else {
            let ago = self.since_last_answer(github, store)?;
            let interval = Duration::from_secs(u64::from(hours) * 60 * 60);
            self.schedule = Some(Schedule::start(interval, ago, now, chance));
            return Ok(());
        };
        if !schedule.until_due(now).is_zero() {
            return Ok(());
        }
        // Even if the rest fails, it is not repeated at once.
        schedule.failed(now, None, chance);
        self.schedule = Some(schedule);
        let (check, fault) = github.ask(store)?;
        match fault {
            None => schedule.answered(now, chance),
            Some(Fault::Limited(wait)) => schedule.failed(now, Some(wait), chance),
            Some(fault) => {
                // That there is no internet is a normal state.
                if !matches!(fault, Fault::Offline(_)) {
                    self.say(&format!("GitHub was not asked: {fault}"));
                }
                return Ok(());
            }
        }
        self.schedule = Some(schedule);
        let current = store.current()?.map(|current| current.version);
        let Some(found) = check.newer_than(current.as_ref()) else {
            return Ok(());
        };
        self.say(&format!("{} is available: {}", found.version, found.page));
        if self.config.automatic.download && wanted::wants(found, store)? {
            for update in store.updates()? {
                let is_older = update.state.phase == Phase::Pending && update.version < found.version;
                if is_older && !store.download(update.id)?.is_empty() {
                    store.forget_download(update.id, &format!("{} is newer", found.version))?;
                }
            }
            github.request(store, &found.version, Then::Wait)?;
        }
        Ok(())
    }

    /// By a time of day that may be wrong; none if it has gone back since, or nothing was ever answered.
    fn since_last_answer(&self, github: &GitHub<'_>, store: &Store) -> Result<Option<Duration>> {
        let last = github.last_check(store)?.checked_at;
        let last: Option<jiff::Timestamp> = last.and_then(|text| text.parse().ok());
        let ago = last.map(|last| self.clock.now().duration_since(last));
        Ok(ago.and_then(|ago| ago.try_into().ok()))
    }

    fn fetch(&mut self, github: &GitHub<'_>, store: &mut Store, update: &Update) -> Result<()> {
        let _lock = github.lock("updater daemon")?;
        clean(self.config, store)?;
        let before = store.fetched(update.id)?;
        let fetched = github.fetch(store, update.id, self.progress);
        let now = self.clock.elapsed();
        match fetched {
            Ok(_) => {
                self.say(&format!("{} is downloaded", update.version));
                Ok(())
            }
            Err(error) if goes_on(&error) => {
                let failures = self.paused.get(&update.id).map_or(0, |(_, failures)| *failures);
                let failures = if store.fetched(update.id)? == before {
                    failures
                } else {
                    0
                };
                let mut pause = doubled(FIRST_RETRY, failures, LONGEST_RETRY);
                if let Some(Fault::Limited(wait)) = Fault::of(&error) {
                    pause = pause.max(*wait);
                }
                self.paused.insert(update.id, (now + pause, failures + 1));
                if !matches!(Fault::of(&error), Some(Fault::Offline(_))) {
                    self.say(&format!("the download of {} waits: {error}", update.version));
                }
                Ok(())
            }
            Err(error @ Error::Store(_)) => Err(error),
            // It is recorded.
            Err(error) => {
                self.say(&format!("{} was not downloaded: {error}", update.version));
                Ok(())
            }
        }
    }

    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            self.progress.note(text);
            self.said = Some(text.to_owned());
        }
    }
}
