//! The administrator's password of the page and the API: made once, shown once, kept as a hash.
//!
//! The hash is argon2id with the crate's defaults (19 MiB, two passes: OWASP's first choice), as a PHC string, in
//! `/etc/<product>/admin.hash`, which root alone reads.

use std::{fmt, path::PathBuf};

use argon2::{Argon2, PasswordHasher as _};
use serde::Serialize;

use crate::{Error, Result, config::Config, files, release};

/// The hash's file name, beside the configuration.
const FILE: &str = "admin.hash";

/// Of 62 letters and digits: 142 bits.
const LENGTH: usize = 24;

/// A password in clear. It is shown once; `Debug` does not show it.
#[derive(Serialize)]
pub struct AdminPassword(String);

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
pub fn hash_file(config: &Config) -> PathBuf {
    config.etc.join(FILE)
}

/// Makes a password if there is none yet.
///
/// # Errors
/// The hash cannot be written.
pub fn make_if_missing(config: &Config) -> Result<Option<AdminPassword>> {
    match hash_file(config).exists() {
        true => Ok(None),
        false => reset(config).map(Some),
    }
}

/// Makes a new password; the one before is no longer valid.
///
/// # Errors
/// There is no randomness, or the hash cannot be written.
pub fn reset(config: &Config) -> Result<AdminPassword> {
    let password = release::random(LENGTH)?;
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use argon2::{PasswordVerifier as _, password_hash::phc::PasswordHash};

    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.etc = folder.path().to_owned();
        let password = make_if_missing(&config).unwrap().unwrap();
        assert!(make_if_missing(&config).unwrap().is_none());

        let path = hash_file(&config);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("$argon2id$"), "{text}");
        assert!(!text.contains(&password.to_string()) && !format!("{password:?}").contains(&password.to_string()));
        assert!(password.to_string().len() >= 20);
        let verify = |hash: &str, password: &str| {
            let hash = PasswordHash::new(hash.trim()).unwrap();
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        };
        assert!(verify(&text, &password.to_string()));
        assert!(!verify(&text, "another"));

        let new = reset(&config).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(verify(&text, &new.to_string()) && !verify(&text, &password.to_string()));
    }
}
