//! A warp: registers of 32 lanes, and the groups of lanes that run together.
//!
//! Lanes that a branch separates become two groups. Each runs on its own (so one may spin while the
//! other works, as on hardware since Volta) until the branch's meeting point, where they wait for
//! each other in a join.

use crate::numeric::Lanes;
use crate::program::{NOWHERE, Op, Pc, Program, Slot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// At a warp-wide instruction, waiting for other lanes of its mask.
    AtWarpSync,
    /// At a block barrier, until its generation passes.
    AtBarrier {
        id: u8,
        generation: u64,
    },
}

/// Lanes that run together.
#[derive(Clone, Debug)]
pub struct Group {
    pub mask: u32,
    pub pc: Pc,
    pub join: Option<usize>,
    /// Where the join waits.
    pub meet: Pc,
    pub state: State,
}

#[derive(Clone, Debug)]
pub struct Join {
    pub pc: Pc,
    pub expected: u32,
    pub arrived: u32,
    pub parent: Option<usize>,
}

#[derive(Default)]
pub struct Warp {
    pub index: usize,
    /// Lanes that exist: fewer than 32 in the last warp of an odd block.
    pub lanes: u32,
    pub exited: u32,
    pub groups: Vec<Group>,
    pub joins: Vec<Join>,
    free: Vec<usize>,
    pub regs: Vec<Lanes>,
    /// Lanes of each register that have been written.
    pub valid: Vec<u32>,
    /// Registers of each thread that the warp owns, where directives tell.
    pub registers: Option<u32>,
    /// wgmma bookkeeping of this warp.
    pub wgmma: super::wgmma::WgmmaState,
}

impl Warp {
    pub fn new(index: usize, lanes: u32, program: &Program) -> Warp {
        let mut warp = Warp {
            index,
            lanes,
            groups: vec![Group {
                mask: lanes,
                pc: 0,
                join: None,
                meet: NOWHERE,
                state: State::Running,
            }],
            regs: vec![[0; 32]; program.slots],
            valid: vec![0; program.slots],
            registers: program.registers,
            wgmma: super::wgmma::WgmmaState::new(program),
            ..Warp::default()
        };
        for &(slot, value) in &program.constants {
            warp.regs[slot as usize] = [value; 32];
            warp.valid[slot as usize] = u32::MAX;
        }
        warp
    }

    pub fn alive(&self) -> u32 {
        self.lanes & !self.exited
    }

    pub fn get(&self, slot: Slot, lane: usize) -> u64 {
        self.regs[slot as usize][lane]
    }

    pub fn set(&mut self, slot: Slot, lane: usize, value: u64) {
        self.regs[slot as usize][lane] = value;
        self.valid[slot as usize] |= 1 << lane;
    }

    /// Writes the lanes of `mask`.
    #[inline]
    pub fn write(&mut self, slot: Slot, mask: u32, values: &Lanes) {
        let reg = &mut self.regs[slot as usize];
        if mask == u32::MAX {
            *reg = *values;
        } else {
            for lane in 0..32 {
                let keep = (mask >> lane & 1).wrapping_sub(1) as i32 as i64 as u64;
                reg[lane] = (reg[lane] & keep) | (values[lane] & !keep);
            }
        }
        self.valid[slot as usize] |= mask;
    }

    /// Lanes whose predicate is true (or false, if `negated`).
    #[inline]
    pub fn predicate(&self, slot: Slot, negated: bool) -> u32 {
        let reg = &self.regs[slot as usize];
        let mut mask = 0u32;
        for (lane, v) in reg.iter().enumerate() {
            mask |= ((*v & 1) as u32) << lane;
        }
        if negated { !mask } else { mask }
    }

    fn new_join(&mut self, join: Join) -> usize {
        match self.free.pop() {
            Some(n) => {
                self.joins[n] = join;
                n
            }
            None => {
                self.joins.push(join);
                self.joins.len() - 1
            }
        }
    }

    /// Group `g` splits: each part goes to its own place, to meet again at `meet`.
    pub fn diverge(&mut self, g: usize, parts: &[(u32, Pc)], meet: Pc) {
        let group = self.groups[g].clone();
        let (join, at) = if meet == NOWHERE || (group.join.is_some() && group.meet == meet) {
            (group.join, group.meet)
        } else {
            let join = Join {
                pc: meet,
                expected: group.mask,
                arrived: 0,
                parent: group.join,
            };
            (Some(self.new_join(join)), meet)
        };
        for (n, &(mask, pc)) in parts.iter().enumerate() {
            let part = Group {
                mask,
                pc,
                join,
                meet: at,
                state: State::Running,
            };
            if n == 0 {
                self.groups[g] = part;
            } else {
                self.groups.push(part);
            }
        }
    }

    /// The lanes of `mask` are about to wait at a predicated instruction; the group's other lanes go on
    /// to the next one, where they meet again.
    pub fn split_for_wait(&mut self, g: usize, mask: u32) {
        let (pc, rest) = (self.groups[g].pc, self.groups[g].mask & !mask);
        if rest != 0 {
            self.diverge(g, &[(mask, pc), (rest, pc + 1)], pc + 1);
        }
    }

    /// Group `g` has reached its join and ends; the join may let all lanes go on together.
    pub fn arrive(&mut self, g: usize) {
        let group = self.groups.swap_remove(g);
        let Some(j) = group.join else { return };
        self.joins[j].arrived |= group.mask;
        self.settle(j);
    }

    /// Lanes leave the kernel.
    pub fn exit(&mut self, g: usize, mask: u32) {
        self.exited |= mask;
        self.groups[g].mask &= !mask;
        let mut at = self.groups[g].join;
        if self.groups[g].mask == 0 {
            self.groups.swap_remove(g);
        }
        while let Some(j) = at {
            at = self.joins[j].parent;
            self.joins[j].expected &= !mask;
            self.settle(j);
        }
    }

    fn settle(&mut self, j: usize) {
        let join = self.joins[j].clone();
        if join.arrived != join.expected {
            return;
        }
        self.free.push(j);
        if join.arrived != 0 {
            self.resume(&join, join.arrived);
        }
    }

    fn resume(&mut self, join: &Join, mask: u32) {
        let meet = join.parent.map_or(NOWHERE, |p| self.joins[p].pc);
        self.groups.push(Group {
            mask,
            pc: join.pc,
            join: join.parent,
            meet,
            state: State::Running,
        });
    }

    /// When nothing else can run, lanes that wait in a join go on without the others, as hardware may
    /// let them. True if there were any.
    pub fn break_joins(&mut self) -> bool {
        for j in 0..self.joins.len() {
            let join = self.joins[j].clone();
            if self.free.contains(&j) || join.arrived == 0 || join.arrived == join.expected {
                continue;
            }
            self.joins[j].expected &= !join.arrived;
            self.joins[j].arrived = 0;
            self.resume(&join, join.arrived);
            return true;
        }
        false
    }

    /// Groups parked at `pc` whose lanes are among `members`, and their lanes.
    pub fn parked(&self, pc: Pc, members: u32) -> (Vec<usize>, u32) {
        let at: Vec<usize> = (0..self.groups.len())
            .filter(|&g| {
                self.groups[g].pc == pc
                    && self.groups[g].state == State::AtWarpSync
                    && self.groups[g].mask & !members == 0
            })
            .collect();
        let mask = at.iter().fold(0, |m, &g| m | self.groups[g].mask);
        (at, mask)
    }
}

/// Instructions that a whole warp must execute together.
pub fn whole_warp(op: &Op) -> bool {
    matches!(
        op,
        Op::Mma(_)
            | Op::LdMatrix { .. }
            | Op::StMatrix { .. }
            | Op::MovMatrix { .. }
            | Op::Wgmma(_)
            | Op::WgmmaFence
            | Op::WgmmaCommit
            | Op::WgmmaWait { .. }
            | Op::SetRegisters { .. }
    )
}
