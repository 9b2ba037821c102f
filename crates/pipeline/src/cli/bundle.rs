//! `bundle`: looks into bundles, and splits them.

use std::path::PathBuf;

use bundle::signature::PublicKey;
use clap::Subcommand;

use super::{
    arguments::workspace,
    output::{json, out},
};
use crate::{
    Result,
    inspect::{self, sbom, split},
    system::report::note,
};

/// Looks into bundles, and splits them.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Show what a bundle says of itself
    Inspect {
        /// The bundle, or the list of its parts
        bundle: PathBuf,
        /// Print the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a bundle: every checksum, and the signature if a key is given
    Verify {
        /// The bundle, or the list of its parts
        bundle: PathBuf,
        /// A public key to trust, or its file (repeat for several)
        #[arg(long, value_name = "KEY", value_parser = public_key)]
        trust: Vec<PublicKey>,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Write what the bundles of a release consist of beside them, as CycloneDX: PRODUCT-sbom.cdx.json
    Sbom {
        /// The bundles of one version
        #[arg(required = true, value_name = "BUNDLE")]
        bundles: Vec<PathBuf>,
    },
    /// Cut a bundle into parts beside it, for places that take no file of 2 GiB, and list them in BUNDLE.parts.json
    Split {
        /// The bundle
        bundle: PathBuf,
        /// The largest part in bytes; by default just below GitHub's limit
        #[arg(long, value_name = "BYTES", default_value_t = bundle::parts::DEFAULT_PART_SIZE,
              value_parser = clap::value_parser!(u64).range(1..))]
        size: u64,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show what a device on A needs for B
    Diff {
        /// The bundle that the device is on
        a: PathBuf,
        /// The bundle that it is to get
        b: PathBuf,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn bundle_command(command: BundleCommand) -> Result<()> {
    match command {
        BundleCommand::Inspect { bundle, json: true } => json(&inspect::inspect(&bundle)?.manifest),
        BundleCommand::Inspect { bundle, json: false } => out(inspect::inspect(&bundle)?),
        BundleCommand::Verify {
            bundle,
            trust,
            json: as_json,
        } => {
            let verified = inspect::verify_bundle(&bundle, &trust)?;
            if trust.is_empty() {
                note("warning: no --trust key was given, so nothing vouches for where this bundle comes from");
            }
            if as_json { json(&verified) } else { out(verified) }
        }
        BundleCommand::Split {
            bundle,
            size,
            json: as_json,
        } => {
            let written = split::split_bundle(&bundle, size)?;
            if as_json { json(&written) } else { out(written) }
        }
        BundleCommand::Sbom { bundles } => out(sbom::write_beside(&workspace()?, &bundles)?.display()),
        BundleCommand::Diff { a, b, json: true } => json(&inspect::compare(&a, &b)?.0),
        BundleCommand::Diff { a, b, json: false } => out(inspect::compare(&a, &b)?),
    }
}

/// A public key, or the file of one.
fn public_key(text: &str) -> Result<PublicKey, String> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = std::fs::read_to_string(text)
        .map_err(|error| format!("neither a minisign public key nor the file of one: {error}"))?;
    file.parse().map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::public_key;

    #[test]
    fn keys_and_their_files() {
        let key = bundle::signature::generate(None).unwrap().public().clone();
        assert_eq!(public_key(&key.to_string()).unwrap(), key);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(public_key(path).unwrap_err(), "this is not a minisign public key");
        std::fs::write(path, key.to_file()).unwrap();
        assert_eq!(public_key(path).unwrap(), key);
        let error = public_key("/no/such/key.pub").unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }
}
