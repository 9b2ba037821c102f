//! The signing key: made once, found in a file or a variable, never on a command line, never in a log.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bundle::{
    names::ProductName,
    signature::{PublicKey, SecretKey, generate},
};
use semver::Version;

use crate::{Error, Problem, Result, declaration::Declaration};

/// A key that can sign this product's bundles.
#[derive(Debug)]
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

impl Signer {
    /// The public key, in base64 as minisign writes it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a manifest; gives the text of the signature file.
    pub fn sign(&self, manifest: &[u8], product: &ProductName, version: &Version) -> String {
        self.secret.sign(manifest, product, version)
    }
}

/// Finds the signing key: in its variable, or in its file. A password comes from its variable, or from a
/// person at a terminal.
///
/// # Errors
/// [`Error::Key`]: there is no key, it needs a password, the password is wrong, or it is none of the product's keys.
pub fn load(declaration: &Declaration) -> Result<Signer> {
    let signing = &declaration.signing;
    let (place, text) = match env::var(&signing.key_variable) {
        Ok(text) => (format!("${}", signing.key_variable), text),
        Err(_) => {
            let path = file(declaration)?;
            let text = fs::read_to_string(&path).map_err(|error| missing(declaration, &path, &error))?;
            (path.display().to_string(), text)
        }
    };
    let unusable = |error: String| Error::Key {
        message: format!("{place}: {error}"),
        hint: format!(
            "a key that `cargo xtask keygen` or minisign made; its password in ${}",
            signing.password_variable
        ),
    };
    let password = match SecretKey::needs_password(&text).map_err(|error| unusable(error.to_string()))? {
        true => password(&signing.password_variable, &place),
        false => None,
    };
    let secret = SecretKey::load(&text, password.as_deref()).map_err(|error| unusable(error.to_string()))?;
    let public = secret.public().map_err(|error| unusable(error.to_string()))?;
    if !signing.public_keys.is_empty() && !signing.public_keys.contains(&public) {
        return Err(Error::Key {
            message: format!("{place}: key {} is none of the product's keys", public.id()),
            hint: "use the product's key, or add this one to `signing.public-keys` in the declaration".to_owned(),
        });
    }
    Ok(Signer { secret, public })
}

/// The public keys that the installer carries: those that are declared, or the signer's own.
pub fn public_keys(declaration: &Declaration, signer: &Signer) -> Vec<PublicKey> {
    match declaration.signing.public_keys.as_slice() {
        [] => vec![signer.public.clone()],
        keys => keys.to_vec(),
    }
}

/// Makes a key, unless there is one: gives its public half and the file.
///
/// # Errors
/// There is a key already, or the file cannot be written.
pub fn make(declaration: &Declaration, without_password: bool) -> Result<(PublicKey, PathBuf)> {
    let path = file(declaration)?;
    if path.exists() {
        return Err(Error::Key {
            message: format!("{} is there already", path.display()),
            hint: "devices trust the key that is there; move it away if it is really to be replaced".to_owned(),
        });
    }
    let password = if without_password {
        None
    } else {
        Some(new_password(declaration)?)
    };
    let failed = |message: String| Error::Key {
        message,
        hint: "try again".to_owned(),
    };
    let key = generate(password.as_deref()).map_err(|error| failed(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    // Readable by its owner only, from its first byte on.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(key.secret_file().as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(Error::io("write", &path))?;
    let public = path.with_extension("pub");
    fs::write(&public, key.public().to_file()).map_err(Error::io("write", &public))?;
    Ok((key.public().clone(), path))
}

/// The file of the secret key.
///
/// # Errors
/// No file is declared, and there is no home folder to put one into.
pub fn file(declaration: &Declaration) -> Result<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let no_home = || Error::Key {
        message: "there is no home folder to keep it in".to_owned(),
        hint: format!("put the key into ${}", declaration.signing.key_variable),
    };
    match declaration.signing.key_file.as_deref() {
        Some(declared) => match declared.strip_prefix("~/") {
            Some(inside) => Ok(home.ok_or_else(no_home)?.join(inside)),
            None => Ok(PathBuf::from(declared)),
        },
        None => {
            let config = env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| home.map(|home| home.join(".config")))
                .ok_or_else(no_home)?;
            Ok(config.join("release-keys").join(format!("{}.key", declaration.product)))
        }
    }
}

/// What stands against signing, as a problem for the preflight.
pub fn problem(error: &Error) -> Problem {
    let message = error.to_string();
    let problem = Problem::error("signing key", message.trim_start_matches("signing key: "));
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn missing(declaration: &Declaration, path: &Path, error: &io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("{} is not there", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    };
    let hint = format!(
        "`cargo xtask keygen` makes one; in CI put its text into ${}",
        declaration.signing.key_variable
    );
    Error::Key { message, hint }
}

fn password(variable: &str, place: &str) -> Option<String> {
    env::var(variable).ok().or_else(|| {
        let asked = io::stdin().is_terminal() && io::stderr().is_terminal();
        asked
            .then(|| rpassword::prompt_password(format!("password of {place}: ")).ok())
            .flatten()
    })
}

fn new_password(declaration: &Declaration) -> Result<String> {
    let variable = &declaration.signing.password_variable;
    if let Ok(password) = env::var(variable) {
        return Ok(password);
    }
    let refused = |message: &str| Error::Key {
        message: message.to_owned(),
        hint: format!("put the password into ${variable}, or say --no-password for a key that a machine uses alone"),
    };
    if !io::stdin().is_terminal() {
        return Err(refused("there is no terminal to ask for a password"));
    }
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map_err(|error| refused(&error.to_string()));
    let first = ask("password for the new key: ")?;
    if first.is_empty() {
        return Err(refused("the password is empty"));
    }
    if first != ask("the same again: ")? {
        return Err(refused("the two passwords differ"));
    }
    Ok(first)
}
