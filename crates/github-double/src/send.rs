//! Sends files, and breaks off where a fault says so.

use std::io;

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame},
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::{
    body::{Body, Cut, respond},
    downloads::Slice,
    fault::{Break, BreakAfter, Struck},
    log::Entry,
    shared::{Shared, lock},
};

/// Sends a slice of an asset, unless a fault has it otherwise.
pub(crate) async fn send(shared: &Shared, slice: Slice, entry: &Entry, struck: Struck) -> Result<Response<Body>, Cut> {
    let path = lock(&shared.world).asset_path(slice.asset);
    let mut file = tokio::fs::File::open(path).await.map_err(|_| Cut)?;
    file.seek(io::SeekFrom::Start(slice.first)).await.map_err(|_| Cut)?;
    let entry = entry.clone();
    let source = Source {
        file,
        left: slice.length,
        sent: 0,
        entry,
        struck,
    };
    let frames = stream::unfold(source, |mut source| async {
        let frame = source.next().await?;
        Some((frame, source))
    });
    let body = StreamBody::new(frames).boxed();
    Ok(respond(slice.status, slice.headers, body))
}

struct Source {
    file: tokio::fs::File,
    left: u64,
    sent: u64,
    entry: Entry,
    struck: Struck,
}

impl Source {
    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let mut most = self.left.min(64 * 1024);
        if let Struck::Download(BreakAfter { after, ending }) = self.struck {
            most = most.min(after.saturating_sub(self.sent));
            if most == 0 && ending == Break::Stall {
                std::future::pending::<()>().await;
            }
            if most == 0 {
                return Some(Err(io::Error::other(Cut)));
            }
        }
        if most == 0 {
            return None;
        }
        let mut buffer = vec![0; usize::try_from(most).unwrap_or(64 * 1024)];
        let count = match self.file.read(&mut buffer).await {
            Ok(0) => return Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(count) => count,
            Err(error) => return Some(Err(error)),
        };
        buffer.truncate(count);
        if let Struck::Flip(at) = self.struck
            && let Some(byte) = at
                .checked_sub(self.sent)
                .and_then(|at| buffer.get_mut(usize::try_from(at).ok()?))
        {
            *byte ^= 1;
        }
        self.left -= count as u64;
        self.sent += count as u64;
        self.entry.sent(count);
        Some(Ok(Frame::data(buffer.into())))
    }
}
