//! What an index is made of: entries as the store keeps them and as an index absorbs them. No bytes (those are
//! `store/entry.rs`) and no search.
use crate::contract::index::Entry;

/// Position in the changelog of a tenant. The first commit has 1; an empty store is at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// One entry with all that an index needs to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    /// `passages` is always there; `Passage::vector` has no meaning here, see `vectors`.
    pub entry: Entry,
    /// Ascends in the order in which keys were first put; replacing an entry keeps it.
    pub order: u64,
    /// One place a passage: unit length, or none while the vector is owed or where the passage has words alone.
    pub vectors: Vec<Option<Vec<f32>>>,
    /// For each passage whether its vector is still owed.
    pub owed: Vec<bool>,
}

/// What one commit did to one entry. The last one of a key within a commit counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The entry is now this, whether it was there before or not.
    Put(Box<StoredEntry>),
    /// The entry of this key is gone; nothing if there was none.
    Delete(String),
}
