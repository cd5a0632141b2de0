//! The C library: load a topology, copy it, free it.
//!
//! The crate `hwloc2` supplies the link line (its build script) and nothing else: its objects can't list NUMA nodes, have
//! no XML, synthetic or I/O calls, and some of its methods crash (dependencies reference 2; `clippy.toml` forbids them).
//! So the few functions needed are declared here, with hwloc's object as the header of hwloc 2.x lays it out
//! (`hwloc.h`, `struct hwloc_obj`). The C topology lives only inside [`load`]: nothing in the copy points into it.
#![allow(unsafe_code)]

use super::tree::{Kind, Node, OsKind, Pci, RawMatrix};
use super::{Error, OBJECTS_MAX};
use hwloc2 as _;
use kaon_kernel::resource::Ranges;
use kaon_kernel::topology::PciAddress;
use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_uint, c_ulong, c_ushort, c_void};
use std::io;

/// The deepest tree that is copied: a chain of bridges and switches has some ten.
const DEPTH_MAX: usize = 256;

/// Where a topology comes from.
pub(super) enum Source<'a> {
    /// This machine.
    Live,
    /// An exported XML text.
    Xml(&'a [u8]),
    /// A synthetic description.
    Synthetic(&'a str),
}

/// `hwloc_topology`, known by pointer only.
#[repr(C)]
struct CTopology {
    _private: [u8; 0],
}

/// `hwloc_bitmap_s`, known by pointer only.
#[repr(C)]
struct CBitmap {
    _private: [u8; 0],
}

/// `struct hwloc_info_s`.
#[repr(C)]
struct CInfo {
    name: *const c_char,
    value: *const c_char,
}

/// `struct hwloc_obj` of hwloc 2.x.
#[repr(C)]
struct CObject {
    kind: c_int,
    subtype: *const c_char,
    os_index: c_uint,
    name: *const c_char,
    total_memory: u64,
    attributes: *const c_void,
    depth: c_int,
    logical_index: c_uint,
    next_cousin: *const CObject,
    previous_cousin: *const CObject,
    parent: *const CObject,
    sibling_rank: c_uint,
    next_sibling: *const CObject,
    previous_sibling: *const CObject,
    arity: c_uint,
    children: *const *const CObject,
    first_child: *const CObject,
    last_child: *const CObject,
    symmetric_subtree: c_int,
    memory_arity: c_uint,
    memory_first_child: *const CObject,
    io_arity: c_uint,
    io_first_child: *const CObject,
    misc_arity: c_uint,
    misc_first_child: *const CObject,
    cpus: *const CBitmap,
    complete_cpus: *const CBitmap,
    nodes: *const CBitmap,
    complete_nodes: *const CBitmap,
    infos: *const CInfo,
    infos_count: c_uint,
    user_data: *const c_void,
    global_index: u64,
}

/// `struct hwloc_pcidev_attr_s` up to the last member that is read.
#[repr(C)]
struct CPci {
    domain: c_ushort,
    bus: c_uchar,
    device: c_uchar,
    function: c_uchar,
    class: c_ushort,
    vendor: c_ushort,
    model: c_ushort,
}

/// `struct hwloc_distances_s`.
#[repr(C)]
struct CDistances {
    count: c_uint,
    objects: *const *const CObject,
    kind: c_ulong,
    values: *const u64,
}

unsafe extern "C" {
    fn hwloc_topology_init(topology: *mut *mut CTopology) -> c_int;
    fn hwloc_topology_abi_check(topology: *mut CTopology) -> c_int;
    fn hwloc_topology_set_xmlbuffer(topology: *mut CTopology, buffer: *const c_char, size: c_int) -> c_int;
    fn hwloc_topology_set_synthetic(topology: *mut CTopology, description: *const c_char) -> c_int;
    fn hwloc_topology_set_io_types_filter(topology: *mut CTopology, filter: c_int) -> c_int;
    fn hwloc_topology_load(topology: *mut CTopology) -> c_int;
    fn hwloc_topology_destroy(topology: *mut CTopology);
    fn hwloc_get_obj_by_depth(topology: *mut CTopology, depth: c_int, index: c_uint) -> *const CObject;
    fn hwloc_distances_get(
        topology: *mut CTopology,
        count: *mut c_uint,
        matrices: *mut *mut CDistances,
        kind: c_ulong,
        flags: c_ulong,
    ) -> c_int;
    fn hwloc_distances_get_name(topology: *mut CTopology, matrix: *mut CDistances) -> *const c_char;
    fn hwloc_distances_release(topology: *mut CTopology, matrix: *mut CDistances);
    fn hwloc_bitmap_next(bitmap: *const CBitmap, previous: c_int) -> c_int;
}

/// `HWLOC_TYPE_FILTER_KEEP_IMPORTANT`: devices that people care for, and the bridges above them.
const KEEP_IMPORTANT: c_int = 3;

/// `HWLOC_UNKNOWN_INDEX`.
const UNKNOWN_INDEX: c_uint = c_uint::MAX;

/// A C topology, freed when dropped.
struct Loaded(*mut CTopology);

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the pointer came from hwloc_topology_init and is freed once, here.
        unsafe { hwloc_topology_destroy(self.0) }
    }
}

/// Loads a topology and copies it.
pub(super) fn load(source: Source<'_>) -> Result<(Node, Vec<RawMatrix>), Error> {
    let refused = |action| move || Error::Refused { action, source: io::Error::last_os_error() };
    let check = |answer: c_int, action| if answer == 0 { Ok(()) } else { Err(refused(action)()) };
    let mut topology = std::ptr::null_mut();
    // SAFETY: hwloc writes a pointer of its own to the place given.
    check(unsafe { hwloc_topology_init(&raw mut topology) }, "begin")?;
    let loaded = Loaded(topology);
    // SAFETY: the topology is alive, here and in every call below.
    if unsafe { hwloc_topology_abi_check(loaded.0) } != 0 {
        return Err(Error::Library);
    }
    // hwloc reads an XML buffer while it loads: both texts live until the end of this function.
    let _text = match source {
        Source::Live => None,
        Source::Xml(bytes) => {
            let text = CString::new(bytes).map_err(|_| Error::Nul)?;
            let size = c_int::try_from(bytes.len() + 1).map_err(|_| Error::TooLarge)?;
            // SAFETY: `text` has `size` bytes, the NUL at its end included.
            check(unsafe { hwloc_topology_set_xmlbuffer(loaded.0, text.as_ptr(), size) }, "read the XML text")?;
            Some(text)
        }
        Source::Synthetic(description) => {
            let text = CString::new(description).map_err(|_| Error::Nul)?;
            // SAFETY: a text that ends with NUL; hwloc copies what it needs.
            check(unsafe { hwloc_topology_set_synthetic(loaded.0, text.as_ptr()) }, "read the synthetic description")?;
            Some(text)
        }
    };
    // SAFETY: only between init and load, as here.
    check(unsafe { hwloc_topology_set_io_types_filter(loaded.0, KEEP_IMPORTANT) }, "ask for devices")?;
    // SAFETY: as above.
    check(unsafe { hwloc_topology_load(loaded.0) }, "load the topology")?;
    // SAFETY: after a load that went well there is exactly one object at depth 0, owned by the topology.
    let root = unsafe { hwloc_get_obj_by_depth(loaded.0, 0, 0).as_ref() };
    let root = root.ok_or_else(refused("find the machine"))?;
    let mut objects = 0;
    // SAFETY: `root` and all that it leads to belong to `loaded`, which outlives the copy and is not changed.
    let machine = unsafe { copy(root, DEPTH_MAX, &mut objects)? };
    // SAFETY: `loaded` is alive and not changed.
    let matrices = unsafe { matrices(&loaded) };
    Ok((machine, matrices))
}

/// The most members of a set; twice the processing units that a topology takes.
const MEMBERS_MAX: usize = 2 * kaon_kernel::topology::UNITS_MAX;

/// The most matrices that are read; machines have one or two.
const MATRICES_MAX: usize = 16;

/// The most objects of a matrix that is read.
const MATRIX_OBJECTS_MAX: usize = 1_024;

/// Copies the matrices of a topology.
///
/// # Safety
/// The topology must be loaded, and stay so and unchanged during the call.
unsafe fn matrices(loaded: &Loaded) -> Vec<RawMatrix> {
    let mut found = [std::ptr::null_mut::<CDistances>(); MATRICES_MAX];
    let mut count = MATRICES_MAX as c_uint;
    // SAFETY: hwloc writes at most as many pointers as `count` says there is room for, and then how many there are in all.
    let answer = unsafe { hwloc_distances_get(loaded.0, &raw mut count, found.as_mut_ptr(), 0, 0) };
    if answer != 0 {
        return Vec::new();
    }
    let mut copies = Vec::new();
    for pointer in found.into_iter().take(count as usize).filter(|pointer| !pointer.is_null()) {
        // SAFETY: hwloc gave the pointer, and it is not released yet.
        let matrix = unsafe { &*pointer };
        let size = matrix.count as usize;
        if size <= MATRIX_OBJECTS_MAX && !matrix.objects.is_null() && !matrix.values.is_null() {
            // SAFETY: a matrix has `count` objects and as many values squared; the name is null or a text.
            unsafe {
                let objects = std::slice::from_raw_parts(matrix.objects, size);
                copies.push(RawMatrix {
                    name: text(hwloc_distances_get_name(loaded.0, pointer)).unwrap_or_default(),
                    kind: matrix.kind,
                    objects: objects.iter().map(|object| object.as_ref().map(|object| object.global_index)).collect(),
                    values: std::slice::from_raw_parts(matrix.values, size * size).to_vec(),
                });
            }
        }
        // SAFETY: released once; nothing of it is used afterwards.
        unsafe { hwloc_distances_release(loaded.0, pointer) };
    }
    copies
}

/// Copies an object and all below it.
///
/// # Safety
/// The object must belong to a topology that is loaded, and stays so and unchanged during the call.
unsafe fn copy(object: &CObject, depth: usize, objects: &mut usize) -> Result<Node, Error> {
    *objects += 1;
    if depth == 0 || *objects > OBJECTS_MAX {
        return Err(Error::TooLarge);
    }
    // SAFETY: the attributes are those of this object.
    let (kind, bytes) = unsafe { kind(object) };
    let mut children = Vec::new();
    for list in [object.memory_first_child, object.first_child, object.io_first_child, object.misc_first_child] {
        let mut next = list;
        // SAFETY: the lists of hwloc end with null and hold objects of the same topology.
        while let Some(child) = unsafe { next.as_ref() } {
            // SAFETY: as for `object`.
            children.push(unsafe { copy(child, depth - 1, objects)? });
            next = child.next_sibling;
        }
    }
    // SAFETY: strings, sets and infos belong to the object; each is null or whole.
    unsafe {
        Ok(Node {
            kind,
            id: object.global_index,
            os_index: (object.os_index != UNKNOWN_INDEX).then_some(object.os_index),
            name: text(object.name),
            subtype: text(object.subtype),
            cpus: members(object.cpus)?,
            numa_nodes: members(object.nodes)?,
            bytes,
            infos: infos(object),
            children,
        })
    }
}

/// What an object is, and its size in bytes where it has one. The numbers are those of `hwloc_obj_type_t`.
///
/// # Safety
/// As for [`copy`].
unsafe fn kind(object: &CObject) -> (Kind, u64) {
    // Caches and NUMA nodes both begin with their size.
    // SAFETY: read only for kinds whose attributes begin with a 64-bit number; null is none.
    let size = || unsafe { object.attributes.cast::<u64>().as_ref().copied().unwrap_or(0) };
    match object.kind {
        0 => (Kind::Machine, 0),
        1 => (Kind::Package, 0),
        2 => (Kind::Core, 0),
        3 => (Kind::ProcessingUnit, 0),
        level @ 4..=8 => (Kind::Cache(u8::try_from(level - 3).unwrap_or(0)), size()),
        12 => (Kind::Group, 0),
        13 => (Kind::NumaNode, size()),
        14 => (Kind::Bridge, 0),
        // SAFETY: the attributes of a PCI device are of that shape; null is none.
        15 => match unsafe { object.attributes.cast::<CPci>().as_ref() } {
            Some(pci) => {
                let &CPci { domain, bus, device, function, class, vendor, model } = pci;
                let address = PciAddress { domain: domain.into(), bus, device, function };
                (Kind::Pci(Pci { address, class, vendor, model }), 0)
            }
            None => (Kind::Other, 0),
        },
        // SAFETY: the attributes of a device of the operating system are one number; null is none.
        16 => match unsafe { object.attributes.cast::<c_int>().as_ref() } {
            Some(0) => (Kind::Os(OsKind::Block), 0),
            Some(1) => (Kind::Os(OsKind::Gpu), 0),
            Some(2) => (Kind::Os(OsKind::Network), 0),
            Some(3) => (Kind::Os(OsKind::Fabric), 0),
            Some(4) => (Kind::Os(OsKind::Dma), 0),
            Some(5) => (Kind::Os(OsKind::Coprocessor), 0),
            _ => (Kind::Other, 0),
        },
        18 => (Kind::MemoryCache, size()),
        19 => (Kind::Die, 0),
        _ => (Kind::Other, 0),
    }
}

/// # Safety
/// The pointer must be null or lead to a text that ends with NUL.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: not null, and a text by the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// # Safety
/// The pointer must be null or lead to a bitmap.
unsafe fn members(bitmap: *const CBitmap) -> Result<Ranges, Error> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    if bitmap.is_null() {
        return Ok(Ranges::default());
    }
    let mut previous = -1;
    let mut count = 0;
    loop {
        // SAFETY: a bitmap by the caller's promise; -1 asks for the first member.
        previous = unsafe { hwloc_bitmap_next(bitmap, previous) };
        let Ok(member) = u64::try_from(previous) else { break };
        count += 1;
        // A set may be without end.
        if count > MEMBERS_MAX {
            return Err(Error::TooLarge);
        }
        match ranges.last_mut() {
            Some(last) if last.1 + 1 == member => last.1 = member,
            _ => ranges.push((member, member)),
        }
    }
    Ok(Ranges::new(ranges).expect("members of a bitmap come in ascending order"))
}

/// # Safety
/// The object's infos must be whole.
unsafe fn infos(object: &CObject) -> Vec<(String, String)> {
    if object.infos.is_null() {
        return Vec::new();
    }
    // SAFETY: hwloc's array has `infos_count` members.
    let infos = unsafe { std::slice::from_raw_parts(object.infos, object.infos_count as usize) };
    // SAFETY: names and values are texts of hwloc's.
    infos.iter().filter_map(|info| unsafe { Some((text(info.name)?, text(info.value)?)) }).collect()
}
