//! The binary `cairn`: hands the arguments to the command line and ends with its exit code. Nothing is decided here.
use std::process::ExitCode;

fn main() -> ExitCode {
    cairn::guarded::silence();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the threads of the program: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cairn::cli::run(std::env::args_os()));
    // A thread that still reads a terminal must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}
