//! `args`: what command lines mean, and what is said of those that mean nothing.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use tarae_http::Model;

use tarae_cli::args::{Command, HELP, SERVE_HELP, Serve, parse};

fn read(line: &[&str]) -> Result<Command, String> {
    parse(line.iter().map(OsString::from)).map_err(|error| error.to_string())
}

fn check(line: &[&str], dir: &str, listen: &str, workers: Option<usize>) {
    let want = Command::Serve(Serve {
        dir: PathBuf::from(dir),
        listen: listen.parse().unwrap(),
        model: Model::Coroutine,
        workers: workers.map(|n| NonZeroUsize::new(n).unwrap()),
        drain: Duration::from_secs(30),
    });
    assert_eq!(read(line), Ok(want), "{line:?}");
}

#[test]
fn serve_has_defaults_for_everything() {
    let home = "127.0.0.1:8080";
    check(&["serve"], ".", home, None);
    check(&["serve", "site"], "site", home, None);
    check(&["serve", "--workers", "2"], ".", home, Some(2));
    check(
        &["serve", "--workers=1024", "site"],
        "site",
        home,
        Some(1024),
    );
    check(
        &["serve", "--listen", "0.0.0.0:80", "site"],
        "site",
        "0.0.0.0:80",
        None,
    );
    check(
        &["serve", "site", "--listen=[::1]:0"],
        "site",
        "[::1]:0",
        None,
    );
    check(
        &["serve", "--listen", "localhost:9000"],
        ".",
        "127.0.0.1:9000",
        None,
    );
    check(&["serve", "--", "--listen"], "--listen", home, None);
    check(
        &["serve", "--workers", "1", "--", "-x"],
        "-x",
        home,
        Some(1),
    );
}

#[test]
fn a_model_is_one_of_the_list() {
    for model in Model::ALL {
        let Ok(Command::Serve(serve)) = read(&["serve", "--model", model.name()]) else {
            panic!("{model}");
        };
        assert_eq!(serve.model, *model);
        assert!(SERVE_HELP.contains(&format!("\n                     {model}  ")));
    }
    check_errors(&[
        (
            &["serve", "--model", "threads"],
            &["`--model threads`", "thread, event-loop"],
        ),
        (&["serve", "--model"], &["`--model` needs a model"]),
        (
            &["serve", "--model=thread", "--workers=2"],
            &["`--workers`", "coroutine"],
        ),
    ]);
}

#[test]
fn the_time_to_drain_is_in_seconds() {
    for (line, want) in [
        (&["serve", "--drain", "0"][..], 0),
        (&["serve", "--drain=5"], 5),
        (&["serve", "site", "--drain", "86400"], 86_400),
    ] {
        let Ok(Command::Serve(serve)) = read(line) else {
            panic!("{line:?}")
        };
        assert_eq!(serve.drain, Duration::from_secs(want), "{line:?}");
    }
}

#[test]
fn a_folder_need_not_be_utf8() {
    let dir = OsString::from_vec(b"caf\xe9".to_vec());
    let Ok(Command::Serve(serve)) = parse(["serve".into(), dir.clone()]) else {
        panic!()
    };
    assert_eq!(serve.dir, PathBuf::from(dir));
}

#[test]
fn help_and_version_are_found_everywhere() {
    for (line, want) in [
        (&["--help"][..], Command::Help),
        (&["-h"], Command::Help),
        (&["help"], Command::Help),
        (&["help", "serve"], Command::ServeHelp),
        (&["serve", "--help"], Command::ServeHelp),
        (
            &["serve", "site", "--workers", "2", "-h"],
            Command::ServeHelp,
        ),
        (&["--version"], Command::Version),
        (&["-V"], Command::Version),
        (&["serve", "--version"], Command::Version),
    ] {
        assert_eq!(read(line), Ok(want), "{line:?}");
    }
}

#[test]
fn help_fits_a_terminal_and_names_every_option() {
    for text in [HELP, SERVE_HELP] {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(90), "{widest:?}");
    }
    for word in [
        "--listen",
        "--workers",
        "--drain",
        "--model",
        "DIR",
        "127.0.0.1:8080",
        "SIGTERM",
        ".git",
        "Examples",
    ] {
        assert!(SERVE_HELP.contains(word), "{word}");
    }
}

/// Checks that each line is refused in one line that holds these words.
fn check_errors(table: &[(&[&str], &[&str])]) {
    for (line, words) in table {
        let message = read(line).expect_err("a usage error");
        for word in *words {
            assert!(
                message.contains(word),
                "{line:?}: {message:?} lacks {word:?}"
            );
        }
        assert!(!message.contains('\n'), "{message:?}");
    }
}

#[test]
fn errors_name_the_argument() {
    check_errors(&[
        (&[], &["no command", "tarae serve"]),
        (&["public"], &["`public`", "tarae serve public"]),
        (&["serv"], &["`serv`", "did you mean `serve`?"]),
        (&["srve"], &["`srve`", "did you mean `serve`?"]),
        (&["halp"], &["did you mean `help`?"]),
        (
            &["--verison"],
            &["`--verison`", "did you mean `--version`?"],
        ),
        (&["help", "sevre"], &["did you mean `serve`?"]),
        (
            &["serve", "--lisen", "x"],
            &["unknown option `--lisen`", "did you mean `--listen`?"],
        ),
        (&["serve", "--worker", "2"], &["did you mean `--workers`?"]),
        (
            &["serve", "--list=1"],
            &["`--list`", "did you mean `--listen`?"],
        ),
        (
            &["serve", "--port", "80"],
            &["unknown option `--port`", "tarae --help"],
        ),
        (&["serve", "-p"], &["unknown option `-p`"]),
        (&["serve", "-"], &["unknown option `-`"]),
        (&["serve", "--help=x"], &["`--help` takes no value"]),
        (&["serve", "a", "b"], &["two folders", "`a`", "`b`"]),
        (&["serve", ""], &["empty"]),
    ]);
}

#[test]
fn errors_in_values_say_what_to_write() {
    check_errors(&[
        (&["serve", "--listen"], &["`--listen` needs an address"]),
        (&["serve", "--listen="], &["`--listen` needs an address"]),
        (
            &["serve", "--listen", "8080"],
            &["`--listen 8080`", "127.0.0.1:8080"],
        ),
        (
            &["serve", "--listen", ":90"],
            &["`--listen :90`", "127.0.0.1:90"],
        ),
        (
            &["serve", "--listen", "10.0.0.1"],
            &["port is missing", "10.0.0.1:8080"],
        ),
        (
            &["serve", "--listen", "::1"],
            &["port is missing", "[::1]:8080"],
        ),
        (
            &["serve", "--listen", "1.2.3.4:65536"],
            &["`--listen 1.2.3.4:65536`", "65535"],
        ),
        (
            &["serve", "--listen", "example.org:80"],
            &["not an IP address"],
        ),
        (
            &["serve", "--listen", "[::1]:1", "--listen", "[::1]:2"],
            &["`--listen`", "twice"],
        ),
        (&["serve", "--workers"], &["`--workers` needs a number"]),
        (
            &["serve", "--workers", "0"],
            &["`--workers 0`", "1 to 1024"],
        ),
        (
            &["serve", "--workers", "-1"],
            &["`--workers -1`", "1 to 1024"],
        ),
        (&["serve", "--workers", "two"], &["`--workers two`"]),
        (
            &["serve", "--workers", "1025"],
            &["`--workers 1025`", "1024"],
        ),
        (&["serve", "--drain"], &["`--drain` needs a number"]),
        (&["serve", "--drain", "-1"], &["`--drain -1`", "0 to 86400"]),
        (&["serve", "--drain", "1.5"], &["`--drain 1.5`"]),
        (&["serve", "--drain", "86401"], &["`--drain 86401`"]),
        (
            &["serve", "--drain=1", "--drain=1"],
            &["`--drain`", "twice"],
        ),
        (
            &["serve", "--workers=1", "--workers=1"],
            &["`--workers`", "twice"],
        ),
    ]);
}
