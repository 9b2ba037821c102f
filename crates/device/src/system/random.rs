//! Random secrets, from the kernel's generator.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use crate::{Error, Result};

/// What secrets consist of.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Generates a secret of `length` letters and digits.
///
/// # Errors
/// The kernel's generator cannot be read.
pub fn random(length: usize) -> Result<String> {
    let path = Path::new("/dev/urandom");
    let source = File::open(path).map_err(Error::io("read", path))?;
    // A byte beyond the last whole multiple would make some letters more likely than others.
    let fair = u8::MAX - u8::MAX % 62;
    let mut secret = String::with_capacity(length);
    for byte in BufReader::new(source).bytes() {
        let byte = byte.map_err(Error::io("read", path))?;
        if byte < fair {
            secret.push(char::from(LETTERS[usize::from(byte % 62)]));
        }
        if secret.len() == length {
            break;
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        assert_ne!(random(32).unwrap(), random(32).unwrap());
    }
}
