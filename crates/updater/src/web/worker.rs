//! Work on files and the record, on a worker's thread: the one thread that serves never blocks.

use device::Error;

use super::refusal::Refusal;

/// Runs `work` on a worker's thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&Error::engine("answer", error))),
    }
}
