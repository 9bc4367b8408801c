//! TLS, with libpq's meaning of `sslmode`:
//!
//! | mode | the connection | the server's certificate |
//! |---|---|---|
//! | `disable` | plain | |
//! | `allow` | plain, or TLS if the server refuses that | not checked |
//! | `prefer` | TLS, or plain if the server refuses that | not checked |
//! | `require` | TLS | checked only if there is a root certificate |
//! | `verify-ca` | TLS | must be signed by a trusted CA |
//! | `verify-full` | TLS | must also match the host name |

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
use super::handshake::{CertificateFault, Connector, HandshakeProgress, HandshakeStage};
use crate::error::{Error, Kind, Result};

/// The TLS mode of a connection (`sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Without TLS.
    Disable,
    /// Without TLS, or with TLS if the server refuses that.
    Allow,
    /// With TLS, or without TLS if the server refuses that.
    Prefer,
    /// With TLS. The server's certificate is checked only if there is a root certificate.
    Require,
    /// With TLS. The server's certificate must be signed by a trusted CA.
    VerifyCa,
    /// Like [`Mode::VerifyCa`], and the certificate must also match the host name.
    VerifyFull,
}

impl Mode {
    /// All modes, from the weakest to the strictest.
    const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The mode that libpq calls `text`.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text)
    }

    /// libpq's name of the mode.
    pub(crate) const fn name(self) -> &'static str {
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

/// The source of the trusted CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The CA certificates of the system.
    System,
    /// The CA certificates in a PEM file.
    File(PathBuf),
}

/// The TLS settings of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The required encryption and checks.
    pub(crate) mode: Mode,
    /// The trusted CAs, if the user set them.
    pub(crate) roots: Option<Roots>,
    /// The file of the client's certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// The file of the client's key.
    pub(crate) key: Option<PathBuf>,
}

impl Tls {
    /// Builds the TLS connector for the driver.
    pub(crate) fn connector(&self) -> Result<Connector> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let default_root = environment::own_file("root.crt").filter(|path| path.exists());
        let roots = match (&self.roots, self.mode) {
            (Some(roots), _) => Some(roots.clone()),
            (None, Mode::Disable | Mode::Allow | Mode::Prefer) => None,
            (None, Mode::Require) => default_root.map(Roots::File),
            (None, Mode::VerifyCa | Mode::VerifyFull) => Some(default_root.map(Roots::File).ok_or_else(|| {
                Error::new(Kind::Configuration, "cannot verify the server's certificate")
                    .because("there is no root certificate")
                    .hint("set sslrootcert (or PGSSLROOTCERT) to the file of the CA or to \"system\", or create ~/.postgresql/root.crt")
            })?),
        };
        let trusted = match roots {
            Some(Roots::System) => system_certificates()?,
            Some(Roots::File(path)) => read_certificates(&path)?,
            None => Vec::new(),
        };
        let progress = HandshakeProgress::default();
        let verifier = Verifier {
            progress: progress.clone(),
            checks_chain: !trusted.is_empty(),
            checks_name: self.mode == Mode::VerifyFull,
            roots: store(&trusted)?,
            trusted,
            provider: Arc::clone(&provider),
        };
        let failed = |cause| Error::new(Kind::Configuration, "cannot set up TLS").because(cause);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match self.client_certificate()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|cause| {
                Error::new(Kind::Configuration, "cannot use the client's certificate with its key")
                    .because(cause)
            })?,
            None => builder.with_no_client_auth(),
        };
        Ok(Connector { inner: MakeRustlsConnect::new(config), progress })
    }

    /// Reads the client's certificate and key: the named files, else those in `~/.postgresql`, if they exist.
    fn client_certificate(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
        let default_file = |name| environment::own_file(name).filter(|path: &PathBuf| path.exists());
        let Some(certificate) = self.certificate.clone().or_else(|| default_file("postgresql.crt")) else {
            return Ok(None);
        };
        let key = self.key.clone().or_else(|| default_file("postgresql.key")).ok_or_else(|| {
            let text = format!("missing key for the certificate {}", certificate.display());
            Error::new(Kind::Configuration, text).hint(
                "set sslkey (or PGSSLKEY) to the file of the key, or create ~/.postgresql/postgresql.key",
            )
        })?;
        let metadata = fs::metadata(&key).map_err(|cause| Error::file("read", &key, cause))?;
        // a key that root owns may be readable by its group, as in libpq
        let forbidden_bits = if metadata.uid() == 0 { 0o027 } else { 0o077 };
        if metadata.mode() & forbidden_bits != 0 {
            let text = format!("other users can access the key {}", key.display());
            let hint = format!("run 'chmod 600 {}'", key.display());
            return Err(Error::new(Kind::Configuration, text).hint(hint));
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
        true => Err(Error::new(Kind::Configuration, format!("no certificate in {}", path.display()))),
        false => Ok(certificates),
    }
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs().certs;
    match found.is_empty() {
        true => Err(Error::new(Kind::Configuration, "cannot find the CA certificates of this machine")
            .hint("install the package ca-certificates, or set sslrootcert to a file")),
        false => Ok(found),
    }
}

fn store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    // some of the system's certificates cannot be parsed
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    match added == 0 && !certificates.is_empty() {
        true => Err(Error::new(Kind::Configuration, "cannot parse the root certificate")),
        false => Ok(store),
    }
}

/// Checks the server's certificate against the trusted CAs, as far as the mode requires.
#[derive(Debug)]
struct Verifier {
    checks_chain: bool,
    checks_name: bool,
    roots: RootCertStore,
    /// The trusted certificates. The server's own, self-signed certificate may be one of them.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// Records why a certificate was refused.
    progress: HandshakeProgress,
}

impl Verifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let is_trusted = self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref());
        if self.checks_chain && !is_trusted {
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
        Ok(())
    }
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
        self.check(end_entity, intermediates, server_name, now)
            .inspect_err(|error| self.progress.reach(HandshakeStage::Refused(CertificateFault::of(error))))?;
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
