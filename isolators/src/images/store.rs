//! Layers and images on disk, by what is in them.
//!
//! ```text
//! layers/DIGITS/          an unpacked layer, by the digest of its tar
//! images/DIGITS           what a name stood for when it was last asked for
//! leases/AGENT/OWNER/NAME what a container uses; nothing of it is removed
//! staging/                what is on its way (`staging.rs`)
//! locks/DIGITS, lock      who makes a layer; who reads the store (shared), who removes from it (alone)
//! ```
//!
//! Everything appears whole or not at all: made in `staging`, synced, renamed. So several agents, executors and their
//! workers use one store at a time, each may be killed at any moment, and a layer that several want is fetched once. What a killed
//! one left goes with the next who fetches, opens the store or removes from it.

use super::digest::Digest;
use super::manifest::RunConfig;
use super::staging::Staging;
use crate::way;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest record that is read back, in bytes: 128 layers and a configuration.
const RECORD_BYTES_MAX: u64 = 8 << 20;

/// Mode of the store: what is in a layer is for the containers that use it, with their rights, and for nobody else.
pub(super) const MODE: u32 = 0o700;

/// An image as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name, as it was asked for.
    pub(crate) name: String,
    /// The digest of its manifest, where it has one.
    pub(super) digest: Option<Digest>,
    /// Its layers, the lowest first.
    pub(super) layers: Vec<Digest>,
    /// What it says of how it is run.
    pub(crate) run: RunConfig,
    /// When it was fetched, in seconds since 1970.
    pub(crate) fetched_at: u64,
}

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The image of its root.
    pub(crate) root: Option<Record>,
    /// The images of its volumes, in their order.
    pub(crate) volumes: Vec<Record>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many images.
    pub images: u64,
    /// How many layers.
    pub layers: u64,
}

/// A store. Nothing of it is open but what this process makes in `staging`. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf, Arc<Staging>);

/// Who uses it: as long as one is held, nothing is removed.
pub(crate) type Shared = Flock<File>;

impl Store {
    /// The store at a path, whether it is there or not.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned(), Arc::new(Staging::at(path.join("staging"))))
    }

    /// The store at a path, made when missing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        for part in ["layers", "images", "leases", "staging", "locks"] {
            DirBuilder::new().recursive(true).mode(MODE).create(path.join(part))?;
        }
        let store = Self::at(path);
        store.clear_staging()?;
        Ok(store)
    }

    fn lock(&self, name: &str, how: FlockArg) -> io::Result<Flock<File>> {
        let file = File::options().create(true).truncate(false).write(true).open(self.0.join(name))?;
        Flock::lock(file, how).map_err(|(_, errno)| errno.into())
    }

    /// Keeps everything in it for as long as the answer is held. Waits for one who removes.
    pub(crate) fn share(&self) -> io::Result<Shared> {
        self.lock("lock", FlockArg::LockShared)
    }

    /// Removes what those left who were killed while they made something.
    pub(crate) fn clear_staging(&self) -> io::Result<()> {
        self.1.clear()
    }

    /// A name in `staging` that nobody else has.
    pub(super) fn aside(&self) -> io::Result<PathBuf> {
        self.1.place()
    }

    /// Where a layer lies, or would.
    pub(super) fn layer(&self, digest: &Digest) -> PathBuf {
        self.0.join("layers").join(digest.digits())
    }

    /// The layers of an image for overlayfs, the topmost first. One that is there twice counts where it is higher: what the
    /// lower one shows, the higher one shows too.
    pub(crate) fn stack(&self, record: &Record) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        record.layers.iter().rev().filter(|digest| seen.insert(**digest)).map(|digest| self.layer(digest)).collect()
    }

    /// Has a layer: it is there, or `make` makes it in the directory that it is given. Who comes later waits for it.
    pub(super) fn have<E: From<io::Error>>(
        &self,
        digest: &Digest,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = self.layer(digest);
        let _maker = self.lock(&format!("locks/{}", digest.digits()), FlockArg::LockExclusive)?;
        if place.is_dir() {
            return Ok(());
        }
        let aside = self.aside()?;
        way::make_one(&aside, 0o755)?;
        let made = make(&aside).and_then(|()| {
            // All of it on disk before it has its name.
            nix::unistd::syncfs(File::open(&aside)?).map_err(io::Error::from)?;
            fs::rename(&aside, &place)?;
            Ok(File::open(self.0.join("layers"))?.sync_all()?)
        });
        if made.is_err() {
            // What can't be removed now is removed by the next who clears.
            let _ = fs::remove_dir_all(&aside);
        }
        made
    }

    /// Remembers what a name stands for.
    pub(super) fn put(&self, name: &str, record: &Record) -> io::Result<()> {
        self.write(&self.image(name), record)
    }

    /// What a name stood for, if all of it is there.
    pub(crate) fn find(&self, name: &str) -> Option<Record> {
        let record: Record = self.read(&self.image(name))?;
        let is_whole = !record.layers.is_empty() && record.layers.iter().all(|digest| self.layer(digest).is_dir());
        (is_whole && record.name == name).then_some(record)
    }

    fn image(&self, name: &str) -> PathBuf {
        self.0.join("images").join(Digest::of(name.as_bytes()).digits())
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let aside = self.aside()?;
        let mut file = File::options().write(true).create_new(true).open(&aside)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(aside, path)
    }

    /// What does not read is not there.
    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let file = File::open(path).ok()?;
        let is_small = file.metadata().ok()?.len() <= RECORD_BYTES_MAX;
        is_small.then(|| serde_json::from_reader(io::BufReader::new(file)).ok()).flatten()
    }

    /// All images, by name.
    pub(crate) fn images(&self) -> io::Result<Vec<Record>> {
        let mut all: Vec<Record> = Vec::new();
        for entry in fs::read_dir(self.0.join("images"))? {
            all.extend(self.read(&entry?.path()));
        }
        all.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(all)
    }

    /// Notes what a container uses. The names must have been checked: they become names of files.
    pub(crate) fn lease(&self, agent: &str, owner: &str, container: &str, lease: &Lease) -> io::Result<()> {
        let directory = self.0.join("leases").join(agent).join(owner);
        DirBuilder::new().recursive(true).mode(MODE).create(&directory)?;
        self.write(&directory.join(container), lease)
    }

    /// What a container uses.
    pub(crate) fn leased(&self, agent: &str, owner: &str, container: &str) -> Option<Lease> {
        self.read(&self.0.join("leases").join(agent).join(owner).join(container))
    }

    /// A container uses nothing any more; without a name all that lies within its owner.
    pub(crate) fn release(&self, agent: &str, owner: &str, container: Option<&str>) -> io::Result<()> {
        let directory = self.0.join("leases").join(agent).join(owner);
        let removed = match container {
            Some(container) => fs::remove_file(directory.join(container)),
            None => fs::remove_dir_all(directory),
        };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The owners that an agent has leases for.
    pub(crate) fn owners(&self, agent: &str) -> Vec<String> {
        let names = fs::read_dir(self.0.join("leases").join(agent)).into_iter().flatten();
        names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    /// Removes the images that no container uses and that are not in `kept`, and the layers of no image. Waits until nobody
    /// fetches.
    pub(crate) fn prune(&self, kept: &[String]) -> io::Result<Pruned> {
        let _alone = self.lock("lock", FlockArg::LockExclusive)?;
        self.clear_staging()?;
        let mut used: BTreeSet<Digest> = BTreeSet::new();
        let mut names: BTreeSet<String> = kept.iter().cloned().collect();
        for agent in fs::read_dir(self.0.join("leases"))? {
            for owner in fs::read_dir(agent?.path())? {
                for one in fs::read_dir(owner?.path())? {
                    let path = one?.path();
                    // What is leased and can't be read might be anything.
                    let lease: Lease = self.read(&path).ok_or_else(|| unreadable(&path))?;
                    for record in lease.root.into_iter().chain(lease.volumes) {
                        used.extend(record.layers);
                        names.insert(record.name);
                    }
                }
            }
        }
        let mut pruned = Pruned::default();
        for entry in fs::read_dir(self.0.join("images"))? {
            let path = entry?.path();
            match self.read::<Record>(&path) {
                Some(record) if names.contains(&record.name) => used.extend(record.layers),
                _ => {
                    fs::remove_file(&path)?;
                    pruned.images += 1;
                }
            }
        }
        for entry in fs::read_dir(self.0.join("layers"))? {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(Digest::parse_digits);
            if digest.is_some_and(|digest| used.contains(&digest)) {
                continue;
            }
            // Gone at once for everybody, and then bit by bit.
            let aside = self.aside()?;
            fs::rename(entry.path(), &aside)?;
            fs::remove_dir_all(&aside)?;
            pruned.layers += 1;
        }
        for entry in fs::read_dir(self.0.join("locks"))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(pruned)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("'{}' can't be read", path.display()))
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        (directory, store)
    }

    fn make(store: &Store, text: &str) -> Digest {
        let digest = Digest::of(text.as_bytes());
        store.have::<io::Error>(&digest, |at| fs::write(at.join("file"), text)).unwrap();
        digest
    }

    fn record(name: &str, layers: &[Digest]) -> Record {
        let (name, layers) = (name.to_owned(), layers.to_vec());
        Record { name, digest: None, layers, run: RunConfig::default(), fetched_at: now() }
    }

    #[test]
    fn what_several_want_is_made_once_and_what_failed_leaves_nothing() {
        let (_directory, store) = store();
        let digest = Digest::of(b"x");
        let failed = store.have(&digest, |at| {
            fs::write(at.join("half"), "x")?;
            Err::<(), _>(io::Error::other("no"))
        });
        assert!(failed.is_err() && !store.layer(&digest).exists());
        let staging = fs::read_dir(store.path().join("staging")).unwrap();
        let left = staging.map(|own| fs::read_dir(own.unwrap().path()).unwrap().count());
        assert_eq!(left.sum::<usize>(), 0);
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = |at: &Path| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(at.join("file"), "x")
                    };
                    store.have::<io::Error>(&digest, make).unwrap();
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(fs::read_to_string(store.layer(&digest).join("file")).unwrap(), "x");
    }

    #[test]
    fn what_is_used_or_kept_stays_and_the_rest_goes() {
        let (_directory, store) = store();
        let [base, used, kept, idle] = ["base", "used", "kept", "idle"].map(|text| make(&store, text));
        for (name, top) in [("used", used), ("kept", kept), ("idle", idle)] {
            store.put(name, &record(name, &[base, top])).unwrap();
        }
        let lease = Lease { root: store.find("used"), volumes: Vec::new() };
        store.lease("agent", "owner", "container", &lease).unwrap();
        assert_eq!(store.leased("agent", "owner", "container"), Some(lease));
        assert_eq!(store.prune(&["kept".to_owned()]).unwrap(), Pruned { images: 1, layers: 1 });
        assert!(store.find("used").is_some() && store.find("kept").is_some() && store.find("idle").is_none());
        assert!(!store.layer(&idle).exists());
        store.release("agent", "owner", Some("container")).unwrap();
        store.release("agent", "owner", None).unwrap();
        store.release("agent", "owner", None).unwrap();
        assert_eq!(store.prune(&[]).unwrap(), Pruned { images: 2, layers: 3 });
        assert!(store.images().unwrap().is_empty() && store.owners("agent").is_empty());
    }

    #[test]
    fn damage_is_never_taken_for_an_image() {
        let (directory, store) = store();
        let layer = make(&store, "x");
        store.put("name", &record("name", &[layer])).unwrap();
        assert!(store.find("name").is_some() && store.find("other").is_none());
        fs::remove_dir_all(store.layer(&layer)).unwrap();
        assert!(store.find("name").is_none(), "a layer is gone");
        fs::write(store.image("name"), "{").unwrap();
        assert!(store.find("name").is_none());
        fs::write(store.path().join("staging/left"), "by a crash").unwrap();
        // Its own place goes with it.
        drop(store);
        let store = Store::at(&directory.path().join("store"));
        let again = Store::open(&directory.path().join("store")).unwrap();
        assert_eq!(fs::read_dir(again.path().join("staging")).unwrap().count(), 0);
        fs::create_dir_all(store.path().join("leases/a/o")).unwrap();
        fs::write(store.path().join("leases/a/o/c"), "{").unwrap();
        assert!(store.prune(&[]).is_err(), "what is leased and can't be read might be anything");
    }

    #[test]
    fn a_layer_that_is_there_twice_counts_where_it_is_higher() {
        let (_directory, store) = store();
        let [one, two] = ["1", "2"].map(|text| make(&store, text));
        let stack = store.stack(&record("n", &[one, two, one]));
        assert_eq!(stack, [store.layer(&one), store.layer(&two)]);
    }
}
