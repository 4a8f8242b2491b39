//! The real binary on a store of its own, run as a script would run it. Judges nothing: a test reads the answer.
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// A data directory that ends with the test.
pub(crate) struct Home(TempDir);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that still runs. It is killed with the test, whatever becomes of that.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory for the test"))
    }

    /// The data directory itself.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command with nothing of the caller's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        isolate(&mut command, self.path());
        command.args(arguments);
        command
    }

    /// Runs a command to its end, without input.
    pub(crate) fn cairn(&self, arguments: &[&str]) -> Answer {
        self.fed(arguments, b"")
    }

    /// Runs a command to its end with this as its input.
    pub(crate) fn fed(&self, arguments: &[&str], input: &[u8]) -> Answer {
        finish(self.command(arguments), input)
    }

    /// Runs a command that must succeed, and gives what it printed.
    #[track_caller]
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        self.cairn(arguments).done(arguments)
    }

    /// Runs a command that must succeed, and gives the JSON document that it printed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        parse(&self.does(&arguments))
    }

    /// Starts a command and leaves it running, with its input open.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary was built for this test");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Running { child, input, output }
    }
}

/// Takes away the settings of whoever runs the test, and sets the data directory.
pub(crate) fn isolate(command: &mut Command, data: &Path) {
    for name in ["MODEL", "MODELS", "WAIT", "USER", "AGENT", "APP", "RUN", "LOG"] {
        command.env_remove(format!("CAIRN_{name}"));
    }
    command.env("CAIRN_DATA", data);
}

/// Runs a command to its end with this as its input.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Answer {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command can be started");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let ended = thread::scope(|scope| {
        // Beside the reading, or both sides could wait for each other. A command need not read its input.
        scope.spawn(move || pipe.write_all(input).ok());
        child.wait_with_output().expect("the command ends")
    });
    Answer {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).expect("all output is UTF-8"),
        err: String::from_utf8(ended.stderr).expect("all messages are UTF-8"),
    }
}

impl Answer {
    /// What was printed; the command must have succeeded.
    #[track_caller]
    pub(crate) fn done(self, arguments: &[&str]) -> String {
        assert_eq!(self.code, Some(0), "{arguments:?} says {}{}", self.out, self.err);
        self.out
    }
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives the command more input.
    pub(crate) fn feed(&mut self, text: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the command reads its input");
    }

    /// Ends the input.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// The next line of output; none at its end.
    pub(crate) fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        // A command that is killed may leave half a line behind.
        match self.output.read_line(&mut line) {
            Ok(n) if n > 0 && line.ends_with('\n') => Some(parse(&line)),
            _ => None,
        }
    }

    /// Kills it as a power cut would, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the command can be killed");
        self.child.wait().expect("the command ends");
    }

    /// Waits for its end, with the input as open or closed as it is.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("the command ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A JSON text of the binary's.
#[track_caller]
pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Each line of a JSONL text.
#[track_caller]
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(parse).collect()
}

/// A text of an object; empty if it has none.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}
