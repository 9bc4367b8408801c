//! The connection to a PostgreSQL server, and the statements sent over it.

pub(crate) mod environment;
pub(crate) mod failure;
pub(crate) mod handshake;
pub mod identifier;
pub(crate) mod libpq;
pub(crate) mod locks;
pub(crate) mod parameters;
pub(crate) mod password;
pub(crate) mod pooler;
pub(crate) mod script;
pub(crate) mod session;
pub mod settings;
pub(crate) mod statement;
pub(crate) mod tls;
pub(crate) mod url;
