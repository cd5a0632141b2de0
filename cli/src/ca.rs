//! The cluster's certificate authority on disk: `kaon ca`, and what `kaon up` makes by itself.

use crate::arguments::Ca;
use crate::table::say;
use anyhow::{Context, Result, bail};
use kaon_kernel::message::session::PeerRole;
use kaon_transport::ca::{AUTHORITY_CERTIFICATE, AUTHORITY_KEY};
use kaon_transport::{Authority, Credentials, Request};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The name of an authority in its own certificate.
const NAME: &str = "authority";

/// Where a host's certificate and key are.
pub(crate) struct Files {
    /// The certificate (PEM).
    pub(crate) certificate: PathBuf,
    /// Its key (PEM), readable for its owner only.
    pub(crate) key: PathBuf,
}

/// `kaon ca init|issue`.
pub(crate) fn run(command: Ca) -> Result<()> {
    match command {
        Ca::Init { dir, cluster, json } => {
            if dir.join(AUTHORITY_KEY).exists() {
                bail!("{} holds an authority already; a second one would lock its hosts out", dir.display());
            }
            let cluster = cluster.unwrap_or_else(random_name);
            std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
            Authority::create(&cluster, NAME)?.save(&dir)?;
            let certificate = dir.join(AUTHORITY_CERTIFICATE);
            if json {
                say(json!({"cluster": cluster, "certificate": certificate}))?;
            } else {
                say(format_args!(
                    "cluster {cluster}: every host gets {}; {AUTHORITY_KEY} stays here",
                    certificate.display()
                ))?;
            }
        }
        Ca::Issue { dir, role, name, addresses, out, json } => {
            let authority = Authority::load(&dir)
                .with_context(|| format!("no authority in {}; `kaon ca init --dir` makes one", dir.display()))?;
            let there = files(&out, &name);
            if let Some(path) = [&there.certificate, &there.key].into_iter().find(|path| path.exists()) {
                bail!("{} is there already; take it away, or give another --name or --out", path.display());
            }
            let files = issue(&authority, &role, &name, addresses, &out)?;
            if json {
                say(json!({"certificate": files.certificate, "key": files.key}))?;
            } else {
                say(format_args!("{}\n{}", files.certificate.display(), files.key.display()))?;
            }
        }
    }
    Ok(())
}

/// The authority in a directory; a new one of a new cluster when there is none.
pub(crate) fn open_or_create(dir: &Path) -> Result<Authority> {
    if dir.join(AUTHORITY_KEY).exists() {
        return Authority::load(dir).with_context(|| format!("the authority in {} can't be read", dir.display()));
    }
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let authority = Authority::create(&random_name(), NAME)?;
    authority.save(dir)?;
    Ok(authority)
}

/// A host's certificate in its own directory, made when it is not there yet.
pub(crate) fn issue_unless_there(
    authority: &Authority,
    role: &str,
    name: &str,
    addresses: Vec<String>,
    home: &Path,
) -> Result<Files> {
    let files = files(home, name);
    match Credentials::load(&files.certificate, &files.key) {
        Ok(credentials) if credentials.identity().cluster == authority.certificate().cluster() => Ok(files),
        _ => issue(authority, role, name, addresses, home),
    }
}

fn issue(authority: &Authority, role: &str, name: &str, addresses: Vec<String>, out: &Path) -> Result<Files> {
    let role = match role {
        "master" => PeerRole::Master,
        "agent" => PeerRole::Agent,
        other => bail!("'{other}' is no role of a host: master or agent"),
    };
    std::fs::create_dir_all(out).with_context(|| format!("can't make {}", out.display()))?;
    authority.issue(&Request { role, name: name.to_owned(), names: addresses })?.save(out, name)?;
    Ok(files(out, name))
}

fn files(home: &Path, name: &str) -> Files {
    Files { certificate: home.join(format!("{name}.pem")), key: home.join(format!("{name}.key")) }
}

fn random_name() -> String {
    format!("cluster-{:08x}", crate::host::random() as u32)
}
