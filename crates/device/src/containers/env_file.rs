//! The product's `.env`: keys are read and set, everything else stays as it is.
//!
//! One `KEY=value` a line, as Docker Compose reads it ("Environment files"): comments, `export`, single quotes (taken as
//! they are) and double quotes (with backslash escapes). If a key is there twice, the last one counts.

/// Values of this length count as secrets under any key.
const LONG: usize = 16;

/// Words in keys whose values are secrets.
const SECRET_WORDS: [&str; 5] = ["PASS", "SECRET", "KEY", "TOKEN", "CREDENTIAL"];

/// The text of an environment file, in lines that have their endings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    lines: Vec<String>,
}

impl EnvFile {
    /// Takes the text of a file. Never fails: invalid lines are kept and ignored.
    pub(crate) fn parse(text: &str) -> Self {
        Self {
            lines: text.split_inclusive('\n').map(str::to_owned).collect(),
        }
    }

    /// The value of `key`, unquoted.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let value = self.lines.iter().rev().find_map(|line| value_of(line, key))?;
        Some(unquoted(value))
    }

    /// Gives `key` a value: in its place if it is there, at the end otherwise. No other byte changes.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let line = format!("{key}={}", quoted(value));
        if let Some(old) = self.lines.iter_mut().rfind(|line| value_of(line, key).is_some()) {
            *old = line + ending(old);
            return;
        }
        let ending = match self.lines.first().map(|line| ending(line)) {
            None | Some("") => "\n",
            Some(ending) => ending,
        }
        .to_owned();
        if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push_str(&ending);
        }
        self.lines.push(line + &ending);
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        self.lines.concat()
    }

    /// `text` with every value that may be a secret taken out: long ones, and those whose key says so.
    pub(crate) fn hide_secrets(&self, text: String) -> String {
        let mut secrets: Vec<String> = self
            .lines
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_ascii_uppercase(), unquoted(value)))
            .filter(|(key, value)| {
                let named_so = SECRET_WORDS.iter().any(|word| key.contains(word));
                value.len() >= LONG || named_so && value.len() > 2
            })
            .map(|(_, value)| value)
            .collect();
        // The longest first, so that no secret hides the rest of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text, |text, secret| text.replace(secret, "***"))
    }
}

/// What ends a line: `\n`, `\r\n`, or nothing at the end of the file.
fn ending(line: &str) -> &str {
    &line[line.trim_end_matches(['\r', '\n']).len()..]
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
    fn line_endings_stay_as_they_are() {
        for (text, set, expected) in [
            ("A=1\r\nB=2\r\n", "B=3", "A=1\r\nB=3\r\n"),
            ("A=1\r\nB=2", "A=3", "A=3\r\nB=2"),
            ("A=1\nB=2", "B=3", "A=1\nB=3"),
            ("A=1\r\n\nB=2\n", "A=3", "A=3\r\n\nB=2\n"),
            ("A=1\r\n", "C=3", "A=1\r\nC=3\r\n"),
            ("A=1\r\nB=2", "C=3", "A=1\r\nB=2\r\nC=3\r\n"),
            ("A=1", "C=3", "A=1\nC=3\n"),
            ("", "C=3", "C=3\n"),
        ] {
            assert_eq!(EnvFile::parse(text).text(), text);
            let mut file = EnvFile::parse(text);
            let (key, value) = set.split_once('=').unwrap();
            file.set(key, value);
            assert_eq!(file.text(), expected);
            assert_eq!(file.get(key).as_deref(), Some(value));
        }
        let file = EnvFile::parse("A=1 # one\r\nB='2'\r\nSECRET=\"abc\"\r\nKEY=xyz\r\n");
        for (key, value) in [("A", "1"), ("B", "2"), ("SECRET", "abc"), ("KEY", "xyz")] {
            assert_eq!(file.get(key).as_deref(), Some(value));
        }
        assert_eq!(file.hide_secrets("abc, xyz.".to_owned()), "***, ***.");
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
    fn secrets_are_hidden() {
        let file =
            EnvFile::parse("DB_PASSWORD=hunter2\nSECRET_KEY=\"hunter2hunter2xx\"\nPORT=80\nMY-LONG=0123456789abcdef\n");
        let text = "near \"0123456789abcdef\": hunter2hunter2xx, hunter2, 80".to_owned();
        assert_eq!(file.hide_secrets(text), "near \"***\": ***, ***, 80");
    }
}
