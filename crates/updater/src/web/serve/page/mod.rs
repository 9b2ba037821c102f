//! The page's files: embedded, and compressed once, at first use.
//!
//! Nothing is loaded from other hosts and nothing is inline, so that the policy can forbid both.

use std::{io::Write as _, sync::OnceLock};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bundle::Digest;
use flate2::{Compression, write::GzEncoder};

use crate::web::app::App;

/// Nothing from elsewhere, nothing inline, no frames, no forms that go anywhere (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
    made: OnceLock<Made>,
}

/// What is served of it.
struct Made {
    gzip: Vec<u8>,
    tag: HeaderValue,
}

impl File {
    const fn new(path: &'static str, kind: &'static str, text: &'static str) -> Self {
        Self {
            path,
            kind,
            text,
            made: OnceLock::new(),
        }
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            // Writing to memory cannot fail.
            encoder.write_all(self.text.as_bytes()).ok();
            let digest = Digest::of(self.text.as_bytes()).hex();
            Made {
                gzip: encoder.finish().unwrap_or_default(),
                tag: HeaderValue::try_from(format!("\"{}\"", &digest[..16]))
                    .unwrap_or(HeaderValue::from_static("\"\"")),
            }
        })
    }
}

static FILES: [File; 8] = [
    File::new("/ota/", "text/html; charset=utf-8", include_str!("index.html")),
    File::new("/ota/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    File::new(
        "/ota/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page.js"),
    ),
    File::new("/ota/api.js", "text/javascript; charset=utf-8", include_str!("api.js")),
    File::new(
        "/ota/course.js",
        "text/javascript; charset=utf-8",
        include_str!("course.js"),
    ),
    File::new(
        "/ota/notes.js",
        "text/javascript; charset=utf-8",
        include_str!("notes.js"),
    ),
    File::new(
        "/ota/upload.js",
        "text/javascript; charset=utf-8",
        include_str!("upload.js"),
    ),
    File::new("/ota/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// The page's files. Without the slash at the end, its addresses would mean others.
pub(crate) fn routes() -> Router<std::sync::Arc<App>> {
    let router = Router::new()
        .route("/", get(async || Redirect::temporary("/ota/")))
        .route("/ota", get(async || Redirect::temporary("/ota/")));
    FILES.iter().fold(router, |router, file| {
        router.route(file.path, get(async move |headers: HeaderMap| serve(file, &headers)))
    })
}

fn serve(file: &'static File, headers: &HeaderMap) -> Response {
    let made = file.made();
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let is_known = text(header::IF_NONE_MATCH)
        .split(',')
        .any(|tag| tag.trim().as_bytes() == made.tag.as_bytes());
    let takes_gzip = text(header::ACCEPT_ENCODING)
        .split(',')
        .any(|encoding| encoding.split(';').next().is_some_and(|name| name.trim() == "gzip"));
    let mut response = match (is_known, takes_gzip) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => ([(header::CONTENT_ENCODING, "gzip")], &made.gzip[..]).into_response(),
        (false, false) => file.text.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::ETAG, made.tag.clone()),
        // After an update of the updater the page is another one; asking costs nothing.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("Accept-Encoding")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ] {
        headers.insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_needs_nothing_from_elsewhere() {
        let weight: usize = FILES.iter().map(|file| file.made().gzip.len()).sum();
        assert!(weight <= 60 << 10, "{weight} bytes");
        for file in &FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in [
                " style=",
                "<style",
                " onclick=",
                "javascript:",
                "innerHTML",
                "insertAdjacentHTML",
                "url(",
                "src=\"http",
                "href=\"http",
            ] {
                assert!(!foreign.contains(forbidden), "{} has `{forbidden}`", file.path);
            }
        }
    }
}
