//! The signing key: made once, found in a file or a variable, never on a command line, never in a log.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bundle::{
    names::ProductName,
    signature::{PublicKey, SecretKey, generate},
};
use semver::Version;

use crate::{Error, Problem, Result, declaration::Declaration, facts::Workspace, system::files};

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
    pub(crate) fn sign(&self, manifest: &[u8], product: &ProductName, version: &Version) -> String {
        self.secret.sign(manifest, product, version)
    }
}

/// Finds the signing key: in its variable, or in its file. A password comes from its variable, or from a
/// person at a terminal.
///
/// # Errors
/// [`Error::Key`]: there is no key, it needs a password, the password is wrong, or it is none of the product's keys.
pub fn load(workspace: &Workspace) -> Result<Signer> {
    let signing = &workspace.declaration.signing;
    let (place, text) = match env::var(&signing.key_variable) {
        // What CI systems make of a secret that is not set.
        Ok(text) if text.trim().is_empty() => {
            return Err(Error::Key {
                message: format!("${} is empty", signing.key_variable),
                hint: "put the secret key's text into it, or unset it to use the key's file".to_owned(),
            });
        }
        Ok(text) => (format!("${}", signing.key_variable), text),
        Err(_) => {
            let path = file(workspace)?;
            let text = fs::read_to_string(&path).map_err(|error| missing(&workspace.declaration, &path, &error))?;
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
pub(crate) fn public_keys(declaration: &Declaration, signer: &Signer) -> Vec<PublicKey> {
    match declaration.signing.public_keys.as_slice() {
        [] => vec![signer.public.clone()],
        keys => keys.to_vec(),
    }
}

/// Makes a key, unless there is one: gives its public half and the file.
///
/// # Errors
/// There is a key already, or the file cannot be written.
pub fn make(workspace: &Workspace, without_password: bool) -> Result<(PublicKey, PathBuf)> {
    let path = file(workspace)?;
    let public = path.with_extension("pub");
    if let Some(there) = [&path, &public].into_iter().find(|path| path.exists()) {
        return Err(Error::Key {
            message: format!("{} is there already", there.display()),
            hint: "devices trust the key that is there; move it away if it is really to be replaced".to_owned(),
        });
    }
    if public == path {
        return Err(Error::Key {
            message: format!("{} is the name of a public key", path.display()),
            hint: "call the file that `signing.key-file` declares *.key".to_owned(),
        });
    }
    let password = if without_password {
        None
    } else {
        Some(new_password(&workspace.declaration)?)
    };
    let failed = |message: String| Error::Key {
        message,
        hint: "try again".to_owned(),
    };
    let key = generate(password.as_deref()).map_err(|error| failed(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    // Readable by its owner only, from its first byte on.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    let written = file
        .write_all(key.secret_file().as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", &path))
        .and_then(|()| files::write_atomically(&public, key.public().to_file().as_bytes()));
    if let Err(error) = written {
        // Half a key would only be in the way of the next one, and no device trusts it yet.
        fs::remove_file(&path).ok();
        return Err(error);
    }
    Ok((key.public().clone(), path))
}

/// The file of the secret key.
///
/// # Errors
/// No file is declared, and there is no home directory to put one into.
pub fn file(workspace: &Workspace) -> Result<PathBuf> {
    let directory = |variable| env::var_os(variable).map(PathBuf::from);
    place(workspace, directory("XDG_CONFIG_HOME"), directory("HOME")).ok_or_else(|| Error::Key {
        message: "there is no home directory to keep it in".to_owned(),
        hint: format!("put the key into ${}", workspace.declaration.signing.key_variable),
    })
}

/// The key's file, from the declaration and the directories that variables name. Source: XDG Base Directory Specification
/// 0.8, which says that directories which are not absolute do not count.
fn place(workspace: &Workspace, config: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let home = home.filter(|home| home.is_absolute());
    let declaration = &workspace.declaration;
    match declaration.signing.key_file.as_deref() {
        Some(declared) => match declared.strip_prefix("~/") {
            Some(inside) => Some(home?.join(inside)),
            None => Some(workspace.root.join(declared)),
        },
        None => {
            let config = config
                .filter(|config| config.is_absolute())
                .or_else(|| home.map(|home| home.join(".config")))?;
            Some(config.join("release-keys").join(format!("{}.key", declaration.product)))
        }
    }
}

/// A warning where others can read the key's file.
pub(crate) fn exposed(workspace: &Workspace) -> Option<Problem> {
    if env::var_os(&workspace.declaration.signing.key_variable).is_some() {
        return None;
    }
    let path = file(workspace).ok()?;
    let mode = fs::metadata(&path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Problem::warning(
            "signing key",
            format!("{} can be used by others (mode {mode:03o})", path.display()),
        )
        .hint(format!("chmod 600 {}", path.display()))
    })
}

/// A failure to load the key, as a problem for the preflight.
pub(crate) fn problem(error: &Error) -> Problem {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(root: &Path, key_file: Option<&str>) -> Workspace {
        let mut declared = json!({ "product": "hello", "images": [{ "name": "hello" }] });
        if let Some(file) = key_file {
            declared["signing"] = json!({ "key-file": file, "key-variable": "NO_SUCH_VARIABLE" });
        }
        Workspace {
            root: root.to_owned(),
            state: root.join("target"),
            dist: root.join("dist"),
            declaration: Declaration::parse(&declared).unwrap(),
        }
    }

    #[track_caller]
    fn check(key_file: Option<&str>, config: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let workspace = workspace(Path::new("/work"), key_file);
        let found = place(&workspace, config.map(PathBuf::from), home.map(PathBuf::from));
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn where_a_key_is_looked_for() {
        check(
            None,
            None,
            Some("/home/ann"),
            Some("/home/ann/.config/release-keys/hello.key"),
        );
        check(None, Some("/c"), Some("/home/ann"), Some("/c/release-keys/hello.key"));
        check(Some("~/a.key"), Some("/c"), Some("/home/ann"), Some("/home/ann/a.key"));
        check(Some("/a.key"), None, None, Some("/a.key"));
        check(None, None, None, None);
    }

    /// It would be written into the repository, and be committed.
    #[test]
    fn an_empty_variable_does_not_name_the_current_directory() {
        check(
            None,
            Some(""),
            Some("/home/ann"),
            Some("/home/ann/.config/release-keys/hello.key"),
        );
        check(None, Some("relative"), Some(""), None);
        check(Some("~/a.key"), None, Some(""), None);
    }

    #[test]
    fn a_relative_file_is_in_the_workspace_wherever_the_command_runs() {
        check(Some("keys/a.key"), None, None, Some("/work/keys/a.key"));
    }

    #[test]
    fn neither_half_of_a_key_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = workspace(directory.path(), Some("a.key"));
        fs::write(directory.path().join("a.pub"), "of a key that is kept elsewhere").unwrap();
        let error = make(&workspace, true).unwrap_err().to_string();
        assert!(error.ends_with("a.pub is there already"), "{error}");
        assert!(!directory.path().join("a.key").exists());
        fs::remove_file(directory.path().join("a.pub")).unwrap();
        let (public, path) = make(&workspace, true).unwrap();
        assert_eq!(load(&workspace).unwrap().public_key(), &public);
        fs::remove_file(directory.path().join("a.pub")).unwrap();
        let error = make(&workspace, true).unwrap_err().to_string();
        assert!(error.ends_with("a.key is there already"), "{error}");
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_declared_file_that_is_named_like_a_public_key() {
        let directory = tempfile::tempdir().unwrap();
        let error = make(&workspace(directory.path(), Some("a.pub")), true)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("a.pub is the name of a public key"), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_is_warned() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let workspace = workspace(directory.path(), Some("a.key"));
        let (_, path) = make(&workspace, true).unwrap();
        assert_eq!(exposed(&workspace), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let warned = exposed(&workspace).unwrap().to_string();
        assert!(
            warned.contains("a.key can be used by others (mode 640)\n  hint: chmod 600 "),
            "{warned}"
        );
    }
}
