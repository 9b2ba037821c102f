//! Log entries: which ones, and where they go. Set up once, for the daemon and for commands.
//!
//! ```text
//! RUST_LOG, else --verbose    which entries: warnings; -v information, -vv debugging, -vvv everything
//! $JOURNAL_STREAM             standard error is the journal: entries with fields (UPDATER_VERSION, UPDATER_PHASE, …)
//! else                        standard error, a line each
//! ```
//!
//! Results are not log entries. At a terminal neither is progress: [`super::terminal`].

use std::{
    env,
    ffi::OsStr,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The target of progress entries. They are shown at every level.
pub(super) const PROGRESS: &str = "updater::progress";

/// Our crates, which have a level more than the libraries.
const OURS: [&str; 4] = ["updater", "device", "bundle", PROGRESS];

/// Whether entries go to the journal.
static TO_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Whether entries go to the journal, with fields; progress and errors then go there too.
pub(super) fn go_to_journal() -> bool {
    TO_JOURNAL.load(Ordering::Relaxed)
}

/// Sets up log entries. `verbose` is how often `-v` was given.
pub(super) fn set_up(verbose: u8) {
    let wanted = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let (filter, invalid) = match wanted.as_deref().map(str::parse::<Targets>) {
        None => (default_filter(verbose), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (default_filter(verbose), Some(error)),
    };
    let journal = is_journal(env::var_os("JOURNAL_STREAM").as_deref())
        .then(tracing_journald::layer)
        // Without its socket, the journal still has standard error.
        .and_then(Result::ok);
    TO_JOURNAL.store(journal.is_some(), Ordering::Relaxed);
    let output = match journal {
        Some(journal) => journal
            .with_field_prefix(Some("UPDATER".to_owned()))
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            })
            .boxed(),
        None => {
            let lines = fmt::layer().with_writer(io::stderr).with_ansi(false);
            match verbose {
                0 => lines.without_time().with_target(false).boxed(),
                _ => lines.with_timer(fmt::time::uptime()).boxed(),
            }
        }
    };
    tracing_subscriber::registry().with(output).with(filter).init();
    if let Some(error) = invalid {
        tracing::warn!("RUST_LOG is ignored: {error}");
    }
}

fn default_filter(verbose: u8) -> Targets {
    let (ours, libraries) = match verbose {
        0 => (LevelFilter::WARN, LevelFilter::WARN),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new()
        .with_default(libraries)
        .with_targets(OURS.map(|target| (target, ours)))
        .with_target(PROGRESS, ours.max(LevelFilter::INFO))
}

/// Whether standard error is the stream that `$JOURNAL_STREAM` names: `device:inode` (systemd.exec(5)). A child whose
/// standard error goes elsewhere inherits the variable, too.
fn is_journal(stream: Option<&OsStr>) -> bool {
    let Some((device, inode)) = stream.and_then(OsStr::to_str).and_then(|text| text.split_once(':')) else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|file| (device.parse(), inode.parse()) == (Ok(file.st_dev), Ok(file.st_ino)))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels() {
        for (verbose, ours, libraries) in [
            (0, Level::WARN, Level::WARN),
            (1, Level::INFO, Level::WARN),
            (2, Level::DEBUG, Level::INFO),
            (3, Level::TRACE, Level::DEBUG),
            (9, Level::TRACE, Level::DEBUG),
        ] {
            let filter = default_filter(verbose);
            let highest = |target| {
                [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN]
                    .into_iter()
                    .find(|level| filter.would_enable(target, level))
            };
            assert_eq!(highest("updater::github::client"), Some(ours), "{verbose}");
            assert_eq!(highest("device::stack::load"), Some(ours), "{verbose}");
            assert_eq!(highest("hyper::client"), Some(libraries), "{verbose}");
            assert_eq!(highest(PROGRESS), Some(ours.max(Level::INFO)), "{verbose}");
        }
    }

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        let file = fstat(io::stderr()).unwrap();
        let stream = |device, inode| is_journal(Some(OsStr::new(&format!("{device}:{inode}"))));
        assert!(stream(file.st_dev, file.st_ino));
        assert!(!stream(file.st_dev, file.st_ino + 1));
        assert!(!stream(file.st_dev + 1, file.st_ino));
        for text in ["", ":", "1", "a:b"] {
            assert!(!is_journal(Some(OsStr::new(text))), "{text}");
        }
        assert!(!is_journal(None));
    }
}
