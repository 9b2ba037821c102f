//! The administrator's password of the page and the API: made once, shown once, kept as a hash.
//!
//! The hash is argon2id with the crate's defaults (19 MiB, two passes: OWASP's first choice), as a PHC string, in
//! `/etc/<product>/admin.hash`, which root alone reads.

use std::{fmt, path::PathBuf};

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _, password_hash::phc::PasswordHash};
use bundle::Digest;
use serde::Serialize;

use device::{
    Error, Result,
    config::Config,
    system::{files, random::random},
};

/// The hash's file name, beside the configuration.
const FILE: &str = "admin.hash";

/// Of 62 letters and digits: 142 bits.
const LENGTH: usize = 24;

/// A password in clear. It is shown once; `Debug` does not show it.
#[derive(Serialize)]
pub(crate) struct AdminPassword(String);

impl fmt::Display for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword(…)")
    }
}

/// Where the hash is.
pub(crate) fn hash_file(config: &Config) -> PathBuf {
    config.etc.join(FILE)
}

/// Makes a password if there is none yet.
pub(crate) fn make_if_missing(config: &Config) -> Result<Option<AdminPassword>> {
    match hash_file(config).exists() {
        true => Ok(None),
        false => reset(config).map(Some),
    }
}

/// Makes a new password; the previous one is no longer valid.
pub(crate) fn reset(config: &Config) -> Result<AdminPassword> {
    let password = random(LENGTH)?;
    let path = hash_file(config);
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Error::Content {
            path: path.clone(),
            message: format!("cannot be made: {error}"),
        })?;
    files::write(&path, format!("{hash}\n").as_bytes(), 0o600)?;
    Ok(AdminPassword(password))
}

/// Identifies a password without revealing it: SHA-256 of its hash; none if there is no password.
pub(crate) fn fingerprint(config: &Config) -> Result<Option<Digest>> {
    Ok(files::read_if_there(&hash_file(config))?.map(|text| Digest::of(&text)))
}

/// Whether `password` is the administrator's; its [`fingerprint`] if so. Takes 19 MiB and a noticeable time.
pub(crate) fn verify(config: &Config, password: &str) -> Result<Option<Digest>> {
    let path = hash_file(config);
    let Some(text) = files::read_if_there(&path)? else {
        return Err(Error::refused(
            "the administrator has no password",
            "updater reset-password",
        ));
    };
    let hash = String::from_utf8_lossy(&text);
    let hash = PasswordHash::new(hash.trim()).map_err(|error| Error::Content {
        path,
        message: format!("is not a password hash: {error}"),
    })?;
    // Compares in constant time.
    let matches = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    Ok(matches.then(|| Digest::of(&text)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_hash_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.etc = directory.path().to_owned();
        let password = make_if_missing(&config).unwrap().unwrap();
        assert!(make_if_missing(&config).unwrap().is_none());

        let path = hash_file(&config);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("$argon2id$"), "{text}");
        assert!(!text.contains(&password.to_string()) && !format!("{password:?}").contains(&password.to_string()));
        assert!(password.to_string().len() >= 20);
        let verify = |password: &str| verify(&config, password).unwrap();
        assert_eq!(verify(&password.to_string()), fingerprint(&config).unwrap());
        assert_eq!(verify("another"), None);

        let new = reset(&config).unwrap();
        assert_eq!(verify(&new.to_string()), fingerprint(&config).unwrap());
        assert_eq!(verify(&password.to_string()), None);
        assert_ne!(Some(Digest::of(text.as_bytes())), fingerprint(&config).unwrap());
    }
}
