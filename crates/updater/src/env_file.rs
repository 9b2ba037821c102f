//! The product's `.env`: keys are read and set, everything else stays as the person left it.
//!
//! One `KEY=value` a line, as Docker Compose reads it ("Environment files"): comments, `export`, single quotes (taken as
//! they are) and double quotes (with backslash escapes). Where a key is there twice, the last one counts.

use std::fmt::Write as _;

/// A value of fewer characters is taken for no secret.
const SHORTEST_SECRET: usize = 8;

/// The text of an environment file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    lines: Vec<String>,
}

impl EnvFile {
    /// Takes the text of a file. Never fails: what makes no sense is kept and ignored.
    pub fn parse(text: &str) -> Self {
        Self {
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The value of `key`, unquoted.
    pub fn get(&self, key: &str) -> Option<String> {
        let value = self.lines.iter().rev().find_map(|line| value_of(line, key))?;
        Some(unquoted(value))
    }

    /// Gives `key` a value: in its place if it is there, at the end otherwise.
    pub fn set(&mut self, key: &str, value: &str) {
        let line = format!("{key}={}", quoted(value));
        match self.lines.iter().rposition(|line| value_of(line, key).is_some()) {
            Some(place) => self.lines[place] = line,
            None => self.lines.push(line),
        }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            // Writing to a String cannot fail.
            writeln!(text, "{line}").ok();
            text
        })
    }

    /// Every value that may be a secret: all but the shortest, which would be found everywhere.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<_> = self
            .lines
            .iter()
            .filter(|line| !line.trim_start().starts_with('#'))
            .filter_map(|line| Some(unquoted(line.split_once('=')?.1)))
            .filter(|value| value.len() >= SHORTEST_SECRET)
            .collect();
        // The longest first, so that no secret hides the rest of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    (name.trim_end() == key).then_some(value)
}

fn unquoted(value: &str) -> String {
    let value = value.trim();
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map_or(rest, |(inner, _)| inner).to_owned();
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut inner = String::new();
        let mut characters = rest.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => match characters.next() {
                    Some('n') => inner.push('\n'),
                    Some(other) => inner.push(other),
                    None => inner.push('\\'),
                },
                other => inner.push(other),
            }
        }
        return inner;
    }
    // An unquoted value ends where a comment begins.
    value.split(" #").next().unwrap_or_default().trim_end().to_owned()
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@+=%".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        format!("\"{escaped}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# written by hand
export DB_PASSWORD=abc # not this
WEBMACS_VERSION=2.0.0

QUOTED='a b # c'
DOUBLE=\"say \\\"hi\\\"\"
WEBMACS_VERSION = 2.0.1
nonsense
";

    #[test]
    fn values_are_read_as_compose_reads_them() {
        let file = EnvFile::parse(TEXT);
        for (key, expected) in [
            ("DB_PASSWORD", Some("abc")),
            ("WEBMACS_VERSION", Some("2.0.1")),
            ("QUOTED", Some("a b # c")),
            ("DOUBLE", Some("say \"hi\"")),
            ("MISSING", None),
        ] {
            assert_eq!(file.get(key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn only_the_line_of_the_key_changes() {
        let mut file = EnvFile::parse(TEXT);
        file.set("WEBMACS_VERSION", "2.1.0");
        file.set("NEW", "x");
        let expected = TEXT.replace("WEBMACS_VERSION = 2.0.1", "WEBMACS_VERSION=2.1.0") + "NEW=x\n";
        assert_eq!(file.text(), expected);
    }

    #[test]
    fn what_is_set_is_read() {
        for value in ["", "plain", "two words", "it's", "a\"b'c\\d$e", "#x", "a #b"] {
            let mut file = EnvFile::default();
            file.set("KEY", value);
            assert_eq!(EnvFile::parse(&file.text()).get("KEY").as_deref(), Some(value));
        }
    }

    #[test]
    fn long_values_are_secrets() {
        let file = EnvFile::parse("A=short\nB='a longer secret'\nC=12345678\n# D=commented out\n");
        assert_eq!(file.secrets(), ["a longer secret", "12345678"]);
    }
}
