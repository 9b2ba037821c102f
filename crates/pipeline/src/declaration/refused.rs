//! Turns what serde refuses into a [`Problem`] with the key's path, what was expected and the nearest name.

use super::{nearest::nearest, raw::ROOT};
use crate::Problem;

/// The problem behind a value that does not have the declaration's shape.
pub(super) fn problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let message = error.inner().to_string();
    let mut subject = if path == "." {
        ROOT.to_owned()
    } else {
        format!("{ROOT}.{path}")
    };
    // serde words these: "unknown field `a`, expected one of `b`, `c`" and "unknown variant `a`, …".
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"]
        .iter()
        .find(|start| message.starts_with(**start));
    let (Some(unknown), Some(name)) = (unknown, quoted.next()) else {
        return Problem::error(subject, message);
    };
    let expected: Vec<_> = quoted.collect();
    let what = if *unknown == "unknown field" { "key" } else { "value" };
    if what == "key" && !subject.ends_with(&format!(".{name}")) {
        subject = format!("{subject}.{name}");
    }
    let problem = Problem::error(
        subject,
        format!("unknown {what} \"{name}\", expected one of: {}", expected.join(", ")),
    );
    match nearest(name, expected.iter().copied()) {
        Some(right) => problem.hint(format!("did you mean `{right}`?")),
        None => problem.hint(format!("remove it, or write one of these {what}s")),
    }
}
