//! Work of code that is not ours and may panic: its panic is an error like another, and nobody is shown a trace of it.
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs the work; the error is what it panicked with, in one line.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.map_err(|panic| said(&*panic))
}

/// From now on, panics that are caught are not printed.
pub fn silence() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if GUARDED.get() {
            tracing::debug!(%panic, "caught");
        } else {
            loud(panic);
        }
    }));
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it gave no reason").lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| -> u8 { panic!("page {} is gone\nand more", 3) }), Err("page 3 is gone".to_owned()));
        assert_eq!(catch(|| catch(|| -> u8 { panic!("inner") })), Ok(Err("inner".to_owned())));
        assert!(!GUARDED.get());
    }
}
