//! Starting and stopping the services of the current version.

use semver::Version;

use super::updater::Updater;
use crate::{Error, Result, containers::Services, stack::release, store::Update};

impl Updater<'_> {
    /// Starts the services that do not run. Returns the version; none if nothing is installed.
    ///
    /// # Errors
    /// The version cannot run; Compose fails; [`Error::Stuck`].
    pub fn start(&mut self) -> Result<Option<Version>> {
        let current = self.store.current()?;
        let stuck = self.store.stuck()?;
        // Data written to a database that is still to be restored would be lost.
        let must_rest = stuck.as_ref().is_some_and(Update::owes_data);
        if let Some(current) = current.as_ref().filter(|_| !must_rest) {
            self.engine.up(&release::stack(self.config, current), Services::All)?;
            self.expect_images(current, None)?;
        }
        if let Some(stuck) = stuck {
            return Err(Error::Stuck(stuck.error.unwrap_or_default()));
        }
        Ok(current.map(|release| release.version))
    }

    /// Stops all services and keeps their data.
    ///
    /// # Errors
    /// Compose fails.
    pub fn stop(&mut self) -> Result<()> {
        match self.store.current()? {
            Some(current) => self.engine.stop(&release::stack(self.config, &current)),
            None => Ok(()),
        }
    }
}
