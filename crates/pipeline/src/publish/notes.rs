//! The text of a release: what changed, how to install and update this very version, and whose it is.

use std::fmt::Write as _;

use bundle::{Archive, BundleName, names::tag};
use semver::Version;

use super::asset::Asset;

/// GitHub refuses more characters than these.
const LIMIT: usize = 125_000;

/// What the notes speak of.
pub(super) struct Release<'a> {
    pub(super) product: &'a str,
    pub(super) version: &'a Version,
    /// `owner/name`.
    pub(super) repository: &'a str,
    /// Where the repository's page is.
    pub(super) server: &'a str,
    pub(super) changelog: &'a str,
    pub(super) assets: &'a [Asset],
}

/// An invisible comment, by which drafts of this program are known.
pub(super) fn mark(version: &Version) -> String {
    format!("<!-- release of {version}, kept by cargo xtask publish -->")
}

/// Writes the notes. Where they would be too long, the changelog is cut after a line, with a link to all of it.
pub(super) fn write(release: &Release<'_>) -> String {
    let rest = instructions(release);
    let rest = format!("\n\n{rest}\n{}\n", mark(release.version));
    let whole = release.changelog.trim();
    let room = LIMIT.saturating_sub(rest.chars().count());
    if whole.chars().count() <= room {
        return format!("{whole}{rest}").trim_start().to_owned();
    }
    let Release {
        server,
        repository,
        version,
        ..
    } = release;
    let link = format!("{server}/{repository}/commits/{}", tag::of(version));
    let cut = format!("\n\nMore changes than fit here: [all of them]({link})");
    let room = room.saturating_sub(cut.chars().count());
    let end = whole.char_indices().nth(room).map_or(whole.len(), |(index, _)| index);
    let kept = whole[..end].rfind('\n').map_or("", |line| &whole[..line]);
    format!("{}{cut}{rest}", kept.trim_end())
}

/// How to install and to update, for each bundle that is there.
fn instructions(release: &Release<'_>) -> String {
    let Release {
        product,
        version,
        server,
        repository,
        ..
    } = release;
    let downloads = format!("{server}/{repository}/releases/download/{}", tag::of(version));
    let names: Vec<_> = release.assets.iter().map(|asset| asset.name.as_str()).collect();
    let mut files: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(bundle::parts::LIST_ENDING).or(Some(name)))
        .filter(|name| BundleName::is_of_product(name, product))
        .collect();
    files.dedup();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let Some(file) = files.iter().min_by_key(|name| (Archive::of_name(name), name.len())) else {
        return text;
    };
    let in_parts = names.iter().any(|name| *name == bundle::parts::list_name(file));
    let mut get = |what: &str, also: &[&str], then: &str| {
        writeln!(text, "### {what}\n\n```console").ok();
        for name in also {
            writeln!(text, "$ curl -fLO {downloads}/{name}").ok();
        }
        if in_parts {
            let parts = names.iter().filter(|name| name.starts_with(&format!("{file}.part")));
            for part in parts {
                writeln!(text, "$ curl -fLO {downloads}/{part}").ok();
            }
        } else {
            writeln!(text, "$ curl -fLO {downloads}/{file}").ok();
        }
        writeln!(text, "{then}\n```\n").ok();
    };
    let given = if in_parts {
        bundle::parts::list_name(file)
    } else {
        (*file).to_owned()
    };
    if names.contains(&"install.sh") {
        get("Install", &["install.sh"], &format!("$ sudo bash install.sh {given}"));
    }
    let all = if in_parts { format!("{file}.part*") } else { given };
    get("Update", &[], &format!("$ sudo mv {all} /opt/{product}/updates/"));
    if files.len() > 1 {
        writeln!(
            text,
            "Smaller bundles for one platform each are below; they do the same.\n"
        )
        .ok();
    }
    writeln!(
        text,
        "`sha256sum --check --ignore-missing SHA256SUMS` checks what was downloaded."
    )
    .ok();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(changelog: &str, names: &[&str]) -> String {
        let assets: Vec<_> = names.iter().map(|name| Asset::of_bytes(name, vec![1])).collect();
        write(&Release {
            product: "acme",
            version: &Version::new(2, 1, 0),
            repository: "acme/web",
            server: "https://github.com",
            changelog,
            assets: &assets,
        })
    }

    #[test]
    fn notes_tell_what_changed_and_what_to_type() {
        let text = notes(
            "### Added\n\n- export\n",
            &[
                "acme-update-2.1.0.tar.gz",
                "acme-update-2.1.0-arm64.tar.gz",
                "install.sh",
                "SHA256SUMS",
            ],
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_bundle_in_parts_is_fetched_in_parts() {
        let text = notes(
            "",
            &[
                "acme-update-2.1.0.tar.gz.part-001",
                "acme-update-2.1.0.tar.gz.parts.json",
            ],
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_too_long_is_cut_after_a_line_with_a_link() {
        let line = format!("- {}\n", "ä".repeat(97));
        let text = notes(&line.repeat(1300), &["acme-update-2.1.0.tar.gz", "SHA256SUMS"]);
        assert!(text.chars().count() <= LIMIT, "{}", text.chars().count());
        assert!(text.chars().count() > LIMIT - 200);
        assert!(
            text.contains("ä\n\nMore changes than fit here: [all of them](https://github.com/acme/web/commits/v2.1.0)")
        );
        assert!(text.ends_with(&format!("{}\n", mark(&Version::new(2, 1, 0)))));
    }
}
