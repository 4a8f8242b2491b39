//! Sets of slots: a list while there are few, else a bit a slot. Either way they ascend.

/// From so many members on, bits are used where they take no more room.
const FEW: usize = 1_024;

#[derive(Clone)]
pub(super) enum Set {
    /// Ascending.
    Few(Vec<u32>),
    Many(Bits),
}

/// A bit for each slot up to the greatest member at least.
#[derive(Clone, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Default for Set {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Set {
    /// Members in any order, perhaps more than once.
    pub(super) fn of(mut members: Vec<u32>) -> Self {
        members.sort_unstable();
        members.dedup();
        let mut set = Self::Few(members);
        set.widen();
        set
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(members) => members.len(),
            Self::Many(bits) => bits.len,
        }
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::Few(members) => members.binary_search(&slot).is_ok(),
            Self::Many(bits) => bits.contains(slot),
        }
    }

    /// Nothing happens if it is there.
    pub(super) fn insert(&mut self, slot: u32) {
        match self {
            Self::Few(members) => {
                // Most are inserted at the end.
                if members.last().is_none_or(|last| *last < slot) {
                    members.push(slot);
                } else if let Err(place) = members.binary_search(&slot) {
                    members.insert(place, slot);
                }
                self.widen();
            }
            Self::Many(bits) => bits.insert(slot),
        }
    }

    /// Nothing happens if it is not there.
    pub(super) fn remove(&mut self, slot: u32) {
        match self {
            Self::Few(members) => {
                if let Ok(place) = members.binary_search(&slot) {
                    members.remove(place);
                }
            }
            Self::Many(bits) => {
                bits.remove(slot);
                self.narrow();
            }
        }
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (few, many) = match self {
            Self::Few(members) => (members.as_slice(), None),
            Self::Many(bits) => (&[][..], Some(bits.iter())),
        };
        few.iter().copied().chain(many.into_iter().flatten())
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        match self {
            Self::Few(members) => members.retain(|slot| keep(*slot)),
            Self::Many(bits) => {
                bits.retain(keep);
                self.narrow();
            }
        }
    }

    /// Keeps what is in the other set too.
    pub(super) fn intersect(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Many(bits), Self::Many(other)) => {
                bits.intersect(other);
                self.narrow();
            }
            (Self::Many(bits), Self::Few(other)) => {
                *self = Self::Few(other.iter().copied().filter(|slot| bits.contains(*slot)).collect());
            }
            (Self::Few(members), other) => members.retain(|slot| other.contains(*slot)),
        }
    }

    /// Drops what is in the other set.
    pub(super) fn subtract(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Many(bits), Self::Few(other)) => {
                for slot in other {
                    bits.remove(*slot);
                }
                self.narrow();
            }
            (_, other) => self.retain(|slot| !other.contains(slot)),
        }
    }

    /// How many members are in the other set too.
    pub(super) fn shared(&self, other: &Self) -> usize {
        match (self, other) {
            (Self::Many(bits), Self::Many(other)) => bits.shared(other),
            (Self::Few(members), other) | (other, Self::Few(members)) => {
                members.iter().filter(|slot| other.contains(**slot)).count()
            }
        }
    }

    /// The same with a bit a slot.
    pub(super) fn into_bits(self) -> Bits {
        match self {
            Self::Few(members) => Bits::of(&members),
            Self::Many(bits) => bits,
        }
    }

    /// Memory held.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Few(members) => 4 * members.capacity(),
            Self::Many(bits) => 8 * bits.words.capacity(),
        }
    }

    fn widen(&mut self) {
        if let Self::Few(members) = self
            && members.len() >= FEW
            && members.len() * 32 >= members.last().map_or(0, |last| *last as usize)
        {
            *self = Self::Many(Bits::of(members));
        }
    }

    /// Later than [`Set::widen`], or a member that comes and goes would cost a copy each time.
    fn narrow(&mut self) {
        if let Self::Many(bits) = self
            && (bits.len < FEW / 2 || bits.len * 128 < bits.words.len() * 64)
        {
            *self = Self::Few(bits.iter().collect());
        }
    }
}

impl Bits {
    fn of(members: &[u32]) -> Self {
        let mut bits = Self { words: vec![0; members.last().map_or(0, |last| *last as usize / 64 + 1)], len: 0 };
        for slot in members {
            bits.words[*slot as usize / 64] |= 1 << (slot % 64);
        }
        bits.len = members.len();
        bits
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn insert(&mut self, slot: u32) {
        let place = slot as usize / 64;
        if place >= self.words.len() {
            self.words.resize(place + 1, 0);
        }
        self.len += usize::from(!self.contains(slot));
        self.words[place] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            self.words[slot as usize / 64] &= !(1 << (slot % 64));
            self.len -= 1;
        }
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).step_by(64).zip(&self.words).flat_map(|(first, word)| ones(first, *word))
    }

    fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        self.len = 0;
        for (first, word) in (0..).step_by(64).zip(&mut self.words) {
            for slot in ones(first, *word) {
                if keep(slot) {
                    self.len += 1;
                } else {
                    *word &= !(1 << (slot % 64));
                }
            }
        }
    }

    fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        self.len = 0;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
            self.len += word.count_ones() as usize;
        }
    }

    fn shared(&self, other: &Self) -> usize {
        self.words.iter().zip(&other.words).map(|(word, other)| (word & other).count_ones() as usize).sum()
    }
}

/// The numbers of the bits that are set, counted from `first`.
fn ones(first: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(first + bit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Against the standard library's set, over sizes where both forms occur.
    #[test]
    fn both_forms_are_sets() {
        let mut state = 5u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from((state >> 33) % bound).unwrap()
        };
        for range in [100, 5_000, 200_000] {
            let (mut set, mut model) = (Set::default(), BTreeSet::new());
            let (mut few, mut many) = (0, 0);
            for step in 0..20_000 {
                let slot = below(range);
                // First more come than go, then the other way round.
                if below(10) < if step < 10_000 { 8 } else { 2 } {
                    set.insert(slot);
                    model.insert(slot);
                } else {
                    let slot = if step < 10_000 { slot } else { *model.range(slot..).next().unwrap_or(&slot) };
                    set.remove(slot);
                    model.remove(&slot);
                }
                match set {
                    Set::Few(_) => few += 1,
                    Set::Many(_) => many += 1,
                }
                assert_eq!((set.len(), set.contains(slot)), (model.len(), model.contains(&slot)));
                if step % 1_000 == 0 {
                    assert!(set.iter().eq(model.iter().copied()));
                    let other: Vec<u32> = (0..below(range)).map(|_| below(range)).collect();
                    let others: BTreeSet<u32> = other.iter().copied().collect();
                    let other = Set::of(other);
                    let both: Vec<u32> = model.intersection(&others).copied().collect();
                    assert_eq!((set.shared(&other), other.shared(&set)), (both.len(), both.len()));
                    for (mut one, other) in [(set.clone(), &other), (other.clone(), &set)] {
                        one.intersect(other);
                        assert!(one.iter().eq(both.iter().copied()) && one.len() == both.len());
                    }
                    let mut rest = set.clone();
                    rest.subtract(&other);
                    assert!(rest.iter().eq(model.difference(&others).copied()));
                    let mut even = set.clone();
                    even.retain(|slot| slot % 2 == 0);
                    assert!(even.iter().eq(model.iter().copied().filter(|slot| slot % 2 == 0)));
                    assert!(set.clone().into_bits().iter().eq(model.iter().copied()));
                }
            }
            assert!(few > 0 && (many > 0) == (range > 100), "{range}: {few} and {many}");
        }
    }
}
