//! Where a download goes on. Does no I/O.

use bundle::Digest;
use reqwest::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap},
};

use super::fault::Fault;
use device::store::RemoteFile;

/// How far a file is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes that are safe on the disk.
    pub(crate) at: u64,
    /// What the content was known by when they came.
    pub(crate) etag: Option<String>,
}

impl Place {
    /// The name of the content, if it stands for every byte of it (RFC 9110, 8.8.3 and 13.1.5).
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }
}

/// From where the answer to a request for the rest of a file sends it: from where we are, or from its beginning.
///
/// # Errors
/// It sends something else than the file that was meant.
pub(crate) fn begins_at(
    status: StatusCode,
    headers: &HeaderMap,
    etag: Option<&str>,
    place: &Place,
    file: &RemoteFile,
) -> Result<u64, Fault> {
    let changed = || Fault::Changed {
        name: file.name.clone(),
    };
    if place.at > 0 && place.strong_etag().is_some() && etag.is_some() && etag != place.etag.as_deref() {
        return Err(changed());
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let from = match status {
        StatusCode::PARTIAL_CONTENT => {
            let (from, size) = text(CONTENT_RANGE)
                .and_then(range)
                .ok_or_else(|| Fault::Unreadable(format!("it does not say which part of {} it is", file.name)))?;
            if size != file.size {
                return Err(changed());
            }
            if from != place.at {
                return Err(Fault::Unreadable(format!(
                    "it is another part of {} than was asked for",
                    file.name
                )));
            }
            from
        }
        // A proxy may not support ranges.
        StatusCode::OK => 0,
        // There is less than we have.
        _ => return Err(changed()),
    };
    // Without a length, the end shows.
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length != file.size - from) {
        return Err(changed());
    }
    Ok(from)
}

/// The first byte and the whole size of `bytes 100-199/200`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to, size): (u64, u64, u64) = (from.parse().ok()?, to.parse().ok()?, size.parse().ok()?);
    (from <= to && to.checked_add(1) == Some(size)).then_some((from, size))
}

/// What a digest that was found says about a file.
pub(crate) fn judge(file: &RemoteFile, found: Digest) -> Result<(), Fault> {
    match file.digest {
        Some(expected) if expected != found => Err(Fault::Damaged {
            name: file.name.clone(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> RemoteFile {
        RemoteFile {
            id: 1,
            name: "a.tar.gz".to_owned(),
            url: String::new(),
            download_url: String::new(),
            size: 200,
            digest: Some(Digest::of(b"a")),
        }
    }

    #[test]
    fn where_it_goes_on() {
        let changed = Err("changed");
        let nonsense = Err("nonsense");
        for (at, before, status, etag, range, length, expected) in [
            (0, None, 200, Some("\"a\""), None, Some(200), Ok(0)),
            (0, None, 200, None, None, None, Ok(0)),
            (
                100,
                Some("\"a\""),
                206,
                Some("\"a\""),
                Some("bytes 100-199/200"),
                Some(100),
                Ok(100),
            ),
            (
                100,
                None,
                206,
                Some("\"a\""),
                Some("bytes 100-199/200"),
                Some(100),
                Ok(100),
            ),
            (
                100,
                Some("W/\"a\""),
                206,
                Some("W/\"b\""),
                Some("bytes 100-199/200"),
                None,
                Ok(100),
            ),
            // Something on the way knows no ranges.
            (100, Some("\"a\""), 200, Some("\"a\""), None, Some(200), Ok(0)),
            (100, Some("\"a\""), 200, None, None, Some(200), Ok(0)),
            // It is another file now.
            (100, Some("\"a\""), 200, Some("\"b\""), None, Some(200), changed),
            (
                100,
                Some("\"a\""),
                206,
                Some("\"b\""),
                Some("bytes 100-199/200"),
                Some(100),
                changed,
            ),
            (100, None, 206, None, Some("bytes 100-149/150"), Some(50), changed),
            (0, None, 200, None, None, Some(199), changed),
            (100, None, 416, None, Some("bytes */50"), None, changed),
            // What was not asked for.
            (100, None, 206, None, Some("bytes 50-199/200"), None, nonsense),
            (100, None, 206, None, Some("bytes 100-149/200"), None, nonsense),
            (100, None, 206, None, Some("bytes 199-100/200"), None, nonsense),
            (100, None, 206, None, None, Some(100), nonsense),
        ] {
            let place = Place {
                at,
                etag: before.map(str::to_owned),
            };
            let mut headers = HeaderMap::new();
            if let Some(range) = range {
                headers.insert(CONTENT_RANGE, range.parse().unwrap());
            }
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, u64::into(length));
            }
            let found = begins_at(StatusCode::from_u16(status).unwrap(), &headers, etag, &place, &file());
            let found = found.map_err(|fault| match fault {
                Fault::Changed { .. } => "changed",
                Fault::Unreadable(_) => "nonsense",
                _ => "another fault",
            });
            assert_eq!(
                found, expected,
                "{at} {before:?} {status} {etag:?} {range:?} {length:?}"
            );
        }
    }

    #[test]
    fn a_digest_that_is_not_known_says_nothing() {
        assert!(judge(&file(), Digest::of(b"a")).is_ok());
        assert!(matches!(judge(&file(), Digest::of(b"b")), Err(Fault::Damaged { .. })));
        let unknown = RemoteFile { digest: None, ..file() };
        assert!(judge(&unknown, Digest::of(b"b")).is_ok());
    }
}
