//! Time, order and randomness, as the component gets them. The real ones are the operating system's; tests bring their
//! own, so that two runs are the same.
use crate::contract::system::Stamp;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// All that makes two runs differ.
pub trait System: Send + Sync {
    /// Unix milliseconds; never goes back.
    fn now(&self) -> i64;
    /// Reserves `count` numbers of one moment; see `system.reserve` of the contract. Numbers of moments up to `after` were
    /// handed out before, perhaps by somebody else or in an earlier run, whatever the clock says now.
    fn reserve(&self, count: u32, after: i64) -> Stamp;
    /// Unpredictable bytes.
    fn random(&self, length: u32) -> Vec<u8>;
}

/// The operating system's clock and chance.
#[derive(Debug)]
pub struct Platform {
    clock: fn() -> i64,
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

impl Default for Platform {
    fn default() -> Self {
        Platform::with_clock(|| {
            let told = SystemTime::now().duration_since(UNIX_EPOCH);
            told.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
        })
    }
}

impl Platform {
    /// With another clock, which tells Unix milliseconds and may go back.
    #[must_use]
    pub fn with_clock(clock: fn() -> i64) -> Self {
        Platform { clock, last: Mutex::default() }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // The state is whole at every moment.
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl System for Platform {
    fn now(&self) -> i64 {
        let told = (self.clock)();
        let mut last = self.last();
        last.now = last.now.max(told);
        last.now
    }

    fn reserve(&self, count: u32, after: i64) -> Stamp {
        let now = self.now();
        let mut last = self.last();
        if after > last.stamp {
            (last.stamp, last.next) = (after, NUMBERS);
        }
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
            let stamp = platform.reserve(7, i64::MIN);
            assert!((stamp.at, stamp.first) >= before, "{stamp:?} after {before:?}");
            before = (stamp.at, stamp.first + 7);
        }
    }

    #[test]
    fn a_full_moment_gives_way_to_the_next() {
        let platform = Platform::default();
        let far = i64::MAX / 2;
        *platform.last() = Last { now: far, stamp: far, next: NUMBERS - 3 };
        assert_eq!(platform.reserve(4, far), Stamp { at: far + 1, first: 0 });
    }

    #[test]
    fn numbers_follow_those_of_an_earlier_run_whose_clock_was_ahead() {
        let platform = Platform::default();
        let ahead = platform.now() + 1_000_000;
        let stamps = [ahead, ahead, ahead + 1, i64::MIN].map(|after| platform.reserve(2, after));
        let expected = [(ahead + 1, 0), (ahead + 1, 2), (ahead + 1, 4), (ahead + 1, 6)];
        assert_eq!(stamps, expected.map(|(at, first)| Stamp { at, first }));
        assert!(platform.now() < ahead, "only numbers follow the earlier run, not the time");
    }
}
