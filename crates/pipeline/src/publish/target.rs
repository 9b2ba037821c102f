//! Where a release goes: repository, token and address, from the declaration and the environment.

use std::fmt;

use bundle::names::RepositoryName;

use super::error::PublishError;
use crate::declaration::Declaration;

/// GitHub itself, where no other address is given.
const GITHUB: &str = "https://api.github.com";

/// A repository and the right to write to it.
#[derive(Clone)]
pub(crate) struct Target {
    /// The API's address, without a slash at its end.
    pub api: String,
    /// Where the repository's pages are.
    pub server: String,
    /// `owner/name`.
    pub repository: String,
    token: String,
}

impl Target {
    /// Finds the target. `variable` gives a variable's value.
    ///
    /// A repository that is declared must be the one that `GITHUB_REPOSITORY` names, if it names one: a fork's workflow
    /// would otherwise publish as the original.
    pub(crate) fn find(
        declaration: &Declaration,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, PublishError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let repository = match (&declaration.repository, variable("GITHUB_REPOSITORY")) {
            (Some(declared), Some(given)) if !declared.as_str().eq_ignore_ascii_case(&given) => {
                return Err(PublishError::TwoRepositories {
                    declared: declared.to_string(),
                    given,
                });
            }
            (Some(repository), _) => repository.to_string(),
            (None, Some(given)) if given.parse::<RepositoryName>().is_ok() => given,
            (None, Some(given)) => return Err(PublishError::BadRepository(given)),
            (None, None) => return Err(PublishError::NoRepository),
        };
        let api = variable("GITHUB_API_URL").unwrap_or_else(|| GITHUB.to_owned());
        let api = api.trim_end_matches('/').to_owned();
        if !api.starts_with("https://") && !api.starts_with("http://") {
            return Err(PublishError::BadAddress(api));
        }
        let token = ["GITHUB_TOKEN", "GH_TOKEN"].iter().find_map(|name| variable(name));
        let token = token.ok_or(PublishError::NoToken)?;
        let token = token.trim().to_owned();
        // A line break or a letter beyond ASCII cannot be sent.
        if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(PublishError::BadToken);
        }
        let server = variable("GITHUB_SERVER_URL").unwrap_or_else(|| match api.as_str() {
            GITHUB => "https://github.com".to_owned(),
            api => api.trim_end_matches("/api/v3").to_owned(),
        });
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            api,
            repository,
            token,
        })
    }

    /// The token, for the one place that sends it.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

/// Without the token.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("api", &self.api)
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::fixture;

    fn find(declared: Option<&str>, variables: &[(&str, &str)]) -> Result<(String, String, String), String> {
        let mut declaration = fixture::declaration();
        if let Some(repository) = declared {
            declaration["repository"] = json!(repository);
        }
        let declaration = fixture::workspace(&declaration).declaration;
        let variable = |name: &str| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        };
        let target = Target::find(&declaration, &variable).map_err(|error| error.to_string())?;
        assert!(!format!("{target:?}").contains("token"), "{target:?}");
        Ok((target.api, target.repository, target.token))
    }

    #[test]
    fn repository_token_and_address() {
        let found =
            |api: &str, repository: &str, token: &str| Ok((api.to_owned(), repository.to_owned(), token.to_owned()));
        assert_eq!(find(Some("a/b"), &[("GITHUB_TOKEN", "t")]), found(GITHUB, "a/b", "t"));
        let enterprise = [
            ("GH_TOKEN", "t\n"),
            ("GITHUB_TOKEN", ""),
            ("GITHUB_REPOSITORY", "A/b"),
            ("GITHUB_API_URL", "https://git.example.com/api/v3/"),
        ];
        assert_eq!(
            find(None, &enterprise),
            found("https://git.example.com/api/v3", "A/b", "t")
        );
        assert_eq!(
            find(Some("a/B"), &enterprise),
            found("https://git.example.com/api/v3", "a/B", "t")
        );
    }

    #[test]
    fn what_is_missing_or_contradicts_itself() {
        let error = |declared, variables: &[(&str, &str)]| find(declared, variables).unwrap_err();
        assert!(error(None, &[("GITHUB_TOKEN", "t")]).contains("no repository"));
        assert!(error(Some("a/b"), &[]).contains("no token"));
        assert!(error(Some("a/b"), &[("GITHUB_TOKEN", "a\nb")]).contains("token"));
        let fork = [("GITHUB_TOKEN", "t"), ("GITHUB_REPOSITORY", "fork/b")];
        assert_eq!(
            error(Some("a/b"), &fork),
            "a/b is declared, but GITHUB_REPOSITORY is fork/b"
        );
        let bad = [("GITHUB_TOKEN", "t"), ("GITHUB_REPOSITORY", "b")];
        assert!(error(None, &bad).contains("owner/name"));
        let bad = [("GITHUB_TOKEN", "t"), ("GITHUB_API_URL", "api.github.com")];
        assert!(error(Some("a/b"), &bad).contains("GITHUB_API_URL"));
    }
}
