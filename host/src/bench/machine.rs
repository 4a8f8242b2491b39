//! The machine a bench runs on: its processor, its disk's sync, who else keeps it busy, and the time that the threads of
//! this process spent computing. What a system does not tell is left out.
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of the processor.
pub(super) fn cpu() -> Option<String> {
    let told = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = told.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The instructions of this processor that the model or the indexes use beyond what each of its kind has.
pub(super) fn features() -> Vec<&'static str> {
    let mut features = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        features.extend(known.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    }
    features
}

/// Writes and syncs of which the median counts.
const SYNCS: usize = 50;
const BLOCK: [u8; 4096] = [0; 4096];

/// How long it takes to append 4 KiB to a file in the directory and sync its data: no durable add can be faster.
pub(super) fn sync_times(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    fs::remove_file(path)?;
    Ok(times)
}

/// Kind of the file system that the directory lies on.
pub(super) fn file_system(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    file_system_in(&fs::read_to_string("/proc/self/mounts").ok()?, &directory)
}

/// The deepest mount around the directory; of two at one place the later one covers the other.
fn file_system_in(mounts: &str, directory: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let around = mounts.filter(|(place, _)| directory.starts_with(place));
    around.max_by_key(|(place, _)| place.components().count()).map(|(_, kind)| kind.to_owned())
}

/// What the threads of this process have computed so far.
#[derive(Debug)]
pub(super) struct CpuClock(Option<HashMap<String, u64>>);

impl CpuClock {
    pub(super) fn now() -> Self {
        Self(Self::read())
    }

    /// Nanoseconds by thread.
    fn read() -> Option<HashMap<String, u64>> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let thread = thread.ok()?;
            // A thread may end between the two looks at it.
            let Ok(told) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let spent = told.split(' ').next()?.parse().ok()?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), spent);
        }
        Some(threads)
    }

    /// None where a thread ended meanwhile: what it spent is not known any more.
    pub(super) fn since(&self, earlier: &Self) -> Option<Duration> {
        let (now, then) = (self.0.as_ref()?, earlier.0.as_ref()?);
        if then.keys().any(|thread| !now.contains_key(thread)) {
            return None;
        }
        let spent = now.iter().map(|(thread, spent)| spent.saturating_sub(then.get(thread).copied().unwrap_or(0)));
        Some(Duration::from_nanos(spent.sum()))
    }
}

/// Waits until this process computes nothing in the background any more, such as graphs of an index; ten minutes at most.
pub(super) fn settle() {
    for _ in 0..2_400 {
        let clock = CpuClock::now();
        // What is computed can only be seen over a time.
        std::thread::sleep(Duration::from_millis(250));
        if CpuClock::now().since(&clock).is_some_and(|spent| spent < Duration::from_millis(10)) {
            return;
        }
    }
}

/// How busy the machine was up to a moment, in the ticks of its clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    all: u64,
    idle: u64,
    own: u64,
}

impl Load {
    pub(super) fn now() -> Option<Load> {
        let machine = fs::read_to_string("/proc/stat").ok()?;
        let ticks: Vec<u64> = machine.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
        // user nice system idle iowait irq softirq steal; guests are within user.
        let (all, idle) = (ticks.iter().take(8).sum(), ticks.get(3)? + ticks.get(4)?);
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may hold blanks; behind it user and system time are the 12th and 13th, those of ended children follow.
        let own = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4).flat_map(str::parse::<u64>).sum();
        Some(Load { all, idle, own })
    }

    /// Share of the machine that others used since then, 0 to 1.
    pub(super) fn others_since(self, earlier: Load) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(earlier.idle);
        let own = self.own.saturating_sub(earlier.own);
        let others = all.saturating_sub(idle).saturating_sub(own);
        Some(f64::from(u32::try_from(others).ok()?) / f64::from(u32::try_from(all).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        let kind = |directory: &str| file_system_in(mounts, Path::new(directory));
        assert_eq!(kind("/home/ana").as_deref(), Some("ext4"));
        assert_eq!(kind("/tmp/x").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/tmp/disk/x").as_deref(), Some("xfs"));
        assert_eq!(file_system_in("", Path::new("/")), None);
    }

    #[test]
    fn others_are_what_is_neither_idle_nor_own() {
        let then = Load { all: 1_000, idle: 500, own: 100 };
        let now = Load { all: 1_200, idle: 550, own: 200 };
        assert_eq!(now.others_since(then), Some(0.25));
        assert_eq!(then.others_since(then), None);
    }

    #[test]
    fn a_thread_that_ended_leaves_no_figure() {
        let clock = |threads: &[(&str, u64)]| {
            CpuClock(Some(threads.iter().map(|(name, spent)| ((*name).to_owned(), *spent)).collect()))
        };
        let then = clock(&[("1", 10), ("2", 20)]);
        assert_eq!(clock(&[("1", 15), ("2", 20), ("3", 7)]).since(&then), Some(Duration::from_nanos(12)));
        assert_eq!(clock(&[("1", 15)]).since(&then), None);
    }
}
