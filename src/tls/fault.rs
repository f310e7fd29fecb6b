//! Why there is no authority to intercept with, and why a handshake with a client did not end well.

use std::io;
use std::path::PathBuf;

use super::alert_name;
use super::client_hello::HelloFault;
use super::issue::IssueFault;
use crate::secret::SecretFault;

/// Why there is no authority to intercept with.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// One of the two files is there, the other is not.
    #[error("`{}` is there but `{}` is not; restore it, or move the first away to have both made anew", present.display(), missing.display())]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// Both files are there, and were asked to be made.
    #[error("`{}` is there already and is not overwritten; clients may trust it", .0.display())]
    Exists(PathBuf),
    /// The certificate cannot be read or written.
    #[error("cannot use certificate file `{}`", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFault),
    /// The file holds no certificate that can be read.
    #[error("`{}` holds no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key that can be read.
    #[error("`{}` holds no PEM private key of a kind that is supported (ECDSA, Ed25519, RSA)", .0.display())]
    NoKey(PathBuf),
    /// A server's certificate, for instance.
    #[error("the certificate in `{}` may not sign others (no basicConstraints CA)", .0.display())]
    NotAnAuthority(PathBuf),
    /// The two files do not belong together.
    #[error("the key in `{}` is not the one of the certificate in `{}`", key.display(), certificate.display())]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// It has expired, or the machine's clock is wrong.
    #[error("the certificate in `{}` is not valid now; move it and its key away to have both made anew", .0.display())]
    NotValidNow(PathBuf),
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueFault),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Why an authority cannot be rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationFault {
    /// The present authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// Another authority certified it: the next one has to come from there too.
    #[error("the authority in `{}` is certified by another one; have that one certify the next", .0.display())]
    Subordinate(PathBuf),
    /// A next authority is published already.
    #[error("`{}` holds the next authority already; `tasrih ca rotate --finish` lets it take over", .0.display())]
    UnderWay(PathBuf),
    /// No next authority is published.
    #[error("`{}` holds no next authority; `tasrih ca rotate` makes one", .0.display())]
    NotBegun(PathBuf),
    /// A file cannot be written or renamed.
    #[error("cannot replace `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueFault),
}

/// Why a handshake with a client did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AcceptFault {
    /// The first message is no ClientHello.
    #[error(transparent)]
    Hello(#[from] HelloFault),
    /// The client refused with this alert: `unknown_ca`, `bad_certificate` …
    #[error("the client refused the handshake with `{0}`")]
    Alert(String),
    /// The client offers nothing newer than TLS 1.1.
    #[error("the client offers no TLS version from 1.2 on")]
    TooOld,
    /// The client asks for another name than the one that it connected for.
    #[error("the server name in the ClientHello is not the host of the CONNECT")]
    OtherName,
    /// The client's own certificate is missing, of no authority that vouches for clients, ended or revoked.
    #[error("the client's certificate is missing or is not accepted")]
    ClientCertificate,
    /// The two sides have no cipher or protocol in common, or the client broke the protocol.
    #[error("the handshake failed: {0}")]
    Protocol(String),
    /// The client closed in the middle of the handshake, as some do that do not trust a certificate.
    #[error("the client closed the connection in the middle of the handshake")]
    Closed,
    /// The connection failed.
    #[error("the connection failed in the middle of the handshake")]
    Io(#[source] io::Error),
    /// The leaf could not be made.
    #[error(transparent)]
    Issue(#[from] IssueFault),
}

impl AcceptFault {
    /// The alert that the client sent, by its name in RFC 8446 §6.
    pub fn alert(&self) -> Option<&str> {
        if let AcceptFault::Alert(name) = self { Some(name) } else { None }
    }

    /// The client does not trust the authority: it said so with one of the alerts that stacks use for it.
    pub fn is_distrust(&self) -> bool {
        self.alert().is_some_and(AcceptFault::tells_distrust)
    }

    /// Whether stacks use this alert for a certificate that they do not trust.
    pub fn tells_distrust(alert: &str) -> bool {
        ["unknown_ca", "bad_certificate", "certificate_unknown", "certificate_unobtainable"].contains(&alert)
    }

    /// What went wrong in a word of a closed list, for the log of operation: the whole sentence may quote the client.
    pub fn word(&self) -> &'static str {
        match self {
            AcceptFault::Hello(_) => "no-client-hello",
            AcceptFault::Alert(_) if self.is_distrust() => "distrust",
            AcceptFault::Alert(_) => "alert",
            AcceptFault::TooOld => "tls-too-old",
            AcceptFault::OtherName => "other-name",
            AcceptFault::ClientCertificate => "client-certificate",
            AcceptFault::Protocol(_) => "protocol",
            AcceptFault::Closed => "closed",
            AcceptFault::Io(_) => "connection",
            AcceptFault::Issue(_) => "no-certificate",
        }
    }

    /// Tells what went wrong from the error that tokio-rustls wraps.
    pub(super) fn from_tls(error: io::Error) -> AcceptFault {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => AcceptFault::Alert(alert_name(*alert)),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                AcceptFault::ClientCertificate
            }
            Some(other) => AcceptFault::Protocol(other.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => AcceptFault::Closed,
            None => AcceptFault::Io(error),
        }
    }
}
