//! Authorities and certificates, on disk and off.

use crate::stage::{authority, issue};
use kaon_kernel::message::session::PeerRole;
use kaon_transport::ca::{AUTHORITY_KEY, Error};
use kaon_transport::{Authority, AuthorityCertificate, Credentials, FileError, Identity, Request};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn an_authority_survives_its_files_and_issues_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = authority();
    made.save(folder.path()).expect("saved");
    assert_eq!(mode(&folder.path().join(AUTHORITY_KEY)), 0o600);
    let loaded = Authority::load(folder.path()).expect("loaded");
    assert_eq!(loaded.certificate(), made.certificate());
    assert_eq!((loaded.certificate().cluster(), loaded.certificate().name()), ("test", "cluster"));
    let credentials = issue(&loaded, PeerRole::Agent, "agent-1");
    assert_eq!(credentials.identity(), &Identity::new("test", PeerRole::Agent, "agent-1").expect("an identity"));
    let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    assert_eq!(names.len(), 2, "no passing file is left: {names:?}");
}

#[test]
fn an_authority_is_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = authority();
    first.save(folder.path()).expect("saved");
    assert!(matches!(authority().save(folder.path()), Err(Error::File(FileError::Exists(_)))));
    assert_eq!(Authority::load(folder.path()).expect("loaded").certificate(), first.certificate());
}

#[test]
fn credentials_survive_their_files_and_can_be_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = authority();
    let (key, certificate) = (folder.path().join("agent.key"), folder.path().join("agent.pem"));
    for name in ["agent-1", "agent-2"] {
        let made = issue(&authority, PeerRole::Agent, name);
        made.save(folder.path(), "agent").expect("saved");
        assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
        assert_eq!(Credentials::load(&certificate, &key).expect("loaded"), made);
    }
    assert!(!format!("{:?}", issue(&authority, PeerRole::Agent, "a")).contains("KEY"));
}

#[test]
fn a_key_that_others_could_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    issue(&authority(), PeerRole::Agent, "agent-1").save(folder.path(), "agent").expect("saved");
    let (key, certificate) = (folder.path().join("agent.key"), folder.path().join("agent.pem"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("a file of ours");
    assert!(matches!(Credentials::load(&certificate, &key), Err(Error::File(FileError::Exposed { mode: 0o640, .. }))));
}

/// Credentials of an agent in two files, valid between two years, for these purposes.
fn odd(folder: &Path, years: (i32, i32), purposes: &[ExtendedKeyUsagePurpose]) -> Result<Credentials, Error> {
    let mut parameters = CertificateParams::default();
    let uri = "kaon://test/agent/one".try_into().expect("an URI");
    parameters.subject_alt_names = vec![SanType::URI(uri)];
    parameters.extended_key_usages = purposes.to_vec();
    parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let made = Credentials::from_pem(&certificate.pem(), &key.serialize_pem()).expect("it names an agent");
    made.save(folder, "one").expect("saved");
    Credentials::load(&folder.join("one.pem"), &folder.join("one.key"))
}

#[test]
fn credentials_that_no_peer_would_accept_are_refused_where_they_are_read() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let folder = tempfile::tempdir().expect("a folder");
    let read = |years, purposes: &[ExtendedKeyUsagePurpose]| odd(folder.path(), years, purposes);
    for purposes in [&[ClientAuth, ServerAuth][..], &[Any], &[]] {
        assert!(read((2020, 4000), purposes).is_ok());
    }
    for years in [(2020, 2021), (3999, 4000)] {
        let error = read(years, &[Any]).expect_err("its time is not now");
        assert!(error.to_string().contains(&years.1.to_string()), "{error}");
    }
    assert!(matches!(read((2020, 4000), &[ServerAuth]), Err(Error::Purpose("clientAuth"))));
    assert!(matches!(read((2020, 4000), &[ClientAuth]), Err(Error::Purpose("serverAuth"))));
}

#[test]
fn a_key_of_another_certificate_and_other_pem_are_refused() {
    let authority = authority();
    let (one, other) = (issue(&authority, PeerRole::Agent, "one"), issue(&authority, PeerRole::Agent, "other"));
    assert!(matches!(Credentials::from_pem(one.certificate_pem(), other.key_pem()), Err(Error::Mismatch)));
    assert!(matches!(Credentials::from_pem(one.certificate_pem(), "no key"), Err(Error::Pem("key"))));
    assert!(matches!(Credentials::from_pem("", one.key_pem()), Err(Error::Pem("certificate"))));
    assert!(matches!(AuthorityCertificate::from_pem(one.certificate_pem()), Err(Error::NotAuthority)));
}

#[test]
fn names_that_would_break_the_identity_are_refused() {
    let authority = authority();
    let request = |name: &str, names: &[&str]| Request {
        role: PeerRole::Agent,
        name: name.into(),
        names: names.iter().map(|name| (*name).into()).collect(),
    };
    for name in ["", "a/b", "a b", "../master/x", "ä"] {
        assert!(matches!(authority.issue(&request(name, &[])), Err(Error::Identity(_))), "{name:?}");
    }
    for host in ["", "not a host", "a..b"] {
        assert!(matches!(authority.issue(&request("a", &[host])), Err(Error::HostName(_))), "{host:?}");
    }
    assert!(matches!(authority.issue(&request("a", &["h"; 65])), Err(Error::TooMany(65))));
    assert!(Authority::create("a/b", "x").is_err());
}
