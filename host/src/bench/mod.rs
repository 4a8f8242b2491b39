/// What `cairn bench` takes beside the name.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    #[arg(skip)]
    pub json: bool,
    /// Memories to load, as JSONL
    #[arg(long, value_name = "FILE")]
    pub memories: Option<std::path::PathBuf>,
}
pub fn run(_: &str, _: BenchArgs) -> anyhow::Result<()> { todo!() }
