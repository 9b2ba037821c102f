//! TLS with the configured certificate, through rustls.
//!
//! A renewed certificate is used within a minute, without a restart; an invalid one leaves the previous one in use.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use device::{Error, Result, config::Web};

/// How often the files are checked for changes.
const CHECK: Duration = Duration::from_secs(60);

/// The certificate in use, with where it comes from.
pub(crate) struct Tls {
    files: [PathBuf; 2],
    acceptor: TlsAcceptor,
    changed: [Option<SystemTime>; 2],
    checked: tokio::time::Instant,
}

impl Tls {
    /// The configured certificate, if there is one.
    pub(crate) fn read(web: &Web) -> Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&web.certificate, &web.key) else {
            return Ok(None);
        };
        let files = [certificate.clone(), key.clone()];
        Ok(Some(Self {
            changed: changed(&files),
            acceptor: acceptor(&files)?,
            files,
            checked: tokio::time::Instant::now(),
        }))
    }

    /// Accepts connections, with the files as they are now.
    pub(crate) fn acceptor(&mut self) -> TlsAcceptor {
        if self.checked.elapsed() >= CHECK {
            self.checked = tokio::time::Instant::now();
            let now = changed(&self.files);
            if now != self.changed {
                match acceptor(&self.files) {
                    Ok(acceptor) => {
                        self.acceptor = acceptor;
                        self.changed = now;
                    }
                    Err(error) => tracing::warn!("the certificate in use stays: {error}"),
                }
            }
        }
        self.acceptor.clone()
    }
}

fn changed(files: &[PathBuf; 2]) -> [Option<SystemTime>; 2] {
    files
        .each_ref()
        .map(|file| std::fs::metadata(file).ok()?.modified().ok())
}

fn acceptor([certificate, key]: &[PathBuf; 2]) -> Result<TlsAcceptor> {
    let content = |path: &PathBuf, message: String| Error::Content {
        path: path.clone(),
        message,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<std::result::Result<Vec<_>, _>>())
        .map_err(|error| content(certificate, format!("is not a certificate chain in PEM: {error}")))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| content(key, format!("is not a private key in PEM: {error}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, private))
        .map_err(|error| content(certificate, format!("cannot be used with its key: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
