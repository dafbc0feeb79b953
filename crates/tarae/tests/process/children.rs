//! Starting children, and their ends.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tarae::Cancelled;
use tarae::event::{EventLoop, WouldBlockLoop};
use tarae::process::{Command, Stdio};

use crate::kernel::{without_numbers_of_processes, without_pidfds};
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
        plain.args(["-c", "echo $0", "by std"]);
        let mut command = Command::from(plain);
        assert_eq!(command.output().unwrap().stdout, b"by std\n");
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
        // What std needs there is: only the last step fails, when the child runs.
        without_pidfds();
        let test = || {
            let mut command = Command::new("sleep");
            // It lets go of what tells of this test's own end.
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.arg("3600").stdin(Stdio::piped());
            let started = command.as_std_mut().spawn();
            let mut other = started.unwrap();
            other.kill().unwrap();
            other.wait().unwrap();
            let error = command.spawn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
            let options = rustix::process::WaitOptions::NOHANG;
            let any = rustix::process::waitpid(None, options);
            assert_eq!(any.unwrap_err(), rustix::io::Errno::CHILD, "one is left");
        };
        test();
        run_on(1, test);
    });
}

/// By then the number may be another's.
#[test]
fn nothing_is_done_by_number() {
    alone("children::nothing_is_done_by_number", || {
        without_numbers_of_processes();
        let test = || {
            let mut child = cat();
            let mut plain = std::process::Command::new("true").spawn().unwrap();
            assert!(plain.wait().is_err(), "by number it cannot be done");
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            assert!(cat().wait_with_output().unwrap().status.success());
        };
        test();
        run_on(1, test);
    });
}

/// As std tells it: with or without a core, as the system is set up.
#[test]
fn ends_are_told_as_std_tells_them() {
    both("how children end", || {
        // There may be a core.
        let directory = format!("tarae-ends-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        for end in ["exit 7", "kill -9 $$", "ulimit -c unlimited; kill -ABRT $$"] {
            let mut ours = shell(end);
            let ours = ours.current_dir(&directory).status().unwrap();
            let mut theirs = std::process::Command::from(shell(end));
            let theirs = theirs.current_dir(&directory).status().unwrap();
            assert_eq!(ours.into_raw(), theirs.into_raw(), "{end}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    });
}

#[test]
fn a_child_that_has_ended_can_be_killed() {
    both("killing what has ended", || {
        let mut child = shell("exit 3").stdout(Stdio::piped()).spawn().unwrap();
        // It has ended, or is about to, when nobody has the pipe any more.
        assert_eq!(child.stdout.as_mut().unwrap().read(&mut [0]).unwrap(), 0);
        let stat = format!("/proc/{}/stat", child.id());
        until(|| std::fs::read_to_string(&stat).unwrap().contains(") Z "));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    });
}

/// It goes on, and its pipes with it.
#[test]
fn a_child_that_is_dropped_is_left_alone() {
    alone("children::a_child_that_is_dropped_is_left_alone", || {
        let test = || {
            let mut child = cat();
            let (mut input, mut output) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            drop(child);
            input.write_all(b"hello").unwrap();
            let mut back = [0; 5];
            output.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
            drop(input);
            assert_eq!(output.read(&mut back).unwrap(), 0);
            let options = rustix::process::WaitOptions::empty();
            let (_, status) = rustix::process::waitpid(None, options).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        };
        test();
        run_on(1, test);
    });
}

/// `output` leaves what was not set to the next call.
#[test]
fn streams_are_as_before_after_output() {
    both("streams after output", || {
        let mut command = shell("exit 0");
        command.output().unwrap();
        let mut child = command.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        assert!(child.wait().unwrap().success());
    });
}

/// The standard input is this process's, unless `output` starts the child. This program again, with
/// a pipe for an input.
#[test]
fn output_gives_nothing_to_read() {
    const NAME: &str = "children::output_gives_nothing_to_read";
    const VARIABLE: &str = "TARAE_TEST_INPUT";
    guarded("the input of output", || {
        if std::env::var_os(VARIABLE).is_some() {
            let mut command = shell("readlink /proc/self/fd/0");
            let of_output = command.output().unwrap();
            assert_eq!(of_output.stdout, b"/dev/null\n");
            let child = command.stdout(Stdio::piped()).spawn().unwrap();
            let of_spawn = child.wait_with_output().unwrap();
            assert!(of_spawn.stdout.starts_with(b"pipe:"));
            return;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([NAME, "--exact", "--nocapture"]);
        again.env(VARIABLE, "1").stdin(Stdio::piped());
        let output = again.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    });
}

#[test]
fn what_unix_has_is_passed_on() {
    both("commands on Unix", || {
        use tarae::os::unix::process::CommandExt;
        let of =
            |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(of(shell("echo $0").arg0("other")), "other\n");
        // The fifth word is the group, of `cut` itself; the shell's is its own number.
        let group = "echo $$; cut -d ' ' -f 5 /proc/self/stat";
        let groups = of(shell(group).process_group(0));
        let (own, groups) = groups.trim().split_once('\n').unwrap();
        assert_eq!(groups, own);
        // Root may be anybody, all others only themselves.
        if rustix::process::geteuid().is_root() {
            let mut command = shell("id -u; id -g");
            assert_eq!(of(command.uid(65_534).gid(65_533)), "65534\n65533\n");
        } else {
            for command in [shell("").uid(0), shell("").gid(0)] {
                let error = command.status().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            }
        }
    });
}

/// This program again becomes another one.
#[test]
fn a_program_takes_the_place_of_this_one() {
    const NAME: &str = "children::a_program_takes_the_place_of_this_one";
    const VARIABLE: &str = "TARAE_TEST_EXEC";
    guarded("exec", || {
        use tarae::os::unix::process::CommandExt;
        if std::env::var_os(VARIABLE).is_some() {
            let error = tarae::sim::run(1, || shell("").exec()).unwrap().value;
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let error = run_on(1, || Command::new("/no/such/program").exec());
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let error = run_on(2, || shell("echo another program; exit 5").exec());
            panic!("{error}");
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([NAME, "--exact", "--nocapture"]);
        let output = again.env(VARIABLE, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert!(output.stdout.ends_with(b"another program\n"));
    });
}

#[test]
fn a_simulated_run_has_no_children() {
    guarded("no children in simulated runs", || {
        let error = tarae::sim::run(1, || shell("exit 0").spawn().unwrap_err()).unwrap();
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
        // A panic in the handler would end that alone.
        let told = Rc::new(RefCell::new(Vec::new()));
        let results = Rc::clone(&told);
        let handler = move |_: &EventLoop| {
            results.borrow_mut().push(shell("exit 0").spawn().map(drop));
            results.borrow_mut().push(child.wait().map(drop));
            child.kill().unwrap();
        };
        events.after(Duration::ZERO, handler);
        events.run().unwrap();
        drop(input);
        let refused = |result: &std::io::Result<()>| {
            let error = result.as_ref().unwrap_err();
            WouldBlockLoop::is(error)
        };
        assert_eq!(told.borrow().len(), 2);
        assert!(told.borrow().iter().all(refused), "{told:?}");
    });
}
