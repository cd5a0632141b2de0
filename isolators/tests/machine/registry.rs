//! A registry of our own on loopback, with tokens or without, over TLS or without, and images made of what the test says. It lies when it
//! is told to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Who may fetch, and what they are given for it.
const USER: &str = "ann:s3cret";
const TOKEN: &str = "tok3n";

/// One thing in a layer.
pub(crate) enum Item {
    Directory(&'static str, u32),
    File(&'static str, Vec<u8>, u32),
    Link(&'static str, &'static str),
    Hard(&'static str, &'static str),
    Device(&'static str),
}

/// A file with a text in it.
pub(crate) fn text(path: &'static str, text: &str) -> Item {
    Item::File(path, text.as_bytes().to_vec(), 0o644)
}

/// A tar of these things; names go in as they are, whatever they are.
pub(crate) fn layer(items: &[Item]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_gnu();
        let (path, kind, link, data, mode): (_, _, &str, &[u8], _) = match item {
            Item::Directory(path, mode) => (*path, tar::EntryType::Directory, "", &[], *mode),
            Item::File(path, data, mode) => (*path, tar::EntryType::Regular, "", data, *mode),
            Item::Link(path, to) => (*path, tar::EntryType::Symlink, *to, &[], 0o777),
            Item::Hard(path, to) => (*path, tar::EntryType::Link, *to, &[], 0o644),
            Item::Device(path) => (*path, tar::EntryType::Char, "", &[], 0o666),
        };
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, data).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

/// The root of a busybox: a shell, and what scripts need.
pub(crate) fn busybox() -> Option<Vec<Item>> {
    let Ok(bytes) = std::fs::read("/bin/busybox") else {
        println!("SKIPPED, needs a static /bin/busybox (Debian: busybox-static)");
        return None;
    };
    let mut items = vec![
        Item::Directory("bin/", 0o755),
        Item::Directory("etc/", 0o755),
        Item::File("bin/busybox", bytes, 0o755),
        text("etc/passwd", "root:x:0:0::/:/bin/sh\nanna:x:4711:4712::/:/bin/sh\n"),
        text("etc/group", "root:x:0:\nannas:x:4712:\nmore:x:4713:anna\n"),
    ];
    for name in ["bin/sh", "bin/cat", "bin/ls", "bin/sleep", "bin/id", "bin/env", "bin/pwd", "bin/stat", "bin/wc"] {
        items.push(Item::Link(name, "busybox"));
    }
    Some(items)
}

pub(crate) fn sha(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("in memory");
        text
    })
}

/// An image: layers as they travel, its configuration, its manifest.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Value,
    pub(crate) manifest: Value,
}

/// Makes an image of layers, packed or not; `run` says how it is run.
pub(crate) fn image(layers: &[Vec<u8>], run: &Value, is_packed: bool) -> Made {
    let config = json!({"architecture": "amd64", "os": "linux", "config": run,
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| sha(layer)).collect::<Vec<_>>()}});
    let travelling = layers.iter().map(|layer| if is_packed { gzip(layer) } else { layer.clone() });
    let layers: Vec<Vec<u8>> = travelling.collect();
    let mut made = Made { layers, config, manifest: Value::Null };
    made.describe();
    made
}

impl Made {
    /// Writes the manifest anew.
    pub(crate) fn describe(&mut self) {
        let one = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": sha(bytes), "size": bytes.len()});
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<Value> = self.layers.iter().map(|layer| one(kind, layer)).collect();
        let config = serde_json::to_vec(&self.config).expect("in memory");
        self.manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": one("application/vnd.oci.image.config.v1+json", &config), "layers": layers});
    }

    /// All that a registry or a layout keeps of it.
    pub(crate) fn blobs(&self) -> Vec<Vec<u8>> {
        let mut all = self.layers.clone();
        all.push(serde_json::to_vec(&self.config).expect("in memory"));
        all
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("in memory");
    packed.finish().expect("in memory")
}

#[derive(Default)]
struct Shelf {
    /// By path; served as they are.
    things: BTreeMap<String, Vec<u8>>,
    /// How often each was asked for.
    asked: BTreeMap<String, u32>,
    /// Paths that are begun and never ended.
    hanging: Vec<String>,
}

/// How it asks who somebody is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// By tokens, which it gives itself to who shows name and password.
    Token,
    /// By name and password.
    Basic,
}

/// The registry. Its threads end with the process.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    asks: Asks,
    tls: Option<Arc<rustls::ServerConfig>>,
    shelf: Arc<Mutex<Shelf>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self::with(Asks::Token, None)
    }

    /// One that asks in this way, over TLS when there is a configuration.
    pub(crate) fn with(asks: Asks, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let registry = Self { address: listener.local_addr().expect("bound"), asks, tls, shelf: Arc::default() };
        let own = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || {
                    // A client that goes away is none of ours.
                    let _ = match (stream, own.tls.clone()) {
                        (Ok(stream), Some(tls)) => {
                            let connection = rustls::ServerConnection::new(tls).expect("a configuration");
                            own.answer(rustls::StreamOwned::new(connection, stream))
                        }
                        (Ok(stream), None) => own.answer(stream),
                        (Err(error), _) => Err(error),
                    };
                });
            }
        });
        registry
    }

    /// Puts an image on the shelf, and says how it is called.
    pub(crate) fn push(&self, name: &str, tag: &str, image: &Made) -> String {
        let mut shelf = self.shelf.lock().expect("no panic");
        for blob in image.blobs() {
            shelf.things.insert(format!("/v2/{name}/blobs/{}", sha(&blob)), blob);
        }
        let manifest = serde_json::to_vec(&image.manifest).expect("in memory");
        shelf.things.insert(format!("/v2/{name}/manifests/{}", sha(&manifest)), manifest.clone());
        shelf.things.insert(format!("/v2/{name}/manifests/{tag}"), manifest);
        format!("{}/{name}:{tag}", self.address)
    }

    /// Serves other bytes under a path.
    pub(crate) fn lie(&self, path: &str, bytes: Vec<u8>) {
        self.shelf.lock().expect("no panic").things.insert(path.to_owned(), bytes);
    }

    /// Begins to serve a path and never ends.
    pub(crate) fn hang(&self, path: &str) {
        self.shelf.lock().expect("no panic").hanging.push(path.to_owned());
    }

    /// How often a path was asked for by those who may.
    pub(crate) fn asked(&self, path: &str) -> u32 {
        self.shelf.lock().expect("no panic").asked.get(path).copied().unwrap_or(0)
    }

    /// What `docker login` would have written.
    pub(crate) fn credentials(&self) -> Vec<u8> {
        self.credentials_of(USER)
    }

    /// The same for another name and password.
    pub(crate) fn credentials_of(&self, user: &str) -> Vec<u8> {
        let auths = json!({"auths": {self.address.to_string(): {"auth": STANDARD.encode(user)}}});
        serde_json::to_vec(&auths).expect("in memory")
    }

    fn answer(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let mut authorization = String::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("authorization")
            {
                value.trim().clone_into(&mut authorization);
            }
        }
        let shown = format!("Basic {}", STANDARD.encode(USER));
        if let Some(query) = path.strip_prefix("/token?") {
            let is_right = authorization == shown && query.contains("service=own");
            let body = format!("{{\"token\": \"{TOKEN}\", \"expires_in\": 60}}");
            return match is_right {
                true => reply(reader.get_mut(), "200 OK", "", body.as_bytes()),
                false => reply(reader.get_mut(), "401 Unauthorized", "", b"no"),
            };
        }
        let (wanted, challenge) = match self.asks {
            Asks::Basic => (shown, "Basic realm=\"own\"".to_owned()),
            Asks::Token => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let realm = format!("{scheme}://{}/token", self.address);
                let challenge = format!("Bearer realm=\"{realm}\",service=\"own\",scope=\"repository:x:pull\"");
                (format!("Bearer {TOKEN}"), challenge)
            }
        };
        if authorization != wanted {
            let header = format!("WWW-Authenticate: {challenge}\r\n");
            return reply(reader.get_mut(), "401 Unauthorized", &header, b"who are you?");
        }
        let (found, hangs) = {
            let mut shelf = self.shelf.lock().expect("no panic");
            *shelf.asked.entry(path.clone()).or_default() += 1;
            (shelf.things.get(&path).cloned(), shelf.hanging.contains(&path))
        };
        match found {
            Some(bytes) if hangs => {
                let to = reader.get_mut();
                write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                to.write_all(&bytes[..1])?;
                to.flush()?;
                // Until the other side has had enough.
                reader.read_line(&mut line)?;
                Ok(())
            }
            Some(bytes) => reply(reader.get_mut(), "200 OK", "", &bytes),
            None => reply(reader.get_mut(), "404 Not Found", "", b"not here"),
        }
    }
}

fn reply(stream: &mut impl Write, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len())?;
    stream.write_all(body)?;
    stream.flush()
}
