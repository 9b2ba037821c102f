//! Whether a browser's call comes from our own page: the session cookie comes with calls of other pages too.
//!
//! Browsers say so in `Sec-Fetch-Site` (only over HTTPS, or to this machine itself), and in `Origin`, which is compared
//! with the requested host. The cookie is `SameSite=Strict` besides; this holds for browsers that do not know that, and for
//! other ports of this device, which count as the same site.

use axum::http::{StatusCode, header, request::Parts};

use super::client::Client;
use crate::web::refusal::Refusal;

/// Refuses a call that comes from another page.
pub(crate) fn expect_own(parts: &Parts, client: &Client) -> Result<(), Refusal> {
    match is_own(parts, client) {
        Some(true) => Ok(()),
        Some(false) => Err(refusal("the call comes from another site")),
        None => Err(refusal(
            "a call with a session must say which page it comes from (Origin); scripts use a token",
        )),
    }
}

/// As [`expect_own`], and accepts calls that do not name a page: they are not a browser's.
pub(crate) fn expect_not_foreign(parts: &Parts, client: &Client) -> Result<(), Refusal> {
    match is_own(parts, client) {
        Some(false) => Err(refusal("the call comes from another site")),
        Some(true) | None => Ok(()),
    }
}

fn refusal(detail: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, detail)
}

/// None if the headers do not say.
fn is_own(parts: &Parts, client: &Client) -> Option<bool> {
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = header("sec-fetch-site") {
        return Some(site == "same-origin");
    }
    let origin = header(header::ORIGIN.as_str())?;
    // `null`, and every address that is not a web page's, has no host.
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    Some(match (host, &client.host) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn what_browsers_say_decides() {
        for (headers, expected) in [
            (&[][..], None),
            (&[("origin", "http://device:8450")], Some(true)),
            (&[("origin", "https://DEVICE:8450")], Some(true)),
            (&[("origin", "http://device")], Some(false)),
            (&[("origin", "http://device:8450.evil.example")], Some(false)),
            (&[("origin", "null")], Some(false)),
            (&[("origin", "file://device:8450")], Some(false)),
            (&[("sec-fetch-site", "same-origin")], Some(true)),
            (&[("sec-fetch-site", "same-site")], Some(false)),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "http://device:8450")],
                Some(false),
            ),
            (&[("sec-fetch-site", "none")], Some(false)),
        ] {
            let request = headers.iter().fold(Request::builder(), |request, (name, value)| {
                request.header(*name, *value)
            });
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let client = Client {
                address: None,
                tls: false,
                host: Some("device:8450".to_owned()),
            };
            assert_eq!(is_own(&parts, &client), expected, "{headers:?}");
        }
    }
}
