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
    /// An ordinary access.
    Plain,
    /// An atomic, or a relaxed or volatile access: does not race with its like.
    Strong,
    /// A `cp.async` that its thread has not waited for.
    Pending,
    /// Through the asynchronous proxy.
    Async,
}

/// Reads of one warp at one count of its clock, or of one agent (`mask` 0).
#[derive(Clone, Copy, Debug)]
struct Reads {
    actor: Actor,
    mask: u32,
    clock: u32,
    pc: Pc,
    strong: bool,
}

/// One cache line: most granules have one group of readers at a time.
#[derive(Clone)]
struct Cell {
    write: Access,
    /// `clock` 0: nobody has read since the write.
    reads: Reads,
    more: Vec<Reads>,
}

const NOTHING: Access = Access {
    actor: 0,
    clock: 0,
    pc: 0,
    kind: Kind::None,
};

const NOBODY: Reads = Reads {
    actor: 0,
    mask: 0,
    clock: 0,
    pc: 0,
    strong: false,
};

/// Who accesses: a thread itself, or an agent on behalf of a thread and ordered behind what it knows.
#[derive(Clone, Copy)]
pub struct Who<'c> {
    clocks: &'c Clocks,
    thread: usize,
    agent: Option<Actor>,
    clock: u32,
    pc: Pc,
}

impl<'c> Who<'c> {
    pub fn thread(clocks: &'c Clocks, thread: usize, pc: Pc) -> Who<'c> {
        let clock = clocks.now(thread / 32);
        Who {
            clocks,
            thread,
            agent: None,
            clock,
            pc,
        }
    }

    pub fn agent(clocks: &'c Clocks, thread: usize, agent: Actor, pc: Pc) -> Who<'c> {
        let clock = clocks.agent_now(agent);
        Who {
            clocks,
            thread,
            agent: Some(agent),
            clock,
            pc,
        }
    }

    /// The same for another lane of the warp.
    #[inline(always)]
    pub fn lane(self, lane: usize) -> Who<'c> {
        Who {
            thread: self.thread / 32 * 32 + lane,
            ..self
        }
    }

    #[inline(always)]
    fn knows(&self, actor: Actor, clock: u32) -> bool {
        self.clocks.knows(self.thread, actor, clock)
    }

    fn access(&self, kind: Kind) -> Access {
        Access {
            actor: self.agent.unwrap_or(self.thread as Actor),
            clock: self.clock,
            pc: self.pc,
            kind,
        }
    }

    fn reads(&self, strong: bool) -> Reads {
        let (actor, mask) = match self.agent {
            Some(agent) => (agent, 0),
            None => ((self.thread / 32) as Actor, 1 << (self.thread % 32)),
        };
        Reads {
            actor,
            mask,
            clock: self.clock,
            pc: self.pc,
            strong,
        }
    }
}

/// What is wrong with an access, and the access that it conflicts with.
#[derive(Clone, Copy, Debug)]
pub enum Conflict {
    Race(Access),
    Pending(Access),
    NeedsProxyFence(Access),
}

pub struct Shadow {
    cells: Vec<Cell>,
    shift: u32,
}

impl Shadow {
    pub fn new(bytes: usize, granule: u32) -> Shadow {
        let empty = Cell {
            write: NOTHING,
            reads: NOBODY,
            more: vec![],
        };
        Shadow {
            cells: vec![empty; bytes.div_ceil(granule as usize)],
            shift: granule.trailing_zeros(),
        }
    }

    #[inline(always)]
    fn cells(&mut self, at: u32, bytes: u32) -> &mut [Cell] {
        let end = (((at + bytes - 1) >> self.shift) as usize + 1).min(self.cells.len());
        &mut self.cells[(at >> self.shift) as usize..end]
    }

    /// A read of `bytes > 0` bytes. `strong` reads do not race with strong writes.
    #[inline]
    pub fn read(&mut self, who: Who, at: u32, bytes: u32, strong: bool) -> Option<Conflict> {
        let mut conflict = None;
        for cell in self.cells(at, bytes) {
            if let Some(c) = cell.conflict_of_read(&who, strong) {
                conflict = Some(c);
            }
            cell.add_read(&who, strong);
        }
        conflict
    }

    /// A write of `bytes > 0` bytes. `same_value` tells whether memory holds the value already, which makes
    /// two lanes of one instruction that write the same address harmless.
    #[inline]
    pub fn write(
        &mut self,
        who: Who,
        at: u32,
        bytes: u32,
        kind: Kind,
        same_value: impl Fn() -> bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        for cell in self.cells(at, bytes) {
            conflict = conflict.or(cell.conflict_of_write(&who, kind, &same_value));
            cell.write = who.access(kind);
            cell.reads = NOBODY;
            cell.more.clear();
        }
        conflict
    }

    /// The `cp.async` of a thread at its instruction has arrived.
    pub fn arrived(&mut self, who: Who, at: u32, bytes: u32) {
        for cell in self.cells(at, bytes) {
            let w = &mut cell.write;
            if *w
                == (Access {
                    clock: w.clock,
                    ..who.access(Kind::Pending)
                })
            {
                *w = who.access(Kind::Plain);
            }
        }
    }
}

impl Cell {
    #[inline(always)]
    fn conflict_of_read(&self, who: &Who, strong: bool) -> Option<Conflict> {
        let w = self.write;
        match w.kind {
            Kind::None => None,
            Kind::Pending => Some(Conflict::Pending(w)),
            Kind::Strong if strong => None,
            _ if !who.knows(w.actor, w.clock) => Some(Conflict::Race(w)),
            Kind::Plain | Kind::Strong
                if who.agent.is_some()
                    && !who.clocks.fence_covers(who.thread, w.actor, w.clock) =>
            {
                Some(Conflict::NeedsProxyFence(w))
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn add_read(&mut self, who: &Who, strong: bool) {
        let new = who.reads(strong);
        let r = &mut self.reads;
        if r.actor == new.actor && r.clock == new.clock && r.strong == strong && r.mask != 0 {
            r.mask |= new.mask;
        } else if r.clock == 0 || replaces(&new, r) {
            *r = new;
        } else {
            self.add_another_read(who, new);
        }
    }

    fn add_another_read(&mut self, who: &Who, new: Reads) {
        for r in &mut self.more {
            let like = r.actor == new.actor && r.clock == new.clock && r.strong == new.strong;
            if like && r.mask != 0 && new.mask != 0 {
                r.mask |= new.mask;
                return;
            }
            if replaces(&new, r) {
                *r = new;
                return;
            }
        }
        if self.more.len() > 8 {
            // Reads ordered before this one are covered by it.
            self.more.retain(|r| unordered_reader(who, r).is_some());
        }
        self.more.push(new);
    }

    #[inline(always)]
    fn conflict_of_write(
        &self,
        who: &Who,
        kind: Kind,
        same_value: &impl Fn() -> bool,
    ) -> Option<Conflict> {
        let w = self.write;
        match w.kind {
            Kind::None => {}
            Kind::Pending if w.actor as usize != who.thread || kind != Kind::Pending => {
                return Some(Conflict::Pending(w));
            }
            Kind::Strong if kind == Kind::Strong => {}
            _ if who.knows(w.actor, w.clock) => {}
            Kind::Plain
                if w.pc == who.pc && w.actor as usize / 32 == who.thread / 32 && same_value() => {}
            _ => return Some(Conflict::Race(w)),
        }
        if self.reads.clock == 0 {
            return None;
        }
        std::iter::once(&self.reads)
            .chain(&self.more)
            .filter(|r| !(r.strong && kind == Kind::Strong))
            .find_map(|r| unordered_reader(who, r))
            .map(Conflict::Race)
    }
}

/// Whether a record of `old` is not needed once `new` is recorded: a later read of the same actor.
fn replaces(new: &Reads, old: &Reads) -> bool {
    let same = new.actor == old.actor && new.mask == old.mask && new.mask.count_ones() <= 1;
    same && (old.strong || !new.strong)
}

/// A reader among `r` that nothing orders before `who`.
fn unordered_reader(who: &Who, r: &Reads) -> Option<Access> {
    let (actor, kind) = if r.mask == 0 {
        if who.knows(r.actor, r.clock) {
            return None;
        }
        (r.actor, Kind::Async)
    } else {
        let unknown = who
            .clocks
            .unknown_lanes(who.thread, r.actor as usize, r.mask, r.clock);
        if unknown == 0 {
            return None;
        }
        (r.actor * 32 + unknown.trailing_zeros(), Kind::Plain)
    };
    Some(Access {
        actor,
        clock: r.clock,
        pc: r.pc,
        kind,
    })
}
