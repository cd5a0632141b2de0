//! Operations that turn resources into others: reservations made and undone, volumes made, resized and destroyed
//! (reference 4).
//!
//! An operation says by itself what it takes and what it makes of it ([`Operation::conversion`]); a bag adds the rules that
//! need one ([`Resources::apply`]). Amounts never change, only identities. Who may do what in whose name is judged by
//! [`Operation::check_author`]; what needs a cluster (a volume in use, what an agent can do) is the master's to judge.
//!
//! Where the behaviour comes from: Mesos's `src/master/validation.cpp` and `src/common/resources_utils.cpp`.

use crate::cause::{Cause, Defect};
use crate::id::{self, RoleName};
use crate::quantity::Quantity;
use crate::resource::{
    DiskKind, Identity, Persistence, ReservationError, Resource, Resources, ResourcesError, Value, Volume,
};
use rkyv::{Archive, Deserialize, Serialize};

/// What to do with resources.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Operation {
    /// Reserve.
    Reserve {
        /// What is reserved otherwise now, for an operator who moves reservations; `None` pushes one layer.
        source: Option<Resources>,
        /// As they shall be.
        resources: Resources,
    },
    /// Undo the last reservation of each.
    Unreserve {
        /// As they are.
        resources: Resources,
    },
    /// Make persistent volumes of reserved disk.
    Create {
        /// As they shall be.
        volumes: Resources,
    },
    /// Make plain reserved disk of volumes again.
    Destroy {
        /// As they are.
        volumes: Resources,
    },
    /// Make a volume larger.
    Grow {
        /// As it is.
        volume: Resource,
        /// Disk of the same kind under the same reservation.
        addition: Resource,
    },
    /// Make a volume smaller.
    Shrink {
        /// As it is.
        volume: Resource,
        /// By how much.
        subtract: Quantity,
    },
}

/// What an operation takes out of a bag and puts into it; the amounts of both are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Taken out.
    pub consumed: Resources,
    /// Put in.
    pub converted: Resources,
}

/// In whose name an operation comes.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The role to which the offered resources are allocated; `None` for an operator.
    pub allocation: Option<&'a RoleName>,
    /// Who it is to the authenticator.
    pub principal: Option<&'a str>,
    /// Whether it understands shared resources.
    pub shares: bool,
}

/// Why an operation is not carried out. `{0}` is the entry that broke the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to do it with.
    #[error("the operation names no resources")]
    Nothing,
    /// The bag has not got what it takes, or can't hold what it makes.
    #[error("invalid resources: {0}")]
    Resources(#[from] ResourcesError),
    /// Reservations that don't go on top of each other.
    #[error("invalid reservation: {0}")]
    Reservation(#[from] ReservationError),
    /// The last reservation is none, or one of an agent's flag.
    #[error("{0} is not dynamically reserved")]
    NotDynamic(String),
    /// What can be taken back can't be kept.
    #[error("{0} is revocable")]
    Revocable(String),
    /// A volume keeps its reservation.
    #[error("{0} is a persistent volume: destroy it first")]
    PersistentVolume(String),
    /// The new resources are others than the old with other reservations.
    #[error("{0} is not {1} under other reservations")]
    OtherAmounts(String, String),
    /// Only disk holds volumes.
    #[error("{0} is not disk")]
    NotDisk(String),
    /// Disk that anybody may take can't hold a volume.
    #[error("{0} is not reserved")]
    Unreserved(String),
    /// No volume.
    #[error("{0} is not a persistent volume")]
    NotPersistent(String),
    /// A persistence id that would not do as the name of a directory.
    #[error("{0} has an invalid persistence id")]
    PersistenceId(String),
    /// A volume that says not where it is mounted.
    #[error("{0} does not say its volume")]
    NoVolume(String),
    /// The agent chooses where on the machine it lies.
    #[error("{0} sets 'host_path'")]
    HostPath(String),
    /// A volume that nobody could fill.
    #[error("{0} is read-only")]
    ReadOnly(String),
    /// RAW and BLOCK disks hold no files.
    #[error("{0} is on a disk without a file system")]
    NoFileSystem(String),
    /// Two volumes of one id in one role on one agent.
    #[error("persistence id '{id}' is in use in role '{role}'")]
    PersistenceTwice {
        /// The id.
        id: String,
        /// The role.
        role: String,
    },
    /// Other copies of a shared volume are held.
    #[error("{0} can't be destroyed: other copies of it are in use")]
    OtherCopies(String),
    /// A shared volume keeps its size.
    #[error("{0} is shared")]
    Shared(String),
    /// A provider resizes its disks itself.
    #[error("{0} is of a resource provider")]
    Provider(String),
    /// A resize by nothing.
    #[error("the size would not change")]
    NoChange,
    /// Disk of another kind, or under another reservation.
    #[error("{addition} can't be added to {volume}")]
    Incompatible {
        /// What should grow.
        volume: String,
        /// By what.
        addition: String,
    },
    /// A volume that would vanish.
    #[error("{0} has not more than is to be taken off")]
    TooSmall(String),
    /// A MOUNT disk is one piece.
    #[error("{0} is on a MOUNT disk, which can't be divided")]
    Indivisible(String),
    /// A reservation for a role that the resources are not allocated to.
    #[error("{entry} is not reserved to '{role}', the role of its allocation")]
    OtherRole {
        /// What.
        entry: String,
        /// The role of the allocation.
        role: RoleName,
    },
    /// A reservation or volume in another's name.
    #[error("{entry} does not name '{principal}' as its principal")]
    OtherPrincipal {
        /// What.
        entry: String,
        /// Who asks for it.
        principal: String,
    },
    /// A shared volume for a framework that does not understand it.
    #[error("{0} is shared, and the framework has not the capability SHARED_RESOURCES")]
    NotUnderstood(String),
}

impl Refusal {
    /// The same for programs.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Nothing => Cause::ResourcesMissing,
            // The one way in which judged resources don't add up.
            Self::Resources(_) => Cause::ResourcesInsufficient,
            Self::Reservation(_) => Cause::ReservationInvalid,
            Self::NotDynamic(_) | Self::Unreserved(_) => Cause::NotReserved,
            Self::Revocable(_) => Cause::RevocableMixed,
            Self::PersistentVolume(_) | Self::OtherCopies(_) => Cause::VolumeInUse,
            Self::OtherAmounts(..) => Cause::ResourcesInvalid,
            Self::NotPersistent(_) => Cause::VolumeUnknown,
            Self::NotDisk(_)
            | Self::PersistenceId(_)
            | Self::NoVolume(_)
            | Self::HostPath(_)
            | Self::ReadOnly(_)
            | Self::NoFileSystem(_)
            | Self::Shared(_)
            | Self::Incompatible { .. } => Cause::VolumeInvalid,
            Self::PersistenceTwice { .. } => Cause::VolumeIdInUse,
            Self::Provider(_) => Cause::ProviderMissing,
            Self::NoChange | Self::TooSmall(_) | Self::Indivisible(_) => Cause::SizeInvalid,
            Self::OtherRole { .. } => Cause::RoleMismatch,
            Self::OtherPrincipal { .. } => Cause::PrincipalMismatch,
            Self::NotUnderstood(_) => Cause::CapabilityMissing,
        }
    }
}

impl From<Refusal> for Defect {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.cause(), refusal.to_string())
    }
}

impl Operation {
    /// What it takes and what it makes of it, by the rules that need no bag. Cost: one walk over what it names.
    ///
    /// # Panics
    /// When the amounts would change: an error in this file.
    pub fn conversion(&self) -> Result<Conversion, Refusal> {
        let conversion = match self {
            Self::Reserve { source: None, resources } => convert(resources, undo_reservation)?.reversed(),
            Self::Reserve { source: Some(source), resources } => move_reservations(source, resources)?,
            Self::Unreserve { resources } => convert(resources, undo_reservation)?,
            Self::Create { volumes } => {
                check_ids(volumes)?;
                convert(volumes, |volume| check_new_volume(volume).map(|()| volume.clone().without_volume()))?
                    .reversed()
            }
            Self::Destroy { volumes } => destroy(volumes)?,
            Self::Grow { volume, addition } => grow(volume, addition)?,
            Self::Shrink { volume, subtract } => shrink(volume, *subtract)?,
        };
        if conversion.consumed.is_empty() {
            return Err(Refusal::Nothing);
        }
        assert_eq!(conversion.consumed.quantities(), conversion.converted.quantities(), "operations keep amounts");
        Ok(conversion)
    }

    /// Whether its author may name these roles and principals.
    pub fn check_author(&self, author: &Author<'_>) -> Result<(), Refusal> {
        let check_principal = |entry: &Resource, named: Option<&String>| match author.principal {
            Some(principal) if named.map(String::as_str) != Some(principal) => {
                Err(Refusal::OtherPrincipal { entry: entry.to_string(), principal: principal.to_owned() })
            }
            _ => Ok(()),
        };
        match self {
            Self::Reserve { resources, .. } => resources.iter().try_for_each(|entry| {
                if let Some(role) = author.allocation.filter(|role| !entry.is_reserved_to(role)) {
                    return Err(Refusal::OtherRole { entry: entry.to_string(), role: role.clone() });
                }
                check_principal(entry, entry.last_reservation().and_then(|reservation| reservation.principal.as_ref()))
            }),
            Self::Create { volumes } => volumes.iter().try_for_each(|volume| {
                if volume.is_shared() && !author.shares {
                    return Err(Refusal::NotUnderstood(volume.to_string()));
                }
                check_principal(volume, persistence(volume).and_then(|persistence| persistence.principal.as_ref()))
            }),
            Self::Unreserve { .. } | Self::Destroy { .. } | Self::Grow { .. } | Self::Shrink { .. } => Ok(()),
        }
    }
}

impl Conversion {
    fn reversed(self) -> Self {
        Self { consumed: self.converted, converted: self.consumed }
    }
}

impl Resources {
    /// The bag after an operation.
    pub fn apply(&self, operation: &Operation) -> Result<Self, Refusal> {
        let mut bag = self.clone();
        bag.operate(operation).map(|_| bag)
    }

    /// Carries out an operation on all that an agent has, or all of it that an offer holds; on refusal nothing is changed.
    /// Cost: the logarithm of the bag for each entry named, and one move of the bag's entries when their number changes;
    /// CREATE looks at all entries, and DESTROY of a shared volume.
    pub fn operate(&mut self, operation: &Operation) -> Result<Conversion, Refusal> {
        let conversion = operation.conversion()?;
        if let Operation::Create { volumes } = operation {
            let taken = |volume: &&Resource| {
                self.iter().any(|own| volume_name(own).is_some() && volume_name(own) == volume_name(volume))
            };
            if let Some((role, id)) = volumes.iter().find(taken).and_then(volume_name) {
                return Err(Refusal::PersistenceTwice { id: id.to_owned(), role: role.to_string() });
            }
        }
        if let Operation::Destroy { volumes } = operation {
            let copies = |bag: &Self, volume: &Resource| bag.iter().filter(|own| *own == volume).count();
            let left = |volume: &&Resource| volume.is_shared() && copies(self, volume) > copies(volumes, volume);
            if let Some(volume) = volumes.iter().find(left) {
                return Err(Refusal::OtherCopies(volume.to_string()));
            }
        }
        self.convert(&conversion)?;
        Ok(conversion)
    }

    /// Replaces what a conversion consumes by what it makes; on refusal nothing is changed.
    pub fn convert(&mut self, conversion: &Conversion) -> Result<(), ResourcesError> {
        self.subtract(&conversion.consumed)?;
        self.add(&conversion.converted).inspect_err(|_| {
            let restored = self.add(&conversion.consumed);
            assert!(restored.is_ok(), "what was just taken out of a bag goes back into it");
        })
    }
}

/// Each entry and what becomes of it.
fn convert(
    entries: &Resources,
    becomes: impl Fn(&Resource) -> Result<Resource, Refusal>,
) -> Result<Conversion, Refusal> {
    let converted: Result<Vec<Resource>, Refusal> = entries.iter().map(becomes).collect();
    let converted = Resources::collect(converted?)?;
    Ok(Conversion { consumed: entries.clone(), converted })
}

/// What is left when the last reservation goes.
fn undo_reservation(entry: &Resource) -> Result<Resource, Refusal> {
    check_reserved(entry)?;
    Ok(entry.clone().without_last_reservation())
}

fn check_reserved(entry: &Resource) -> Result<(), Refusal> {
    if entry.is_revocable() {
        return Err(Refusal::Revocable(entry.to_string()));
    }
    if !entry.is_dynamically_reserved() {
        return Err(Refusal::NotDynamic(entry.to_string()));
    }
    if entry.is_persistent_volume() {
        return Err(Refusal::PersistentVolume(entry.to_string()));
    }
    let mut stack = Identity::default();
    let reservations = entry.identity.iter().flat_map(|identity| &identity.reservations);
    reservations.cloned().try_for_each(|reservation| stack.push(reservation)).map_err(Refusal::from)
}

/// An operator moves reservations: the same amounts under other ones.
fn move_reservations(source: &Resources, resources: &Resources) -> Result<Conversion, Refusal> {
    resources.iter().try_for_each(check_reserved)?;
    if let Some(volume) = source.iter().find(|entry| entry.is_persistent_volume()) {
        return Err(Refusal::PersistentVolume(volume.to_string()));
    }
    if source.to_unreserved()? != resources.to_unreserved()? {
        return Err(Refusal::OtherAmounts(resources.to_string(), source.to_string()));
    }
    Ok(Conversion { consumed: source.clone(), converted: resources.clone() })
}

fn check_new_volume(entry: &Resource) -> Result<(), Refusal> {
    let told = || entry.to_string();
    if entry.name != super::ResourceName::Disk || !matches!(entry.value, Value::Scalar(_)) {
        return Err(Refusal::NotDisk(told()));
    }
    if entry.reservation_role().is_none() {
        return Err(Refusal::Unreserved(told()));
    }
    if entry.is_revocable() {
        return Err(Refusal::Revocable(told()));
    }
    let disk = entry.disk();
    let persistence = persistence(entry).ok_or_else(|| Refusal::NotPersistent(told()))?;
    if id::check(&persistence.id).is_err() {
        return Err(Refusal::PersistenceId(told()));
    }
    let volume: &Volume = disk.and_then(|disk| disk.volume.as_ref()).ok_or_else(|| Refusal::NoVolume(told()))?;
    if volume.host_path.is_some() {
        return Err(Refusal::HostPath(told()));
    }
    if !volume.writable {
        return Err(Refusal::ReadOnly(told()));
    }
    match disk.and_then(|disk| disk.source.as_ref()).map(|source| source.kind) {
        Some(DiskKind::Raw | DiskKind::Block) => Err(Refusal::NoFileSystem(told())),
        None | Some(DiskKind::Path | DiskKind::Mount) => Ok(()),
    }
}

/// Of a shared volume one copy becomes disk again, since there is only one disk under all of them.
fn destroy(volumes: &Resources) -> Result<Conversion, Refusal> {
    if let Some(other) = volumes.iter().find(|volume| !volume.is_persistent_volume()) {
        return Err(Refusal::NotPersistent(other.to_string()));
    }
    let converted = Resources::collect(volumes.once().cloned().map(Resource::without_volume))?;
    Ok(Conversion { consumed: volumes.clone(), converted })
}

/// No two volumes of one name: not even copies of a shared one, of which there is one at first.
fn check_ids(volumes: &Resources) -> Result<(), Refusal> {
    let mut names: Vec<(&RoleName, &str)> = volumes.iter().filter_map(volume_name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Refusal::PersistenceTwice { id: pair[0].1.to_owned(), role: pair[0].0.to_string() }),
        None => Ok(()),
    }
}

fn persistence(entry: &Resource) -> Option<&Persistence> {
    entry.disk()?.persistence.as_ref()
}

/// What a volume's directory is named by.
fn volume_name(entry: &Resource) -> Option<(&RoleName, &str)> {
    Some((entry.reservation_role()?, persistence(entry)?.id.as_str()))
}

/// The amount of a volume that may be resized.
fn resizable(volume: &Resource) -> Result<Quantity, Refusal> {
    let told = || volume.to_string();
    if !volume.is_persistent_volume() {
        return Err(Refusal::NotPersistent(told()));
    }
    let Value::Scalar(size) = volume.value else { return Err(Refusal::NotDisk(told())) };
    if volume.is_shared() {
        return Err(Refusal::Shared(told()));
    }
    match volume.identity.as_ref().is_some_and(|identity| identity.provider_id.is_some()) {
        true => Err(Refusal::Provider(told())),
        false => Ok(size),
    }
}

fn grow(volume: &Resource, addition: &Resource) -> Result<Conversion, Refusal> {
    let size = resizable(volume)?;
    let Value::Scalar(more) = addition.value else { return Err(Refusal::NotDisk(addition.to_string())) };
    if more.is_zero() {
        return Err(Refusal::NoChange);
    }
    let under = volume.clone().without_volume();
    let fits = under.name == addition.name && under.identity == addition.identity && !under.stands_alone();
    if !fits {
        return Err(Refusal::Incompatible { volume: volume.to_string(), addition: addition.to_string() });
    }
    let size = size.plus(more).ok_or_else(|| ResourcesError::Overflow(addition.to_string()))?;
    Ok(Conversion {
        consumed: Resources::collect([volume.clone(), addition.clone()])?,
        converted: Resources::collect([Resource { value: Value::Scalar(size), ..volume.clone() }])?,
    })
}

fn shrink(volume: &Resource, subtract: Quantity) -> Result<Conversion, Refusal> {
    let size = resizable(volume)?;
    if subtract.is_zero() {
        return Err(Refusal::NoChange);
    }
    let under = volume.clone().without_volume();
    if under.stands_alone() {
        return Err(Refusal::Indivisible(volume.to_string()));
    }
    let rest = size.minus(subtract).filter(|rest| !rest.is_zero());
    let rest = rest.ok_or_else(|| Refusal::TooSmall(volume.to_string()))?;
    Ok(Conversion {
        consumed: Resources::collect([volume.clone()])?,
        converted: Resources::collect([
            Resource { value: Value::Scalar(rest), ..volume.clone() },
            Resource { value: Value::Scalar(subtract), ..under },
        ])?,
    })
}
