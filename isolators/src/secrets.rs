//! Secrets by reference: a task names one, and the agent that launches it asks its **resolver** for the bytes. [`Secrets`] is the seam
//! (Mesos's module `SecretResolver`, reference 12.1); what comes with Kaon is [`Directory`], files of a directory that only the agent's
//! user reads (`--secret-resolver`).
//!
//! What a reference stands for is looked up at each launch, after everything that is written down about it: it is in no journal,
//! state or log. The built-in executor of one command is handed what its task needs, and nothing else; that of groups looks for itself.

use kaon_kernel::container::{LaunchSpec, Program};
use kaon_kernel::container_info::VolumeSource;
use kaon_kernel::secret::{Secret, SecretReference};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// The largest secret in bytes, as an environment variable may be long (`MAX_ARG_STRLEN`).
pub const SECRET_BYTES_MAX: usize = 128 * 1024;

/// The variable by which the built-in executor of a command gets what its task's references stand for.
pub const GIVEN_VARIABLE: &str = "KAON_EXECUTOR_SECRETS";

/// The variable that tells the executor of groups where they are.
pub const DIRECTORY_VARIABLE: &str = "KAON_EXECUTOR_SECRET_DIRECTORY";

/// Why a secret is not had. What it says is never in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody here knows any.
    #[error("the secret {0} is asked for, and there is no resolver (--secret-resolver)")]
    NoResolver(SecretReference),
    /// There is none of this name.
    #[error("there is no secret {0}")]
    Unknown(SecretReference),
    /// It is more than can be given.
    #[error("the secret {0} has more than {SECRET_BYTES_MAX} bytes")]
    Long(SecretReference),
    /// It is no text, and a variable has to be one.
    #[error("the secret {0} is no text that an environment can hold")]
    NoText(SecretReference),
    /// It can't be read.
    #[error("the secret {reference} can't be read: {source}")]
    Io {
        /// Which.
        reference: SecretReference,
        /// What came back.
        source: io::Error,
    },
}

/// Who knows what references stand for. May block.
pub trait Secrets: fmt::Debug + Send + Sync + 'static {
    /// The bytes of one.
    ///
    /// # Errors
    /// When there is none, or it can't be had.
    fn resolve(&self, reference: &SecretReference) -> Result<Vec<u8>, Error>;
}

/// Secrets as files: `NAME`, or `NAME/KEY` of one with parts. Links are followed as long as they stay within the directory.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

impl Secrets for Directory {
    fn resolve(&self, reference: &SecretReference) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Io { reference: reference.clone(), source };
        let unknown = || Error::Unknown(reference.clone());
        let path = path(reference).ok_or_else(unknown)?;
        let base = File::open(&self.0).map_err(failed)?;
        // A pipe in its place keeps nobody waiting.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let file = match openat2(&base, &path, OpenHow::new().flags(flags).mode(Mode::empty()).resolve(resolve)) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV | Errno::ELOOP) => return Err(unknown()),
            opened => File::from(opened.map_err(|errno| failed(errno.into()))?),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(unknown());
        }
        let mut data = Vec::new();
        file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut data).map_err(failed)?;
        if data.len() > SECRET_BYTES_MAX { Err(Error::Long(reference.clone())) } else { Ok(data) }
    }
}

/// Where a secret lies below the directory: names are paths downwards, and nothing else.
fn path(reference: &SecretReference) -> Option<PathBuf> {
    let parts = std::iter::once(&reference.name).chain(&reference.key);
    let is_plain = |part: &String| {
        let mut steps = Path::new(part).components().peekable();
        steps.peek().is_some() && steps.all(|step| matches!(step, Component::Normal(_))) && !part.contains('\0')
    };
    parts.clone().all(is_plain).then(|| parts.collect())
}

/// What an executor was handed.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Given(Vec<(String, Option<String>, String)>);

impl Given {
    /// Reads what [`GIVEN_VARIABLE`] says.
    ///
    /// # Errors
    /// When that does not read.
    pub fn parse(text: &str) -> io::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({} secrets)", self.0.len())
    }
}

impl Secrets for Given {
    fn resolve(&self, reference: &SecretReference) -> Result<Vec<u8>, Error> {
        let found = self.0.iter().find(|(name, key, _)| *name == reference.name && *key == reference.key);
        found.map(|(_, _, text)| text.clone().into_bytes()).ok_or_else(|| Error::Unknown(reference.clone()))
    }
}

/// Whether a launch names secrets by reference.
pub(crate) fn are_asked_for(spec: &LaunchSpec) -> bool {
    let volumes = spec.container.iter().flat_map(|asked| &asked.volumes);
    !spec.secrets.is_empty()
        || volumes.into_iter().any(|volume| matches!(volume.source, VolumeSource::Secret(Secret::Reference(_))))
}

/// Puts into a launch what its references stand for: into the environment of the program, or into what an executor of ours hands on.
pub(crate) fn fill(mut spec: LaunchSpec, resolver: Option<&dyn Secrets>) -> Result<LaunchSpec, Error> {
    let resolve = |reference: &SecretReference| match resolver {
        Some(resolver) => resolver.resolve(reference),
        None => Err(Error::NoResolver(reference.clone())),
    };
    let mut given = Given::default();
    let is_handed_on = spec.program == Program::BuiltinExecutor;
    for (name, reference) in std::mem::take(&mut spec.secrets) {
        let text = String::from_utf8(resolve(&reference)?).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| Error::NoText(reference.clone()))?;
        match is_handed_on {
            true => given.0.push((reference.name, reference.key, text)),
            false => spec.environment.push((name, text)),
        }
    }
    if !given.0.is_empty() {
        let failed = |source: serde_json::Error| Error::Io {
            reference: SecretReference { name: given.0[0].0.clone(), key: None },
            source: source.into(),
        };
        let text = serde_json::to_string(&given).map_err(failed)?;
        spec.environment.push((GIVEN_VARIABLE.to_owned(), text));
    }
    for volume in spec.container.iter_mut().flat_map(|asked| &mut asked.volumes) {
        if let VolumeSource::Secret(Secret::Reference(reference)) = &volume.source {
            volume.source = VolumeSource::Secret(Secret::Value(resolve(reference)?));
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn reference(name: &str, key: Option<&str>) -> SecretReference {
        SecretReference { name: name.to_owned(), key: key.map(str::to_owned) }
    }

    #[test]
    fn files_are_secrets_and_nothing_outside_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("secrets");
        fs::create_dir_all(home.join("db/now")).unwrap();
        fs::write(home.join("plain"), "p").unwrap();
        fs::write(home.join("db/now/password"), [0, 255]).unwrap();
        fs::write(home.join("large"), vec![b'x'; SECRET_BYTES_MAX + 1]).unwrap();
        fs::write(folder.path().join("outside"), "no").unwrap();
        // As Kubernetes shows parts: by a link that is turned in one step.
        symlink("now/password", home.join("db/password")).unwrap();
        symlink("../outside", home.join("link")).unwrap();
        symlink("/etc/passwd", home.join("absolute")).unwrap();
        nix::unistd::mkfifo(&home.join("pipe"), Mode::S_IRWXU).unwrap();
        let secrets = Directory(home);
        let found = |name, key| secrets.resolve(&reference(name, key)).unwrap();
        assert_eq!((found("plain", None), found("db", Some("password"))), (b"p".to_vec(), vec![0, 255]));
        assert_eq!(found("db/now", Some("password")), [0, 255]);
        for bad in ["", "..", "../outside", "/etc/passwd", "link", "absolute", "none", "db", "pipe", "plain/..", "a\0b"]
        {
            let refused = secrets.resolve(&reference(bad, None)).unwrap_err();
            assert!(matches!(refused, Error::Unknown(_)), "{bad:?}: {refused}");
        }
        assert!(matches!(secrets.resolve(&reference("plain", Some("key"))), Err(Error::Unknown(_))));
        assert!(matches!(secrets.resolve(&reference("db", Some("../plain"))), Err(Error::Unknown(_))));
        assert!(matches!(secrets.resolve(&reference("large", None)), Err(Error::Long(_))));
        let gone = Directory("/no/such".into());
        assert!(matches!(gone.resolve(&reference("plain", None)), Err(Error::Io { .. })));
    }

    #[test]
    fn an_executor_of_ours_hands_on_what_its_task_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "s3cret").unwrap();
        fs::write(folder.path().join("bytes"), [0xff]).unwrap();
        let resolver = Directory(folder.path().to_owned());
        let asking = |program, name: &str| LaunchSpec {
            secrets: vec![("KEY".to_owned(), reference(name, None))],
            ..LaunchSpec::bare(program, "s".to_owned())
        };
        let own = fill(asking(Program::Shell("true".to_owned()), "key"), Some(&resolver)).unwrap();
        assert_eq!(own.environment, [("KEY".to_owned(), "s3cret".to_owned())]);
        let executor = fill(asking(Program::BuiltinExecutor, "key"), Some(&resolver)).unwrap();
        let [(name, text)] = &executor.environment[..] else { panic!("one variable") };
        assert_eq!(name, GIVEN_VARIABLE);
        let given = Given::parse(text).unwrap();
        assert_eq!(format!("{given:?}"), "(1 secrets)");
        let task = fill(asking(Program::Shell("true".to_owned()), "key"), Some(&given)).unwrap();
        assert_eq!(task.environment, own.environment);
        assert!(given.resolve(&reference("key", Some("other"))).is_err());
        let told = |spec, resolver: Option<&dyn Secrets>| fill(spec, resolver).unwrap_err().to_string();
        assert!(told(asking(Program::BuiltinExecutor, "key"), None).contains("--secret-resolver"));
        assert!(told(asking(Program::BuiltinExecutor, "bytes"), Some(&resolver)).contains("is no text"));
    }
}
