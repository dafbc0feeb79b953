//! The functions that calls are in: their names, files and lines, for people.
//!
//! Called by `watchdog`, `deadlock` and `standstill` for their reports, and by `inspect`. Must not
//! be called where a worker is wanted for something else: to find the first name, the program's own
//! debug information is read, which takes tens of milliseconds.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;

use crate::inspect::Frame;

/// The functions of calls seen before, by their addresses: many stacks have most calls in common.
#[derive(Default)]
pub(crate) struct Known(HashMap<usize, Vec<Frame>>);

impl Known {
    /// The functions that a call is in, inlined ones included.
    fn frames(&mut self, address: usize) -> &[Frame] {
        self.0.entry(address).or_insert_with(|| {
            let mut frames = Vec::new();
            // It takes the address of a return, and looks one byte below.
            backtrace::resolve(address as *mut c_void, |symbol| {
                frames.push(Frame {
                    address,
                    function: symbol.name().map(|name| format!("{name:#}")),
                    file: symbol.filename().map(Into::into),
                    line: symbol.lineno(),
                });
            });
            if frames.is_empty() {
                frames.push(Frame {
                    address,
                    function: None,
                    file: None,
                    line: None,
                });
            }
            frames
        })
    }

    /// The functions that calls are in, without how a coroutine is started.
    pub(crate) fn symbolised(&mut self, calls: &[usize]) -> Vec<Frame> {
        let all = calls.iter().flat_map(|call| self.frames(*call).to_vec());
        let mut frames: Vec<Frame> = all.collect();
        frames.truncate(frames.len() - outermost_of_ours(&frames));
        frames
    }

    /// As `symbolised`, for calls that end in a wait, without how that waits: whoever called it is
    /// the first.
    pub(crate) fn symbolised_waiting(&mut self, calls: &[usize]) -> Vec<Frame> {
        let mut frames = self.symbolised(calls);
        frames.drain(..innermost_of_ours(&frames));
        frames
    }
}

/// Whose code a frame is in.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Ours,
    Std,
    /// Anybody's.
    Other,
}

/// Frames at the outer end that belong to how a coroutine is started, if there is any other. A
/// frame without a name tells nobody anything there.
fn outermost_of_ours(frames: &[Frame]) -> usize {
    let plumbing = |frame: &&Frame| origin(frame) != Origin::Other || frame.function.is_none();
    let count = frames.iter().rev().take_while(plumbing).count();
    if count == frames.len() { 0 } else { count }
}

/// Frames at the inner end up to the last one of this crate, if there is any other beyond it.
fn innermost_of_ours(frames: &[Frame]) -> usize {
    let origins = frames.iter().map(origin);
    let waiting = origins.take_while(|origin| *origin != Origin::Other);
    let ours = waiting
        .enumerate()
        .filter(|(_, origin)| *origin == Origin::Ours);
    let count = ours.last().map_or(0, |(at, _)| at + 1);
    if count == frames.len() { 0 } else { count }
}

/// By the file, since debug information of lines alone gives names without modules; where it is
/// not known, or paths have been rewritten, by the name.
fn origin(frame: &Frame) -> Origin {
    let file = frame
        .file
        .as_ref()
        .map_or("".into(), |f| f.to_string_lossy());
    let function = frame.function.as_deref().unwrap_or_default();
    let function = function.trim_start_matches(['<', '&']);
    let (file_is, is) = (
        |parts: &[&str]| parts.iter().any(|part| file.contains(part)),
        |starts: &[&str]| starts.iter().any(|start| function.starts_with(start)),
    );
    // As the compiler was given it: absolute, or from where it was called.
    let here = file!().strip_suffix("sched/frames.rs");
    let here = here.filter(|folder| folder.contains("tarae"));
    if here.is_some_and(|folder| file.contains(folder))
        || file_is(&["/corosensei-", "/backtrace-"])
        || is(&[
            "tarae::",
            "corosensei::",
            "backtrace::",
            "stack_init_trampoline",
        ])
    {
        return Origin::Ours;
    }
    let std = file_is(&[
        "/library/std/src/",
        "/library/core/src/",
        "/library/alloc/src/",
    ]) || is(&["std::", "core::", "alloc::", "__rust_try"]);
    if std { Origin::Std } else { Origin::Other }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        if let Some(file) = &self.file {
            write!(f, "\n             at {}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
        }
        Ok(())
    }
}

/// A stack below a line of text.
pub(crate) struct Listed<'a>(pub(crate) &'a [Frame]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, frame) in self.0.iter().enumerate() {
            write!(f, "\n{number:4}: {frame}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: Option<&str>) -> Frame {
        Frame {
            address: 1,
            function: function.map(str::to_owned),
            file: None,
            line: None,
        }
    }

    fn stack(functions: &[&str]) -> Vec<Frame> {
        functions.iter().map(|name| frame(Some(name))).collect()
    }

    #[test]
    fn whose_a_frame_is() {
        let check = |function: Option<&str>, file: Option<&str>, want: Origin| {
            let mut frame = frame(function);
            frame.file = file.map(Into::into);
            assert!(origin(&frame) == want, "{frame:?}");
        };
        check(Some("tarae::sched::task::run"), None, Origin::Ours);
        check(
            Some("<&tarae::T as std::io::Read>::read"),
            None,
            Origin::Ours,
        );
        check(
            Some("<corosensei::Coroutine<I> as Drop>::drop"),
            None,
            Origin::Ours,
        );
        check(Some("run"), Some(file!()), Origin::Ours);
        check(Some("core::ops::function::FnOnce"), None, Origin::Std);
        check(
            Some("call_once"),
            Some("/rustc/1/library/core/src/ops.rs"),
            Origin::Std,
        );
        check(Some("shop::tarae::sched::order"), None, Origin::Other);
        check(
            Some("tarae_shop::order"),
            Some("/shop/src/order.rs"),
            Origin::Other,
        );
        check(None, None, Origin::Other);
    }

    #[test]
    fn how_a_coroutine_is_started_is_left_out() {
        let run = "tarae::sched::task::run";
        let check = |functions: &[&str], count| {
            assert_eq!(outermost_of_ours(&stack(functions)), count, "{functions:?}");
        };
        check(
            &[run, "shop::order", run, "std::panic::catch_unwind", run],
            3,
        );
        check(&["shop::order"], 0);
        check(&[run, run], 0);
        // Where nothing has a name, addresses are better than nothing.
        assert_eq!(outermost_of_ours(&[frame(None), frame(None)]), 0);
        assert_eq!(outermost_of_ours(&[frame(Some("shop")), frame(None)]), 1);
    }

    #[test]
    fn how_a_coroutine_waits_is_left_out() {
        let park = "tarae::sched::park";
        let check = |functions: &[&str], count| {
            assert_eq!(innermost_of_ours(&stack(functions)), count, "{functions:?}");
        };
        check(&[park, "tarae::sync::lock", "shop::order", park], 2);
        check(
            &[park, "std::thread::LocalKey<T>::with", park, "shop::order"],
            3,
        );
        let read = "<&tarae::net::TcpStream as std::io::Read>::read";
        check(&[park, read, "std::io::Read::read_exact", "shop::order"], 2);
        check(&["shop::order", park], 0);
        check(&[park, park], 0);
        check(&[], 0);
    }
}
