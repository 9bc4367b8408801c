//! Connections that nobody else can read, with libpq's meaning of `sslmode`:
//!
//! | mode | the connection | the server's certificate |
//! |---|---|---|
//! | `disable` | plain | |
//! | `allow` | plain, TLS if that is refused | not looked at |
//! | `prefer` | TLS, plain if that is refused | not looked at |
//! | `require` | TLS | not looked at, unless there is a root certificate |
//! | `verify-ca` | TLS | of a CA that is known |
//! | `verify-full` | TLS | the same, for the name of the host |

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::environment;
use crate::error::{Error, Kind, Result};

/// How much is asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plain.
    Disable,
    /// Plain, TLS if that is refused.
    Allow,
    /// TLS, plain if that is refused.
    Prefer,
    /// TLS.
    Require,
    /// TLS with a server whose CA is known.
    VerifyCa,
    /// The same, whose certificate is for the host.
    VerifyFull,
}

impl Mode {
    /// Every mode, the one that asks for least first.
    const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The mode by libpq's name.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text)
    }

    /// libpq's name for it.
    pub const fn name(self) -> &'static str {
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

/// The certificates of the CAs that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system.
    System,
    /// Those of a file.
    File(PathBuf),
}

/// How a connection is kept from others' eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// How much is asked.
    pub mode: Mode,
    /// The known CAs, where they are named.
    pub roots: Option<Roots>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// What makes connections of it.
    pub fn connector(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own_root = environment::own_file("root.crt").filter(|path| path.exists());
        let roots = match (&self.roots, self.mode) {
            (Some(roots), _) => Some(roots.clone()),
            (None, Mode::Disable | Mode::Allow | Mode::Prefer) => None,
            (None, Mode::Require) => own_root.map(Roots::File),
            (None, Mode::VerifyCa | Mode::VerifyFull) => Some(own_root.map(Roots::File).ok_or_else(|| {
                Error::new(Kind::Configuration, "there is no root certificate to hold the server's against")
                    .hint("sslrootcert (or PGSSLROOTCERT) names the file of the CA, or \"system\"; else it is ~/.postgresql/root.crt")
            })?),
        };
        let known = match roots {
            Some(Roots::System) => system()?,
            Some(Roots::File(path)) => read_certificates(&path)?,
            None => Vec::new(),
        };
        let verifier = Verifier {
            checks_chain: !known.is_empty(),
            checks_name: self.mode == Mode::VerifyFull,
            roots: store(&known)?,
            known,
            provider: Arc::clone(&provider),
        };
        let failed = |cause| Error::new(Kind::Configuration, "cannot set up TLS").because(cause);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match self.own()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|cause| {
                Error::new(Kind::Configuration, "the client's certificate and its key do not fit")
                    .because(cause)
            })?,
            None => builder.with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// The client's certificate and key; those of the user's own folder where none are named.
    fn own(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let own = |name| environment::own_file(name).filter(|path: &PathBuf| path.exists());
        let Some(certificate) = self.certificate.clone().or_else(|| own("postgresql.crt")) else {
            return Ok(None);
        };
        let key = self.key.clone().or_else(|| own("postgresql.key")).ok_or_else(|| {
            let text = format!("the certificate {} has no key", certificate.display());
            Error::new(Kind::Configuration, text)
                .hint("sslkey (or PGSSLKEY) names it; else it is ~/.postgresql/postgresql.key")
        })?;
        let metadata = fs::metadata(&key).map_err(|cause| Error::file("read", &key, cause))?;
        // root's may be read by a group, as libpq allows
        let others = if metadata.uid() == 0 { 0o027 } else { 0o077 };
        if metadata.mode() & others != 0 {
            let text = format!("others may read the key {}", key.display());
            return Err(Error::new(Kind::Configuration, text).hint(format!("chmod 600 {}", key.display())));
        }
        let read = PrivateKeyDer::from_pem_file(&key).map_err(|cause| unreadable(&key, cause))?;
        Ok(Some((read_certificates(&certificate)?, read)))
    }
}

fn unreadable(path: &Path, cause: rustls::pki_types::pem::Error) -> Error {
    let text = format!("cannot read {} as PEM", path.display());
    Error::new(Kind::Configuration, text).because(format!("{cause:?}"))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|cause| unreadable(path, cause))?;
    match certificates.is_empty() {
        true => {
            Err(Error::new(Kind::Configuration, format!("there is no certificate in {}", path.display())))
        }
        false => Ok(certificates),
    }
}

fn system() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs().certs;
    match found.is_empty() {
        true => Err(Error::new(Kind::Configuration, "this machine has no CA certificates")
            .hint("install the package ca-certificates, or name a file with sslrootcert")),
        false => Ok(found),
    }
}

fn store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    // among the system's are some that no parser takes
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    match added == 0 && !certificates.is_empty() {
        true => Err(Error::new(Kind::Configuration, "the root certificate is none that is understood")),
        false => Ok(store),
    }
}

/// Holds the server's certificate against what is known, as far as the mode asks.
#[derive(Debug)]
struct Verifier {
    checks_chain: bool,
    checks_name: bool,
    roots: RootCertStore,
    /// A server's own certificate may be among them, signed by itself.
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let is_known = self.known.iter().any(|known| known.as_ref() == end_entity.as_ref());
        if self.checks_chain && !is_known {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.checks_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
