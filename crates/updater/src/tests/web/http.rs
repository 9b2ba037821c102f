//! One HTTP call at a time, without any library that the server uses.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// A call that was not sent yet.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) address: SocketAddr,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Call {
    pub(super) fn new(address: SocketAddr, method: &'static str, path: &str) -> Self {
        Self {
            address,
            method,
            path: path.to_owned(),
            headers: vec![("host".to_owned(), address.to_string())],
            body: None,
        }
    }

    /// Adds a header, or replaces the one of that name.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn body(mut self, kind: &str, bytes: &[u8]) -> Self {
        self.body = Some(bytes.to_vec());
        self.header("content-type", kind)
    }

    pub(super) fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string().as_bytes())
    }

    /// A form with a file.
    pub(super) fn form(self, name: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let form = [head.as_bytes(), bytes, b"\r\n--edge--\r\n"].concat();
        self.body("multipart/form-data; boundary=edge", &form)
    }

    /// The bytes of the head, and the length of the body in it.
    pub(super) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.headers.iter().any(|(name, _)| name == "content-length");
        if !has_length && (self.body.is_some() || self.method != "GET") {
            head.push_str(&format!(
                "content-length: {}\r\n",
                self.body.as_ref().map_or(0, Vec::len)
            ));
        }
        head + "\r\n"
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(super) fn send(&self) -> Answer {
        let mut stream = self.connect();
        stream.write_all(self.head().as_bytes()).unwrap();
        // Who is refused early may not get rid of all of it.
        stream.write_all(self.body.as_deref().unwrap_or_default()).ok();
        Answer::read(&mut stream)
    }
}

impl Answer {
    /// Reads what comes until the connection ends.
    pub(super) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer but `{text}`: {end:?}"));
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}
