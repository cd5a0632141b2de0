//! Whom we believe: the TLS side of a session, and the QUIC settings that go with it.
//!
//! Both sides show a certificate, always (mutual TLS 1.3, RFC 8446). It is accepted when an authority that we trust
//! signed it, that authority may vouch for the role in it, both name the same cluster, both are in date, and, for
//! whoever was connected to, one of its DNS names or addresses is the one that was asked for. Cluster and role are then
//! compared with our own and with the hello by `session`, where a refusal can say why.
//!
//! Sessions are never resumed and nothing is sent as early data: each is verified afresh, and early data can be replayed
//! (RFC 9001, section 9.2).

use crate::ca::{self, AuthorityCertificate, Credentials};
use crate::identity::Identity;
use core::fmt;
use core::time::Duration;
use kaon_kernel::message::session::PeerRole;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig,
    VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The application protocol (RFC 7301). Its number changes when hosts could no longer even say hello to each other.
pub const ALPN: &[u8] = b"kaon/1";

/// What a peer may have under way on one stream, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// What a peer may have under way on all streams of a session, in bytes.
pub const SESSION_WINDOW_BYTES: u32 = 32 << 20;

/// What QUIC itself may hold for a session until the peer has acknowledged it, in bytes.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// Streams that a peer may have open towards us, its control stream apart: one for each conversation.
pub const LANES_MAX: usize = 16;

/// The round trip that is assumed before one was measured. QUIC assumes 333 ms, made for the open internet; inside a
/// datacenter each lost handshake packet would wait far too long for its repetition.
const ROUND_TRIP_FIRST: Duration = Duration::from_millis(50);

/// The shortest time between two stateless resets. They tell peers of an earlier life of this host that it is gone, and
/// after a restart thousands wait for theirs. A reset is smaller than what it answers, so it amplifies nothing.
const RESET_INTERVAL: Duration = Duration::from_micros(50);

/// An authority that is trusted, for certain roles only.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Whose word.
    pub authority: AuthorityCertificate,
    /// What it may vouch for: the cluster's authority for masters and agents, an agent's own for executors.
    pub roles: Vec<PeerRole>,
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is trusted, so nobody could ever connect.
    #[error("no trusted authority")]
    NoTrust,
    /// rustls does not take a certificate or key.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// rustls does not take an authority.
    #[error("trusted authority: {0}")]
    Authority(String),
    /// The credentials can't be read.
    #[error(transparent)]
    Credentials(#[from] ca::Error),
    /// The provider lacks the cipher that QUIC's first packets need.
    #[error("no cipher for QUIC's initial packets")]
    Cipher,
    /// The idle timeout is longer than QUIC can say.
    #[error("idle timeout of {0:?} is too long")]
    IdleTimeout(Duration),
}

/// The three configurations that an endpoint needs.
pub(crate) struct Settings {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) client: ClientConfig,
    /// None for a role that nobody connects to.
    pub(crate) server: Option<ServerConfig>,
}

/// Puts the settings together.
pub(crate) fn settings(
    credentials: &Credentials,
    trust: &[Trust],
    keep_alive: Duration,
    idle_timeout: Duration,
) -> Result<Settings, Error> {
    // Named explicitly: were another provider compiled in too, rustls could not choose.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, &provider)?);
    let chain = vec![credentials.certificate().clone()];
    let idle = IdleTimeout::try_from(idle_timeout).map_err(|_| Error::IdleTimeout(idle_timeout))?;
    let transport = Arc::new(transport(keep_alive, idle));

    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_auth_cert(chain.clone(), credentials.key()?)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|_| Error::Cipher)?));
    client.transport_config(Arc::clone(&transport));

    let server = if credentials.identity().role == PeerRole::Executor {
        None
    } else {
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, credentials.key()?)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        let tls = QuicServerConfig::try_from(tls).map_err(|_| Error::Cipher)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(transport);
        Some(server)
    };
    Ok(Settings { endpoint: endpoint(credentials)?, client, server })
}

fn transport(keep_alive: Duration, idle: IdleTimeout) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(keep_alive))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(SESSION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(LANES_MAX as u32))
        .datagram_receive_buffer_size(None)
        .initial_rtt(ROUND_TRIP_FIRST);
    transport
}

/// Reset tokens are derived from the host's key, so that the next life of the same host can tell peers at once that
/// their sessions are gone (RFC 9000, section 10.3), instead of letting them run into a timeout.
fn endpoint(credentials: &Credentials) -> Result<EndpointConfig, Error> {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, credentials.key()?.secret_der());
    let reset = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, b"kaon stateless reset").as_ref());
    let mut endpoint = EndpointConfig::new(Arc::new(reset));
    endpoint.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    endpoint.min_reset_interval(RESET_INTERVAL);
    Ok(endpoint)
}

/// Connection ids that are only random. QUIC's default marks them with a key of the process and drops what lacks the
/// mark, so that a restarted host would stay silent to the peers of its earlier life.
struct RandomIds(SystemRandom);

/// Length of a connection id in bytes.
const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; ID_BYTES];
        self.0.fill(&mut bytes).expect("the system's entropy doesn't fail once it has started");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// One trusted authority with the verifiers of rustls that check chains to it.
struct Anchor {
    trust: Trust,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

/// Accepts a certificate when one of the anchors does.
struct Verifier {
    anchors: Vec<Anchor>,
    subjects: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

/// Why a certificate with a sound signature is not believed.
#[derive(Clone, Debug, thiserror::Error)]
enum Disbelief {
    #[error("{0}")]
    Identity(crate::identity::Error),
    #[error("this authority may not vouch for the role {}", .0.word())]
    Role(PeerRole),
    #[error("an authority of {authority} has vouched for {certificate}")]
    Cluster { authority: String, certificate: String },
}

impl Verifier {
    fn new(trust: &[Trust], provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        if trust.is_empty() {
            return Err(Error::NoTrust);
        }
        let mut anchors = Vec::with_capacity(trust.len());
        let mut subjects = Vec::with_capacity(trust.len());
        for trust in trust {
            let mut roots = RootCertStore::empty();
            roots.add(trust.authority.der().clone())?;
            subjects.extend(roots.subjects());
            let roots = Arc::new(roots);
            let wrong = |error: rustls::server::VerifierBuilderError| Error::Authority(error.to_string());
            let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
            let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
            anchors.push(Anchor {
                trust: trust.clone(),
                clients: clients.build().map_err(wrong)?,
                servers: servers.build().map_err(wrong)?,
            });
        }
        Ok(Self { anchors, subjects, provider: Arc::clone(provider) })
    }

    /// Asks each anchor in turn. When none accepts, the reason of one that knew the signature is the telling one.
    fn vouch(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        verify: impl Fn(&Anchor) -> Result<(), rustls::Error>,
    ) -> Result<(), rustls::Error> {
        let mut telling = CertificateError::UnknownIssuer.into();
        for anchor in &self.anchors {
            match verify(anchor).and_then(|()| anchor.believe(certificate, now)) {
                Ok(()) => return Ok(()),
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => {}
                Err(error) => telling = error,
            }
        }
        Err(telling)
    }
}

impl Anchor {
    fn believe(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        let disbelief = |why| CertificateError::Other(OtherError(Arc::new(why)));
        // A trust anchor's own dates are not looked at by the chain verification (RFC 5280, section 6.1.1 leaves it open).
        if now.as_secs() > self.trust.authority.not_after() {
            return Err(CertificateError::Expired.into());
        }
        let identity = Identity::of_certificate(certificate).map_err(|error| disbelief(Disbelief::Identity(error)))?;
        if !self.trust.roles.contains(&identity.role) {
            return Err(disbelief(Disbelief::Role(identity.role)).into());
        }
        if identity.cluster != self.trust.authority.cluster() {
            let authority = self.trust.authority.cluster().into();
            return Err(disbelief(Disbelief::Cluster { authority, certificate: identity.cluster }).into());
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.anchors.iter().map(|anchor| &anchor.trust)).finish()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.vouch(end_entity, now, |anchor| {
            let verified =
                anchor.servers.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
            verified.map(|_| ())
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.vouch(end_entity, now, |anchor| {
            anchor.clients.verify_client_cert(end_entity, intermediates, now).map(|_| ())
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
