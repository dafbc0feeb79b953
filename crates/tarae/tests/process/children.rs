//! Starting children, and their ends.

use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::time::Duration;

use tarae::Cancelled;
use tarae::event::{EventLoop, WouldBlockLoop};
use tarae::process::{Command, Stdio};

use crate::support::{alone, both, cat, guarded, parked, run_on, shell, until};

#[test]
fn exit_codes_and_signals() {
    both("exit codes and signals", || {
        for code in [0, 1, 42, 255] {
            let status = shell(&format!("exit {code}")).status().unwrap();
            assert_eq!((status.code(), status.signal()), (Some(code), None));
        }
        let status = shell("kill -USR1 $$").status().unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(10)));
    });
}

#[test]
fn a_child_is_killed() {
    both("kill", || {
        let mut child = cat();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // Nothing is left of it, and what was told is told again.
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
        assert!(!Path::new(&format!("/proc/{}", child.id())).exists());
    });
}

#[test]
fn what_was_said_is_done() {
    both("the builder", || {
        let mut command = shell("echo $ONE-$TWO-$THREE-$FOUR; pwd; echo $0 $1");
        command
            .args(["name", "argument"])
            .env("ONE", "1")
            .env("TWO", "2");
        command
            .envs([("THREE", "3"), ("FOUR", "4")])
            .env_remove("TWO");
        command.current_dir("/proc");
        assert_eq!(command.get_program(), "sh");
        assert_eq!(command.get_args().count(), 4);
        assert_eq!(command.get_envs().count(), 4);
        assert_eq!(command.get_current_dir(), Some(Path::new("/proc")));
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"1--3-4\n/proc\nname argument\n");
        command.env_clear();
        assert_eq!(command.get_envs().count(), 0);

        let mut plain = std::process::Command::new("sh");
        plain.args(["-c", "echo $0"]).arg0("other");
        let mut command = Command::from(plain);
        assert_eq!(command.output().unwrap().stdout, b"other\n");
        command.as_std_mut().process_group(0);
        assert_eq!(command.as_std().get_program(), "sh");
        assert!(
            std::process::Command::from(command)
                .output()
                .unwrap()
                .status
                .success()
        );

        let error = Command::new("/no/such/program").spawn().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

/// `output` has defaults of its own, and leaves those of `spawn` alone.
#[test]
fn streams_have_defaults() {
    both("streams", || {
        let mut command = shell("cat; echo out; echo err >&2");
        for _ in 0..2 {
            let output = command.output().unwrap();
            assert_eq!(
                (&output.stdout[..], &output.stderr[..]),
                (&b"out\n"[..], &b"err\n"[..])
            );
        }
        let output = command.stderr(Stdio::null()).output().unwrap();
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"out\n"[..], &b""[..])
        );
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn waiting_closes_the_input_first() {
    both("wait closes the input", || {
        let mut child = cat();
        assert!(child.wait().unwrap().success());
        assert!(child.stdin.is_none());
        assert!(cat().wait_with_output().unwrap().status.success());
    });
}

/// A wait that is cut short leaves the child as it is.
#[test]
fn a_wait_that_is_cut_short_can_be_repeated() {
    guarded("waits that are cut short", || {
        run_on(1, || {
            let mut child = cat();
            // Kept open, or the wait would end the child.
            let input = child.stdin.take();
            let soon = Duration::from_millis(2);
            let late = tarae::timeout(soon, || child.wait()).unwrap_err();
            assert_eq!(late.into_inner().unwrap_err().kind(), ErrorKind::TimedOut);
            let waiter = tarae::spawn(move || {
                let error = child.wait().unwrap_err();
                (child, error)
            });
            until(|| parked(1));
            waiter.cancel();
            let (mut child, error) = waiter.join().unwrap();
            assert!(Cancelled::is(&error), "{error}");
            assert!(child.try_wait().unwrap().is_none());
            // Another worker's, or a plain thread's, it can be too.
            let thread = std::thread::spawn(move || {
                let late = tarae::timeout(soon, || child.wait()).unwrap_err();
                assert_eq!(late.into_inner().unwrap_err().kind(), ErrorKind::TimedOut);
                child
            });
            until(|| thread.is_finished());
            let mut child = thread.join().unwrap();
            drop(input);
            assert!(child.wait().unwrap().success());
        });
    });
}

/// The waiters hold no worker up: they are all parked before the first child ends.
#[test]
fn many_children_of_two_workers() {
    guarded("many children", || {
        run_on(2, || {
            let waiters: Vec<_> = (0..40)
                .map(|n| {
                    let (told, tells) = tarae::sync::oneshot::channel();
                    let waiter = tarae::spawn(move || {
                        let mut command = shell(&format!("read line; exit {n}"));
                        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
                        told.send(child.stdin.take().unwrap()).unwrap();
                        child.wait().unwrap().code()
                    });
                    (waiter, tells)
                })
                .collect();
            let (waiters, inputs): (Vec<_>, Vec<_>) = waiters.into_iter().unzip();
            let inputs: Vec<_> = inputs
                .into_iter()
                .map(|input| input.recv().unwrap())
                .collect();
            until(|| parked(40));
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
            drop(inputs);
            for (n, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.join().unwrap(), Some(n as i32));
            }
        });
    });
}

#[test]
fn many_children_of_threads() {
    guarded("many children of threads", || {
        std::thread::scope(|s| {
            for n in 0..8 {
                s.spawn(move || {
                    let status = shell(&format!("exit {n}")).status();
                    assert_eq!(status.unwrap().code(), Some(n));
                });
            }
        });
    });
}

/// Somebody else's wait is an error, and not another process's end.
#[test]
fn who_was_waited_for_elsewhere_is_gone() {
    both("a child that is gone", || {
        let mut child = shell("exit 3").stdin(Stdio::null()).spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32);
        let options = rustix::process::WaitOptions::empty();
        rustix::process::waitpid(pid, options).unwrap().unwrap();
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(10), "ECHILD");
        assert_eq!(child.kill().unwrap_err().raw_os_error(), Some(3), "ESRCH");
    });
}

/// No descriptor is free for the child's own: it is not left behind.
#[test]
fn a_start_that_fails_leaves_no_child() {
    alone("children::a_start_that_fails_leaves_no_child", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let old = getrlimit(Resource::Nofile);
        // As many as are open, and those that std needs to start a child: a pair of pipe ends.
        let probe = std::fs::File::open("/dev/null").unwrap();
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&probe) as u64;
        let mut failed_late = 0;
        for more in 0..12 {
            let limit = Rlimit {
                current: Some(lowest + more),
                maximum: old.maximum,
            };
            setrlimit(Resource::Nofile, limit).unwrap();
            let result = Command::new("sleep")
                .arg("3600")
                .stdin(Stdio::piped())
                .spawn();
            setrlimit(Resource::Nofile, old).unwrap();
            match result {
                Err(_) => failed_late += 1,
                Ok(mut child) => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                }
            }
            let options = rustix::process::WaitOptions::NOHANG;
            let any = rustix::process::waitpid(None, options);
            assert_eq!(
                any.unwrap_err(),
                rustix::io::Errno::CHILD,
                "{more} more: a child is left"
            );
        }
        assert!((1..12).contains(&failed_late));
    });
}

#[test]
fn a_simulated_run_has_no_children() {
    guarded("no children in simulated runs", || {
        let error = tarae::sim::run(1, || shell("exit 0").status().unwrap_err()).unwrap();
        assert_eq!(error.value.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn an_event_loop_is_not_blocked() {
    guarded("a child in a handler", || {
        let mut child = cat();
        let events = EventLoop::new().unwrap();
        events.set_strict(true);
        let input = child.stdin.take();
        let handler = move |_: &EventLoop| {
            assert!(WouldBlockLoop::is(&shell("exit 0").spawn().unwrap_err()));
            assert!(WouldBlockLoop::is(&child.wait().unwrap_err()));
            child.kill().unwrap();
        };
        events.after(Duration::ZERO, handler);
        events.run().unwrap();
        drop(input);
    });
}
