//! The wish to stop, from a signal to everybody who has to know.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

/// Tells all who hold a clone that the program is to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    wish: watch::Receiver<bool>,
}

impl Shutdown {
    /// Ends on SIGTERM (from `docker stop`) and SIGINT (Ctrl-C).
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub(super) fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (tell, wish) = watch::channel(false);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!(signal = name, "stopping");
            // Without receivers the program has already ended.
            let _ = tell.send(true);
        });
        Ok(Self { wish })
    }

    /// Waits until the program is to end.
    pub async fn requested(mut self) {
        // An error means that the sender is gone, and it goes only after it has told.
        let _ = self.wish.wait_for(|wish| *wish).await;
    }
}
