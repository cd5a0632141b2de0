//! A server for fetchers, as good or as bad as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What answers a path: it may write anything.
pub(crate) type Answer = Arc<dyn Fn(&str, &mut dyn Write) + Send + Sync>;

pub(crate) struct Server {
    pub(crate) port: u16,
    hits: Arc<AtomicUsize>,
    /// The heads of all requests.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) -> Self {
        Self::with(None, answer)
    }

    /// Over TLS, when there is a configuration.
    pub(crate) fn with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (hits, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { port, hits: Arc::clone(&hits), heads: Arc::clone(&heads) };
        let answer: Answer = Arc::new(answer);
        // It ends with the test binary.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, hits, heads, tls) = (answer.clone(), hits.clone(), heads.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &answer, &hits, &heads),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).expect("a configuration");
                        serve(rustls::StreamOwned::new(connection, stream), &answer, &hits, &heads);
                    }
                });
            }
        });
        server
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many requests came.
    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

fn serve(stream: impl Read + Write, answer: &Answer, hits: &AtomicUsize, heads: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut head), Ok(read) if read > 0) {
            return;
        }
    }
    hits.fetch_add(1, Ordering::SeqCst);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head);
    answer(&path, stream.get_mut());
    let _ = stream.get_mut().flush();
}

/// A whole answer.
pub(crate) fn whole(to: &mut dyn Write, body: &[u8]) {
    // Who fetches may be gone.
    let _ = write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = to.write_all(body);
}

/// A redirect.
pub(crate) fn redirect(to: &mut dyn Write, location: &str) {
    let _ = write!(to, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
}

/// A server's side of TLS for this machine's loopback, and the certificate that vouches for it (PEM).
pub(crate) fn tls() -> (Arc<rustls::ServerConfig>, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![certificate.der().clone()];
    let tls = tls.with_no_client_auth().with_single_cert(chain, key.serialize_der().try_into().unwrap()).unwrap();
    (Arc::new(tls), certificate.pem())
}
