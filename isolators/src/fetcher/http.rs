//! Bytes from a server: one request a hop, every wait bounded, every address judged before it is asked.

use super::address::{self, Depth};
use super::error::Error;
use super::target::Location;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The most redirects of one download.
pub(crate) const REDIRECTS_MAX: usize = 10;

/// The slowest download that is borne, in bytes a second over the stall timeout (Mesos's, reference 12.4).
const SPEED_MIN: u64 = 1;

/// The largest head of an answer in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Downloads into `take`, which is told the announced length first, if there is one.
pub(crate) fn download(
    location: &Location,
    stall_timeout: Duration,
    announced: impl FnOnce(Option<u64>) -> Result<(), Error>,
    take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("start"))?;
    let done = runtime.block_on(transfer(location.clone(), stall_timeout, announced, take));
    // A look-up of a name that hangs is not waited for.
    runtime.shutdown_background();
    done
}

async fn transfer(
    location: Location,
    stall: Duration,
    announced: impl FnOnce(Option<u64>) -> Result<(), Error>,
    take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (response, _) = get(location, None, None, stall).await?;
    match response.status().as_u16() {
        200 => {
            announced(length(&response))?;
            receive(response, stall, take).await
        }
        _ => Err(Error::Status(response.status().to_string())),
    }
}

/// The length that an answer announces.
pub(crate) fn length(response: &Response<Incoming>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// The head of the last answer after all redirects, whatever its status is, and how far inside it lies. `deepest` is how far
/// inside the conversation has been already; `accept` says what is wanted.
pub(crate) async fn get(
    mut location: Location,
    accept: Option<&str>,
    mut deepest: Option<Depth>,
    stall: Duration,
) -> Result<(Response<Incoming>, Depth), Error> {
    for _ in 0..=REDIRECTS_MAX {
        let hop = ask(&location, accept, deepest);
        let (response, depth) = timeout(stall, hop).await.map_err(|_| Error::Stalled(stall.as_secs()))??;
        deepest = Some(depth);
        match response.status().as_u16() {
            301 | 302 | 303 | 307 | 308 => {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                location = location.redirected(to.ok_or(Error::Redirect("it does not say where to"))?)?;
            }
            _ => return Ok((response, depth)),
        }
    }
    Err(Error::Redirects(REDIRECTS_MAX))
}

/// Asks one server, and gives the head of its answer and how far inside it lies.
async fn ask(
    location: &Location,
    accept: Option<&str>,
    deepest: Option<Depth>,
) -> Result<(Response<Incoming>, Depth), Error> {
    let (stream, depth) = connect(location, deepest).await?;
    let response = if location.is_secure {
        let name = ServerName::try_from(location.host.clone()).map_err(|_| Error::Uri("its host is no name"))?;
        let stream = TlsConnector::from(Arc::new(tls()?)).connect(name, stream).await;
        exchange(location, accept, TokioIo::new(stream.map_err(|error| Error::Connection(error.to_string()))?)).await?
    } else {
        exchange(location, accept, TokioIo::new(stream)).await?
    };
    Ok((response, depth))
}

/// A connection to one of the addresses that may be asked: the name is looked up once, so what is judged is what is
/// asked.
async fn connect(location: &Location, deepest: Option<Depth>) -> Result<(TcpStream, Depth), Error> {
    let found: Vec<IpAddr> = match location.host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = tokio::net::lookup_host((location.host.as_str(), location.port)).await;
            found.map_err(|error| Error::Connection(error.to_string()))?.map(|address| address.ip()).collect()
        }
    };
    let mut last = None;
    for (address, depth) in address::allowed(&found, deepest)? {
        match TcpStream::connect(SocketAddr::new(address, location.port)).await {
            Ok(stream) => return Ok((stream, depth)),
            Err(error) => last = Some(error),
        }
    }
    Err(Error::Connection(last.map_or_else(|| "no address".to_owned(), |error| error.to_string())))
}

async fn exchange<S>(location: &Location, accept: Option<&str>, stream: TokioIo<S>) -> Result<Response<Incoming>, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| Error::Connection(told(&error));
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = client.handshake(stream).await.map_err(failed)?;
    tokio::spawn(async move {
        // What goes wrong with it is told to who reads the answer.
        let _ = connection.await;
    });
    let mut request = Request::get(&location.path_and_query)
        .header(HOST, location.host_header())
        .header(USER_AGENT, concat!("kaon/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity");
    if let Some(authorization) = &location.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if let Some(accept) = accept {
        request = request.header(ACCEPT, accept);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| Error::Uri("it can't be asked for"))?;
    sender.send_request(request).await.map_err(failed)
}

/// The body of an answer, piece by piece.
pub(crate) async fn receive(
    response: Response<Incoming>,
    stall: Duration,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut body = response.into_body();
    let (mut since, mut bytes) = (Instant::now(), 0);
    loop {
        let frame = timeout(stall, body.frame()).await.map_err(|_| Error::Stalled(stall.as_secs()))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| Error::Connection(told(&error)))?;
        if let Some(data) = frame.data_ref() {
            take(data)?;
            bytes += data.len() as u64;
        }
        if since.elapsed() >= stall {
            if bytes < stall.as_secs() * SPEED_MIN {
                return Err(Error::Stalled(stall.as_secs()));
            }
            (since, bytes) = (Instant::now(), 0);
        }
    }
}

/// An error of hyper's with its cause, which says more.
fn told(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// The authorities that the machine trusts: those of its system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn tls() -> Result<ClientConfig, Error> {
    let failed = |reason: String| Error::Connection(format!("TLS can't be set up: {reason}"));
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err(failed("the machine trusts no authority".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| failed(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
