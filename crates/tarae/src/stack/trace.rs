//! The calls on a stack, found from a copy of it: nothing here touches the stack itself.
//!
//! Called by `sched::watchdog`, on its own thread, with what a signal handler copied, and by
//! `switch`, with what was copied of a stack that nobody runs on. A handler could unwind by itself,
//! but would then read wherever tables and interrupted code say: inside a switch of stacks, or in
//! assembly that is described wrongly, that is anywhere, and it would take the loader's lock on
//! older systems. Here a wrong table ends the trace and does no more.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, NativeEndian, RegisterRule, UnwindContext,
    UnwindSection,
};

use crate::sys::{self, Registers};

/// Bytes of a stack that are copied at most; the calls nearest to where it is.
pub(crate) const COPIED_BYTES_MAX: usize = 256 * 1024;
/// Calls in a trace at most.
const CALLS_MAX: usize = 256;

/// What was copied of a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied<'a> {
    pub(crate) registers: Registers,
    /// The address of the first word.
    pub(crate) start: usize,
    pub(crate) words: &'a [usize],
}

impl Copied<'_> {
    fn read(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let word = self.words.get(offset / size_of::<usize>())?;
        offset.is_multiple_of(size_of::<usize>()).then_some(*word)
    }

    /// Return addresses, the innermost first. The first of all is that of the instruction itself,
    /// plus one, so that one less is inside the call for each of them. Ends at the first frame that
    /// the tables do not describe or that lies outside of the copy.
    pub(crate) fn calls(&self) -> Vec<usize> {
        let mut registers = self.registers;
        let mut calls = vec![registers.0[Registers::PROGRAM_COUNTER].saturating_add(1)];
        let mut context = UnwindContext::new();
        while calls.len() < CALLS_MAX {
            let inside = calls[calls.len() - 1] - 1;
            let mut caller = None;
            sys::with_unwind_tables(inside, |tables| {
                caller = self.caller(&registers, inside, tables, &mut context);
            });
            let Some(next) = caller else { break };
            let stack_pointer = |of: &Registers| of.0[Registers::STACK_POINTER];
            let return_address = next.0[Registers::PROGRAM_COUNTER];
            // A leaf need not have a frame; every other call has.
            let moved = stack_pointer(&next) > stack_pointer(&registers)
                || (calls.len() == 1 && stack_pointer(&next) == stack_pointer(&registers));
            if return_address == 0 || !moved {
                break;
            }
            calls.push(return_address);
            registers = next;
        }
        calls
    }

    /// The registers of whoever called the function that `inside` lies in.
    fn caller(
        &self,
        registers: &Registers,
        inside: usize,
        tables: &[u8],
        context: &mut UnwindContext<usize>,
    ) -> Option<Registers> {
        let start = tables.as_ptr() as usize;
        let bases = BaseAddresses::default().set_eh_frame_hdr(start as u64);
        let header = EhFrameHdr::new(tables, NativeEndian);
        let header = header.parse(&bases, size_of::<usize>() as u8).ok()?;
        let frames_at = header.eh_frame_ptr().direct().ok()?;
        let frames = tables.get((frames_at as usize).checked_sub(start)?..)?;
        let bases = bases.set_eh_frame(frames_at);
        let frames = EhFrame::new(frames, NativeEndian);
        let row = header
            .table()?
            .unwind_info_for_address(
                &frames,
                &bases,
                context,
                inside as u64,
                EhFrame::cie_from_offset,
            )
            .ok()?;
        let of = |register: gimli::Register| registers.0.get(usize::from(register.0)).copied();
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
            return None;
        };
        let frame = of(*register)?.wrapping_add_signed(*offset as isize);
        let mut next = *registers;
        next.0[Registers::STACK_POINTER] = frame;
        for (number, value) in next.0.iter_mut().enumerate() {
            match row.register(gimli::Register(number as u16)) {
                None | Some(RegisterRule::SameValue) => {}
                Some(RegisterRule::Offset(offset)) => {
                    *value = self.read(frame.wrapping_add_signed(offset as isize))?;
                }
                Some(RegisterRule::ValOffset(offset)) => {
                    *value = frame.wrapping_add_signed(offset as isize);
                }
                Some(RegisterRule::Register(other)) => *value = of(other)?,
                // The outermost function, or a rule that compilers do not use.
                Some(_) => return None,
            }
        }
        next.0[Registers::PROGRAM_COUNTER] = next.0[Registers::RETURN];
        Some(next)
    }
}
