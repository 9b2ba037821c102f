//! Problems: what a check finds, and the fix.
//!
//! Checks collect [`Problem`]s instead of stopping at the first, so that everything that has to be done is seen at once.
//! Both sides use them: preflight of a release, and preflight of an update.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Work goes on; the person should know.
    Warning,
    /// Work does not start.
    Error,
}

/// One finding of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it blocks.
    pub severity: Severity,
    /// What it is about: a key's path, a file, a tool.
    pub subject: String,
    /// What is wrong, in lower case, without a final dot.
    pub message: String,
    /// The command or edit that fixes it.
    pub hint: Option<String>,
}

impl Problem {
    /// A blocking problem.
    pub fn error(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, subject, message)
    }

    /// A problem that is only reported.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, subject, message)
    }

    /// The same problem with a fix.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it blocks.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The problem where all block, so that the severity is not written.
    #[must_use]
    pub fn without_severity(&self) -> WithoutSeverity<'_> {
        WithoutSeverity(self)
    }

    fn new(severity: Severity, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity,
            subject: subject.into(),
            message: message.into(),
            hint: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.without_severity())
    }
}

/// A [`Problem`] as text or JSON without its severity; JSON has `hint` only where there is one.
#[derive(Clone, Copy, Debug)]
pub struct WithoutSeverity<'a>(&'a Problem);

impl fmt::Display for WithoutSeverity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.subject, self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Serialize for WithoutSeverity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = if self.0.hint.is_some() { 3 } else { 2 };
        let mut problem = serializer.serialize_struct("Problem", fields)?;
        problem.serialize_field("subject", &self.0.subject)?;
        problem.serialize_field("message", &self.0.message)?;
        match &self.0.hint {
            Some(hint) => problem.serialize_field("hint", hint)?,
            None => problem.skip_field("hint")?,
        }
        problem.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json() {
        let problem = Problem::error("disk", "is full").hint("free some space");
        assert_eq!(problem.to_string(), "error: disk: is full\n  hint: free some space");
        assert_eq!(
            serde_json::to_string(&Problem::warning("disk", "is slow")).unwrap(),
            r#"{"severity":"warning","subject":"disk","message":"is slow","hint":null}"#
        );
        let plain = problem.without_severity();
        assert_eq!(plain.to_string(), "disk: is full\n  hint: free some space");
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"subject":"disk","message":"is full","hint":"free some space"}"#
        );
        assert_eq!(
            serde_json::to_string(&Problem::error("disk", "is full").without_severity()).unwrap(),
            r#"{"subject":"disk","message":"is full"}"#
        );
    }
}
