//! Files: what is in a directory, damage to them, bytes that do not compress.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bundle::Digest;

/// Every file below `directory` with the digest of its bytes; nothing if it is not there.
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return files;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), Digest::of(&fs::read(&path).unwrap()));
        }
    }
    files
}

/// Changes one byte in the middle of a file, and nothing else.
pub(crate) fn change_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The SHA-256 of a file, in hex.
pub(crate) fn sha256(path: &Path) -> String {
    Digest::of(&fs::read(path).unwrap()).hex()
}

/// Bytes that do not compress; the same for the same seed (xorshift64*).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A field of the manifest in a bundle, as a stock `tar` finds it.
pub(crate) fn manifest(bundle: &Path) -> serde_json::Value {
    let arguments = ["-xzOf".as_ref(), bundle.as_os_str(), "manifest.json".as_ref()];
    let text = super::run::tool(Path::new("/"), "tar", &arguments);
    serde_json::from_str(&text).unwrap()
}
