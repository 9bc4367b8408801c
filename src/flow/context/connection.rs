//! The connection settings that a PostgreSQL task declares.

use crate::database::settings::Settings;
use crate::error::Error;
use crate::flow::expression::{Scope, Template};
use crate::flow::yaml::decode::{choices, properties};
use crate::flow::yaml::document::Diagnostic;

properties! {
    /// The connection settings of a task.
    pub(crate) struct Connection as "a connection" {
        /// The database URL; ignored if a database is given for the run.
        "url" => url: Option<Template> = None,
        /// The user name.
        "username" => username: Option<Template> = None,
        /// The password.
        "password" => password: Option<Template> = None,
        /// Whether to require TLS, with a certificate that is valid for the host.
        "ssl" => ssl: bool = false,
        /// How to use TLS.
        "sslMode" => ssl_mode: Option<SslMode> = None,
    }
}

choices! {
    /// How to use TLS.
    pub(crate) enum SslMode {
        /// Never.
        Disable = "DISABLE",
        /// Only if the server refuses other connections.
        Allow = "ALLOW",
        /// If the server supports it.
        Prefer = "PREFER",
        /// Always.
        Require = "REQUIRE",
        /// Always, with a certificate of a known authority.
        VerifyCa = "VERIFY_CA",
        /// Always, with a certificate of a known authority that is valid for the host.
        VerifyFull = "VERIFY_FULL",
    }
}

impl SslMode {
    const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl Connection {
    /// Whether the settings depend on values that do not exist before tasks run.
    pub(crate) fn depends_on_tasks(&self) -> bool {
        let templates = [&self.url, &self.username, &self.password];
        let uses_task_values =
            |text: &str| ["outputs", "taskrun", "parent", "labels"].iter().any(|name| text.contains(name));
        templates.into_iter().flatten().any(|template| uses_task_values(&template.text))
    }

    /// Fills in and parses the settings.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<Settings, Fault> {
        let fill = |template: Option<&_>| template.map(|template| scope.fill(template)).transpose();
        let url = fill(self.url.as_ref()).map_err(Fault::Expression)?.unwrap_or_default();
        let user = fill(self.username.as_ref()).map_err(Fault::Expression)?;
        let password = fill(self.password.as_ref()).map_err(Fault::Expression)?;
        let ssl_mode = self.ssl_mode.or(self.ssl.then_some(SslMode::VerifyFull)).map(SslMode::name);
        Settings::parse_with(&url, user.as_deref(), password.as_deref(), ssl_mode).map_err(|error| {
            Fault::Settings(error.hint(
                "this URL is set in the flow; write it in the form jdbc:postgresql://host:5432/database",
            ))
        })
    }
}

/// Why connection settings cannot be resolved.
pub(crate) enum Fault {
    /// An expression cannot be filled in.
    Expression(Diagnostic),
    /// The filled-in settings are invalid.
    Settings(Error),
}
