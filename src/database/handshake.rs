//! A TLS connector that records how far the handshake got, which the driver's errors do not report.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why the server's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    /// The certificate is for another host.
    WrongName,
    /// No trusted CA has signed the certificate.
    UnknownIssuer,
    /// Any other reason.
    Other,
}

impl CertificateFault {
    /// The reason for this error of the certificate check.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
        match error {
            rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
                Self::WrongName
            }
            rustls::Error::InvalidCertificate(UnknownIssuer) => Self::UnknownIssuer,
            _ => Self::Other,
        }
    }
}

/// How far the handshake got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HandshakeStage {
    /// The connection failed before the handshake, or the server does not support TLS.
    #[default]
    NotBegun,
    /// The handshake began but has not succeeded.
    Begun,
    /// The certificate was refused.
    Refused(CertificateFault),
    /// The handshake succeeded.
    Done,
}

/// The progress of one connection attempt. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandshakeProgress(Arc<Mutex<HandshakeStage>>);

impl HandshakeProgress {
    /// How far the handshake got.
    pub(crate) fn stage(&self) -> HandshakeStage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the handshake has reached `stage`.
    pub(crate) fn reach(&self, stage: HandshakeStage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

/// The driver's TLS connector, with the progress of its handshake.
pub(crate) struct Connector {
    /// The connector that does the work.
    pub(crate) inner: MakeRustlsConnect,
    /// The progress, which the certificate check updates too.
    pub(crate) progress: HandshakeProgress,
}

/// The connector for one host.
pub(crate) struct HostConnector<T> {
    inner: T,
    progress: HandshakeProgress,
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = HostConnector<<MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect>;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let inner = MakeTlsConnect::<S>::make_tls_connect(&mut self.inner, domain)?;
        self.progress.reach(HandshakeStage::NotBegun);
        Ok(HostConnector { inner, progress: self.progress.clone() })
    }
}

impl<S, T> TlsConnect<S> for HostConnector<T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S, Error = io::Error>,
    T::Future: Send + 'static,
{
    type Stream = T::Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<T::Stream>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let Self { inner, progress } = self;
        progress.reach(HandshakeStage::Begun);
        let handshake = inner.connect(stream);
        Box::pin(async move {
            let secured = handshake.await?;
            progress.reach(HandshakeStage::Done);
            Ok(secured)
        })
    }
}
