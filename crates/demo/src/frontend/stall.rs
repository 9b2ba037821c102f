//! A body that may take as long as it likes, as long as it moves.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Ends a body with an error when nothing comes for a while.
pub(super) struct StallGuard {
    body: Body,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    moves: Option<Moves>,
}

/// When something last came of a body; at first, when it was made.
#[derive(Clone)]
pub(super) struct Moves(Arc<Mutex<Instant>>);

impl Default for Moves {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Moves {
    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("nothing came for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("body broke off")]
    Body(#[source] axum::Error),
}

impl StallGuard {
    pub(super) fn new(body: Body, limit: Duration) -> Self {
        Self {
            body,
            limit,
            deadline: Box::pin(tokio::time::sleep(limit)),
            moves: None,
        }
    }

    /// The same, and tells `moves` whenever something comes.
    pub(super) fn watched(self, moves: Moves) -> Self {
        Self {
            moves: Some(moves),
            ..self
        }
    }
}

impl HttpBody for StallGuard {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let guard = &mut *self;
        if let Poll::Ready(frame) = pin!(&mut guard.body).poll_frame(context) {
            guard.deadline.as_mut().reset(Instant::now() + guard.limit);
            if let Some(moves) = &guard.moves {
                moves.moved();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::Body)));
        }
        guard
            .deadline
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(Broken::Stalled(guard.limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_frame(guard: &mut StallGuard) -> impl Future<Output = Option<Result<Frame<Bytes>, Broken>>> {
        std::future::poll_fn(|context| Pin::new(&mut *guard).poll_frame(context))
    }

    #[tokio::test]
    async fn only_a_stalled_body_is_ended() {
        let mut guard = StallGuard::new(Body::from("hello"), Duration::from_millis(50));
        assert_eq!(guard.size_hint().exact(), Some(5));
        assert_eq!(
            next_frame(&mut guard).await.unwrap().unwrap().into_data().unwrap(),
            "hello"
        );
        assert!(next_frame(&mut guard).await.is_none());

        struct Still;
        impl HttpBody for Still {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                Poll::Pending
            }
        }
        let mut guard = StallGuard::new(Body::new(Still), Duration::from_millis(50));
        assert!(matches!(next_frame(&mut guard).await, Some(Err(Broken::Stalled(_)))));
    }
}
