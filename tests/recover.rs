//! What a kill, a full disk, damage or a second process leaves behind: the real binary is hurt, and a fresh one looks at
//! the store. What a verb answers when nothing goes wrong is not tested here.
mod anew;
mod clock;
mod fault;
mod files;
mod kill;
mod lock;
mod power;
#[expect(dead_code, reason = "the unit tests of the writer use the rest")]
mod shelf;

use cairn::store::{Disk, Place, StorageBackend, StoreError};
