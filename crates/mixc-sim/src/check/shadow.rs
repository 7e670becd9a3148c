//! Records of the last accesses to every granule of shared memory.

use super::clock::{Actor, Clocks};
use crate::program::Pc;

/// An access that a record remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub actor: Actor,
    pub clock: u32,
    pub pc: Pc,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    None,
    /// An ordinary store.
    Plain,
    /// An atomic, or a relaxed or volatile access: does not race with its like.
    Strong,
    /// `cp.async` that its thread has not waited for.
    Pending,
    /// Written through the asynchronous proxy.
    Async,
}

#[derive(Clone, Copy, Debug)]
struct Reads {
    /// A warp's lanes, or the one agent when `mask` is 0.
    actor: Actor,
    mask: u32,
    clock: u32,
    pc: Pc,
    strong: bool,
}

#[derive(Clone)]
struct Cell {
    write: Access,
    reads: Vec<Reads>,
}

const NOTHING: Access = Access {
    actor: 0,
    clock: 0,
    pc: 0,
    kind: Kind::None,
};

pub struct Shadow {
    cells: Vec<Cell>,
    shift: u32,
}

/// What is wrong with an access, and the access that it conflicts with.
#[derive(Clone, Copy, Debug)]
pub enum Conflict {
    Race(Access),
    Pending(Access),
    NeedsProxyFence(Access),
}

impl Shadow {
    pub fn new(bytes: usize, granule: u32) -> Shadow {
        let cells = bytes.div_ceil(granule as usize);
        Shadow {
            cells: vec![
                Cell {
                    write: NOTHING,
                    reads: vec![]
                };
                cells
            ],
            shift: granule.trailing_zeros(),
        }
    }

    fn range(&self, at: u32, bytes: u32) -> std::ops::Range<usize> {
        let end = ((at + bytes).div_ceil(1 << self.shift) as usize).min(self.cells.len());
        (at >> self.shift) as usize..end
    }

    /// A read by one thread. `own_writes` of the same granule by the thread itself are ordered.
    pub fn read(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        at: u32,
        bytes: u32,
        pc: Pc,
        strong: bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let clock = clocks.now(thread / 32);
        for index in self.range(at, bytes) {
            let cell = &mut self.cells[index];
            let w = cell.write;
            match w.kind {
                Kind::None => {}
                Kind::Pending => conflict = Some(Conflict::Pending(w)),
                Kind::Strong if strong => {}
                _ if clocks.knows(thread, w.actor, w.clock) => {}
                _ => conflict = conflict.or(Some(Conflict::Race(w))),
            }
            cell.add_read(clocks, thread, clock, pc, strong);
        }
        conflict
    }

    /// A write by one thread. `same_value` tells that memory holds the value already, which makes two
    /// lanes of one instruction that write the same address harmless.
    #[allow(clippy::too_many_arguments)]
    pub fn write(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        at: u32,
        bytes: u32,
        pc: Pc,
        kind: Kind,
        same_value: bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let clock = clocks.now(thread / 32);
        for index in self.range(at, bytes) {
            let cell = &mut self.cells[index];
            conflict = conflict.or(cell.conflict_of_write(clocks, thread, pc, kind, same_value));
            cell.write = Access {
                actor: thread as Actor,
                clock,
                pc,
                kind,
            };
            cell.reads.clear();
        }
        conflict
    }

    /// The `cp.async` of `thread` at `pc` has arrived.
    pub fn arrived(&mut self, clocks: &Clocks, thread: usize, at: u32, bytes: u32, pc: Pc) {
        for index in self.range(at, bytes) {
            let w = &mut self.cells[index].write;
            if w.kind == Kind::Pending && w.actor == thread as Actor && w.pc == pc {
                *w = Access {
                    clock: clocks.now(thread / 32),
                    kind: Kind::Plain,
                    ..*w
                };
            }
        }
    }

    /// A read by an agent on behalf of `thread`, ordered behind what the thread knows.
    pub fn async_read(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        agent: Actor,
        at: u32,
        bytes: u32,
        pc: Pc,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let clock = clocks.agent_now(agent);
        for index in self.range(at, bytes) {
            let cell = &mut self.cells[index];
            let w = cell.write;
            match w.kind {
                Kind::None => {}
                Kind::Pending => conflict = Some(Conflict::Pending(w)),
                _ if !clocks.knows(thread, w.actor, w.clock) => {
                    conflict = conflict.or(Some(Conflict::Race(w)))
                }
                Kind::Plain | Kind::Strong if !clocks.fence_covers(thread, w.actor, w.clock) => {
                    conflict = conflict.or(Some(Conflict::NeedsProxyFence(w)));
                }
                _ => {}
            }
            cell.reads.retain(|r| r.mask != 0 || r.actor != agent);
            cell.reads.push(Reads {
                actor: agent,
                mask: 0,
                clock,
                pc,
                strong: false,
            });
        }
        conflict
    }

    /// A write by an agent on behalf of `thread`.
    pub fn async_write(
        &mut self,
        clocks: &Clocks,
        thread: usize,
        agent: Actor,
        at: u32,
        bytes: u32,
        pc: Pc,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let clock = clocks.agent_now(agent);
        for index in self.range(at, bytes) {
            let cell = &mut self.cells[index];
            conflict = conflict.or(cell.conflict_of_write(clocks, thread, pc, Kind::Async, false));
            cell.write = Access {
                actor: agent,
                clock,
                pc,
                kind: Kind::Async,
            };
            cell.reads.clear();
        }
        conflict
    }
}

impl Cell {
    fn add_read(&mut self, clocks: &Clocks, thread: usize, clock: u32, pc: Pc, strong: bool) {
        let (warp, bit) = ((thread / 32) as Actor, 1u32 << (thread % 32));
        for r in &mut self.reads {
            if r.mask != 0 && r.actor == warp {
                if r.clock == clock && r.strong == strong {
                    r.mask |= bit;
                    return;
                }
                if r.mask == bit {
                    *r = Reads {
                        actor: warp,
                        mask: bit,
                        clock,
                        pc,
                        strong,
                    };
                    return;
                }
            }
        }
        if self.reads.len() > 8 {
            // Reads ordered before this one are covered by it.
            self.reads.retain(|r| match r.mask {
                0 => !clocks.knows(thread, r.actor, r.clock),
                mask => clocks.unknown_lanes(thread, r.actor as usize, mask, r.clock) != 0,
            });
        }
        self.reads.push(Reads {
            actor: warp,
            mask: bit,
            clock,
            pc,
            strong,
        });
    }

    fn conflict_of_write(
        &self,
        clocks: &Clocks,
        thread: usize,
        pc: Pc,
        kind: Kind,
        same_value: bool,
    ) -> Option<Conflict> {
        let w = self.write;
        match w.kind {
            Kind::None => {}
            Kind::Pending if w.actor as usize != thread || kind != Kind::Pending => {
                return Some(Conflict::Pending(w));
            }
            Kind::Strong if kind == Kind::Strong => {}
            _ if clocks.knows(thread, w.actor, w.clock) => {}
            Kind::Plain if same_value && w.pc == pc && w.actor as usize / 32 == thread / 32 => {}
            _ => return Some(Conflict::Race(w)),
        }
        for r in &self.reads {
            if r.mask == 0 {
                if !clocks.knows(thread, r.actor, r.clock) {
                    let access = Access {
                        actor: r.actor,
                        clock: r.clock,
                        pc: r.pc,
                        kind: Kind::Async,
                    };
                    return Some(Conflict::Race(access));
                }
                continue;
            }
            if r.strong && kind == Kind::Strong {
                continue;
            }
            let unknown = clocks.unknown_lanes(thread, r.actor as usize, r.mask, r.clock);
            if unknown != 0 {
                let actor = r.actor * 32 + unknown.trailing_zeros();
                return Some(Conflict::Race(Access {
                    actor,
                    clock: r.clock,
                    pc: r.pc,
                    kind: Kind::Plain,
                }));
            }
        }
        None
    }
}
