//! Certificate authorities, and the certificates that they issue.
//!
//! A cluster has one authority, made by `kaon ca init` (or by `kaon up` for a local cluster); it vouches for masters and
//! agents. Each agent makes one of its own, which vouches for its executors and for nothing else; nobody but that agent
//! trusts it. Which authority may vouch for which roles is said where trust is configured ([`crate::Trust`]), not here.
//!
//! How long things are valid: an authority [`AUTHORITY_DAYS`], the certificate of a master or agent [`HOST_DAYS`], that of
//! an executor as long as its authority: it lives as long as its task and cannot ask for a new one, and its agent lets it
//! in only while it knows its container. Nothing outlives its authority. Keys are ECDSA on P-256. There is no revocation
//! list: a cluster that lost a key makes a new authority.

use crate::files::{self, Existing};
use crate::identity::{self, Identity};
use core::fmt;
use kaon_kernel::message::session::PeerRole;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::certificate::X509Certificate;

/// How long an authority is valid, in days.
pub const AUTHORITY_DAYS: u64 = 3650;

/// How long the certificate of a master or an agent is valid, in days.
pub const HOST_DAYS: u64 = 365;

/// A certificate is valid from so long before it was issued, in seconds: the clocks of a cluster differ.
pub const BACKDATED_SECONDS: u64 = 3600;

/// How many DNS names and addresses one certificate may carry.
pub const NAMES_MAX: usize = 64;

const DAY_SECONDS: u64 = 86_400;

/// Why there is no certificate, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cluster id or name that cannot stand in a certificate, or a certificate that is none of ours.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    HostName(String),
    /// More names than [`NAMES_MAX`].
    #[error("{0} names for one certificate, at most {NAMES_MAX} are allowed")]
    TooMany(usize),
    /// Making it failed.
    #[error("certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Reading or writing it failed.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The text holds no such thing.
    #[error("no {0} in the PEM text")]
    Pem(&'static str),
    /// It is no authority's certificate.
    #[error("not the certificate of an authority")]
    NotAuthority,
    /// Its time is over, or has not begun.
    #[error("the certificate is valid from {from} to {to}, and not now")]
    OutOfDate {
        /// When its time begins.
        from: String,
        /// When it ends.
        to: String,
    },
    /// It may not be shown where hosts show theirs (RFC 5280, section 4.2.1.12).
    #[error("the certificate lacks the purpose {0}")]
    Purpose(&'static str),
    /// The key is of another certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// The public half of an authority: what those who trust it hold.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    cluster: String,
    name: String,
    pem: String,
    der: CertificateDer<'static>,
    not_after: u64,
}

impl AuthorityCertificate {
    /// Reads a PEM text. Refused when it is not an authority's certificate, or out of date.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| Error::Pem("certificate"))?;
        let (cluster, name, not_after) = {
            let certificate = identity::parse(&der)?;
            if !certificate.is_ca() {
                return Err(Error::NotAuthority);
            }
            let (cluster, name) = identity::authority_of(&certificate)?;
            check_time(&certificate)?;
            (cluster, name, u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
        };
        Ok(Self { cluster, name, pem: pem.into(), der, not_after })
    }

    /// Reads a PEM file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_pem(&files::read(path)?)
    }

    /// Writes it to a PEM file that everybody may read, over an older one.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        Ok(files::write(path, &self.pem, files::PUBLIC, Existing::Replace)?)
    }

    /// The cluster that it vouches for.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Its own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It vouches until then, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// As PEM text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }
}

impl fmt::Debug for AuthorityCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AuthorityCertificate({} of {})", self.name, self.cluster)
    }
}

/// An authority that can issue: certificate and key.
pub struct Authority {
    certificate: AuthorityCertificate,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom to issue a certificate to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is in the cluster.
    pub role: PeerRole,
    /// Its name, see [`Identity::name`].
    pub name: String,
    /// DNS names and IP addresses under which others connect to it. An executor needs none.
    pub names: Vec<String>,
}

impl Authority {
    /// Makes an authority for a cluster. The cluster id is a text that the caller drew at random; `name` tells its
    /// authorities apart for people.
    pub fn create(cluster: &str, name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, format!("kaon {name} of {cluster}"));
        let uri = identity::authority_uri(cluster, name)?;
        parameters.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        // No authority below it: what it issues can't issue.
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = now_seconds();
        set_validity(&mut parameters, now, now + AUTHORITY_DAYS * DAY_SECONDS);
        let certificate = AuthorityCertificate::from_pem(&parameters.self_signed(&key)?.pem())?;
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// Issues a certificate and the key to it.
    pub fn issue(&self, request: &Request) -> Result<Credentials, Error> {
        let identity = Identity::new(self.certificate.cluster(), request.role, &request.name)?;
        if request.names.len() > NAMES_MAX {
            return Err(Error::TooMany(request.names.len()));
        }
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, format!("{} {}", request.role.word(), request.name));
        parameters.subject_alt_names.push(SanType::URI(identity.to_string().try_into()?));
        for name in &request.names {
            parameters.subject_alt_names.push(host_name(name)?);
        }
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut days = AUTHORITY_DAYS;
        if request.role != PeerRole::Executor {
            // Masters and agents are connected to as well.
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            days = HOST_DAYS;
        }
        parameters.use_authority_key_identifier_extension = true;
        let now = now_seconds();
        check_time(&identity::parse(&self.certificate.der)?)?;
        set_validity(&mut parameters, now, (now + days * DAY_SECONDS).min(self.certificate.not_after));
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Credentials::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// The public half.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Writes `authority.key` (mode 600) and `authority.pem` into a folder. Never overwrites: whoever wants another
    /// authority removes the old one first.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let key = self.issuer.key().serialize_pem();
        files::write(&folder.join(AUTHORITY_KEY), &key, files::SECRET, Existing::Keep)?;
        files::write(&folder.join(AUTHORITY_CERTIFICATE), self.certificate.pem(), files::PUBLIC, Existing::Keep)?;
        Ok(())
    }

    /// Reads what [`Authority::save`] wrote.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let certificate = AuthorityCertificate::load(&folder.join(AUTHORITY_CERTIFICATE))?;
        let key = read_key(&files::read_secret(&folder.join(AUTHORITY_KEY))?)?;
        check_pair(certificate.der(), &key)?;
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key)?;
        Ok(Self { certificate, issuer })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Authority({:?})", self.certificate)
    }
}

/// The file of an authority's certificate.
pub const AUTHORITY_CERTIFICATE: &str = "authority.pem";

/// The file of an authority's key.
pub const AUTHORITY_KEY: &str = "authority.key";

/// A certificate and its key: what a host shows and proves.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    identity: Identity,
    certificate_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
}

impl Credentials {
    /// Reads two PEM texts. Refused when the certificate is none of ours or the key is of another.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| Error::Pem("certificate"))?;
        check_pair(&der, &read_key(key)?)?;
        Ok(Self {
            identity: Identity::of_certificate(&der)?,
            certificate_pem: certificate.into(),
            key_pem: key.into(),
            certificate: der,
        })
    }

    /// Writes `<stem>.key` (mode 600), then `<stem>.pem`, into a folder, over older ones.
    pub fn save(&self, folder: &Path, stem: &str) -> Result<(), Error> {
        let key = folder.join(format!("{stem}.key"));
        files::write(&key, &self.key_pem, files::SECRET, Existing::Replace)?;
        let certificate = folder.join(format!("{stem}.pem"));
        files::write(&certificate, &self.certificate_pem, files::PUBLIC, Existing::Replace)?;
        Ok(())
    }

    /// Reads a certificate and its key. The key file must be readable by its owner alone. Refused when no peer would accept
    /// the certificate: out of date, or not for clients, or for a host that is connected to and not for servers.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let own = Self::from_pem(&files::read(certificate)?, &files::read_secret(key)?)?;
        let parsed = identity::parse(&own.certificate)?;
        check_time(&parsed)?;
        let purposes = parsed.extended_key_usage().map_err(|_| identity::Error::Encoding)?;
        if let Some(purposes) = purposes.map(|extension| extension.value).filter(|purposes| !purposes.any) {
            if !purposes.client_auth {
                return Err(Error::Purpose("clientAuth"));
            }
            if !purposes.server_auth && own.identity.role != PeerRole::Executor {
                return Err(Error::Purpose("serverAuth"));
            }
        }
        Ok(own)
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate, as PEM text.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key, as PEM text. A secret: hand it to nobody but its holder.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|_| Error::Pem("key"))
    }
}

impl fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({})", self.identity)
    }
}

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn set_validity(parameters: &mut CertificateParams, now: u64, not_after: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED_SECONDS));
    parameters.not_after = epoch + Duration::from_secs(not_after);
}

fn host_name(name: &str) -> Result<SanType, Error> {
    match ServerName::try_from(name).map_err(|_| Error::HostName(name.into()))? {
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(address.into())),
        _ => Ok(SanType::DnsName(name.to_owned().try_into()?)),
    }
}

fn read_key(pem: &str) -> Result<KeyPair, Error> {
    // The text of rcgen's error is dropped: nothing of a key may reach a log.
    KeyPair::from_pem(pem).map_err(|_| Error::Pem("key"))
}

fn check_time(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    let validity = certificate.validity();
    if validity.is_valid() {
        return Ok(());
    }
    Err(Error::OutOfDate { from: validity.not_before.to_string(), to: validity.not_after.to_string() })
}

fn check_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), Error> {
    let certificate = identity::parse(certificate)?;
    if certificate.public_key().raw == key.subject_public_key_info() { Ok(()) } else { Err(Error::Mismatch) }
}
