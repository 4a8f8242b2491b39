//! Time, order and randomness, as the component gets them. The real ones are the operating system's; tests bring their
//! own, so that two runs are the same.
use crate::contract::system::Stamp;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// All that makes two runs differ.
pub trait System: Send + Sync {
    /// Unix milliseconds; never goes back.
    fn now(&self) -> i64;
    /// Reserves `count` numbers of one moment; see `system.reserve` of the contract.
    fn reserve(&self, count: u32) -> Stamp;
    /// Unpredictable bytes.
    fn random(&self, length: u32) -> Vec<u8>;
}

/// The operating system's clock and chance.
#[derive(Debug, Default)]
pub struct Platform {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    now: i64,
    stamp: i64,
    next: u32,
}

/// Numbers that one moment holds; after these, time is taken to have gone on.
const NUMBERS: u32 = 1 << 26;

impl Platform {
    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // The state is whole at every moment.
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl System for Platform {
    fn now(&self) -> i64 {
        let told =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(0));
        let mut last = self.last();
        last.now = last.now.max(told);
        last.now
    }

    fn reserve(&self, count: u32) -> Stamp {
        let now = self.now();
        let mut last = self.last();
        if now > last.stamp {
            (last.stamp, last.next) = (now, 0);
        } else if last.next.saturating_add(count) > NUMBERS {
            (last.stamp, last.next) = (last.stamp + 1, 0);
        }
        let first = last.next;
        last.next += count;
        Stamp { at: last.stamp, first }
    }

    fn random(&self, length: u32) -> Vec<u8> {
        let mut out = vec![0; length as usize];
        getrandom::fill(&mut out).expect("the operating system has random bytes");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_numbers_never_repeat_and_ascend() {
        let platform = Platform::default();
        let mut before = (0, 0);
        for _ in 0..1_000 {
            let stamp = platform.reserve(7);
            assert!((stamp.at, stamp.first) >= before, "{stamp:?} after {before:?}");
            before = (stamp.at, stamp.first + 7);
        }
    }

    #[test]
    fn a_full_moment_gives_way_to_the_next() {
        let platform = Platform::default();
        let far = i64::MAX / 2;
        *platform.last() = Last { now: far, stamp: far, next: NUMBERS - 3 };
        assert_eq!(platform.reserve(4), Stamp { at: far + 1, first: 0 });
    }
}
