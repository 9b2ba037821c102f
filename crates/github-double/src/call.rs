//! A call to the API or to the upload host: who asks, how often, what is answered, and whether that is as described.

use http_body_util::BodyExt as _;
use hyper::{
    Method, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH, USER_AGENT},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    Host,
    api::{self, Answer, Call},
    body::{Body, Cut, broken, full, number, respond, set},
    description::{self, Exchange},
    fault::Struck,
    log::Entry,
    path::Path,
    shared::{Shared, lock},
    uploads::{self, Uploaded},
    world::{Caller, Refusal, Verdict, hex, now},
};

/// A call to the API or to the upload host.
pub(crate) struct JsonCall<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) host: Host,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a Path,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) entry: &'a Entry,
    pub(crate) struck: Struck,
}

impl JsonCall<'_> {
    pub(crate) async fn answer(&self, body: Incoming) -> Result<Response<Body>, Cut> {
        let (mut answer, caller, request) = match self.admit() {
            Err(answer) => (*answer, Caller::Anonymous, None),
            Ok(caller) if self.host == Host::Uploads => {
                let fault = match self.struck {
                    Struck::Upload(fault) => Some(fault),
                    _ => None,
                };
                let taken = uploads::take(self.shared, caller, self.path, self.headers, body, self.entry, fault).await;
                match taken {
                    Uploaded::Answer(answer) => (answer, caller, Some(Value::Null)),
                    Uploaded::Broken(ending) => return broken(ending, self.entry).await,
                    Uploaded::Cut => return Err(Cut),
                }
            }
            Ok(caller) => {
                let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
                self.entry.received(body.len());
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let call = Call {
                    method: self.method,
                    path: self.path,
                    headers: self.headers,
                    body: &body,
                    caller,
                };
                let answer = api::answer(&mut lock(&self.shared.world), &call);
                (answer, caller, Some(body))
            }
        };
        if let Some(request) = request {
            let violations = description::violations(&Exchange {
                method: self.method.as_str(),
                path: self.path,
                request: &request,
                status: answer.status,
                answer: answer.body.as_ref(),
            });
            lock(&self.shared.violations).extend(violations);
        }
        let text = answer.body.as_ref().map(Value::to_string);
        if let (&Method::GET, 200, Some(text)) = (self.method, answer.status, &text) {
            let etag = format!("W/\"{}\"", hex(&Sha256::digest(text)));
            let known = self.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
            if known.is_some_and(|known| known.trim_start_matches("W/") == etag.trim_start_matches("W/")) {
                answer = Answer::empty(304);
                lock(&self.shared.world).limits.refund(caller);
            }
            set(&mut answer.headers, ETAG, &etag);
        }
        self.limit_headers(&mut answer.headers, caller);
        let text = text.filter(|_| answer.body.is_some()).unwrap_or_default();
        self.entry.sent(text.len());
        if answer.body.is_some() {
            set(&mut answer.headers, CONTENT_TYPE, "application/json; charset=utf-8");
        }
        Ok(respond(answer.status, answer.headers, full(text)))
    }

    /// Whether the call is answered at all: who asks, and how often.
    fn admit(&self) -> Result<Caller, Box<Answer>> {
        if !self.headers.contains_key(USER_AGENT) {
            let message =
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
            return Err(Box::new(Refusal::new(403, message).into()));
        }
        let mut world = lock(&self.shared.world);
        let authorization = self.headers.get(AUTHORIZATION);
        let caller = world.caller(authorization.map(|value| value.to_str().unwrap_or_default()));
        let caller = caller.map_err(|refusal| Box::new(refusal.into()))?;
        let creates = *self.method == Method::POST;
        let verdict = match self.struck {
            Struck::SecondaryLimit(seconds) => Verdict::Secondary(seconds),
            Struck::PrimaryLimit(_) => Verdict::Primary,
            _ => world.limits.admit(caller, creates),
        };
        let limited = |message: &str| Box::new(Answer::from(Refusal::new(403, message)));
        match verdict {
            Verdict::Pass => Ok(caller),
            Verdict::Primary => {
                let mut answer = limited("API rate limit exceeded for this address.");
                let spent = world.limits.spent(caller);
                let resets_at = match self.struck {
                    Struck::PrimaryLimit(seconds) => now() + seconds,
                    _ => spent.resets_at,
                };
                number(&mut answer.headers, "x-ratelimit-remaining", 0);
                number(&mut answer.headers, "x-ratelimit-reset", resets_at);
                Err(answer)
            }
            Verdict::Secondary(seconds) => {
                let mut answer = limited("You have exceeded a secondary rate limit.");
                number(&mut answer.headers, "retry-after", seconds);
                Err(answer)
            }
        }
    }

    fn limit_headers(&self, headers: &mut HeaderMap, caller: Caller) {
        let spent = lock(&self.shared.world).limits.spent(caller);
        let all = [
            ("x-ratelimit-limit", spent.limit),
            ("x-ratelimit-remaining", spent.limit.saturating_sub(spent.used)),
            ("x-ratelimit-used", spent.used),
            ("x-ratelimit-reset", spent.resets_at),
        ];
        for (name, value) in all {
            if !headers.contains_key(name) {
                number(headers, name, value);
            }
        }
        set(headers, HeaderName::from_static("x-ratelimit-resource"), "core");
    }
}
