//! Shutdown on a signal, for every part of a program.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

/// Notifies every clone that the program is to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Ends on SIGTERM (from `docker stop`) and SIGINT (Ctrl-C).
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub(super) fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, requested) = watch::channel(false);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!(signal = name, "stopping");
            // Without receivers the program has already ended.
            let _ = sender.send(true);
        });
        Ok(Self { requested })
    }

    /// Waits until the program is to end.
    pub async fn requested(mut self) {
        // An error means that the sender is dropped, which happens only after it has sent.
        let _ = self.requested.wait_for(|requested| *requested).await;
    }
}
