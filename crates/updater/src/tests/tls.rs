//! Encrypted connections, to a server whose certificate is of an authority of its own.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use bundle::Platform;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::github::GitHub;
use device::config::github::Settings;
use device::testing::device::Device;

/// Starts a server that knows no releases; its address, and its authority's certificate in PEM form.
fn server() -> (String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut connection) = (stream.unwrap(), ServerConnection::new(config.clone()).unwrap());
            let mut encrypted = Stream::new(&mut connection, &mut stream);
            let mut request = [0; 4096];
            // A client that does not trust us goes away.
            if encrypted.read(&mut request).is_ok() {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";
                encrypted.write_all(answer.as_bytes()).ok();
            }
        }
    });
    (format!("https://{address}"), authority.pem())
}

#[test]
fn a_certificate_is_trusted_if_the_configuration_names_its_authority() {
    let (address, authority) = server();
    let mut device = Device::new();
    let declared = bundle::manifest::GitHub {
        repository: "owner/app".parse().unwrap(),
        api: Some(address),
    };
    let mut settings = Settings::try_from(&declared).unwrap();
    device.config.github = Some(settings.clone());
    let platform = Platform::host();
    let ask = |device: &Device| {
        let github = GitHub::new(&device.config, &device.world, &platform).unwrap();
        github.ask(&mut device.store()).unwrap()
    };
    let (check, fault) = ask(&device);
    let fault = fault.unwrap();
    assert!(
        check.error.unwrap().starts_with("GitHub cannot be reached: "),
        "{fault}"
    );
    assert!(fault.hint().unwrap().contains("ca-certificate"), "{fault}");

    let path = device.config.etc.join("ca.pem");
    std::fs::write(&path, authority).unwrap();
    settings.ca_certificate = Some(path);
    device.config.github = Some(settings);
    let (check, fault) = ask(&device);
    assert_eq!((fault, check.latest), (None, None));
    assert!(check.checked_at.is_some());
}
