//! Named points at which tests can end the updater.
//!
//! In a release all of this is nothing. With the feature `crash-points`, the variable `UPDATER_CRASH_AT` names a point,
//! or `NAME#3` its third time, and the process ends there as `kill -9` would end it. In unit tests a
//! hook of the thread is called instead.

/// The test, if there is one, may end the updater here.
#[cfg(not(any(test, feature = "testing", feature = "crash-points")))]
#[inline(always)]
pub fn point(_name: &str) {}

/// The test may end the process here.
#[cfg(all(feature = "crash-points", not(any(test, feature = "testing"))))]
pub fn point(name: &str) {
    use std::{
        env,
        io::Write as _,
        sync::atomic::{AtomicU32, Ordering},
    };
    static SEEN: AtomicU32 = AtomicU32::new(0);
    if let Ok(path) = env::var("UPDATER_CRASH_LOG") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            writeln!(file, "{name}").ok();
        }
    }
    let Ok(wanted) = env::var("UPDATER_CRASH_AT") else {
        return;
    };
    let (wanted, time) = match wanted.rsplit_once('#') {
        Some((name, time)) => (name, time.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    if wanted == name && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == time {
        // As `kill -9`: nothing is unwound, flushed or closed.
        let pid = rustix::process::getpid();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        std::process::abort();
    }
}

#[cfg(any(test, feature = "testing"))]
pub use hook::point;
#[cfg(any(test, feature = "testing"))]
pub use hook::with_hook;

#[cfg(any(test, feature = "testing"))]
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// The test may end the updater here.
    pub fn point(name: &str) {
        // Taken out while it runs, so that what it does may pass points itself.
        let hook = HOOK.with_borrow_mut(Option::take);
        if let Some(mut hook) = hook {
            hook(name);
            HOOK.with_borrow_mut(|place| {
                place.get_or_insert(hook);
            });
        }
    }

    /// Calls `hook` at every point that `body` passes in this thread.
    pub fn with_hook<T>(hook: impl FnMut(&str) + 'static, body: impl FnOnce() -> T) -> T {
        HOOK.set(Some(Box::new(hook)));
        // The hook may have ended `body` and is gone then, or is still there.
        let result = body();
        HOOK.set(None);
        result
    }
}
