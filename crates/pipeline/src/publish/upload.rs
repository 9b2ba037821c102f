//! A file as the body of a request, and the watchdog beside it.
//!
//! The body is read a piece at a time, so that a bundle of gigabytes needs no more memory than a small one. Its
//! length is announced as Content-Length, and a file that has become shorter fails the request. A body is sent once: a second attempt
//! opens the file again.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use octocrab::OctoBody;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{
    asset::{Asset, Content},
    failure::{Failure, Reason},
};
use crate::{
    Error,
    system::{interrupt, report::Bar},
};

/// The bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(200);

/// A body, and the number of its bytes that were taken so far.
pub(super) async fn body(asset: &Asset) -> Result<(OctoBody, Arc<AtomicU64>), Failure> {
    let sent = Arc::new(AtomicU64::new(0));
    let body = match &asset.content {
        Content::Bytes(bytes) => {
            sent.store(asset.size, Ordering::Relaxed);
            OctoBody::from(bytes.clone())
        }
        Content::File { path, offset } => {
            let opened = async {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(io::SeekFrom::Start(*offset)).await?;
                io::Result::Ok(file)
            };
            let unreadable = |error| Failure::Io(Box::new(Error::io("read", path)(error)));
            let file = opened.await.map_err(unreadable)?;
            let source = Source {
                file,
                left: asset.size,
                sent: Arc::clone(&sent),
            };
            let frames = stream::unfold(source, |mut source| async {
                let frame = source.next().await?;
                Some((frame, source))
            });
            OctoBody::new(StreamBody::new(frames))
        }
    };
    Ok((body, sent))
}

/// Waits for `answer` for as long as bytes move, and once they all have, for `stall` more.
pub(super) async fn watch<T>(
    action: &'static str,
    answer: impl Future<Output = Result<T, Failure>>,
    sent: &AtomicU64,
    stall: Duration,
    bar: &Bar,
) -> Result<T, Failure> {
    let mut answer = std::pin::pin!(answer);
    let mut last = (0, tokio::time::Instant::now());
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(LOOK.min(stall)) => {}
        }
        if interrupt::is_set() {
            return Err(Failure::Interrupted);
        }
        let now = sent.load(Ordering::Relaxed);
        if now > last.0 {
            bar.inc(now - last.0);
            last = (now, tokio::time::Instant::now());
        } else if last.1.elapsed() >= stall {
            let reason = Reason::Passing(format!("nothing moved for {} s", stall.as_secs_f64()));
            return Err(Failure::Call { action, reason });
        }
    }
}

struct Source {
    file: tokio::fs::File,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Source {
    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        if self.left == 0 {
            return None;
        }
        let most = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        match self.file.read(&mut piece).await {
            // The request fails rather than being filled up.
            Ok(0) => return Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => piece.truncate(count),
            Err(error) => return Some(Err(error)),
        }
        self.left -= piece.len() as u64;
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Some(Ok(Frame::data(piece.into())))
    }
}
