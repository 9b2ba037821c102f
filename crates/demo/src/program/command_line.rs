//! The command line: at most one word.

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Serve,
    Healthcheck,
    Version,
    Help,
}

impl Command {
    /// Reads the arguments after the program's name; the error is the unknown argument.
    pub(super) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let command = match arguments.next().as_deref() {
            None | Some("serve") => Self::Serve,
            Some("healthcheck") => Self::Healthcheck,
            Some("--version" | "-V") => Self::Version,
            Some("--help" | "-h") => Self::Help,
            Some(unknown) => return Err(unknown.to_owned()),
        };
        arguments.next().map_or(Ok(command), Err)
    }
}

pub(super) fn help(name: &str) -> String {
    format!(
        "usage: {name} [serve | healthcheck | --version | --help]\n\n\
         serve        serve until SIGTERM (the default)\n\
         healthcheck  ask the one that runs here; exit code 0 healthy, 1 not\n\n\
         Settings come from the environment: PORT, LOG_LEVEL, and those of docker-compose.prod.yml.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_at_most() {
        let parse = |words: &[&str]| Command::parse(words.iter().map(ToString::to_string));
        assert_eq!(parse(&[]), Ok(Command::Serve));
        assert_eq!(parse(&["healthcheck"]), Ok(Command::Healthcheck));
        assert_eq!(parse(&["-V"]), Ok(Command::Version));
        assert_eq!(parse(&["healthchek"]), Err("healthchek".to_owned()));
        assert_eq!(parse(&["serve", "now"]), Err("now".to_owned()));
    }
}
