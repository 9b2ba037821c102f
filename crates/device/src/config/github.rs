//! The sections `[github]` and `[automatic]` of `updater.toml`.

use std::{fmt, path::PathBuf};

use bundle::{manifest, names::RepositoryName};
use serde::{Deserialize, Serialize};
use url::{Host, ParseError, Url};

use super::window::Window;

/// GitHub's own API.
const GITHUB: &str = "https://api.github.com";

/// The default interval between two requests to GitHub, in hours.
const DAILY: u32 = 24;

/// Where newer versions are found: `[github]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The repository.
    pub repository: RepositoryName,
    /// The API's address; another one than GitHub's own for GitHub Enterprise.
    #[serde(default, skip_serializing_if = "Api::is_github")]
    pub api: Api,
    /// Which releases count.
    #[serde(default)]
    pub channel: Channel,
    /// A file with a token, for a private repository; only root may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A PEM file with certificates that are trusted beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<PathBuf>,
    /// How often the daemon asks, in hours; 0 for never.
    #[serde(default = "daily")]
    pub check_hours: u32,
}

/// Which releases count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Releases for everyone.
    #[default]
    Stable,
    /// Prereleases too.
    Prerelease,
}

/// What the updater does without a request: `[automatic]`. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Automatic {
    /// Whether a newer version's bundle is downloaded.
    #[serde(default)]
    pub download: bool,
    /// Whether a bundle that was downloaded is applied.
    #[serde(default)]
    pub apply: bool,
    /// When it may be applied, in the device's local time; at any time if there are none.
    #[serde(default)]
    pub windows: Vec<Window>,
}

impl Automatic {
    /// Whether the updater does nothing without a request.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// The address of an API of GitHub: a URL without user, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Api(String);

/// Why a text is not the address of an API.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not the address of an API of GitHub: {why}; expected one such as `https://github.example.com/api/v3`"
)]
pub struct ApiError {
    text: String,
    why: String,
}

impl Api {
    /// The base address.
    pub fn base(&self) -> Result<Base, ParseError> {
        // What follows is joined to it.
        Url::parse(&format!("{}/", self.0)).map(Base)
    }

    fn is_github(&self) -> bool {
        self.0 == GITHUB
    }
}

impl Default for Api {
    fn default() -> Self {
        Self(GITHUB.to_owned())
    }
}

impl TryFrom<String> for Api {
    type Error = ApiError;

    fn try_from(text: String) -> Result<Self, ApiError> {
        let why = match Url::parse(&text) {
            Err(error) => error.to_string(),
            Ok(url) if !["https", "http"].contains(&url.scheme()) || !url.has_host() => {
                "it does not begin with `https://`".to_owned()
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "it names a user; a token belongs into `token-file`".to_owned()
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => "it has a `?` or a `#`".to_owned(),
            Ok(url) => return Ok(Self(url.as_str().trim_end_matches('/').to_owned())),
        };
        Err(ApiError { text, why })
    }
}

impl From<Api> for String {
    fn from(api: Api) -> Self {
        api.0
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An API's base address, which other addresses are compared with.
#[derive(Clone, Debug)]
pub struct Base(Url);

impl Base {
    /// The address of the API's `path`, which begins without `/`.
    pub fn at(&self, path: &str) -> Result<Url, ParseError> {
        self.0.join(path)
    }

    /// Whether it is an address of this API.
    pub fn has(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }

    /// Whether a request to an address that the API names is allowed: over HTTPS, or on the host of a plain HTTP API.
    pub fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.0.scheme() == "http" && url.scheme() == "http" && url.host() == self.0.host())
    }

    /// Whether a token stays secret in transit: over HTTPS, or to this machine.
    pub fn keeps_secrets(&self) -> bool {
        let local = match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        self.0.scheme() == "https" || local
    }

    /// The address of the website that belongs to the API.
    pub fn pages(&self) -> String {
        match self.0.host_str() {
            Some("api.github.com") => "https://github.com".to_owned(),
            _ => self.0.origin().ascii_serialization(),
        }
    }
}

fn daily() -> u32 {
    DAILY
}

impl TryFrom<&manifest::GitHub> for Settings {
    type Error = ApiError;

    /// The configuration that an installation gets from the manifest of its bundle.
    fn try_from(declared: &manifest::GitHub) -> Result<Self, ApiError> {
        Ok(Self {
            repository: declared.repository.clone(),
            api: declared.api.clone().map(Api::try_from).transpose()?.unwrap_or_default(),
            channel: Channel::default(),
            token_file: None,
            ca_certificate: None,
            check_hours: DAILY,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Base {
        Api::try_from(text.to_owned()).unwrap().base().unwrap()
    }

    #[test]
    fn addresses() {
        for (text, shown, pages) in [
            (GITHUB, GITHUB, "https://github.com"),
            ("https://api.github.com/", GITHUB, "https://github.com"),
            (
                "https://git.example/api/v3",
                "https://git.example/api/v3",
                "https://git.example",
            ),
            (
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080",
            ),
        ] {
            assert_eq!(Api::try_from(text.to_owned()).unwrap().to_string(), shown);
            assert_eq!(base(text).pages(), pages);
        }
        let path = base("https://git.example/api/v3").at("repos/a/b/releases").unwrap();
        assert_eq!(path.as_str(), "https://git.example/api/v3/repos/a/b/releases");
        for text in [
            "",
            "api.github.com",
            "ftp://a/",
            "https://me:secret@a/",
            "https://a/?b",
            "https://a/#b",
        ] {
            assert!(Api::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn where_it_may_lead() {
        let allowed = |from: &str, to: &str| base(from).allows(&Url::parse(to).unwrap());
        assert!(allowed(GITHUB, "https://objects.example/a"));
        assert!(!allowed(GITHUB, "http://api.github.com/a"));
        assert!(!allowed(GITHUB, "file:///etc/passwd"));
        assert!(allowed("http://127.0.0.1:1", "http://127.0.0.1:2/a"));
        assert!(!allowed("http://127.0.0.1:1", "http://127.0.0.2:1/a"));
    }

    #[test]
    fn tokens_stay_secret() {
        for (text, expected) in [
            (GITHUB, true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://git.example", false),
            ("http://192.0.2.1", false),
        ] {
            assert_eq!(base(text).keeps_secrets(), expected, "{text}");
        }
    }
}
