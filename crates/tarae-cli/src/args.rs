//! The command line, read into plain values, and the help text.
//!
//! `main` calls `parse` once. Pure: it opens nothing and prints nothing. It must never accept
//! what it does not understand; each error names the argument and says what would be right.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tarae_http::Model;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve a folder.
    Serve(Serve),
    /// Print [`HELP`].
    Help,
    /// Print [`SERVE_HELP`].
    ServeHelp,
    /// Print the version.
    Version,
}

/// The arguments of `tarae serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The folder to serve.
    pub dir: PathBuf,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// What serves a connection.
    pub model: Model,
    /// How many worker threads; none lets the runtime choose. Only coroutines have any.
    pub workers: Option<NonZeroUsize>,
    /// How long answers in flight may go on after a signal.
    pub drain: Duration,
}

/// A command line that makes no sense; displays as one sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

/// More workers than this is a typing error: each is a thread with an event loop of its own.
pub const WORKERS_MAX: usize = 1024;

/// What `tarae serve` takes.
const OPTIONS: &[&str] = &[
    "--listen",
    "--model",
    "--workers",
    "--drain",
    "--help",
    "--version",
];

/// How long answers in flight may go on after a signal if nothing else is said.
const DRAIN: Duration = Duration::from_secs(30);
/// A longer drain, beyond a day, is a typing error.
const DRAIN_SECONDS_MAX: u64 = 86_400;

/// What `tarae --help` prints.
pub const HELP: &str = "\
tarae: serves a folder over HTTP. Blocking code inside, an event loop underneath.

Usage:
  tarae serve [DIR] [--listen ADDR] [--model MODEL] [--workers N] [--drain SECONDS]
  tarae help [serve]

Commands:
  serve          Serve the files of a folder (the current one by default)
  help           Show this text, or that of a command

Options:
  -h, --help     Show this text; after a command, that of the command
  -V, --version  Show the version

Examples:
  tarae serve                    this folder on http://127.0.0.1:8080
  tarae serve public --workers 2
  tarae serve --help             everything `serve` does and does not do
";

/// What `tarae serve --help` prints.
pub const SERVE_HELP: &str = "\
tarae serve: serves the files of a folder over HTTP/1.1.

Usage:
  tarae serve [DIR] [--listen ADDR] [--model MODEL] [--workers N] [--drain SECONDS]

Arguments:
  DIR              The folder to serve; the current one if not given

Options:
  --listen ADDR    IP address and port to listen on [default: 127.0.0.1:8080]
                   Port 0 takes a free port. Use 0.0.0.0:PORT or [::]:PORT to be
                   reachable from other machines: everything in DIR becomes public.
  --model MODEL    What serves a connection [default: coroutine]
                     coroutine   a coroutine for each request under way
                     thread      a thread for each connection
                     event-loop  one thread for all of them
                     reactor     that, and a pool of threads for the handlers
  --workers N      Worker threads, each with an event loop [default: one per core]
                   With 1 the whole process is a single thread. Coroutines only.
  --drain SECONDS  How long answers in flight may go on after a signal [default: 30]
  -h, --help       Show this text
  --               What follows is DIR, even if it begins with a dash

It prints `listening on http://ADDR` when it is ready. SIGINT (Ctrl-C) or SIGTERM stops
it: it accepts no more connections, closes those that wait for a request or are in the
middle of its head, finishes the answers in flight and exits with 0. What is not finished
after the time of --drain is cut short. A second signal stops it at once.

What it does:
  A folder shows its index.html, or else a listing; /dir is redirected to /dir/.
  GET and HEAD; anything else is refused with 405.
  ETag, Last-Modified and the conditional requests that go with them; single byte
  ranges, so downloads can be resumed and videos can be sought in.

What it refuses (404, as if it were not there):
  Names that begin with a dot, so .git and .env too.
  Whatever lies outside DIR. A symbolic link is followed if it is relative and stays
  inside DIR.
  Pipes, sockets and devices.

Examples:
  tarae serve                              this folder on http://127.0.0.1:8080
  tarae serve public --listen 127.0.0.1:0  the folder `public`, on any free port
  tarae serve /srv/www --listen 0.0.0.0:80 --workers 4
  tarae serve -- -odd-name                 a folder whose name begins with a dash

Exit codes:
  0  stopped by a signal, everything in flight finished or cut short
  1  could not start (folder, address or permission), or stopped by a second signal
  2  the command line is wrong
  3  stopped by a signal, but a request could not even be cut short; it is named on
     standard error
";

/// Reads the arguments that follow the program's name.
///
/// # Errors
///
/// A [`UsageError`] with one sentence that names the argument at fault.
///
/// # Examples
///
/// ```
/// use tarae_cli::args::{Command, parse};
///
/// let Ok(Command::Serve(serve)) = parse(["serve".into(), "public".into()]) else { panic!() };
/// assert_eq!(serve.listen.to_string(), "127.0.0.1:8080");
/// ```
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(UsageError::new(
            "no command given; `tarae serve` serves this folder",
        ));
    };
    match first.to_str() {
        Some("serve") => serve(args),
        Some("help") => help(args),
        Some("-h" | "--help") => Ok(Command::Help),
        Some("-V" | "--version") => Ok(Command::Version),
        Some(option) if option.starts_with('-') => {
            Err(unknown("option", option, &["--help", "--version"]))
        }
        Some(command) if nearest(command, &["serve", "help"]).is_some() => {
            Err(unknown("command", command, &["serve", "help"]))
        }
        _ => {
            let word = first.to_string_lossy();
            Err(UsageError::new(format!(
                "unknown command `{word}`; to serve a folder, run `tarae serve {word}`"
            )))
        }
    }
}

impl UsageError {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn help(mut args: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let Some(topic) = args.next() else {
        return Ok(Command::Help);
    };
    match topic.to_str() {
        Some("serve") => Ok(Command::ServeHelp),
        _ => Err(unknown("command", &topic.to_string_lossy(), &["serve"])),
    }
}

fn serve(mut args: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let (mut dir, mut listen, mut model) = (None, None, None);
    let (mut workers, mut drain) = (None, None);
    let mut options_ended = false;
    while let Some(arg) = args.next() {
        if options_ended || !arg.as_encoded_bytes().starts_with(b"-") {
            set_dir(&mut dir, arg)?;
            continue;
        }
        let text = arg.to_string_lossy();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&*text, None),
        };
        match (name, &inline) {
            ("--", None) => options_ended = true,
            ("-h" | "--help", None) => return Ok(Command::ServeHelp),
            ("-V" | "--version", None) => return Ok(Command::Version),
            ("--listen", _) => {
                let value = value(name, inline, &mut args, "an address such as 127.0.0.1:8080")?;
                once(&mut listen, name, address(&value)?)?;
            }
            ("--model", _) => {
                let value = value(name, inline, &mut args, "a model such as thread")?;
                once(&mut model, name, model_of(&value)?)?;
            }
            ("--workers", _) => {
                let value = value(name, inline, &mut args, "a number such as 2")?;
                once(&mut workers, name, worker_count(&value)?)?;
            }
            ("--drain", _) => {
                let value = value(name, inline, &mut args, "a number of seconds such as 30")?;
                once(&mut drain, name, drain_time(&value)?)?;
            }
            ("-h" | "--help" | "-V" | "--version", Some(_)) => {
                return Err(UsageError::new(format!("`{name}` takes no value")));
            }
            _ => {
                return Err(unknown("option", name, OPTIONS));
            }
        }
    }
    let model = model.unwrap_or_default();
    if workers.is_some() && model != Model::Coroutine {
        return Err(UsageError::new(format!(
            "`--workers` is for the model coroutine; the model {model} has no workers"
        )));
    }
    Ok(Command::Serve(Serve {
        dir: dir.unwrap_or_else(|| PathBuf::from(".")),
        listen: listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)),
        model,
        workers,
        drain: drain.unwrap_or(DRAIN),
    }))
}

fn set_dir(dir: &mut Option<PathBuf>, arg: OsString) -> Result<(), UsageError> {
    if arg.is_empty() {
        return Err(UsageError::new(
            "the folder to serve is empty; `.` is the current one",
        ));
    }
    match dir {
        None => *dir = Some(PathBuf::from(arg)),
        Some(first) => {
            return Err(UsageError::new(format!(
                "two folders given, `{}` and `{}`; only one can be served",
                first.display(),
                arg.to_string_lossy()
            )));
        }
    }
    Ok(())
}

/// The value of an option: what follows its `=`, or else the next argument.
fn value(
    name: &str,
    inline: Option<String>,
    args: &mut impl Iterator<Item = OsString>,
    what: &str,
) -> Result<String, UsageError> {
    let given = inline.or_else(|| args.next().map(|arg| lossy(&arg)));
    match given {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(UsageError::new(format!("`{name}` needs {what}"))),
    }
}

/// An address or a number that is not UTF-8 is wrong in any case; this makes it printable.
fn lossy(arg: &OsStr) -> String {
    arg.to_string_lossy().into_owned()
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), UsageError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UsageError::new(format!("`{name}` is given twice"))),
    }
}

fn address(text: &str) -> Result<SocketAddr, UsageError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |hint: String| {
        Err(UsageError::new(format!(
            "`--listen {text}`: not an IP address and port; {hint}"
        )))
    };
    if let Some(Ok(port)) = text.strip_prefix("localhost:").map(str::parse::<u16>) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return wrong(format!(
            "the port is missing, as in {}",
            SocketAddr::new(ip, 8080)
        ));
    }
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return wrong(format!("the address is missing, as in 127.0.0.1:{port}"));
    }
    wrong("write it like 127.0.0.1:8080 or [::1]:8080, with a port up to 65535".to_owned())
}

fn model_of(text: &str) -> Result<Model, UsageError> {
    let known: Vec<_> = Model::ALL.iter().map(|model| model.name()).collect();
    text.parse().map_err(|_| {
        let all = known.join(", ");
        UsageError::new(format!("`--model {text}`: not a model; there are {all}"))
    })
}

fn worker_count(text: &str) -> Result<NonZeroUsize, UsageError> {
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= WORKERS_MAX => Ok(count),
        _ => Err(UsageError::new(format!(
            "`--workers {text}`: not a number of workers; it goes from 1 to {WORKERS_MAX}"
        ))),
    }
}

fn drain_time(text: &str) -> Result<Duration, UsageError> {
    match text.parse() {
        Ok(seconds) if seconds <= DRAIN_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(UsageError::new(format!(
            "`--drain {text}`: not a number of seconds; it goes from 0 to {DRAIN_SECONDS_MAX}"
        ))),
    }
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> UsageError {
    let suggestion = match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see `tarae --help`".to_owned(),
    };
    UsageError::new(format!("unknown {kind} `{word}`; {suggestion}"))
}

/// The known word that most likely was meant: one that the word abbreviates, or else one at most
/// two typing errors away.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let letters = word.trim_start_matches('-');
    let abbreviated = known
        .iter()
        .find(|known| letters.len() >= 2 && known.trim_start_matches('-').starts_with(letters));
    let close = || {
        let scored = known.iter().map(|known| (distance(word, known), known));
        scored
            .filter(|(distance, _)| *distance <= 2)
            .min_by_key(|(distance, _)| *distance)
    };
    abbreviated
        .or_else(|| close().map(|(_, known)| known))
        .copied()
}

/// Levenshtein's edit distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
