//! From what was timed to figures: rates with their spread, percentiles of single calls, ratios of pairs. Pure, beside the
//! clocks of this process; never prints.
use std::time::{Duration, Instant};

use serde::Serialize;

use super::machine::CpuClock;

/// One repetition of a case.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Texts stored, searched or embedded.
    pub(super) items: usize,
    pub(super) wall: Duration,
    /// How long each call took by itself.
    pub(super) calls: Vec<Duration>,
    /// Of all threads; none where the system does not tell.
    pub(super) cpu: Option<Duration>,
}

impl Pass {
    /// Times some work that answers with the durations of its calls.
    pub(super) fn of(items: usize, work: impl FnOnce() -> anyhow::Result<Vec<Duration>>) -> anyhow::Result<Pass> {
        let cpu = CpuClock::now();
        let begun = Instant::now();
        let calls = work()?;
        let wall = begun.elapsed();
        Ok(Pass { items, wall, calls, cpu: CpuClock::now().since(&cpu) })
    }

    /// Items a second.
    pub(super) fn rate(&self) -> f64 {
        count(self.items) / self.wall.as_secs_f64()
    }
}

/// What a case is, beside its figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind<'a> {
    pub(super) bench: &'a str,
    pub(super) case: &'a str,
    /// Whether what was written was on the disk when the call answered.
    pub(super) durable: bool,
    /// That compute vectors.
    pub(super) threads: usize,
}

/// The figures of a case, as they are printed. `None` is what was not measured, or what too few calls cannot show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figures<'a> {
    pub(super) bench: &'a str,
    pub(super) case: &'a str,
    /// Items of one repetition.
    pub(super) n: usize,
    pub(super) repeats: usize,
    /// Median of the repetitions.
    pub(super) ops_per_s: f64,
    pub(super) ops_per_s_min: f64,
    pub(super) ops_per_s_max: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) cpu_ms_per_op: Option<f64>,
    pub(super) durable: bool,
    pub(super) threads: usize,
    /// Share of the ten nearest that were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recall: Option<f64>,
}

impl<'a> Figures<'a> {
    /// There is at least one pass.
    pub(super) fn new(kind: Kind<'a>, passes: &[Pass]) -> Figures<'a> {
        let rates = Spread::of(passes.iter().map(Pass::rate).collect());
        let calls: Vec<Duration> = passes.iter().flat_map(|pass| pass.calls.iter().copied()).collect();
        let calls = Calls::new(calls);
        let cpu: Option<Vec<f64>> =
            passes.iter().map(|pass| pass.cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / count(pass.items))).collect();
        Figures {
            bench: kind.bench,
            case: kind.case,
            n: passes[0].items,
            repeats: passes.len(),
            ops_per_s: rates.median,
            ops_per_s_min: rates.min,
            ops_per_s_max: rates.max,
            p50_ms: calls.percentile(50),
            p95_ms: calls.percentile(95),
            p99_ms: calls.percentile(99),
            cpu_ms_per_op: cpu.map(|cpu| rounded(median(cpu))),
            durable: kind.durable,
            threads: kind.threads,
            recall: None,
        }
    }
}

/// How a case compares with another that alternated with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Compared<'a> {
    pub(super) bench: &'a str,
    pub(super) ratio: &'a str,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl<'a> Compared<'a> {
    /// Of the rates of neighbours: the first pass of one with the first of the other, and so on.
    pub(super) fn new(bench: &'a str, ratio: &'a str, ours: &[Pass], theirs: &[Pass]) -> Compared<'a> {
        let pairs = ours.iter().zip(theirs).map(|(ours, theirs)| ours.rate() / theirs.rate());
        let Spread { median, min, max } = Spread::of(pairs.collect());
        Compared { bench, ratio, median, min, max }
    }
}

/// The middle of some values and how far they lie apart, rounded for reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// There is at least one value.
    pub(super) fn of(values: Vec<f64>) -> Spread {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Spread { median: rounded(median(values)), min: rounded(min), max: rounded(max) }
    }

    pub(super) fn of_ms(durations: impl IntoIterator<Item = Duration>) -> Spread {
        Self::of(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect())
    }
}

/// Durations of calls, ascending.
struct Calls(Vec<Duration>);

impl Calls {
    fn new(mut calls: Vec<Duration>) -> Self {
        calls.sort_unstable();
        Self(calls)
    }

    /// The smallest duration that so many in a hundred calls do not exceed, in milliseconds. None where the longest call
    /// alone would stand for it.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let beyond = self.0.len() * (100 - percent) / 100;
        if beyond == 0 && percent > 50 {
            return None;
        }
        let rank = (self.0.len() * percent).div_ceil(100);
        let call = self.0.get(rank.checked_sub(1)?)?;
        Some(rounded(call.as_secs_f64() * 1e3))
    }
}

/// The middle value, or the mean of the two in the middle. There is at least one.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

/// Calls that followed each other, as so many repetitions of equal size; what is left over at the end is not counted.
/// So a case shows its spread although none of its texts comes twice.
pub(super) fn parts(items_a_call: usize, calls: &[Duration], repeats: usize, cpu: Option<Duration>) -> Vec<Pass> {
    let n_calls = (calls.len() / repeats.max(1)).max(1);
    let share = |n: usize| cpu.map(|cpu| cpu.mul_f64(count(n) / count(calls.len())));
    let pass = |calls: &[Duration]| Pass {
        items: items_a_call * calls.len(),
        wall: calls.iter().sum(),
        calls: calls.to_vec(),
        cpu: share(calls.len()),
    };
    calls.chunks_exact(n_calls).map(pass).collect()
}

/// To three places behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A count as a number to divide by.
pub(super) fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    fn pass(items: usize, wall_ms: u64, calls: &[u64]) -> Pass {
        Pass { items, wall: Duration::from_millis(wall_ms), calls: ms(calls), cpu: Some(Duration::from_millis(10)) }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!((median(vec![7.0]) - 7.0).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_calls_that_took_place() {
        let calls = Calls::new(ms(&(1..=100).rev().collect::<Vec<_>>()));
        assert_eq!([50, 95, 99].map(|percent| calls.percentile(percent)), [Some(50.0), Some(95.0), Some(99.0)]);
        let calls = Calls::new(ms(&(1..=20).collect::<Vec<_>>()));
        assert_eq!([50, 95, 99].map(|percent| calls.percentile(percent)), [Some(10.0), Some(19.0), None]);
        let calls = Calls::new(ms(&[5]));
        assert_eq!([50, 95, 99].map(|percent| calls.percentile(percent)), [Some(5.0), None, None]);
        assert_eq!(Calls::new(vec![]).percentile(50), None);
    }

    #[test]
    fn a_line_has_the_fields_that_scripts_read() {
        let kind = Kind { bench: "agentmem", case: "batch-100", durable: true, threads: 2 };
        let passes = [pass(100, 100, &[100]), pass(100, 50, &[50]), pass(100, 200, &[200])];
        let line = serde_json::to_string(&Figures::new(kind, &passes)).unwrap();
        assert_eq!(
            line,
            r#"{"bench":"agentmem","case":"batch-100","n":100,"repeats":3,"ops_per_s":1000.0,"ops_per_s_min":500.0,"ops_per_s_max":2000.0,"p50_ms":100.0,"p95_ms":null,"p99_ms":null,"cpu_ms_per_op":0.1,"durable":true,"threads":2}"#
        );
    }

    #[test]
    fn a_ratio_is_one_of_neighbours() {
        let ours = [pass(10, 10, &[]), pass(10, 20, &[]), pass(10, 40, &[])];
        let raw = [pass(10, 5, &[]), pass(10, 20, &[]), pass(10, 30, &[])];
        let line = serde_json::to_string(&Compared::new("agentmem", "batch-10/raw", &ours, &raw)).unwrap();
        assert_eq!(line, r#"{"bench":"agentmem","ratio":"batch-10/raw","median":0.75,"min":0.5,"max":1.0}"#);
    }

    #[test]
    fn calls_in_a_row_are_shared_out() {
        let passes = parts(2, &ms(&[1, 2, 3, 4, 5]), 2, Some(Duration::from_millis(10)));
        let seen: Vec<_> = passes.iter().map(|pass| (pass.items, pass.wall.as_millis(), pass.cpu.unwrap())).collect();
        let cpu = Duration::from_millis(4);
        assert_eq!(seen, [(4, 3, cpu), (4, 7, cpu)]);
        assert_eq!(parts(1, &ms(&[1, 2]), 5, None).len(), 2);
    }
}
