//! Settings from environment variables, read once at the start.
//!
//! A variable that is set but empty counts as not set: that is how Compose passes on what `.env` lacks.
//! Values never appear in errors, because some of them are secrets.

use std::str::FromStr;

/// A setting that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A needed variable is not set.
    #[error("environment variable {name} is not set\nhint: set it to {expected}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A variable holds something else than it should.
    #[error("environment variable {name} cannot be read\nhint: set it to {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
}

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where settings come from: the process's environment, or a closure in tests.
pub struct Environment {
    lookup: Box<Lookup>,
}

impl Environment {
    /// The environment of this process. Variables that are not Unicode count as not set.
    pub fn of_process() -> Self {
        Self::from_fn(|name| std::env::var(name).ok())
    }

    /// An environment made of a closure.
    pub fn from_fn(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
        }
    }

    /// The text of `name`, if it is set and not empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The text of `name`, which must be set.
    ///
    /// # Errors
    /// It is not set; `expected` is the hint.
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<String, EnvironmentError> {
        self.text(name).ok_or(EnvironmentError::Missing { name, expected })
    }

    /// The value of `name`, or `default` when it is not set.
    ///
    /// # Errors
    /// It is set to something that is not a `T`; `expected` is the hint.
    pub fn parsed<T: FromStr>(
        &self,
        name: &'static str,
        default: T,
        expected: &'static str,
    ) -> Result<T, EnvironmentError> {
        match self.text(name) {
            Some(text) => text.parse().map_err(|_| EnvironmentError::Invalid { name, expected }),
            None => Ok(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from_fn(|name| match name {
            "PORT" => Some("8000".to_owned()),
            "BAD" => Some("secret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn values_are_parsed_and_defaults_used() {
        assert_eq!(environment().parsed("PORT", 1_u16, "a port"), Ok(8000));
        assert_eq!(environment().parsed("EMPTY", 1_u16, "a port"), Ok(1));
        assert_eq!(environment().parsed("NONE", 1_u16, "a port"), Ok(1));
    }

    #[test]
    fn errors_name_the_variable_and_keep_its_value_secret() {
        let error = environment().parsed("BAD", 1_u16, "a port").unwrap_err().to_string();
        assert_eq!(error, "environment variable BAD cannot be read\nhint: set it to a port");
        let error = environment().required("EMPTY", "a key").unwrap_err().to_string();
        assert_eq!(error, "environment variable EMPTY is not set\nhint: set it to a key");
    }
}
