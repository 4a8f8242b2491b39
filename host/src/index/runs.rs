//! Runs: entries of one exact scope that names a run, in the order of their time and then of their creation.
use std::collections::HashMap;

use super::entries::{NONE, Place, Slot, count};
use crate::contract::types::Timestamp;

#[derive(Default)]
pub(super) struct Runs {
    numbers: HashMap<Place, u32>,
    /// By number, ascending by time and order, which no two entries share.
    members: Vec<Vec<Member>>,
    /// Numbers of runs that ended.
    free: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Member {
    at: Timestamp,
    order: u64,
    slot: u32,
}

/// Where an entry stands in its run.
pub(super) struct Position {
    /// 0 is the first.
    pub(super) number: u32,
    /// Slot of the entry directly before.
    pub(super) previous: Option<u32>,
    /// Slot of the entry directly after.
    pub(super) next: Option<u32>,
}

impl Runs {
    /// Returns the number of the run; none for a place without run.
    pub(super) fn insert(&mut self, place: Place, at: Timestamp, order: u64, slot: u32) -> u32 {
        if place[3] == NONE {
            return NONE;
        }
        let number = *self.numbers.entry(place).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.members.push(Vec::new());
                count(self.members.len() - 1)
            })
        });
        let members = &mut self.members[number as usize];
        let position = members.partition_point(|member| (member.at, member.order) < (at, order));
        members.insert(position, Member { at, order, slot });
        number
    }

    /// Takes an entry out of the run of this place and number.
    pub(super) fn remove(&mut self, place: Place, number: u32, at: Timestamp, order: u64) {
        if number == NONE {
            return;
        }
        let members = &mut self.members[number as usize];
        if let Ok(position) = members.binary_search_by_key(&(at, order), |member| (member.at, member.order)) {
            members.remove(position);
        }
        if members.is_empty() {
            self.numbers.remove(&place);
            self.free.push(number);
        }
    }

    /// None for an entry without run.
    pub(super) fn position(&self, entry: &Slot) -> Option<Position> {
        if entry.run == NONE {
            return None;
        }
        let members = &self.members[entry.run as usize];
        let wanted = (entry.facts.at, entry.facts.order);
        let position = members.binary_search_by_key(&wanted, |member| (member.at, member.order)).ok()?;
        Some(Position {
            number: count(position),
            previous: position.checked_sub(1).map(|before| members[before].slot),
            next: members.get(position + 1).map(|member| member.slot),
        })
    }

    /// Every run with its slots in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, Vec<u32>)> {
        let slots = |number: u32| self.members[number as usize].iter().map(|member| member.slot).collect();
        self.numbers.iter().map(move |(place, number)| (*place, slots(*number)))
    }
}
