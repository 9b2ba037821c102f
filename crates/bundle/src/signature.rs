//! Minisign keys and signatures.
//!
//! The signature is over the exact bytes of `manifest.json` (prehashed form `ED`), and its trusted
//! comment is product, version and the manifest's SHA-256. There is no time in it, and Ed25519 is
//! used as RFC 8032 defines it: signing the same manifest with the same key gives the same bytes.
//! (The `minisign` crate mixes randomness into every signature, so only its key files are used here;
//! the stock program verifies the result.)
//!
//! Trust is a set of keys, so that a key can be replaced. This module reads no files and asks for no
//! passwords.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Blake2b512, Digest as _};
use ed25519_dalek::{Signer as _, SigningKey};
use semver::Version;

use crate::digest::Digest;
use crate::names::ProductName;

/// Signature algorithm of keys, `Ed`, and of prehashed signatures, `ED`.
const KEY_ALGORITHM: &[u8; 2] = b"Ed";
const PREHASHED: &[u8; 2] = b"ED";
/// Length of a decoded public key: algorithm, key ID, key.
const PUBLIC_LENGTH: usize = 2 + 8 + 32;
/// In a decoded secret key: algorithms, salt and limits come before the key ID.
const SECRET_ID_AT: usize = 2 + 2 + 2 + 32 + 8 + 8;
/// The checksum follows ID, seed and public half.
const CHECKSUM_AT: usize = SECRET_ID_AT + 8 + 32 + 32;
/// The largest signature file that is read, in bytes.
pub const MAX_SIGNATURE_SIZE: u64 = 4096;

/// Why a key or a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a minisign public key.
    #[error("this is not a minisign public key")]
    PublicKey,
    /// Not a minisign secret key, or a damaged one. What was given is not repeated.
    #[error("this is not a minisign secret key, or it is damaged")]
    SecretKey,
    /// The secret key is encrypted, and no password was given.
    #[error("the secret key is encrypted, and no password was given")]
    PasswordNeeded,
    /// The password does not fit the secret key.
    #[error("the password does not decrypt the secret key")]
    WrongPassword,
    /// A key could not be made.
    #[error("no key can be made: {0}")]
    Generate(String),
    /// Not a minisign signature in prehashed form.
    #[error("the signature file is not a minisign signature")]
    Malformed,
    /// Signed by a key that is not trusted.
    #[error("the manifest is signed with key {0}, which is not trusted")]
    UntrustedKey(KeyId),
    /// The signature of a trusted key, but not over this manifest.
    #[error("the signature of key {0} does not fit the manifest: one of them was changed")]
    Invalid(KeyId),
    /// The signature fits, but its comment speaks of another release.
    #[error("the signature's comment is `{found}`; expected `{expected}`")]
    Comment {
        /// The trusted comment.
        found: String,
        /// What it should be.
        expected: String,
    },
}

/// The ID of a key, as minisign prints it: 16 upper-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A minisign public key.
///
/// Parsed from the base64 line alone or from the text of a key file; displayed as the base64 line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    base64: String,
    verifier: minisign_verify::PublicKey,
}

impl PublicKey {
    /// The key's ID.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The text of a public key file.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{}\n", self.id, self.base64)
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let base64 = match (lines.next(), lines.next(), lines.next()) {
            (Some(key), None, None) => key,
            (Some(comment), Some(key), None) if comment.starts_with("untrusted comment:") => key,
            _ => return Err(SignatureError::PublicKey),
        };
        let bytes = BASE64.decode(base64).map_err(|_| SignatureError::PublicKey)?;
        if bytes.len() != PUBLIC_LENGTH || !bytes.starts_with(KEY_ALGORITHM) {
            return Err(SignatureError::PublicKey);
        }
        Ok(Self {
            id: KeyId::read(&bytes[2..10]).ok_or(SignatureError::PublicKey)?,
            base64: base64.to_owned(),
            verifier: minisign_verify::PublicKey::from_base64(base64).map_err(|_| SignatureError::PublicKey)?,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base64)
    }
}

/// A minisign secret key, decrypted. It is wiped from memory when dropped, and never shown.
pub struct SecretKey {
    id: KeyId,
    key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, …)", self.id)
    }
}

impl SecretKey {
    /// Whether the key in this file text needs a password.
    ///
    /// # Errors
    /// [`SignatureError::SecretKey`] where it is no secret key.
    pub fn needs_password(file: &str) -> Result<bool, SignatureError> {
        let line = file.lines().nth(1).ok_or(SignatureError::SecretKey)?;
        let bytes = BASE64.decode(line.trim()).map_err(|_| SignatureError::SecretKey)?;
        match bytes.get(..4) {
            Some([b'E', b'd', 0, 0]) => Ok(false),
            Some(b"EdSc") => Ok(true),
            _ => Err(SignatureError::SecretKey),
        }
    }

    /// Reads the text of a secret key file, encrypted or not. Decrypting a key takes the memory that it was made with:
    /// 32 MiB for one of [`generate`], 1 GiB for one of the stock program.
    ///
    /// # Errors
    /// [`SignatureError`]: not a key, a password that is missing or wrong.
    pub fn load(file: &str, password: Option<&str>) -> Result<Self, SignatureError> {
        if Self::needs_password(file)? {
            let password = password.ok_or(SignatureError::PasswordNeeded)?.to_owned();
            let key = minisign::SecretKeyBox::from(file.to_owned())
                .into_secret_key(Some(password))
                .map_err(|_| SignatureError::WrongPassword)?;
            return Self::from_bytes(&key.to_bytes()).ok_or(SignatureError::SecretKey);
        }
        // The `minisign` crate refuses unencrypted keys of the stock program 0.11, which leaves their
        // checksum zero.
        let line = file.lines().nth(1).ok_or(SignatureError::SecretKey)?;
        let bytes = BASE64.decode(line.trim()).map_err(|_| SignatureError::SecretKey)?;
        let checksum = bytes.get(CHECKSUM_AT..).ok_or(SignatureError::SecretKey)?;
        let sum = Blake2b::<U32>::new()
            .chain_update(KEY_ALGORITHM)
            .chain_update(&bytes[SECRET_ID_AT..CHECKSUM_AT])
            .finalize();
        if checksum != [0; 32] && checksum != &sum[..] {
            return Err(SignatureError::SecretKey);
        }
        Self::from_bytes(&bytes).ok_or(SignatureError::SecretKey)
    }

    /// `bytes` are those of a decrypted key: up to the ID, the ID, seed, public half, checksum.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.get(SECRET_ID_AT..)?.split_at_checked(8)?;
        let (seed, rest) = rest.split_first_chunk::<32>()?;
        let (public, _checksum) = rest.split_first_chunk::<32>()?;
        let key = SigningKey::from_bytes(seed);
        (key.verifying_key().as_bytes() == public).then_some(Self {
            id: KeyId::read(id)?,
            key,
        })
    }

    /// The key's ID.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public key.
    ///
    /// # Errors
    /// None in practice: the form of a public key made here is known.
    pub fn public(&self) -> Result<PublicKey, SignatureError> {
        let mut bytes = KEY_ALGORITHM.to_vec();
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(self.key.verifying_key().as_bytes());
        BASE64.encode(bytes).parse()
    }

    /// Signs a manifest: gives the text of `manifest.json.minisig`. The same inputs always give the
    /// same text.
    #[must_use]
    pub fn sign(&self, manifest: &[u8], product: &ProductName, version: &Version) -> String {
        let signature = self.key.sign(&Blake2b512::digest(manifest)).to_bytes();
        let comment = trusted_comment(manifest, product, version);
        let mut signed = signature.to_vec();
        signed.extend_from_slice(comment.as_bytes());
        let global = self.key.sign(&signed).to_bytes();
        let mut line = PREHASHED.to_vec();
        line.extend_from_slice(&self.id.0);
        line.extend_from_slice(&signature);
        format!(
            "untrusted comment: signature of manifest.json by key {}\n{}\ntrusted comment: {comment}\n{}\n",
            self.id,
            BASE64.encode(line),
            BASE64.encode(global),
        )
    }
}

/// A new key.
pub struct NewKey {
    secret_file: String,
    public: PublicKey,
}

impl NewKey {
    /// The text of the secret key file. To be written with mode 0600, and nowhere else.
    #[must_use]
    pub fn secret_file(&self) -> &str {
        &self.secret_file
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({}, …)", self.public.id)
    }
}

/// Makes a key, encrypted where a password is given (scrypt with 32 MiB).
///
/// # Errors
/// [`SignatureError::Generate`], where the system gives no randomness.
pub fn generate(password: Option<&str>) -> Result<NewKey, SignatureError> {
    let failed = |error: minisign::PError| SignatureError::Generate(error.to_string());
    let (pair, comment) = match password {
        Some(password) => (
            minisign::KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
            "minisign encrypted secret key",
        ),
        None => (minisign::KeyPair::generate_unencrypted_keypair(), "minisign secret key"),
    };
    let pair = pair.map_err(failed)?;
    Ok(NewKey {
        secret_file: pair.sk.to_box(Some(comment)).map_err(failed)?.into_string(),
        public: pair.pk.to_base64().parse()?,
    })
}

/// The comment that a release's signature carries, and that the signature covers.
fn trusted_comment(manifest: &[u8], product: &ProductName, version: &Version) -> String {
    format!("{product} {version} {}", Digest::of(manifest))
}

/// The keys that vouch for bundles.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// Trusts these keys.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.0
    }

    /// Checks that one of the keys signed `manifest`. The comment is checked later, by
    /// [`Signed::check_comment`], when the manifest may be read.
    ///
    /// # Errors
    /// [`SignatureError`]: malformed, of an untrusted key, or not of this manifest.
    pub fn verify(&self, manifest: &[u8], signature: &str) -> Result<Signed, SignatureError> {
        let id = key_id(signature)?;
        let decoded = minisign_verify::Signature::decode(signature).map_err(|_| SignatureError::Malformed)?;
        let mut candidates = self.0.iter().filter(|key| key.id == id).peekable();
        if candidates.peek().is_none() {
            return Err(SignatureError::UntrustedKey(id));
        }
        let key = candidates
            .find(|key| key.verifier.verify(manifest, &decoded, false).is_ok())
            .ok_or(SignatureError::Invalid(id))?;
        Ok(Signed {
            key: key.clone(),
            comment: decoded.trusted_comment().to_owned(),
        })
    }
}

/// The ID of the key that a signature says it is of. Nothing is verified.
///
/// # Errors
/// [`SignatureError::Malformed`] for what is not a prehashed minisign signature of exactly four
/// lines.
pub fn key_id(signature: &str) -> Result<KeyId, SignatureError> {
    if signature.lines().count() != 4 {
        return Err(SignatureError::Malformed);
    }
    let line = signature.lines().nth(1).ok_or(SignatureError::Malformed)?;
    let bytes = BASE64.decode(line).map_err(|_| SignatureError::Malformed)?;
    if bytes.len() != 2 + 8 + 64 || !bytes.starts_with(PREHASHED) {
        return Err(SignatureError::Malformed);
    }
    KeyId::read(&bytes[2..10]).ok_or(SignatureError::Malformed)
}

/// A signature that was verified.
#[derive(Debug, Clone)]
pub struct Signed {
    key: PublicKey,
    comment: String,
}

impl Signed {
    /// The key that signed.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Checks that the trusted comment speaks of this release.
    ///
    /// # Errors
    /// [`SignatureError::Comment`].
    pub fn check_comment(
        &self,
        manifest: &[u8],
        product: &ProductName,
        version: &Version,
    ) -> Result<(), SignatureError> {
        let expected = trusted_comment(manifest, product, version);
        if self.comment == expected {
            Ok(())
        } else {
            let found = crate::text::shorten(&self.comment);
            Err(SignatureError::Comment { found, expected })
        }
    }
}
