//! This machine's apt sources, and the same mirrors with another suite's name.
//!
//! Reads both forms that apt takes (`*.sources` stanzas and one-line `*.list`), and keeps only what names this
//! machine's own suite: that is Debian itself, its updates and security; other vendors' archives use other suites.
//! Parsers take text, [`of_machine`] reads the files. Options other than `Signed-By` are not carried over.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

/// One archive with the suites of it that this machine uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The mirrors.
    pub(super) uris: String,
    /// What comes after the machine's code name in each suite: empty, `-updates` or `-security`.
    pub(super) pockets: Vec<String>,
    /// The components.
    pub(super) components: String,
    /// The keyring or the key that signs it, as it was written.
    pub(super) signed_by: Option<String>,
}

/// Reads the sources below `root` (`/`), for the suite that its `etc/os-release` names.
///
/// # Errors
/// The machine is not a Debian, or none of its sources names its suite.
pub(super) fn of_machine(root: &Path) -> Result<Vec<Source>> {
    const HINT: &str =
        "hint: setup prepares Debian machines; elsewhere install Docker with buildx, and arm64 emulation";
    let release = fs::read_to_string(root.join("etc/os-release"))
        .with_context(|| format!("cannot tell which system this is\n{HINT}"))?;
    let codename =
        codename(&release).with_context(|| format!("this system has no code name in /etc/os-release\n{HINT}"))?;
    let mut found = Vec::new();
    let apt = root.join("etc/apt");
    if let Ok(text) = fs::read_to_string(apt.join("sources.list")) {
        found.extend(parse_one_line(&text, codename));
    }
    let mut parts: Vec<_> = fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    parts.sort();
    for path in parts {
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_one_line,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        found.extend(parse(&text, codename));
    }
    ensure!(
        !found.is_empty(),
        "no apt source of this machine names its suite `{codename}`\nhint: add Debian's archive to /etc/apt/sources.list"
    );
    Ok(found)
}

/// The sources of `suite`, as deb822 text. An unstable suite has no updates and no security archive.
pub(super) fn render(sources: &[Source], suite: &str) -> String {
    let mut text = String::new();
    for source in sources {
        let pockets = source
            .pockets
            .iter()
            .filter(|pocket| suite != "sid" || pocket.is_empty());
        let suites: Vec<_> = pockets.map(|pocket| format!("{suite}{pocket}")).collect();
        if suites.is_empty() {
            continue;
        }
        let Source {
            uris,
            components,
            signed_by,
            ..
        } = source;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Types: deb\nURIs: {uris}\nSuites: {}\nComponents: {components}",
            suites.join(" ")
        );
        if let Some(key) = signed_by {
            let _ = writeln!(text, "Signed-By: {key}");
        }
        text.push('\n');
    }
    text
}

/// The code name in the text of an `os-release` file.
fn codename(release: &str) -> Option<&str> {
    release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
}

/// The part of `suite` after `codename`, if it is that suite or one of its pockets.
fn pocket<'a>(suite: &'a str, codename: &str) -> Option<&'a str> {
    let rest = suite.strip_prefix(codename)?;
    matches!(rest, "" | "-updates" | "-security").then_some(rest)
}

/// Reads one-line sources: `deb [options] uri suite component…`.
fn parse_one_line(text: &str, codename: &str) -> Vec<Source> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter_map(|line| one_line(line, codename)).collect()
}

fn one_line(line: &str, codename: &str) -> Option<Source> {
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let components: Vec<_> = words.collect();
    if components.is_empty() {
        return None;
    }
    Some(Source {
        uris: uri.to_owned(),
        pockets: vec![pocket(suite, codename)?.to_owned()],
        components: components.join(" "),
        signed_by: signed_by.map(|key| key.replace(',', " ")),
    })
}

/// Reads deb822 sources: stanzas of `Field: value`, lines that go on being indented.
fn parse_deb822(text: &str, codename: &str) -> Vec<Source> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .split(|line| line.trim().is_empty())
        .filter_map(|stanza| deb822(stanza, codename))
        .collect()
}

fn deb822(stanza: &[&str], codename: &str) -> Option<Source> {
    let field = |name: &str| {
        let start = stanza.iter().position(|line| {
            line.split_once(':')
                .is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
        })?;
        let (_, first) = stanza[start].split_once(':')?;
        let more = stanza[start + 1..]
            .iter()
            .take_while(|line| line.starts_with([' ', '\t']));
        Some(more.fold(first.trim().to_owned(), |value, line| value + "\n" + line))
    };
    let words = |name: &str| field(name).map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
    let is_off = words("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if is_off || !words("Types")?.split(' ').any(|kind| kind == "deb") {
        return None;
    }
    let suites = words("Suites")?;
    let pockets: Vec<_> = suites
        .split(' ')
        .filter_map(|suite| pocket(suite, codename))
        .map(str::to_owned)
        .collect();
    if pockets.is_empty() {
        return None;
    }
    Some(Source {
        uris: words("URIs")?,
        pockets,
        components: words("Components")?,
        signed_by: field("Signed-By"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sources: &[Source], suite: &str, expected: &str) {
        assert_eq!(render(sources, suite), expected);
    }

    const STANZAS: &str = "\
Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://vendor.example/deb
Suites: nodistro
Components: main

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";

    #[test]
    fn deb822_keeps_the_machines_own_suite() {
        check(
            &parse_deb822(STANZAS, "bookworm"),
            "trixie",
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n\
             Components: main contrib\nSigned-By: /keys/debian.gpg\n\n\
             Types: deb\nURIs: http://mirror.example/security\nSuites: trixie-security\nComponents: main\n\
             Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n",
        );
    }

    #[test]
    fn sid_has_no_pockets() {
        check(
            &parse_deb822(STANZAS, "bookworm"),
            "sid",
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main contrib\n\
             Signed-By: /keys/debian.gpg\n\n",
        );
    }

    #[test]
    fn one_line_sources_keep_their_key() {
        let text = "# deb http://off.example bookworm main\n\
                    deb [arch=amd64 signed-by=/keys/debian.gpg] http://mirror.example/debian bookworm main non-free # x\n\
                    deb-src http://mirror.example/debian bookworm main\n\
                    deb http://vendor.example/deb stable main\n";
        check(
            &parse_one_line(text, "bookworm"),
            "sid",
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main non-free\n\
             Signed-By: /keys/debian.gpg\n\n",
        );
    }

    #[test]
    fn a_machine_without_debian_sources_is_reported() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/apt")).unwrap();
        fs::write(
            root.path().join("etc/os-release"),
            "ID=debian\nVERSION_CODENAME=bookworm\n",
        )
        .unwrap();
        fs::write(
            root.path().join("etc/apt/sources.list"),
            "deb http://mirror.example/x trixie main\n",
        )
        .unwrap();
        let error = of_machine(root.path()).unwrap_err().to_string();
        assert!(error.contains("`bookworm`") && error.contains("hint: "), "{error}");
    }
}
