//! The backend's settings.
//!
//! The database is given by `DATABASE_URL`, or by `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD` and `DB_NAME`.
//! `WEBMACS_VERSION` is the version that it reports. `SECRET_KEY` is what writers have to show.

use std::time::Duration;

use tokio_postgres::Config;

use crate::environment::{Environment, EnvironmentError};

/// The backend's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach the database.
    pub database: Config,
    /// The product's version.
    pub version: String,
    /// What `POST` has to show as a bearer token; without one, everybody may write.
    pub secret_key: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The database is not given, or not in a form that can be read.
    pub fn read(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            database: database(environment)?,
            version: environment
                .text("WEBMACS_VERSION")
                .unwrap_or_else(|| "unknown".to_owned()),
            secret_key: environment.text("SECRET_KEY"),
        })
    }
}

fn database(environment: &Environment) -> Result<Config, EnvironmentError> {
    let mut config = match environment.text("DATABASE_URL") {
        Some(url) => url.parse().map_err(|_| EnvironmentError::Invalid {
            name: "DATABASE_URL",
            expected: "an address such as postgresql://user:password@host:5432/database",
        })?,
        None => {
            let text = |name, default: &str| environment.text(name).unwrap_or_else(|| default.to_owned());
            let mut config = Config::new();
            config
                .host(text("DB_HOST", "db"))
                .port(environment.parsed("DB_PORT", 5432, "a port number from 1 to 65535")?)
                .user(text("DB_USER", "webmacs"))
                .dbname(text("DB_NAME", "webmacs"))
                .password(environment.required("DB_PASSWORD", "the database user's password")?);
            config
        }
    };
    if config.get_user().is_none() {
        // Else the library asks the system for its user, and a container of one file has none.
        config.user("webmacs");
    }
    config
        .application_name("webmacs-backend")
        .connect_timeout(Duration::from_secs(3))
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(30))
        // An acknowledged write is a durable one, independent of the server's configuration.
        .options("-c synchronous_commit=on -c statement_timeout=15s");
    Ok(config)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn read(variables: &'static [(&str, &str)]) -> Result<Settings, EnvironmentError> {
        Settings::read(&Environment::from_fn(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        }))
    }

    #[test]
    fn the_database_comes_from_parts_or_from_one_address() {
        let parts = read(&[("DB_PASSWORD", "p w"), ("DB_NAME", "plant")]).unwrap().database;
        assert_eq!(parts.get_hosts(), [Host::Tcp("db".to_owned())]);
        assert_eq!(
            (parts.get_user(), parts.get_password()),
            (Some("webmacs"), Some(&b"p w"[..]))
        );
        assert_eq!((parts.get_dbname(), parts.get_ports()), (Some("plant"), &[5432][..]));

        let url = read(&[("DATABASE_URL", "postgresql://u:p@h:1/d")]).unwrap().database;
        assert_eq!(url.get_hosts(), [Host::Tcp("h".to_owned())]);
        assert_eq!(
            (url.get_user(), url.get_dbname(), url.get_ports()),
            (Some("u"), Some("d"), &[1][..])
        );
    }

    #[test]
    fn an_address_without_a_user_means_ours() {
        let url = read(&[("DATABASE_URL", "postgresql://h/d")]).unwrap().database;
        assert_eq!(url.get_user(), Some("webmacs"));
    }

    #[test]
    fn every_connection_asks_for_synchronous_commits() {
        for variables in [&[("DB_PASSWORD", "p")][..], &[("DATABASE_URL", "postgresql://u@h/d")]] {
            let options = read(variables).unwrap().database.get_options().map(str::to_owned);
            assert!(options.unwrap().contains("synchronous_commit=on"));
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let name = |variables| match read(variables).unwrap_err() {
            EnvironmentError::Missing { name, .. } | EnvironmentError::Invalid { name, .. } => name,
        };
        assert_eq!(name(&[]), "DB_PASSWORD");
        assert_eq!(name(&[("DB_PASSWORD", "p"), ("DB_PORT", "x")]), "DB_PORT");
        assert_eq!(name(&[("DATABASE_URL", "mysql://h")]), "DATABASE_URL");
    }
}
