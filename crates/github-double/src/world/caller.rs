//! Who asks, and what they may do.

use super::Refusal;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read public repositories, and private ones too
    Read,
    /// Write their releases as well
    Write,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    Token(Access),
}

impl Caller {
    pub(crate) fn may_write(self) -> Result<(), Refusal> {
        match self {
            Self::Token(Access::Write) => Ok(()),
            Self::Token(Access::Read) => Err(Refusal::new(403, "Resource not accessible by personal access token")),
            Self::Anonymous => Err(Refusal::new(401, "Requires authentication")),
        }
    }

    pub(crate) fn sees_drafts(self) -> bool {
        self == Self::Token(Access::Write)
    }
}
