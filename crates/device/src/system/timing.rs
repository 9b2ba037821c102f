//! Traces effects that take time.

use std::time::Instant;

use tracing::Span;

/// Runs an effect inside its own span, and then records at debug level how long it took and how it failed, as `describe`
/// says it. Nothing secret may be in the span or the description.
pub(crate) fn timed<T, E>(
    span: Span,
    describe: impl FnOnce(&E) -> String,
    effect: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _entered = span.entered();
    let start = Instant::now();
    let result = effect();
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &result {
        Ok(_) => tracing::debug!(duration_ms, "done"),
        Err(error) => tracing::debug!(duration_ms, error = describe(error), "failed"),
    }
    result
}
