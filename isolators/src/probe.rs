//! Tries whether something on this machine answers: a connection, or a GET (reference 6.6). What is tried is in the task's
//! hands, so an answer is read to the end of its head and no further, and that head is bounded.
//!
//! As Mesos does by `curl -L -k`: redirections are followed, and whose certificate a server shows does not matter.

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kaon_kernel::check::{HttpTarget, TcpTarget};
use kaon_kernel::container::ProbeResult;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// The most redirections that are followed; who sends us on more often goes in circles.
const HOPS_MAX: usize = 10;

/// The longest head of an answer in bytes, its status line and all its fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most fields in a head.
const FIELDS_MAX: usize = 100;

fn address(at: TcpTarget) -> SocketAddr {
    let host = if at.is_ipv6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    SocketAddr::new(host, at.port)
}

/// Whether a connection is accepted. Whatever keeps it from that is the same to who asks.
pub(crate) async fn connect(at: TcpTarget) -> ProbeResult {
    ProbeResult::Connected(TcpStream::connect(address(at)).await.is_ok())
}

/// The status that a GET is answered with, after redirections.
pub(crate) async fn ask(target: &HttpTarget) -> Result<ProbeResult, String> {
    let (scheme, at) = (if target.is_secure { "https" } else { "http" }, address(target.at));
    let path = if target.path.is_empty() { "/" } else { &target.path };
    // A fragment is not sent, and Uri takes none.
    let path = path.split('#').next().unwrap_or("/");
    let mut uri: Uri = format!("{scheme}://{at}{path}").parse().map_err(|error| format!("'{path}': {error}"))?;
    for _ in 0..=HOPS_MAX {
        let (status, location) = ask_once(&uri).await?;
        match location.filter(|_| is_elsewhere(status)) {
            Some(location) => uri = follow(&uri, &location)?,
            None => return Ok(ProbeResult::Answered(status.as_u16())),
        }
    }
    Err(format!("more than {HOPS_MAX} redirections"))
}

fn is_elsewhere(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirection leads.
fn follow(from: &Uri, location: &str) -> Result<Uri, String> {
    let failed =
        |error: hyper::http::uri::InvalidUri| format!("a redirection to '{}': {error}", location.escape_debug());
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") {
        return location.parse().map_err(failed);
    }
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let whole = if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    whole.parse().map_err(failed)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Drives a connection as long as its answer is awaited.
struct Driver(JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask_once(uri: &Uri) -> Result<(StatusCode, Option<String>), String> {
    let host = uri.host().ok_or("a redirection names no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(format!("a redirection to '{uri}' is neither HTTP nor HTTPS")),
    };
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let plain =
        TcpStream::connect((host, port)).await.map_err(|error| format!("can't connect to port {port}: {error}"))?;
    let stream: Box<dyn Stream> = if is_secure {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("host '{host}': {error}"))?;
        let connected = TlsConnector::from(tls()?).connect(name, plain).await;
        Box::new(connected.map_err(|error| format!("no TLS: {error}"))?)
    } else {
        Box::new(plain)
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(FIELDS_MAX);
    let failed = |error: hyper::Error| format!("no answer: {error}");
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let _driver = Driver(tokio::spawn(connection));
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority).header(USER_AGENT, "kaon").header(ACCEPT, "*/*");
    let request = request.header(CONNECTION, "close").body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await.map_err(failed)?;
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((answer.status(), location))
}

fn tls() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anyone = Arc::new(Anyone(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.dangerous().with_custom_certificate_verifier(anyone);
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Takes every certificate: a check asks whether its own task answers, not who that is.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_lead_where_a_browser_would_go() {
        let from: Uri = "http://127.0.0.1:80/a/b?c=d".parse().unwrap();
        for (location, to) in [
            ("/x", "http://127.0.0.1:80/x"),
            ("x?y#z", "http://127.0.0.1:80/a/x?y"),
            ("https://other:1/x", "https://other:1/x"),
            ("//other/x", "http://other/x"),
        ] {
            assert_eq!(follow(&from, location).unwrap().to_string(), to);
        }
        assert!(follow(&from, "http://a b/").is_err());
    }
}
