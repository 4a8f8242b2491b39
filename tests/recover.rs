//! What a kill, a full disk, damage or a second process leaves behind: the real binary is hurt, and a fresh one looks at
//! the store. What a verb answers when nothing goes wrong is not tested here.
mod fault;
mod files;
mod kill;
mod lock;
