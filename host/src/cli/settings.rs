//! `cairn config`: each setting, its value, and where it comes from. Opens no store.
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Form, Output};
use super::session::Session;
use crate::config::{Config, Origin};

pub(crate) const EXAMPLES: &str = "\
Examples:
  cairn config
  CAIRN_USER=ana cairn config --json

Flags go before the environment (CAIRN_DATA, CAIRN_MODEL, CAIRN_PRECISION, CAIRN_WAIT, CAIRN_USER, CAIRN_AGENT,
CAIRN_APP, CAIRN_RUN, CAIRN_LOG, CAIRN_CACHE_MEMORY_MB, CAIRN_CACHE_DISK_MB) before cairn.toml in the data directory
before defaults. Such a file:
  user = \"ana\"
  wait = 30
  cache_disk_mb = 0      no cache of vectors on disk";

#[derive(Serialize)]
struct Row {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    origin: String,
}

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Document {
        settings: Vec<Row>,
    }
    let rows = rows(&session.config);
    match session.output.form {
        Form::Json => Output::object(&Document { settings: rows })?,
        Form::Lines => Output::objects(&rows)?,
        Form::People => {
            let cells = |row: &Row| {
                vec![row.name.to_owned(), row.value.clone().unwrap_or_else(|| "-".to_owned()), row.origin.clone()]
            };
            let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
            session.output.table(&["SETTING", "VALUE", "FROM"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

fn rows(config: &Config) -> Vec<Row> {
    let precision = config.precision.value.map_or_else(|| "auto".to_owned(), |precision| precision.to_string());
    let row = |name, value: Option<String>, origin: &Origin| Row { name, value, origin: origin.to_string() };
    vec![
        row("data", Some(config.data.value.display().to_string()), &config.data.origin),
        row("model", config.model.value.clone(), &config.model.origin),
        row("precision", Some(precision), &config.precision.origin),
        row("wait", Some(config.wait.value.as_secs_f64().to_string()), &config.wait.origin),
        row("user", config.user.value.clone(), &config.user.origin),
        row("agent", config.agent.value.clone(), &config.agent.origin),
        row("app", config.app.value.clone(), &config.app.origin),
        row("run", config.run.value.clone(), &config.run.origin),
        row("log", Some(config.log.value.clone()), &config.log.origin),
        row("cache_memory_mb", Some(config.cache_memory_mb.value.to_string()), &config.cache_memory_mb.origin),
        row("cache_disk_mb", Some(config.cache_disk_mb.value.to_string()), &config.cache_disk_mb.origin),
    ]
}
