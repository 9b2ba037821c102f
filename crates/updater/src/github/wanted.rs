//! Whether a release is downloaded unasked.
//!
//! A bundle that was tried before is never tried again unasked, however that ended: a person has to want it.

use bundle::Digest;
use device::{
    Result,
    state::Phase,
    store::{RemoteFile, Store},
};
use semver::Version;

use super::releases::Found;

/// A bundle from GitHub that is on record.
#[derive(Clone, Debug)]
struct Known {
    id: u64,
    digest: Option<Digest>,
    phase: Phase,
    /// Whether it was here as a whole.
    arrived: bool,
}

/// Whether a release is to be downloaded unasked.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn wants(found: &Found, store: &Store) -> Result<bool> {
    let current = store.current()?.map(|current| current.version);
    let mut known = Vec::new();
    for update in store.updates()? {
        if let Some(first) = store.download(update.id)?.into_iter().next() {
            known.push(Known {
                id: first.file.id,
                digest: first.file.digest,
                phase: update.state.phase,
                arrived: update.bundle.is_some(),
            });
        }
    }
    Ok(is_wanted(found, current.as_ref(), &known))
}

fn is_wanted(found: &Found, current: Option<&Version>, known: &[Known]) -> bool {
    let file = found.bundle.as_ref().and_then(|bundle| bundle.files.first());
    // Installing something in the first place is for a person.
    let (Some(file), Some(current)) = (file, current) else {
        return false;
    };
    found.version > *current && !known.iter().any(|known| known.is(file) && known.was_tried())
}

impl Known {
    /// The same bundle: by its content, or by its number where the content is not known.
    fn is(&self, file: &RemoteFile) -> bool {
        match (self.digest, file.digest) {
            (Some(known), Some(digest)) => known == digest,
            _ => self.id == file.id,
        }
    }

    fn was_tried(&self) -> bool {
        match self.phase {
            // It never came here as a whole, and perhaps now does.
            Phase::Failed | Phase::Pending => self.arrived,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::store::RemoteBundle;

    fn found(version: &str, id: u64, digest: Option<&str>) -> Found {
        let file = RemoteFile {
            id,
            name: "a.tar.gz".to_owned(),
            url: String::new(),
            download_url: String::new(),
            size: 1,
            digest: digest.map(|text| Digest::of(text.as_bytes())),
        };
        Found {
            version: version.parse().unwrap(),
            page: String::new(),
            notes: String::new(),
            prerelease: false,
            published_at: None,
            bundle: Some(RemoteBundle {
                name: file.name.clone(),
                download_url: String::new(),
                size: 1,
                files: vec![file],
                sums: None,
            }),
        }
    }

    fn known(id: u64, digest: Option<&str>, phase: Phase, arrived: bool) -> Known {
        Known {
            id,
            digest: digest.map(|text| Digest::of(text.as_bytes())),
            phase,
            arrived,
        }
    }

    #[test]
    fn only_what_is_newer_and_new() {
        let current = Version::new(2, 0, 0);
        for (version, known, expected) in [
            ("2.1.0", vec![], true),
            ("2.0.0", vec![], false),
            ("1.9.9", vec![], false),
            ("2.0.0-rc.1", vec![], false),
            ("2.1.0", vec![known(9, Some("other"), Phase::Failed, true)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Failed, true)], false),
            // The same bundle under another number.
            ("2.1.0", vec![known(2, Some("a"), Phase::Failed, true)], false),
            // Another bundle in its place is a new chance.
            ("2.1.0", vec![known(1, Some("b"), Phase::Failed, true)], true),
            ("2.1.0", vec![known(1, None, Phase::Failed, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Failed, false)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Pending, false)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Pending, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Downloading, false)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::RolledBack, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Stuck, true)], false),
        ] {
            let wanted = is_wanted(&found(version, 1, Some("a")), Some(&current), &known);
            assert_eq!(wanted, expected, "{version} {known:?}");
        }
    }

    #[test]
    fn nothing_is_installed_in_the_first_place() {
        assert!(!is_wanted(&found("2.1.0", 1, None), None, &[]));
        let nothing = Found {
            bundle: None,
            ..found("2.1.0", 1, None)
        };
        assert!(!is_wanted(&nothing, Some(&Version::new(2, 0, 0)), &[]));
    }
}
