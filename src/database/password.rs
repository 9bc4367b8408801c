//! A command that prints the password: for tokens that expire, as cloud providers issue them.
//!
//! In: a command line, split into words as a shell splits it, but run without a shell. Out: the first line of its
//! output. The output appears in no message.

use std::convert::Infallible;
use std::fmt;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::error::{Error, Kind, Result};

/// How long a password is used for further sessions. Tokens of cloud providers are valid for 15 minutes or more.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(60);
/// How long the command may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command that prints the password. Clones share the last password.
#[derive(Clone)]
pub(crate) struct PasswordCommand {
    /// The program and its arguments; `None` if the text cannot be split.
    words: Option<Vec<String>>,
    last: Arc<Mutex<Option<LastPassword>>>,
}

struct LastPassword {
    password: String,
    printed_at: Instant,
}

impl PasswordCommand {
    /// Whether the command is empty, as from a variable that is set but empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns the password. Runs the command unless it has printed a password within `max_age`. Concurrent calls
    /// run it once.
    pub(crate) async fn password(&self, max_age: Duration) -> Result<String> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.printed_at.elapsed() < max_age) {
            return Ok(last.password.clone());
        }
        let password = self.run().await?;
        *last = Some(LastPassword { password: password.clone(), printed_at: Instant::now() });
        Ok(password)
    }

    async fn run(&self) -> Result<String> {
        let words = self.words.as_deref().ok_or_else(|| {
            let text = "the password command has a quotation mark that is not closed";
            Error::new(Kind::Configuration, text).hint("check --password-command or TAXI_PASSWORD_COMMAND")
        })?;
        let [program, arguments @ ..] = words else { return Ok(String::new()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |reason: String| {
            let text = format!("the password command {program} failed");
            Error::new(Kind::Authentication, text).because(reason)
        };
        let output = match tokio::time::timeout(TIMEOUT, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(cause)) => {
                let text = format!("cannot run the password command {program}");
                return Err(Error::new(Kind::Configuration, text).because(cause).hint(
                    "set --password-command (or TAXI_PASSWORD_COMMAND) to a program and its arguments; it is run without a shell",
                ));
            }
            Err(_elapsed) => {
                let text = format!("the password command {program} has not ended within {TIMEOUT:?}");
                return Err(Error::new(Kind::Unreachable, text));
            }
        };
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let ended = match output.status.code() {
                Some(code) => format!("it ended with exit code {code}"),
                None => "a signal ended it".to_owned(),
            };
            let separator = if stderr.is_empty() { "" } else { ": " };
            return Err(failed(format!("{ended}{separator}{stderr}")));
        }
        let text =
            String::from_utf8(output.stdout).map_err(|_| failed("its output is not UTF-8".to_owned()))?;
        match text.lines().next().filter(|line| !line.is_empty()) {
            Some(password) => Ok(password.to_owned()),
            None => Err(failed("the first line of its output is empty".to_owned())),
        }
    }
}

impl FromStr for PasswordCommand {
    // the text is checked when it is used: an error of the command line would print it, with the secrets that it may hold
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self { words: shlex::split(text), last: Arc::default() })
    }
}

impl PartialEq for PasswordCommand {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for PasswordCommand {}

impl fmt::Debug for PasswordCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCommand(******)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        let words = |text: &str| text.parse::<PasswordCommand>().unwrap().words;
        let expected = ["vault", "read", "-field=password", "a b"].map(str::to_owned).to_vec();
        assert_eq!(words("vault read -field=password 'a b'"), Some(expected));
        assert_eq!(words("  "), Some(Vec::new()));
        assert_eq!(words("aws 'rds"), None);
    }
}
