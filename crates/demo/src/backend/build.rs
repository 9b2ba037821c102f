//! What is decided when the backend is built: its schema revision, and faults for tests of updates.
//!
//! Both are arguments of the Dockerfile, read by `src/bin/backend.rs` alone: the library, and with it the other
//! programs, are the same in every build. They let one source tree represent several releases:
//!
//! | `DEMO_SCHEMA` | the release |
//! |---|---|
//! | `1` | the first one |
//! | `2` | writes a new column that revision 1 can live with: rolling back touches no data |
//! | `3` (default) | needs that column: revision 2 still works on it, revision 1 does not |
//!
//! | `DEMO_FAULT` | the release |
//! |---|---|
//! | `none` (default) | works |
//! | `unhealthy` | answers, but `/health` is 503 for ever |
//! | `crash-loop` | is healthy for five seconds, then ends with exit code 1 |
//! | `bad-migration` | has one more migration, which fails halfway |
//!
//! There is no way to switch a fault on in a build that was made without.

use super::migrations;

/// What is decided when the backend is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The newest schema revision that this build knows, from 1.
    pub schema: i32,
    /// What is wrong with this build.
    pub fault: Fault,
}

/// What is wrong with a build, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// `/health` never becomes good.
    Unhealthy,
    /// It ends some seconds after each start.
    CrashLoop,
    /// Its newest migration fails.
    BadMigration,
}

impl Build {
    /// Reads the two arguments; `None` or an empty text means the default. Meant for `const`, where a wrong
    /// argument is a compile error.
    ///
    /// # Panics
    /// An argument has none of the documented values.
    pub const fn of(schema: Option<&str>, fault: Option<&str>) -> Self {
        let schema = match schema {
            None => migrations::list::NEWEST,
            Some(text) => match text.as_bytes() {
                b"" => migrations::list::NEWEST,
                [digit @ b'1'..=b'9'] if (*digit - b'0') as i32 <= migrations::list::NEWEST => (*digit - b'0') as i32,
                _ => panic!("DEMO_SCHEMA is not the number of a migration"),
            },
        };
        let fault = match fault {
            None => Fault::None,
            Some(text) => match text.as_bytes() {
                b"" | b"none" => Fault::None,
                b"unhealthy" => Fault::Unhealthy,
                b"crash-loop" => Fault::CrashLoop,
                b"bad-migration" => Fault::BadMigration,
                _ => panic!("DEMO_FAULT is none of: none, unhealthy, crash-loop, bad-migration"),
            },
        };
        Self { schema, fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        assert_eq!(
            Build::of(None, None),
            Build {
                schema: migrations::list::NEWEST,
                fault: Fault::None
            }
        );
        assert_eq!(Build::of(Some(""), Some("")), Build::of(None, None));
        assert_eq!(
            Build::of(Some("1"), Some("none")),
            Build {
                schema: 1,
                fault: Fault::None
            }
        );
        assert_eq!(
            Build::of(Some("2"), Some("crash-loop")),
            Build {
                schema: 2,
                fault: Fault::CrashLoop
            }
        );
        assert_eq!(Build::of(None, Some("unhealthy")).fault, Fault::Unhealthy);
        assert_eq!(Build::of(None, Some("bad-migration")).fault, Fault::BadMigration);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (schema, fault) in [("0", ""), ("9", ""), ("12", ""), ("", "Unhealthy")] {
            let build = std::panic::catch_unwind(|| Build::of(Some(schema), Some(fault)));
            assert!(build.is_err(), "{schema} {fault}");
        }
    }
}
