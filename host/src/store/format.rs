//! The format of a store: its number, written when the store is made, and the steps from one number to the next. A number
//! that this program does not know is refused, and nothing is changed.
use super::StoreError;
use super::redb::{Sync, Tables, Writing};
use super::rows::table;

/// What this program writes. Records have versions of their own; this number changes when tables or keys do.
const FORMAT: u32 = 1;

/// Changes the tables of one format into those of the next. All of it is one commit, with the new number.
type Step = fn(&mut Writing<'_>) -> Result<(), StoreError>;

/// The first leads from format 1 to 2, and so on.
const STEPS: [Step; FORMAT as usize - 1] = [];

const KEY: &[u8] = b"format";

/// Records the format in a new store, takes an older one step by step to this program's, and refuses a newer one.
pub(super) fn bring_up(tables: &Tables) -> Result<(), StoreError> {
    bring_up_by(tables, &STEPS)
}

fn bring_up_by(tables: &Tables, steps: &[Step]) -> Result<(), StoreError> {
    let known = u32::try_from(steps.len()).expect("formats are few") + 1;
    let damaged = |detail: &str| StoreError::Damaged { path: tables.path().to_owned(), detail: detail.to_owned() };
    let reading = tables.read()?;
    let found = match reading.get(table::META, KEY)? {
        Some(bytes) => u32::from_be_bytes(bytes.try_into().map_err(|_| damaged("its format is not a number"))?),
        None if reading.table_names()?.is_empty() => {
            drop(reading);
            return tables
                .write(Sync::Now, |writing| writing.put(table::META, KEY, &known.to_be_bytes()).map(Some))
                .map(drop);
        }
        None => return Err(damaged("it has tables but no format, so it is not a store of memories")),
    };
    drop(reading);
    if found == 0 {
        return Err(damaged("its format is 0"));
    }
    if found > known {
        return Err(StoreError::NewerFormat { path: tables.path().to_owned(), found, known });
    }
    for (from, step) in (1..).zip(steps).skip_while(|(from, _)| *from < found) {
        tracing::info!(from, to = from + 1, path = %tables.path().display(), "the store is brought to a newer format");
        let next = u32::to_be_bytes(from + 1);
        tables.write(Sync::Now, |writing| {
            step(writing)?;
            writing.put(table::META, KEY, &next).map(Some)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::place::Memory;
    use crate::store::redb::{Keeping, Span};
    use std::ops::Bound;
    use std::time::Duration;

    const KEEPING: Keeping = Keeping { cache_bytes: 1 << 20, pause: Duration::ZERO, quick_above: u64::MAX };
    const ALL: Span<'static> = Span { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false };

    /// Format 2 of a program that never was: values are in capitals.
    fn shout(writing: &mut Writing<'_>) -> Result<(), StoreError> {
        for (key, value) in writing.rows("words")? {
            writing.put("words", &key, value.to_ascii_uppercase().as_slice())?;
        }
        Ok(())
    }

    /// Format 3: the table has another name, and the old one is empty.
    fn rename(writing: &mut Writing<'_>) -> Result<(), StoreError> {
        for (key, value) in writing.rows("words")? {
            writing.put("cries", &key, &value)?;
            writing.remove("words", &key)?;
        }
        Ok(())
    }

    fn fail(writing: &mut Writing<'_>) -> Result<(), StoreError> {
        writing.put("words", b"a", b"half done")?;
        Err(StoreError::invalid("step", "it cannot be done"))
    }

    fn rows(tables: &Tables, table: &str) -> Vec<String> {
        let mut rows = vec![];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let visit = |key: &[u8], value: &[u8]| {
            rows.push(format!("{}={}", text(key), text(value)));
            Ok(true)
        };
        tables.read().unwrap().scan(table, &ALL, visit).unwrap();
        rows
    }

    /// A store of format 1 with two words.
    fn first() -> Tables {
        let tables = Tables::open(Box::new(Memory::default()), KEEPING).unwrap();
        bring_up_by(&tables, &[]).unwrap();
        tables
            .write(Sync::Now, |writing| {
                writing.put("words", b"a", b"one")?;
                writing.put("words", b"b", b"two").map(Some)
            })
            .unwrap();
        tables
    }

    fn format(tables: &Tables) -> Option<Vec<u8>> {
        tables.read().unwrap().get(table::META, KEY).unwrap()
    }

    #[test]
    fn an_older_store_is_brought_up_step_by_step_and_once() {
        let tables = first();
        bring_up_by(&tables, &[shout]).unwrap();
        assert_eq!(rows(&tables, "words"), ["a=ONE", "b=TWO"]);
        for _ in 0..2 {
            bring_up_by(&tables, &[fail, rename]).unwrap();
            assert_eq!(
                (rows(&tables, "words"), rows(&tables, "cries")),
                (vec![], vec!["a=ONE".into(), "b=TWO".into()])
            );
            assert_eq!(format(&tables), Some(3_u32.to_be_bytes().to_vec()));
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_store_as_the_last_one_made_it() {
        let tables = first();
        let error = bring_up_by(&tables, &[shout, fail, rename]).unwrap_err();
        assert_eq!(error.to_string(), "step: it cannot be done");
        assert_eq!((rows(&tables, "words"), rows(&tables, "cries")), (vec!["a=ONE".into(), "b=TWO".into()], vec![]));
        assert_eq!(format(&tables), Some(2_u32.to_be_bytes().to_vec()));
    }

    #[test]
    fn a_newer_store_is_refused_and_left_as_it_is() {
        let tables = first();
        bring_up_by(&tables, &[shout, rename]).unwrap();
        let error = bring_up_by(&tables, &[shout]).unwrap_err();
        assert_eq!(error.to_string(), "the store at memory has format 3; this program reads formats up to 2");
        assert_eq!(rows(&tables, "cries"), ["a=ONE", "b=TWO"]);
    }
}
