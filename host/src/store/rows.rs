//! Where rows are: names of tables, and keys that begin with their tenant, so that all of one tenant lie side by side.
use super::entry::{long_key, short_key};
use super::redb::{Reading, Span};
use super::{StoreError, Tenant};
use std::ops::Bound;

/// Names of the host's own tables. Those of the guest have a prefix, so that the two never meet.
pub(super) mod table {
    pub(in crate::store) const META: &str = "meta";
    pub(in crate::store) const ENTRY: &str = "entry";
    pub(in crate::store) const VECTOR: &str = "vector";
    pub(in crate::store) const OWED: &str = "owed";
    /// Vectors of the model that the store is moved to; rows as in `vector`.
    pub(in crate::store) const NEXT: &str = "vector-next";
    pub(in crate::store) const CHANGE: &str = "change";
    pub(in crate::store) const GUEST: &str = "guest-";
}

pub(super) fn row(tenant: Tenant, key: &[u8]) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], key].concat()
}

/// The first row behind all of a tenant.
pub(super) fn end_of(tenant: Tenant) -> Vec<u8> {
    match tenant.0.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        // Longer than any prefix of the last tenant that a key can have.
        None => vec![0xFF; 4096],
    }
}

pub(super) fn own_key(row: &[u8]) -> &[u8] {
    row.get(4..).unwrap_or_default()
}

/// The row of an entry, of its vectors and of what it is owed. Ascends within a tenant as the ids of memories do.
pub(super) fn entry_row(tenant: Tenant, key: &str) -> Vec<u8> {
    row(tenant, &short_key(key))
}

/// The key of an entry, from its row.
pub(super) fn entry_key(row: &[u8]) -> String {
    long_key(own_key(row)).unwrap_or_else(|_| String::from_utf8_lossy(own_key(row)).into_owned())
}

pub(super) fn head_key(tenant: Tenant) -> Vec<u8> {
    [&b"head:"[..], &tenant.0.to_be_bytes()[..]].concat()
}

/// The name of a guest's table in the file.
pub(super) fn guest_table(place: &str, name: &str) -> Result<String, StoreError> {
    let is_valid = (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_valid {
        return Err(StoreError::invalid(
            place,
            format!("the name of a table is 1 to 32 of `a-z` and `-`, not {name:?}"),
        ));
    }
    Ok(format!("{}{name}", table::GUEST))
}

pub(super) fn scan_tenant(
    reading: &Reading,
    table: &str,
    tenant: Tenant,
    after: Option<&[u8]>,
    visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let (start, end) = (row(tenant, after.unwrap_or_default()), end_of(tenant));
    let from = if after.is_some() { Bound::Excluded(&start[..]) } else { Bound::Included(&start[..]) };
    reading.scan(table, &Span { from, to: Bound::Excluded(&end), reverse: false }, visit)
}
