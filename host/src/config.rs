//! Settings and where each comes from: flags over environment over `cairn.toml` in the data directory over defaults.
//! Never opens the store, and never drops a value silently: an empty or unknown one is an error that names it.
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::contract::types::Scope;
use crate::open::Precision;

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "cairn.toml";
const HEADING: &str = "Store and scope";
const DEFAULT_WAIT: f64 = 5.0;
const LONGEST_WAIT: f64 = 86_400.0;
/// Of the caches of vectors, in memory and on disk: some ten thousand and some hundred and fifty thousand of 384 numbers.
const DEFAULT_CACHE_MB: [u64; 2] = [16, 256];
const LARGEST_CACHE_MB: u64 = 1 << 20;
/// What `cairn.toml` may hold.
const KEYS: [&str; 10] =
    ["model", "precision", "wait", "user", "agent", "app", "run", "log", "cache_memory_mb", "cache_disk_mb"];

/// The flags that every verb takes.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    #[arg(help = "Directory of the store [env: CAIRN_DATA]", long, global = true, value_name = "DIR", help_heading = HEADING)]
    pub(crate) data: Option<PathBuf>,
    #[arg(help = "Model: a folder or a name [env: CAIRN_MODEL]", long, global = true, value_name = "DIR|NAME", help_heading = HEADING)]
    pub(crate) model: Option<String>,
    #[arg(help = "How the model computes: auto, f32, bf16 or int8 [env: CAIRN_PRECISION] [default: auto, the fastest that finds the same]", long, global = true, value_name = "PRECISION", help_heading = HEADING)]
    pub(crate) precision: Option<String>,
    #[arg(help = "How long to wait for a store in use [env: CAIRN_WAIT] [default: 5]", long, global = true, value_name = "SECONDS", help_heading = HEADING)]
    pub(crate) wait: Option<String>,
    #[arg(help = "Whose memories: a user [env: CAIRN_USER]", short, long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) user: Option<String>,
    #[arg(help = "Whose memories: an agent [env: CAIRN_AGENT]", long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) agent: Option<String>,
    #[arg(help = "Whose memories: an application [env: CAIRN_APP]", long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) app: Option<String>,
    #[arg(help = "Whose memories: a conversation or task [env: CAIRN_RUN]", short, long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub(crate) run: Option<String>,
    #[arg(help = "More messages on stderr: -v, -vv [env: CAIRN_LOG]", short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "{name}"),
            Self::Environment(name) => write!(f, "{name} in the environment"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => write!(f, "default"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// All settings of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) data: Setting<PathBuf>,
    /// None: the built-in one.
    pub(crate) model: Setting<Option<String>>,
    /// None: the fastest that finds the same.
    pub(crate) precision: Setting<Option<Precision>>,
    pub(crate) wait: Setting<Duration>,
    pub(crate) user: Setting<Option<String>>,
    pub(crate) agent: Setting<Option<String>>,
    pub(crate) app: Setting<Option<String>>,
    pub(crate) run: Setting<Option<String>>,
    /// In the syntax of tracing's filters.
    pub(crate) log: Setting<String>,
    /// Of the caches of vectors; 0: none.
    pub(crate) cache_memory_mb: Setting<u64>,
    pub(crate) cache_disk_mb: Setting<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{name} is empty")]
    Empty { name: String },
    #[error("{name} is not UTF-8")]
    NotText { name: &'static str },
    #[error("there is no home directory to put the store in")]
    NoHome,
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("unknown setting `{key}` in {}", path.display())]
    UnknownKey { path: PathBuf, key: String, hint: String },
    #[error("{name} is no number of seconds from 0 to 86400: {text}")]
    Wait { name: String, text: String },
    #[error("{name} is no precision: {text}")]
    Precision { name: String, text: String },
    #[error("{name} is no whole number of megabytes up to {LARGEST_CACHE_MB}: {text}")]
    Megabytes { name: String, text: String },
}

impl ConfigError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Empty { name } => Some(format!("give {name} a value or leave it out")),
            Self::NoHome => Some("name a directory with --data DIR or CAIRN_DATA".to_owned()),
            Self::UnknownKey { hint, .. } => Some(hint.clone()),
            Self::Precision { .. } => Some("there are auto, f32, bf16 and int8".to_owned()),
            Self::Megabytes { .. } => Some("0 turns the cache off".to_owned()),
            Self::NotText { .. } | Self::Read { .. } | Self::Syntax { .. } | Self::Wait { .. } => None,
        }
    }
}

impl Config {
    /// Gathers the settings; `environment` looks a variable up.
    ///
    /// # Errors
    /// For a value that is empty or no value of its setting, and for a `cairn.toml` that cannot be read or has unknown keys.
    pub(crate) fn load(flags: &Flags, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let data = data(flags, environment)?;
        let path = data.value.join(FILE);
        let file = File::read(&path)?;
        let text = |name: &'static str, variable: &'static str, flag: Option<&String>, kept: Option<&String>| {
            first(name, flag.cloned(), variable, environment, kept.cloned(), &path)
        };
        let wait =
            text("--wait", "CAIRN_WAIT", flags.wait.as_ref(), file.wait.map(|seconds| seconds.to_string()).as_ref())?;
        let [memory, disk] = ["CAIRN_CACHE_MEMORY_MB", "CAIRN_CACHE_DISK_MB"];
        let precision = text("--precision", "CAIRN_PRECISION", flags.precision.as_ref(), file.precision.as_ref())?;
        let kept = |number: Option<u64>| number.map(|number| number.to_string());
        let cache_memory_mb = text("cache_memory_mb", memory, None, kept(file.cache_memory_mb).as_ref())?;
        let cache_disk_mb = text("cache_disk_mb", disk, None, kept(file.cache_disk_mb).as_ref())?;
        let verbose = match flags.verbose {
            0 => None,
            1 => Some("warn,cairn=info".to_owned()),
            2 => Some("warn,cairn=debug".to_owned()),
            _ => Some("info,cairn=trace".to_owned()),
        };
        let log = text("--verbose", "CAIRN_LOG", verbose.as_ref(), file.log.as_ref())?;
        Ok(Self {
            model: text("--model", "CAIRN_MODEL", flags.model.as_ref(), file.model.as_ref())?,
            precision: chosen(precision)?,
            wait: seconds(wait)?,
            user: text("--user", "CAIRN_USER", flags.user.as_ref(), file.user.as_ref())?,
            agent: text("--agent", "CAIRN_AGENT", flags.agent.as_ref(), file.agent.as_ref())?,
            app: text("--app", "CAIRN_APP", flags.app.as_ref(), file.app.as_ref())?,
            run: text("--run", "CAIRN_RUN", flags.run.as_ref(), file.run.as_ref())?,
            log: Setting { value: log.value.unwrap_or_else(|| "warn".to_owned()), origin: log.origin },
            cache_memory_mb: megabytes(cache_memory_mb, DEFAULT_CACHE_MB[0])?,
            cache_disk_mb: megabytes(cache_disk_mb, DEFAULT_CACHE_MB[1])?,
            data,
        })
    }

    /// The scope that the command is about.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            user: self.user.value.clone(),
            agent: self.agent.value.clone(),
            app: self.app.value.clone(),
            run: self.run.value.clone(),
        }
    }
}

fn data(flags: &Flags, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Setting<PathBuf>, ConfigError> {
    let given = match (&flags.data, environment("CAIRN_DATA")) {
        (Some(path), _) => Some((path.clone(), Origin::Flag("--data"))),
        (None, Some(path)) => Some((path.into(), Origin::Environment("CAIRN_DATA"))),
        (None, None) => None,
    };
    match given {
        Some((path, Origin::Flag(name) | Origin::Environment(name))) if path.as_os_str().is_empty() => {
            Err(ConfigError::Empty { name: name.to_owned() })
        }
        Some((value, origin)) => Ok(Setting { value, origin }),
        None => {
            let places = directories::ProjectDirs::from("", "", "cairn").ok_or(ConfigError::NoHome)?;
            Ok(Setting { value: places.data_dir().to_owned(), origin: Origin::Default })
        }
    }
}

/// The first of flag, variable and file that has a value.
fn first(
    name: &'static str,
    flag: Option<String>,
    variable: &'static str,
    environment: &dyn Fn(&str) -> Option<OsString>,
    kept: Option<String>,
    path: &Path,
) -> Result<Setting<Option<String>>, ConfigError> {
    let setting = if flag.is_some() {
        Setting { value: flag, origin: Origin::Flag(name) }
    } else if let Some(value) = environment(variable) {
        let value = value.into_string().map_err(|_| ConfigError::NotText { name: variable })?;
        Setting { value: Some(value), origin: Origin::Environment(variable) }
    } else if kept.is_some() {
        Setting { value: kept, origin: Origin::File(path.to_owned()) }
    } else {
        Setting { value: None, origin: Origin::Default }
    };
    if setting.value.as_deref() == Some("") {
        let name = match &setting.origin {
            Origin::File(path) => format!("`{}` in {}", name.trim_start_matches('-'), path.display()),
            Origin::Environment(variable) => (*variable).to_owned(),
            Origin::Flag(_) | Origin::Default => name.to_owned(),
        };
        return Err(ConfigError::Empty { name });
    }
    Ok(setting)
}

fn seconds(setting: Setting<Option<String>>) -> Result<Setting<Duration>, ConfigError> {
    let Setting { value, origin } = setting;
    let seconds = match &value {
        None => DEFAULT_WAIT,
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..=LONGEST_WAIT).contains(seconds))
            .ok_or_else(|| ConfigError::Wait { name: origin.to_string(), text: text.clone() })?,
    };
    Ok(Setting { value: Duration::from_secs_f64(seconds), origin })
}

fn chosen(setting: Setting<Option<String>>) -> Result<Setting<Option<Precision>>, ConfigError> {
    let Setting { value, origin } = setting;
    let value = match value.as_deref() {
        None | Some("auto") => None,
        Some(text) => {
            let unknown = |_| ConfigError::Precision { name: origin.to_string(), text: text.to_owned() };
            Some(text.parse().map_err(unknown)?)
        }
    };
    Ok(Setting { value, origin })
}

fn megabytes(setting: Setting<Option<String>>, default: u64) -> Result<Setting<u64>, ConfigError> {
    let Setting { value, origin } = setting;
    let value = match value {
        None => default,
        Some(text) => {
            let number = text.parse().ok().filter(|number| *number <= LARGEST_CACHE_MB);
            number.ok_or(ConfigError::Megabytes { name: origin.to_string(), text })?
        }
    };
    Ok(Setting { value, origin })
}

/// `cairn.toml` as it stands.
#[derive(Debug, Default, Deserialize)]
struct File {
    model: Option<String>,
    wait: Option<f64>,
    user: Option<String>,
    agent: Option<String>,
    app: Option<String>,
    run: Option<String>,
    log: Option<String>,
    precision: Option<String>,
    cache_memory_mb: Option<u64>,
    cache_disk_mb: Option<u64>,
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let table: toml::Table = toml::from_str(&text).map_err(syntax)?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone(), hint: suggestion(key) });
        }
        toml::from_str(&text).map_err(syntax)
    }
}

fn suggestion(key: &str) -> String {
    if key == "data" {
        return "the file lies in the data directory, so it cannot name it; use --data DIR or CAIRN_DATA".to_owned();
    }
    match KEYS.iter().map(|known| (distance(key, known), known)).min() {
        Some((steps, known)) if steps <= 2 => format!("did you mean `{known}`?"),
        _ => format!("known are {}", KEYS.join(", ")),
    }
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, there) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *there);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(directory: &Path, user: Option<&str>) -> Flags {
        Flags { data: Some(directory.to_owned()), user: user.map(str::to_owned), ..Flags::default() }
    }

    /// What becomes of `user` when it is given in these places.
    #[track_caller]
    fn check(
        flag: Option<&str>,
        variable: Option<&str>,
        file: Option<&str>,
        expected: &Result<(Option<&str>, &str), &str>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        if let Some(file) = file {
            std::fs::write(directory.path().join(FILE), file).unwrap();
        }
        let environment = |name: &str| variable.filter(|_| name == "CAIRN_USER").map(OsString::from);
        let loaded = Config::load(&flags(directory.path(), flag), &environment);
        let shorten = |text: String| text.replace(&directory.path().join(FILE).display().to_string(), FILE);
        let seen = loaded
            .map(|config| (config.user.value, shorten(config.user.origin.to_string())))
            .map_err(|error| shorten(format!("{error}|{}", error.hint().unwrap_or_default())));
        let expected =
            expected.map(|(value, origin)| (value.map(str::to_owned), origin.to_owned())).map_err(str::to_owned);
        assert_eq!(seen, expected);
    }

    #[test]
    fn flags_go_before_the_environment_before_the_file_before_defaults() {
        let file = Some("user = \"file\"");
        check(Some("flag"), Some("variable"), file, &Ok((Some("flag"), "--user")));
        check(None, Some("variable"), file, &Ok((Some("variable"), "CAIRN_USER in the environment")));
        check(None, None, file, &Ok((Some("file"), FILE)));
        check(None, None, None, &Ok((None, "default")));
    }

    #[test]
    fn an_empty_value_is_an_error_that_names_it() {
        check(Some(""), None, None, &Err("--user is empty|give --user a value or leave it out"));
        check(None, Some(""), None, &Err("CAIRN_USER is empty|give CAIRN_USER a value or leave it out"));
        check(
            None,
            None,
            Some("user = ''"),
            &Err("`user` in cairn.toml is empty|give `user` in cairn.toml a value or leave it out"),
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        check(None, None, Some("usr = 'a'"), &Err("unknown setting `usr` in cairn.toml|did you mean `user`?"));
        check(
            None,
            None,
            Some("colour = 'a'"),
            &Err(
                "unknown setting `colour` in cairn.toml|known are model, precision, wait, user, agent, app, run, log, cache_memory_mb, cache_disk_mb",
            ),
        );
        check(
            None,
            None,
            Some("data = 'a'"),
            &Err(
                "unknown setting `data` in cairn.toml|the file lies in the data directory, so it cannot name it; use --data DIR or CAIRN_DATA",
            ),
        );
    }

    #[test]
    fn waiting_is_a_number_of_seconds() {
        let directory = tempfile::tempdir().unwrap();
        let wait = |text: &str| {
            let flags = Flags { wait: Some(text.to_owned()), ..flags(directory.path(), None) };
            Config::load(&flags, &|_| None).map(|config| config.wait.value).map_err(|error| error.to_string())
        };
        assert_eq!(wait("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        for text in ["-1", "soon", "inf", "NaN", "86401"] {
            assert_eq!(wait(text), Err(format!("--wait is no number of seconds from 0 to 86400: {text}")));
        }
        let none = Config::load(&flags(directory.path(), None), &|_| None).unwrap();
        assert_eq!(none.wait, Setting { value: Duration::from_secs(5), origin: Origin::Default });
    }

    #[test]
    fn settings_of_the_model_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let load = |name: &'static str, value: &'static str| {
            let environment = move |asked: &str| (asked == name).then(|| OsString::from(value));
            let config = Config::load(&flags(directory.path(), None), &environment);
            config
                .map(|config| (config.precision.value, config.cache_memory_mb.value, config.cache_disk_mb.value))
                .map_err(|error| format!("{error}|{}", error.hint().unwrap_or_default()))
        };
        assert_eq!(load("CAIRN_PRECISION", "auto"), Ok((None, 16, 256)));
        assert_eq!(load("CAIRN_PRECISION", "int8"), Ok((Some(Precision::Int8), 16, 256)));
        let unknown = "CAIRN_PRECISION in the environment is no precision: int4|there are auto, f32, bf16 and int8";
        assert_eq!(load("CAIRN_PRECISION", "int4"), Err(unknown.to_owned()));
        assert_eq!(load("CAIRN_CACHE_DISK_MB", "0"), Ok((None, 16, 0)));
        let odd = "CAIRN_CACHE_MEMORY_MB in the environment is no whole number of megabytes up to 1048576: 1.5|0 turns the cache off";
        assert_eq!(load("CAIRN_CACHE_MEMORY_MB", "1.5"), Err(odd.to_owned()));
    }

    #[test]
    fn more_v_say_more() {
        let directory = tempfile::tempdir().unwrap();
        for (verbose, filter) in [(0, "warn"), (1, "warn,cairn=info"), (2, "warn,cairn=debug"), (3, "info,cairn=trace")]
        {
            let flags = Flags { verbose, ..flags(directory.path(), None) };
            assert_eq!(Config::load(&flags, &|_| None).unwrap().log.value, filter);
        }
    }
}
