//! Errors of publishing, each with its fix.

use thiserror::Error;

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Neither the declaration nor the environment names a repository.
    #[error("no repository is declared to publish in")]
    NoRepository,
    /// `GITHUB_REPOSITORY` has another form.
    #[error("GITHUB_REPOSITORY is \"{0}\", expected \"owner/name\"")]
    BadRepository(String),
    /// The declaration and the environment disagree.
    #[error("{declared} is declared, but GITHUB_REPOSITORY is {given}")]
    TwoRepositories {
        /// What is declared.
        declared: String,
        /// What the environment says.
        given: String,
    },
    /// `GITHUB_API_URL` is no address.
    #[error("GITHUB_API_URL is \"{0}\", expected an address like https://api.github.com")]
    BadAddress(String),
    /// There is no token.
    #[error("there is no token for GitHub")]
    NoToken,
    /// The token cannot be sent.
    #[error("the token for GitHub has characters that no token has")]
    BadToken,
    /// GitHub does not know the token.
    #[error("GitHub does not accept the token: {0}")]
    Unauthorized(String),
    /// The token must not do this.
    #[error("the token may not {action} in {repository}: {message}")]
    Forbidden {
        /// What was tried.
        action: &'static str,
        /// The repository.
        repository: String,
        /// What GitHub said.
        message: String,
    },
    /// There is no such repository, as far as the token can see.
    #[error("GitHub has no repository {0}, or the token cannot see it")]
    NoSuchRepository(String),
    /// The version's tag is not at GitHub.
    #[error("{repository} has no tag {tag}")]
    NoTag {
        /// The tag.
        tag: String,
        /// The repository.
        repository: String,
    },
    /// The version's tag is on another commit than the bundles were made from.
    #[error("the tag {tag} at GitHub is on {tagged}, but the bundles were made from {commit}")]
    TagElsewhere {
        /// The tag.
        tag: String,
        /// Its commit.
        tagged: String,
        /// The bundles' commit.
        commit: String,
    },
    /// A release of this version is published, with other content.
    #[error("{tag} is published already, and differs: {}", differences.join(", "))]
    Published {
        /// The tag.
        tag: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// A bundle holds what must not be published.
    #[error("{bundle} cannot be published: {message}")]
    NotForPublishing {
        /// The bundle's file.
        bundle: String,
        /// Why not.
        message: String,
        /// The fix.
        hint: &'static str,
    },
    /// The files do not belong together.
    #[error("{0}")]
    Mixed(String),
    /// A platform is declared, and in none of the bundles.
    #[error("no bundle is for {0}, which is declared")]
    Incomplete(String),
    /// GitHub would store the file under another name, or not at all.
    #[error("{name} cannot be an asset: {message}")]
    Asset {
        /// The file's name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// GitHub refused a request for another reason.
    #[error("cannot {action}: GitHub answered {status}: {message}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The status.
        status: u16,
        /// What GitHub said.
        message: String,
    },
    /// It went on failing for longer than there was patience for.
    #[error("cannot {action}: {message} ({attempts} attempts)")]
    GaveUp {
        /// What was tried.
        action: &'static str,
        /// What came of it the last time.
        message: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The limit on requests lasts too long to wait for.
    #[error("cannot {action}: GitHub allows no request for another {seconds} s")]
    Limited {
        /// What was tried.
        action: &'static str,
        /// How long.
        seconds: u64,
    },
}

impl PublishError {
    /// Whether nothing was asked of GitHub yet.
    pub(crate) fn is_ours(&self) -> bool {
        use PublishError as E;
        !matches!(
            self,
            E::Unauthorized(_)
                | E::Forbidden { .. }
                | E::NoSuchRepository(_)
                | E::Published { .. }
                | E::Refused { .. }
                | E::GaveUp { .. }
                | E::Limited { .. }
        )
    }

    /// What the person can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        use PublishError as E;
        Some(match self {
            E::NoRepository => {
                "declare `repository = \"owner/name\"` in [workspace.metadata.release], or set GITHUB_REPOSITORY"
            }
            E::TwoRepositories { .. } => "a fork declares its own repository before it releases",
            E::NoToken => "set GITHUB_TOKEN to a token that may write this repository's contents",
            E::BadToken | E::Unauthorized(_) => {
                "make a new token, and set GITHUB_TOKEN to it, without quotes or spaces"
            }
            E::Forbidden { .. } => "the token needs the permission `contents: write`",
            E::NoSuchRepository(_) => {
                "correct `repository` in [workspace.metadata.release], or give the token access to it"
            }
            E::NoTag { .. } => "git tag it on the released commit, and git push origin the tag",
            E::TagElsewhere { .. } => "check out the tagged commit and release it, or choose another version",
            E::Published { .. } => "what is published stays as it is: release these bundles as a new version",
            E::NotForPublishing { hint, .. } => hint,
            E::Incomplete(_) => {
                "give all bundles of the version: a release is for all declared platforms or not at all"
            }
            E::Asset { .. } => "rename the file: letters, digits, `.`, `-`, `_` and `+`",
            E::GaveUp { .. } | E::Limited { .. } => "run the same command again later: it goes on from here",
            E::BadRepository(_) | E::BadAddress(_) | E::Mixed(_) | E::Refused { .. } => return None,
        })
    }
}
