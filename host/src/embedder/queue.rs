//! Which text comes next: two lanes, oldest first, texts of any lengths together. A plain data structure; never
//! runs anything.
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::Purpose;
use super::pending::Slot;

/// Texts that may wait. A call that would exceed it is refused as a whole.
pub const MOST_WAITING: usize = 65_536;

/// Tokens of one run: the activations of more do not fit the second-level cache.
const RUN_TOKENS: usize = 512;
/// A run of so many tokens computes about as well as a longer one: beyond, busy workers are left their share.
const GOOD_RUN: usize = 128;

/// Texts and bytes that one worker splits into tokens at a time.
const CHUNK_TEXTS: usize = 32;
const CHUNK_BYTES: usize = 64 * 1024;

/// Every so many takes the background lane comes first, so that it never starves.
const BACKGROUND_EVERY: u64 = 4;

/// Who waits for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Somebody who wants one answer: queries, and writes of a few texts.
    Interactive,
    /// Much at once: imports, owed vectors.
    Background,
}

/// A text that waits; without handles to it, it is skipped.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) slot: Weak<Slot>,
    pub(super) purpose: Purpose,
    pub(super) since: Instant,
    bytes: usize,
    arrival: u64,
}

impl Waiting {
    pub(super) fn tokenised(self, ids: Vec<u32>) -> Tokenised {
        Tokenised { slot: self.slot, ids, since: self.since, arrival: self.arrival }
    }
}

/// A text split into tokens, waiting for the model.
#[derive(Debug)]
pub(super) struct Tokenised {
    pub(super) slot: Weak<Slot>,
    pub(super) ids: Vec<u32>,
    pub(super) since: Instant,
    arrival: u64,
}

/// What a free worker does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Load the model, while others split texts.
    Prepare,
    Tokenise(Lane, Vec<Waiting>),
    Run(Vec<Tokenised>),
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Preparation {
    #[default]
    NotNeeded,
    Wanted,
    Taken,
}

#[derive(Debug, Default)]
struct Line {
    texts: VecDeque<Waiting>,
    /// In the order of arrival.
    tokenised: VecDeque<Tokenised>,
    n_tokens: usize,
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    interactive: Line,
    background: Line,
    preparation: Preparation,
    arrivals: u64,
    takes: u64,
    /// Workers beside the one that takes.
    others: usize,
}

impl Queue {
    /// An empty queue in front of so many workers, of which there is one at least.
    pub(super) fn of(workers: usize) -> Self {
        Self { others: workers.saturating_sub(1), ..Self::default() }
    }

    /// Texts that wait, cancelled ones included until somebody notices.
    pub(super) fn waiting(&self) -> usize {
        self.interactive.waiting() + self.background.waiting()
    }

    /// Asks for the model to be loaded, once.
    pub(super) fn prepare(&mut self) {
        if self.preparation == Preparation::NotNeeded {
            self.preparation = Preparation::Wanted;
        }
    }

    /// Whether so many more may wait; forgets cancelled texts where that decides.
    pub(super) fn has_room(&mut self, n_texts: usize) -> bool {
        if self.waiting() + n_texts <= MOST_WAITING {
            return true;
        }
        self.interactive.forget_cancelled();
        self.background.forget_cancelled();
        self.waiting() + n_texts <= MOST_WAITING
    }

    pub(super) fn push(&mut self, slot: &Arc<Slot>, purpose: Purpose, lane: Lane, since: Instant) {
        self.arrivals += 1;
        let (bytes, arrival) = (slot.text.len(), self.arrivals);
        let waiting = Waiting { slot: Arc::downgrade(slot), purpose, since, bytes, arrival };
        self.line(lane).texts.push_back(waiting);
    }

    pub(super) fn push_tokenised(&mut self, lane: Lane, texts: Vec<Tokenised>) {
        self.line(lane).push_tokenised(texts);
    }

    /// The next work for a free worker, where `idle` others are free as well: what waits is shared with them.
    pub(super) fn take(&mut self, idle: usize) -> Option<Work> {
        if self.preparation == Preparation::Wanted {
            self.preparation = Preparation::Taken;
            return Some(Work::Prepare);
        }
        let lanes = if (self.takes + 1).is_multiple_of(BACKGROUND_EVERY) {
            [Lane::Background, Lane::Interactive]
        } else {
            [Lane::Interactive, Lane::Background]
        };
        let others = self.others;
        let work = lanes.into_iter().find_map(|lane| self.line(lane).take(lane, idle + 1, others))?;
        self.takes += 1;
        Some(work)
    }

    /// Everything that waits, taken out.
    pub(super) fn drain(&mut self) -> Vec<Weak<Slot>> {
        let lines = [std::mem::take(&mut self.interactive), std::mem::take(&mut self.background)];
        let slots = lines.into_iter().flat_map(|line| {
            let texts = line.texts.into_iter().map(|text| text.slot);
            texts.chain(line.tokenised.into_iter().map(|text| text.slot))
        });
        slots.collect()
    }

    fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Background => &mut self.background,
        }
    }
}

impl Line {
    fn waiting(&self) -> usize {
        self.texts.len() + self.tokenised.len()
    }

    fn push_tokenised(&mut self, texts: Vec<Tokenised>) {
        for text in texts {
            self.n_tokens += text.ids.len();
            // Chunks split in parallel may come back out of order.
            let before = self.tokenised.iter().rposition(|other| other.arrival < text.arrival);
            self.tokenised.insert(before.map_or(0, |before| before + 1), text);
        }
    }

    fn take(&mut self, lane: Lane, sharers: usize, others: usize) -> Option<Work> {
        let chunk = self.take_texts(sharers);
        if !chunk.is_empty() {
            return Some(Work::Tokenise(lane, chunk));
        }
        let group = self.take_group(sharers, others);
        (!group.is_empty()).then_some(Work::Run(group))
    }

    fn take_texts(&mut self, sharers: usize) -> Vec<Waiting> {
        let most = self.texts.len().div_ceil(sharers).min(CHUNK_TEXTS);
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < most && bytes < CHUNK_BYTES {
            let Some(text) = self.texts.pop_front() else { break };
            if is_wanted(&text.slot) {
                bytes += text.bytes;
                chunk.push(text);
            }
        }
        chunk
    }

    /// The oldest text and those after it, as many as a run takes. Workers that are idle share what waits; those that
    /// are busy are left their part of a burst, so that none of them works on it alone in the end.
    fn take_group(&mut self, sharers: usize, others: usize) -> Vec<Tokenised> {
        let share = match sharers {
            1 => self.n_tokens.div_ceil(others + 1).max(GOOD_RUN),
            _ => self.n_tokens.div_ceil(sharers),
        };
        let most = share.min(RUN_TOKENS);
        let mut group: Vec<Tokenised> = Vec::new();
        let mut n_tokens = 0;
        while let Some(text) = self.tokenised.pop_front_if(|text| n_tokens == 0 || n_tokens + text.ids.len() <= most) {
            self.n_tokens -= text.ids.len();
            if is_wanted(&text.slot) {
                n_tokens += text.ids.len();
                group.push(text);
            }
        }
        group
    }

    fn forget_cancelled(&mut self) {
        self.texts.retain(|text| is_wanted(&text.slot));
        self.tokenised.retain(|text| is_wanted(&text.slot));
        self.n_tokens = self.tokenised.iter().map(|text| text.ids.len()).sum();
    }
}

fn is_wanted(slot: &Weak<Slot>) -> bool {
    slot.strong_count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::Pending;

    fn push(queue: &mut Queue, lane: Lane, texts: &[&str]) -> Vec<Pending> {
        let handles: Vec<_> = texts.iter().map(|text| Pending::new((*text).to_owned(), None)).collect();
        for handle in &handles {
            queue.push(handle.slot(), Purpose::Document, lane, Instant::now());
        }
        handles
    }

    /// The texts of each run, in order, by a single worker that reads bytes as tokens.
    fn runs(queue: &mut Queue) -> Vec<Vec<String>> {
        let mut runs = Vec::new();
        while let Some(work) = queue.take(0) {
            match work {
                Work::Prepare => {}
                Work::Tokenise(lane, texts) => {
                    let texts = texts.into_iter().map(|text| {
                        let ids = text.slot.upgrade().expect("held").text.bytes().map(u32::from).collect();
                        text.tokenised(ids)
                    });
                    let texts = texts.collect();
                    queue.push_tokenised(lane, texts);
                }
                Work::Run(group) => {
                    runs.push(group.iter().map(|text| text.slot.upgrade().expect("held").text.clone()).collect());
                }
            }
        }
        runs
    }

    #[track_caller]
    fn check(interactive: &[&str], background: &[&str], expected: &[&[&str]]) {
        let mut queue = Queue::default();
        let _background = push(&mut queue, Lane::Background, background);
        let _interactive = push(&mut queue, Lane::Interactive, interactive);
        assert_eq!(runs(&mut queue), expected);
        assert_eq!((queue.waiting(), queue.interactive.n_tokens, queue.background.n_tokens), (0, 0, 0));
    }

    #[test]
    fn nothing_is_no_run() {
        check(&[], &[], &[]);
    }

    #[test]
    fn texts_of_all_lengths_go_together_in_their_order() {
        check(&["bb", "a", "cc", "d", "eee"], &[], &[&["bb", "a", "cc", "d", "eee"]]);
    }

    #[test]
    fn interactive_texts_overtake() {
        check(&["c"], &["a", "b"], &[&["c"], &["a", "b"]]);
    }

    #[test]
    fn every_fourth_take_serves_the_background() {
        let long: Vec<String> = "abcdef".chars().map(|letter| letter.to_string().repeat(300)).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        // The takes are: split, run a, run b, split the background, run c, run d, run e, run `x`.
        let runs = [&long[..1], &long[1..2], &long[2..3], &long[3..4], &long[4..5], &["x"], &long[5..]];
        check(&long, &["x"], &runs);
    }

    #[test]
    fn a_run_is_bounded_in_tokens() {
        let long = "x".repeat(200);
        let text = long.as_str();
        check(&[text; 5], &[], &[&[text; 2], &[text; 2], &[text]]);
    }

    #[test]
    fn idle_workers_share() {
        let mut queue = Queue::default();
        let _handles = push(&mut queue, Lane::Interactive, &["aa"; 10]);
        let texts = match queue.take(1) {
            Some(Work::Tokenise(_, texts)) => texts,
            other => panic!("{other:?}"),
        };
        assert_eq!(texts.len(), 5);
        queue.push_tokenised(Lane::Interactive, texts.into_iter().map(|text| text.tokenised(vec![1, 2])).collect());
        let Some(Work::Tokenise(_, rest)) = queue.take(0) else { panic!("the rest is there") };
        assert_eq!(rest.len(), 5);
        let Some(Work::Run(group)) = queue.take(1) else { panic!("five are ready") };
        assert_eq!(group.len(), 2);
    }

    #[test]
    fn chunks_that_come_back_late_keep_their_place() {
        let mut queue = Queue::default();
        let _handles = push(&mut queue, Lane::Interactive, &["a", "b"]);
        let Some(Work::Tokenise(lane, mut texts)) = queue.take(0) else { panic!("two wait") };
        let first = texts.remove(0).tokenised(vec![1]);
        queue.push_tokenised(lane, vec![texts.remove(0).tokenised(vec![2])]);
        queue.push_tokenised(lane, vec![first]);
        assert_eq!(runs(&mut queue), [["a", "b"]]);
    }

    #[test]
    fn cancelled_texts_are_skipped_and_make_room() {
        let mut queue = Queue::default();
        let kept = push(&mut queue, Lane::Interactive, &["a"]);
        let dropped = push(&mut queue, Lane::Background, &vec!["b"; MOST_WAITING - 1]);
        assert!(!queue.has_room(1));
        drop(dropped);
        assert!(queue.has_room(1));
        assert_eq!(queue.waiting(), 1);
        drop(push(&mut queue, Lane::Interactive, &["c", "d"]));
        assert_eq!(runs(&mut queue), [["a"]]);
        drop(kept);
    }

    #[test]
    fn the_model_is_prepared_once_and_first() {
        let mut queue = Queue::default();
        let _handles = push(&mut queue, Lane::Interactive, &["a"]);
        queue.prepare();
        assert!(matches!(queue.take(0), Some(Work::Prepare)));
        queue.prepare();
        assert!(matches!(queue.take(0), Some(Work::Tokenise(..))));
    }

    #[test]
    fn a_worker_leaves_busy_ones_their_part_of_a_burst() {
        let texts = ["aaaaaaaa"; 40];
        let mut queue = Queue::of(2);
        let _handles = push(&mut queue, Lane::Interactive, &texts);
        let runs: Vec<usize> = runs(&mut queue).iter().map(Vec::len).collect();
        // 320 tokens: half of them, then no less than makes a good run.
        assert_eq!(runs, [20, 16, 4]);
    }
}
