//! The directory of a host: which mailbox belongs to an address, and which links stand.

use crate::mailbox::{Item, Mailbox};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use kaon_kernel::actor::{Address, HostId, Link, LinkState};
use rustc_hash::FxBuildHasher;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses to mailboxes, readable from every thread.
#[derive(Default)]
pub(crate) struct Directory {
    mailboxes: DashMap<Address, Arc<Mailbox>, FxBuildHasher>,
}

impl Directory {
    /// Enters a mailbox; false when somebody lives there already.
    pub(crate) fn enter(&self, mailbox: Arc<Mailbox>) -> bool {
        match self.mailboxes.entry(mailbox.address) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(mailbox);
                true
            }
        }
    }

    /// Closes a mailbox and takes it out.
    pub(crate) fn remove(&self, address: Address) {
        if let Some((_, mailbox)) = self.mailboxes.remove(&address) {
            mailbox.close();
        }
    }

    /// The mailbox of an address.
    pub(crate) fn find(&self, address: Address) -> Option<Arc<Mailbox>> {
        self.mailboxes.get(&address).map(|entry| Arc::clone(entry.value()))
    }

    /// Calls `visit` with every mailbox, in no order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Mailbox)) {
        self.mailboxes.iter().for_each(|entry| visit(entry.value()));
    }
}

/// A few mailboxes that one actor writes to often, kept so that sending needs no shared table. An entry whose mailbox
/// was closed refuses, and the directory is asked again.
pub(crate) struct Neighbours {
    slots: [Option<Arc<Mailbox>>; Self::SLOTS],
}

impl Neighbours {
    const SLOTS: usize = 16;

    pub(crate) fn new() -> Self {
        Self { slots: [const { None }; Self::SLOTS] }
    }

    /// The mailbox of an address of this host.
    pub(crate) fn find(&mut self, directory: &Directory, address: Address) -> Option<&Arc<Mailbox>> {
        let slot = &mut self.slots[(address.kind as usize ^ address.index as usize) % Self::SLOTS];
        if slot.as_ref().is_none_or(|mailbox| mailbox.address != address) {
            *slot = directory.find(address);
        }
        slot.as_ref()
    }

    /// Forgets what it knew of an address.
    pub(crate) fn forget(&mut self, address: Address) {
        self.slots[(address.kind as usize ^ address.index as usize) % Self::SLOTS] = None;
    }
}

/// The links of this host, and the actors that hear of them. One lock around both, so that an actor that starts sees
/// each link exactly once: in what it is told at its start, or as a change after it. Holds one entry per session, whose
/// number transport bounds.
#[derive(Default)]
pub(crate) struct Links(Mutex<LinkTable>);

#[derive(Default)]
struct LinkTable {
    /// The last `Up` of each host and whether it is congested.
    standing: BTreeMap<HostId, (Arc<Link>, Option<Arc<Link>>)>,
    listeners: Vec<(Arc<Mailbox>, u64)>,
}

impl Links {
    /// Remembers a change and tells it to every listener.
    pub(crate) fn change(&self, link: Link) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let link = Arc::new(link);
        match link.state {
            LinkState::Up => {
                table.standing.insert(link.host, (Arc::clone(&link), None));
            }
            LinkState::Down => {
                table.standing.remove(&link.host);
            }
            LinkState::Congested => {
                if let Some((_, congested)) = table.standing.get_mut(&link.host) {
                    *congested = Some(Arc::clone(&link));
                }
            }
            LinkState::Flowing => {
                if let Some((_, congested)) = table.standing.get_mut(&link.host) {
                    *congested = None;
                }
            }
        }
        for (mailbox, incarnation) in &table.listeners {
            mailbox.tell(Item::Link(*incarnation, Arc::clone(&link)));
        }
    }

    /// An incarnation listens from now on; what stands already is returned, in order of the hosts.
    pub(crate) fn listen(&self, mailbox: &Arc<Mailbox>, incarnation: u64) -> Vec<Arc<Link>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.listeners.retain(|(listener, _)| listener.address != mailbox.address);
        table.listeners.push((Arc::clone(mailbox), incarnation));
        let standing = table.standing.values();
        standing.flat_map(|(up, congested)| std::iter::once(up).chain(congested)).cloned().collect()
    }

    /// An actor listens no more.
    pub(crate) fn leave(&self, address: Address) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.listeners.retain(|(listener, _)| listener.address != address);
    }
}
