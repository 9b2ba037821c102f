//! HTTP to GitHub: the only place that knows how it is spoken to.
//!
//! Names are looked up without the C library, because this program is static; certificates are the system's and those that
//! the configuration adds; `https_proxy` and its like are heeded. A connection lives as long as a client, and a client as
//! long as one check or one file. Redirects lead only to encrypted addresses, and the token goes to the API alone.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use reqwest::{
    Certificate, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, LINK, RANGE,
    },
    redirect::Policy,
};
use tokio::runtime::{Builder, Runtime};
use tracing::debug;
use url::Url;

use super::{
    fault::Fault,
    releases::Release,
    resume::{self, Place},
};
use device::config::github::{Base, Settings};
use device::store::RemoteFile;
use device::{Error, Result};

/// The form of the API that we speak.
const API_VERSION: &str = "2022-11-28";

/// More redirects than this lead nowhere.
const MAX_REDIRECTS: usize = 5;

/// Releases that are asked for at once: GitHub's limit.
const PER_PAGE: usize = 100;

/// Pages that are read: the newest thousand releases.
const MAX_PAGES: usize = 10;

/// The largest answer that is read, in bytes; a hundred releases with their notes have about two million.
const MAX_ANSWER: usize = 32 << 20;

/// How long we are patient.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to come about.
    pub connect: Duration,
    /// For anything to come, again and again: a download may take days, but it must go on.
    pub stall: Duration,
    /// For a whole answer of the API.
    pub answer: Duration,
}

impl Patience {
    /// For work in the background.
    pub const LONG: Self = Self {
        connect: Duration::from_secs(30),
        stall: Duration::from_secs(60),
        answer: Duration::from_secs(120),
    };

    /// For a page that loads.
    pub const SHORT: Self = Self {
        connect: Duration::from_secs(4),
        stall: Duration::from_secs(6),
        answer: Duration::from_secs(8),
    };
}

/// Speaks to GitHub.
pub(crate) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    base: Base,
    token: Option<HeaderValue>,
    patience: Patience,
}

/// The releases of a repository.
pub(crate) enum Releases {
    /// They are what they were.
    Unchanged,
    /// They are these.
    Now {
        /// All of them.
        releases: Vec<Release>,
        /// What to ask with, for whether they have changed.
        etag: Option<String>,
    },
}

/// A file that comes.
pub(crate) struct Coming<'a> {
    client: &'a Client,
    response: Response,
    /// The place in the file that it begins at.
    pub(crate) from: u64,
    /// What the content is known by, to go on with it later.
    pub(crate) etag: Option<String>,
}

impl Client {
    /// A client for the repository that the settings name.
    ///
    /// # Errors
    /// The token or the certificate cannot be used.
    pub(crate) fn new(settings: &Settings, patience: Patience) -> Result<Self> {
        let unusable = |why: &dyn std::fmt::Display| Fault::Unreadable(format!("no connection can be made: {why}"));
        let base = settings.api.base().map_err(|error| unusable(&error))?;
        let token = settings.token_file.as_deref().map(read_token).transpose()?;
        if token.is_some() && !base.keeps_secrets() {
            return Err(Error::refused(
                format!("the token is not sent to {}, which is not encrypted", settings.api),
                "an address that begins with https://",
            ));
        }
        // Once for each process; a second call has no effect.
        rustls::crypto::ring::default_provider().install_default().ok();
        let allowed = base.clone();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("updater/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .read_timeout(patience.stall)
            .referer(false)
            // Between requests this program may do nothing for a long time.
            .pool_max_idle_per_host(0)
            .redirect(Policy::custom(move |attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    return attempt.error("it leads from one address to the next");
                }
                if allowed.allows(attempt.url()) {
                    attempt.follow()
                } else {
                    let host = attempt.url().host_str().unwrap_or_default().to_owned();
                    attempt.error(host)
                }
            }));
        if let Some(path) = &settings.ca_certificate {
            http = http.tls_certs_merge(read_certificates(path)?);
        }
        Ok(Self {
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Error::io("prepare talking to", "GitHub"))?,
            http: http.build().map_err(|error| unusable(&error))?,
            base,
            token,
            patience,
        })
    }

    /// All releases of `repository`; with an `etag` of before, only whether they have changed.
    pub(crate) fn releases(&self, repository: &str, etag: Option<&str>) -> Result<Releases, Fault> {
        let path = format!("repos/{repository}/releases?per_page={PER_PAGE}");
        let mut next = Some(
            self.base
                .at(&path)
                .map_err(|error| Fault::Unreadable(error.to_string()))?,
        );
        let mut releases = Vec::new();
        let mut new_etag = None;
        for page in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let what = format!("repository {repository}");
            let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/vnd.github+json"))]);
            // New releases are on the first page.
            if let Some(etag) = etag.filter(|_| page == 0).and_then(|etag| etag.parse().ok()) {
                headers.insert(IF_NONE_MATCH, etag);
            }
            let (response, body) = self.runtime.block_on(async {
                let whole = async {
                    let mut response = self.send(url, headers).await?;
                    let body = self.body(&mut response).await?;
                    Ok((response, body))
                };
                // The stall is watched, too; this ends what comes a byte at a time.
                let ended = tokio::time::timeout(self.patience.answer, whole).await;
                ended.unwrap_or(Err(Fault::Stalled(self.patience.answer)))
            })?;
            match response.status() {
                StatusCode::NOT_MODIFIED if page == 0 && etag.is_some() => return Ok(Releases::Unchanged),
                StatusCode::OK => {}
                status => return Err(Fault::of_answer(status, response.headers(), &body, &what)),
            }
            let more: Vec<Release> =
                serde_json::from_slice(&body).map_err(|error| Fault::Unreadable(error.to_string()))?;
            releases.extend(more);
            if page == 0 {
                new_etag = text_of(response.headers(), &ETAG);
            }
            let link = text_of(response.headers(), &LINK).as_deref().and_then(next_of);
            next = link.filter(|url| self.base.has(url));
        }
        Ok(Releases::Now {
            releases,
            etag: new_etag,
        })
    }

    /// The content of a small file, such as one of checksums.
    pub(crate) fn small(&self, file: &RemoteFile) -> Result<Vec<u8>, Fault> {
        let mut coming = self.file(file, &Place::default())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = coming.next()? {
            bytes.extend_from_slice(chunk.as_ref());
            if bytes.len() > MAX_ANSWER {
                return Err(Fault::Unreadable(format!("{} has no end", file.name)));
            }
        }
        Ok(bytes)
    }

    /// A file from a place on, or from its beginning if it is not what it was.
    pub(crate) fn file(&self, file: &RemoteFile, place: &Place) -> Result<Coming<'_>, Fault> {
        // Only the API knows our token, and only it shows what is private.
        let address = if self.token.is_some() {
            &file.url
        } else {
            &file.download_url
        };
        let url: Url = address.parse().map_err(|_| Fault::Address(address.clone()))?;
        if !self.base.allows(&url) {
            return Err(Fault::Address(url.host_str().unwrap_or_default().to_owned()));
        }
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/octet-stream")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        if place.at > 0 {
            if let Ok(range) = format!("bytes={}-", place.at).parse() {
                headers.insert(RANGE, range);
            }
            if let Some(etag) = place.strong_etag().and_then(|etag| etag.parse().ok()) {
                headers.insert(IF_RANGE, etag);
            }
        }
        let mut response = self.runtime.block_on(self.send(url, headers))?;
        let status = response.status();
        if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            let body = self.runtime.block_on(self.body(&mut response)).unwrap_or_default();
            return Err(Fault::of_answer(
                status,
                response.headers(),
                &body,
                &format!("file {}", file.name),
            ));
        }
        let etag = text_of(response.headers(), &ETAG);
        let from = resume::begins_at(status, response.headers(), etag.as_deref(), place, file)?;
        Ok(Coming {
            client: self,
            response,
            from,
            etag,
        })
    }

    async fn send(&self, url: Url, mut headers: HeaderMap) -> Result<Response, Fault> {
        headers.insert("x-github-api-version", HeaderValue::from_static(API_VERSION));
        if let Some(token) = self.token.as_ref().filter(|_| self.base.has(&url)) {
            headers.insert(AUTHORIZATION, token.clone());
        }
        // Without the query, which may hold a key of the storage behind GitHub.
        let (host, path) = (url.host_str().unwrap_or_default().to_owned(), url.path().to_owned());
        let sent = self.http.get(url).headers(headers).send().await;
        let response = sent.map_err(|error| Fault::of_connection(&error, self.patience.stall))?;
        debug!(host, path, status = response.status().as_u16(), "GitHub answered");
        Ok(response)
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        let broken = |error: reqwest::Error| Fault::of_connection(&error, self.patience.stall);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(Fault::Unreadable(format!("it has more than {MAX_ANSWER} bytes")));
            }
        }
        Ok(body)
    }
}

impl Coming<'_> {
    /// The next bytes; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Fault> {
        let chunk = self.client.runtime.block_on(self.response.chunk());
        chunk.map_err(|error| Fault::of_connection(&error, self.client.patience.stall))
    }
}

fn text_of(headers: &HeaderMap, name: &reqwest::header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The address of the next page in a `Link` header (RFC 8288).
fn next_of(link: &str) -> Option<Url> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    rest.split_once('>')?.0.parse().ok()
}

/// Reads a token from a file that only its owner can read.
fn read_token(path: &Path) -> Result<HeaderValue> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Error::refused(
            format!("{} can be read by others than its owner", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    let token = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut header = header.ok().filter(|_| !token.trim().is_empty()).ok_or_else(|| {
        Error::refused(
            format!("there is no token in {}", path.display()),
            "one line, the token alone",
        )
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>> {
    let pem = fs::read(path).map_err(Error::io("read", path))?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(Error::refused(
            format!("there is no certificate in {}", path.display()),
            "certificates in the PEM form, which begin with `-----BEGIN CERTIFICATE-----`",
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page() {
        let link =
            "<https://a/?page=1>; rel=\"prev\", <https://a/?page=3>; rel=\"next\", <https://a/?page=9>; rel=\"last\"";
        assert_eq!(next_of(link).unwrap().as_str(), "https://a/?page=3");
        for link in ["", "<https://a/?page=1>; rel=\"prev\"", "https://a; rel=\"next\""] {
            assert_eq!(next_of(link), None, "{link}");
        }
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "secret\n").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        let error = read_token(&path).unwrap_err().to_string();
        assert!(
            error.contains("can be read by others") && !error.contains("secret"),
            "{error}"
        );
        mode(0o600);
        let token = read_token(&path).unwrap();
        assert_eq!(token, "Bearer secret");
        assert!(!format!("{token:?}").contains("secret"));
        for text in ["", " \n", "two\nlines"] {
            fs::write(&path, text).unwrap();
            assert!(read_token(&path).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        fs::write(&path, "no certificate").unwrap();
        assert!(read_certificates(&path).is_err());
    }
}
