//! A platform that an image is built for: operating system, architecture, variant.
//!
//! Two spellings of one platform must be equal, so that sets and comparisons work: `arm64/v8` is
//! `arm64`, and `arm` is `arm/v7`, as containerd normalises them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform; expected `os/architecture[/variant]`, such as `linux/arm64`")]
pub struct PlatformError(String);

/// A platform, written `linux/amd64`, `linux/arm64` or `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// The operating system in Go's spelling: `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture in Go's spelling: `amd64`, `arm64`, `arm`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant, where the architecture alone does not decide: `v7`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The platform in file names and tags: `arm64`, `arm-v7`.
    #[must_use]
    pub fn suffix(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}-{variant}", self.architecture),
            None => self.architecture.clone(),
        }
    }

    /// The platform of Linux containers on the machine that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError(crate::text::shorten(text))),
        };
        let variant = match (architecture, variant) {
            ("arm64", Some("v8")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        };
        let is_word = |word: &str| {
            (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if [Some(os), Some(architecture), variant]
            .into_iter()
            .flatten()
            .all(is_word)
        {
            Ok(Self {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
            })
        } else {
            Err(PlatformError(crate::text::shorten(text)))
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_platform_are_equal() {
        let check = |text: &str, shown: &str, suffix: &str| {
            let platform: Platform = text.parse().unwrap();
            assert_eq!((platform.to_string(), platform.suffix()), (shown.into(), suffix.into()));
        };
        check("linux/amd64", "linux/amd64", "amd64");
        check("linux/arm64", "linux/arm64", "arm64");
        check("linux/arm64/v8", "linux/arm64", "arm64");
        check("linux/arm", "linux/arm/v7", "arm-v7");
        check("linux/arm/v6", "linux/arm/v6", "arm-v6");
    }

    #[test]
    fn refuses_what_is_no_platform() {
        for text in [
            "",
            "linux",
            "linux/",
            "/arm64",
            "linux/arm64/",
            "Linux/arm64",
            "a/b/c/d",
            "linux/../x",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
