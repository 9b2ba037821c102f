//! Signing, and who is believed.

use std::io::Cursor;

use bundle::pack::write_tar_gz;
use bundle::read::{Trust, VerifyError, read_manifest, verify};
use bundle::signature::{NewKey, PublicKey, SecretKey, SignatureError, TrustedKeys, generate};

use crate::fixture::Sample;

fn secret(key: &NewKey) -> SecretKey {
    SecretKey::load(key.secret_file(), None).unwrap()
}

fn sign(sample: &Sample, key: &NewKey) -> (Vec<u8>, String) {
    let manifest = sample.manifest.to_json().unwrap();
    let text = secret(key).sign(&manifest, &sample.manifest.product, &sample.manifest.version);
    (manifest, text)
}

fn signed_bundle(sample: &Sample, manifest: &[u8], signature: &str) -> Cursor<Vec<u8>> {
    let mut out = Vec::new();
    write_tar_gz(&mut out, &sample.contents(manifest, Some(signature)), &|_| {}).unwrap();
    Cursor::new(out)
}

fn trust(keys: &[&NewKey]) -> TrustedKeys {
    TrustedKeys::new(keys.iter().map(|key| key.public().clone()))
}

#[test]
fn same_inputs_same_signature() {
    let (sample, key) = (Sample::new(), generate(None).unwrap());
    assert_eq!(sign(&sample, &key), sign(&sample, &key));
}

#[test]
fn any_trusted_key_vouches() {
    let (sample, old, new) = (Sample::new(), generate(None).unwrap(), generate(None).unwrap());
    let (manifest, text) = sign(&sample, &new);
    let bytes = signed_bundle(&sample, &manifest, &text);
    let keys = trust(&[&old, &new]);
    let verified = verify(bytes.clone(), &Trust::Keys(&keys), &|_| {}).unwrap();
    assert_eq!(verified.signed_by(), Some(new.public()));
    assert_eq!(read_manifest(bytes).unwrap().signature, Some(text));
}

fn check_refused(
    spoil: impl FnOnce(&Sample, &NewKey) -> (Vec<u8>, String, TrustedKeys),
    expected: fn(&VerifyError) -> bool,
) {
    let (sample, key) = (Sample::new(), generate(None).unwrap());
    let (manifest, signature, keys) = spoil(&sample, &key);
    let bytes = signed_bundle(&sample, &manifest, &signature);
    let error = verify(bytes, &Trust::Keys(&keys), &|_| {}).expect_err("refused");
    assert!(expected(&error), "{error:?}");
}

#[test]
fn key_that_is_not_trusted() {
    check_refused(
        |sample, key| {
            let (manifest, text) = sign(sample, key);
            (manifest, text, trust(&[&generate(None).unwrap()]))
        },
        |error| matches!(error, VerifyError::Signature(SignatureError::UntrustedKey(_))),
    );
}

#[test]
fn without_a_trusted_key_no_signature_is_accepted() {
    check_refused(
        |sample, key| {
            let (manifest, text) = sign(sample, key);
            (manifest, text, TrustedKeys::default())
        },
        |error| matches!(error, VerifyError::Signature(SignatureError::UntrustedKey(_))),
    );
}

#[test]
fn signature_of_another_manifest() {
    check_refused(
        |sample, key| {
            let (_, text) = sign(sample, key);
            let mut other = sample.manifest.clone();
            other.changelog.push('!');
            (other.to_json().unwrap(), text, trust(&[key]))
        },
        |error| matches!(error, VerifyError::Signature(SignatureError::Invalid(_))),
    );
}

#[test]
fn changed_trusted_comment() {
    check_refused(
        |sample, key| {
            let (manifest, text) = sign(sample, key);
            (manifest, text.replace("app 2.1.0", "app 9.9.9"), trust(&[key]))
        },
        |error| matches!(error, VerifyError::Signature(SignatureError::Invalid(_))),
    );
}

#[test]
fn comment_of_another_release() {
    check_refused(
        |sample, key| {
            let manifest = sample.manifest.to_json().unwrap();
            let version = "9.9.9".parse().unwrap();
            let text = secret(key).sign(&manifest, &sample.manifest.product, &version);
            (manifest, text, trust(&[key]))
        },
        |error| matches!(error, VerifyError::Signature(SignatureError::Comment { .. })),
    );
}

#[test]
fn malformed_signatures() {
    for spoil in [
        |text: &str| text.replace("RUQ", "RWQ"),
        |text: &str| format!("{text}more\n"),
        |text: &str| text.lines().take(3).collect::<Vec<_>>().join("\n"),
        |_: &str| String::new(),
    ] {
        let key = generate(None).unwrap();
        let (manifest, text) = sign(&Sample::new(), &key);
        let spoiled = spoil(&text);
        // Base64 of "ED" and a random key ID begins with RUQ, RUR, RUS or RUT.
        if spoiled != text {
            let result = trust(&[&key]).verify(&manifest, &spoiled);
            assert!(matches!(result, Err(SignatureError::Malformed)), "{spoiled} {result:?}");
        }
    }
}

#[test]
fn unsigned_where_a_key_is_trusted() {
    let keys = trust(&[&generate(None).unwrap()]);
    let bytes = Cursor::new(Sample::new().tar_gz());
    let error = verify(bytes, &Trust::Keys(&keys), &|_| {}).expect_err("unsigned");
    assert!(matches!(error, VerifyError::Unsigned), "{error:?}");
}

#[test]
fn encrypted_keys() {
    let key = generate(Some("correct horse")).unwrap();
    let load = |password| SecretKey::load(key.secret_file(), password).map(|key| key.id());
    assert_eq!(SecretKey::needs_password(key.secret_file()), Ok(true));
    assert_eq!(load(Some("correct horse")), Ok(key.public().id()));
    assert_eq!(load(Some("wrong")), Err(SignatureError::WrongPassword));
    assert_eq!(load(None), Err(SignatureError::PasswordNeeded));
}

#[test]
fn unencrypted_keys_and_what_is_no_key() {
    let key = generate(None).unwrap();
    assert_eq!(SecretKey::needs_password(key.secret_file()), Ok(false));
    assert_eq!(secret(&key).public().as_ref(), Ok(key.public()));
    let mut damaged = key.secret_file().to_owned();
    let at = damaged.len() - 20;
    let other = if damaged.as_bytes()[at] == b'A' { "B" } else { "A" };
    damaged.replace_range(at..=at, other);
    for text in [
        "",
        "x",
        "untrusted comment: x\nRWQ=\n",
        damaged.as_str(),
        &key.public().to_file(),
    ] {
        let result = SecretKey::load(text, None);
        assert!(matches!(result, Err(SignatureError::SecretKey)), "{text} {result:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let key = generate(None).unwrap();
    let line = key.secret_file().lines().nth(1).unwrap().to_owned();
    let shown = format!("{key:?} {:?}", secret(&key));
    assert!(!shown.contains(&line[..20]) && shown.len() < 100, "{shown}");
}

#[test]
fn public_keys_in_both_forms() {
    let key = generate(None).unwrap();
    assert_eq!(key.public().to_string().parse::<PublicKey>().as_ref(), Ok(key.public()));
    assert_eq!(key.public().to_file().parse::<PublicKey>().as_ref(), Ok(key.public()));
    for text in ["", "RWQ=", "untrusted comment: x", key.secret_file()] {
        assert_eq!(text.parse::<PublicKey>(), Err(SignatureError::PublicKey), "{text}");
    }
}
