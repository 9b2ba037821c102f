//! A client without opinions: one request, and all of its answer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends a request; `headers` are added to those that GitHub demands.
pub(crate) fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, Box<dyn std::error::Error>> {
    let mut request = Request::builder().method(method).uri(url).header("user-agent", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (parts, body) = client.request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes().to_vec(),
        })
    })
}

/// An upload that announces a length and ends the connection after `body`; gives the answer as text, until the end.
pub(crate) fn raw(url: &str, length: &str, body: &str) -> String {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: test\r\nauthorization: Bearer writer\r\n\
         content-type: a/b\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    // It fails where the answer came first and the double has closed the connection.
    stream.shutdown(Shutdown::Write).ok();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
