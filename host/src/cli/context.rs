//! `cairn context`: what a prompt should carry about a query, within a budget of tokens and with citations.
use super::asking::Asking;
use super::failure::{Exit, Failure};
use super::output::{Form, Output, clean, note};
use super::session::{Access, Session};
use crate::contract::memory::ContextRequest;
use crate::contract::types::Error;
use crate::wire::PackObject;

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn context \"what does Ana eat\" -u ana --tokens 500
  cairn context \"the trip to Graz\" -u ana --around 2       with two turns before and after each hit
  cairn context -u ana                                   core memories and the newest

Core memories come first, then the order of events. Tokens are those of the embedding model: leave a margin.";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// What it is about; without it, core memories and the newest
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// Most tokens of the text
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    tokens: u32,
    /// Turns of the run to add before and after each hit
    #[arg(long, value_name = "N", default_value_t = 0)]
    around: u32,
    #[command(flatten)]
    asking: Asking,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<Exit, Failure> {
    let text = arguments.query.as_deref().unwrap_or_default();
    let query = arguments.asking.query(text, session.scope());
    let request = ContextRequest { query, max_tokens: arguments.tokens, around: arguments.around };
    let pack = session
        .with_engine(Access::Read, async |engine| {
            engine.prepare_model();
            Ok(engine.context(vec![request]).await?.pop())
        })
        .await?;
    let pack = pack.unwrap_or_else(|| Err(Error::Internal("the engine gave no answer".to_owned())))?;
    match session.output.form {
        Form::Json | Form::Lines => Output::object(&PackObject::from(&pack))?,
        Form::People => {
            for line in pack.text.lines() {
                session.output.say(&clean(line))?;
            }
            if !pack.omitted.is_empty() {
                note(&format!("note: {} hits did not fit into {} tokens", pack.omitted.len(), arguments.tokens));
            }
        }
    }
    Ok(Exit::Done)
}
