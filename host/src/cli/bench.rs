//! `cairn bench`: passes on to the benches, which measure and print for themselves.
use super::failure::{Exit, Failure};
use super::output::Form;
use super::session::Session;
use crate::bench::{self, BenchArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn bench agentmem
  cairn bench agentmem --json > figures.jsonl
  cairn bench quality data/locomo --pipeline context --out run.jsonl

Each bench uses a store of its own and removes it.";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    bench: BenchArgs,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let name = arguments.name.clone();
    let json = session.output.form != Form::People;
    let arguments = BenchArgs { json, precision: session.config.precision.value, ..arguments.bench.clone() };
    // Benches start and stop runtimes of their own.
    let measured = tokio::task::spawn_blocking(move || bench::run(&name, arguments)).await;
    measured.map_err(anyhow::Error::from)??;
    Ok(Exit::Done)
}
