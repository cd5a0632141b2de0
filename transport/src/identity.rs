//! Who a peer is: the words that an authority puts into a certificate, and how they are read back.
//!
//! A certificate of Kaon carries exactly one URI of our scheme among its subject alternative names (RFC 5280, section
//! 4.2.1.6): `kaon://<cluster>/<role>/<name>`. It is the only thing a peer is believed by: what it says in its hello must
//! agree. That the certificate is signed and in date is checked elsewhere ([`crate::tls`]); this module only reads.

use core::fmt;
use core::str::FromStr;
use kaon_kernel::message::session::PeerRole;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The longest cluster id or name, in bytes. Container ids of nested containers are the longest names.
pub const TEXT_BYTES_MAX: usize = 200;

/// Before the cluster id.
const SCHEME: &str = "kaon://";

/// In place of a role, in the certificate of an authority itself.
const AUTHORITY_WORD: &str = "authority";

/// What a certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: String,
    /// What it is there.
    pub role: PeerRole,
    /// Its name, unique among those of its role: `master-1`, a machine's name, an executor's container id.
    pub name: String,
}

/// Why a certificate says nothing that we believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not DER of a certificate.
    #[error("not an X.509 certificate")]
    Encoding,
    /// No URI of ours, or several.
    #[error("{0} names of the form kaon://<cluster>/<role>/<name> in it, there must be one")]
    Names(usize),
    /// The URI is not of our form.
    #[error("{0:?} is not kaon://<cluster>/<role>/<name>")]
    Form(String),
    /// A cluster id or name that cannot stand in a URI.
    #[error("{0:?} is not 1 to {TEXT_BYTES_MAX} of letters, digits, '.', '_' and '-'")]
    Text(String),
}

impl Identity {
    /// An identity of checked parts.
    pub fn new(cluster: &str, role: PeerRole, name: &str) -> Result<Self, Error> {
        check_text(cluster)?;
        check_text(name)?;
        Ok(Self { cluster: cluster.into(), role, name: name.into() })
    }

    /// Reads the identity of a certificate. Its signature is not looked at.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        only_uri(&parse(certificate)?)?.parse()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}/{}", self.cluster, self.role.word(), self.name)
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (cluster, word, name) = split(text)?;
        let roles = [PeerRole::Master, PeerRole::Agent, PeerRole::Executor];
        let role = roles.into_iter().find(|role| role.word() == word);
        Self::new(cluster, role.ok_or_else(|| Error::Form(text.into()))?, name)
    }
}

/// The URI of an authority.
pub(crate) fn authority_uri(cluster: &str, name: &str) -> Result<String, Error> {
    check_text(cluster)?;
    check_text(name)?;
    Ok(format!("{SCHEME}{cluster}/{AUTHORITY_WORD}/{name}"))
}

/// Reads cluster and name of an authority's own certificate.
pub(crate) fn authority_of(certificate: &X509Certificate<'_>) -> Result<(String, String), Error> {
    let uri = only_uri(certificate)?;
    let (cluster, word, name) = split(&uri)?;
    if word != AUTHORITY_WORD {
        return Err(Error::Form(uri.clone()));
    }
    check_text(cluster)?;
    check_text(name)?;
    Ok((cluster.into(), name.into()))
}

/// Parses a certificate; nothing may follow it.
pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    match X509Certificate::from_der(certificate) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::Encoding),
    }
}

fn only_uri(certificate: &X509Certificate<'_>) -> Result<String, Error> {
    let names = certificate.subject_alternative_name().map_err(|_| Error::Encoding)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(uri.into()),
        (None, _) => Err(Error::Names(0)),
        (Some(_), more) => Err(Error::Names(1 + more)),
    }
}

fn split(uri: &str) -> Result<(&str, &str, &str), Error> {
    let mut parts = uri.strip_prefix(SCHEME).unwrap_or_default().split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(word), Some(name), None) => Ok((cluster, word, name)),
        _ => Err(Error::Form(uri.into())),
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if fits && plain { Ok(()) } else { Err(Error::Text(text.chars().take(TEXT_BYTES_MAX).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_identity_survives_its_uri(cluster in "[A-Za-z0-9._-]{1,40}", name in "[A-Za-z0-9._-]{1,40}", role in 0..3usize) {
            let role = [PeerRole::Master, PeerRole::Agent, PeerRole::Executor][role];
            let identity = Identity::new(&cluster, role, &name).expect("plain text");
            prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
        }

        #[test]
        fn no_text_is_read_as_something_else(text in "(kaon://)?[a-c/.%@:]{0,12}(/agent/|/master/)?[a-c/.%]{0,6}") {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }

    #[test]
    fn foreign_and_ambiguous_uris_are_refused() {
        for text in ["", "kaon://", "kaon://c/agent", "kaon://c/agent/", "kaon://c/agent/a/b", "http://c/agent/a"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
        for text in ["kaon://c/Agent/a", "kaon://c/authority/a", "kaon://c d/agent/a", "kaon://c/agent/ä"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}
