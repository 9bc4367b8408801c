//! The connection to a PostgreSQL server, and the statements sent over it.

pub mod environment;
pub mod failure;
pub mod identifier;
pub mod parameters;
pub mod script;
pub mod session;
pub mod settings;
pub mod statement;
pub mod tls;
