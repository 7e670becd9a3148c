//! Loops whose loads run ahead of the work by a number of stages (`cp.async` groups, PTX ISA
//! "Data Movement and Conversion Instructions: cp.async").
//!
//! At the top of turn n every thread waits for the copies of turn n and then for the other threads, which have
//! then also finished turn n - 1; so the stage that turn n - 1 read is free for the copies of turn n + stages - 1.

use super::Lower;
use crate::LowerError;
use crate::emit::{Cmp, Ty, Val};
use crate::place::Pipeline;
use crate::visit::Key;
use mixc_ir::{Ix, Name};
use mixc_tile::Stmt;
use mixc_tile::ranges::Interval;

/// The turns of a chain of loops, and the stage of the current one.
struct Ring {
    slots: Vec<usize>,
    /// Slot of the stage that the current turn reads.
    stage: Val,
    stages: u32,
}

impl<'k> Lower<'k> {
    /// Lowers consecutive loops with one prefetch queue.
    pub(super) fn pipelined(
        &mut self,
        loops: &'k [Stmt],
        pipeline: &Pipeline,
    ) -> Result<(), LowerError> {
        let (Some(Stmt::For { lo, reverse, .. }), Some(Stmt::For { hi, .. })) =
            (loops.first(), loops.last())
        else {
            return Ok(());
        };
        let loads: Vec<&'k Stmt> = match &loops[0] {
            Stmt::For { body, .. } => body
                .iter()
                .filter(|s| pipeline.loads[0].contains(&(*s as Key)))
                .collect(),
            _ => vec![],
        };
        let (low, high) = (self.uniform(lo)?, self.uniform(hi)?);
        // Loops in between may be empty the wrong way round.
        let high = self.e.max(low, high);
        self.flush_all();
        let stage = self.e.slot(Ty::I32);
        let zero = self.e.i32(0);
        self.e.store(zero, stage);
        let mut slots = vec![];
        for group in &pipeline.groups {
            if let Some(storage) = &self.placement.storage[group[0]] {
                slots.push(storage.slot);
            }
        }
        let ring = Ring {
            slots,
            stage,
            stages: pipeline.stages,
        };
        // What earlier statements did in this memory must be over.
        self.touch(&[], &ring.slots, super::sync::Tensors::default());
        for ahead in 0..pipeline.stages - 1 {
            let by = self.e.i32(ahead as i32);
            let turn = self.e.add(low, by);
            self.prefetch(&ring, &loads, &pipeline.var, turn, low, high, *reverse, by)?;
        }
        for (n, stmt) in loops.iter().enumerate() {
            self.turns_of(stmt, n, &ring, pipeline, &loads, low, high)?;
        }
        for slot in &ring.slots {
            self.stages.remove(slot);
        }
        Ok(())
    }

    /// Starts the copies of a turn, if there is one; the group is closed in any case, so that counting works.
    #[allow(clippy::too_many_arguments)]
    fn prefetch(
        &mut self,
        ring: &Ring,
        loads: &[&'k Stmt],
        var: &Name,
        turn: Val,
        low: Val,
        high: Val,
        reverse: bool,
        stage: Val,
    ) -> Result<(), LowerError> {
        let exists = self.e.icmp(Cmp::Lt, turn, high);
        self.e.open_if(exists);
        self.set_stage(ring, stage);
        let value = if reverse {
            let one = self.e.i32(1);
            let sum = self.e.add(low, high);
            let last = self.e.sub(sum, one);
            self.e.sub(last, turn)
        } else {
            turn
        };
        let range = Interval::new(0, i64::from(i32::MAX) - 1);
        self.scope.set(Ix::Axis(var.clone()), value, range);
        for stmt in loads {
            self.copy_async(stmt)?;
        }
        self.e.close();
        self.e.run("llvm.nvvm.cp.async.commit.group", &[]);
        Ok(())
    }

    /// Points the slots of the ring at a stage.
    fn set_stage(&mut self, ring: &Ring, stage: Val) {
        for slot in &ring.slots {
            let bytes = self.e.i32(self.placement.slots[*slot].bytes as i32);
            let offset = self.e.mul(stage, bytes);
            self.stages.insert(*slot, offset);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn turns_of(
        &mut self,
        stmt: &'k Stmt,
        n: usize,
        ring: &Ring,
        pipeline: &Pipeline,
        loads: &[&'k Stmt],
        first: Val,
        end: Val,
    ) -> Result<(), LowerError> {
        let Stmt::For {
            var,
            lo,
            hi,
            reverse,
            body,
        } = stmt
        else {
            return Ok(());
        };
        let (low, high) = (self.uniform(lo)?, self.uniform(hi)?);
        let entering = self.hazards.clone();
        let counter = self.e.open_for(low, high);
        let left = self.e.i32(ring.stages as i32 - 2);
        self.e.run("llvm.nvvm.cp.async.wait.group", &[left]);
        self.bare_barrier();
        let current = self.e.load(ring.stage, Ty::I32);
        // The stage before the current one is the last of the ring.
        let (zero, one) = (self.e.i32(0), self.e.i32(1));
        let last = self.e.i32(ring.stages as i32 - 1);
        let at_start = self.e.icmp(Cmp::Eq, current, zero);
        let before = self.e.sub(current, one);
        let free = self.e.select(at_start, last, before);
        let ahead = self.e.add(counter, last);
        self.prefetch(
            ring,
            loads,
            &pipeline.var,
            ahead,
            first,
            end,
            *reverse,
            free,
        )?;
        self.bind_loop(var, lo, hi, low, high, counter, *reverse);
        self.set_stage(ring, current);
        let outside = self.open_body();
        let prefetched = &pipeline.loads[n];
        // What lies between prefetched loads together, for loops in it can be chains.
        for between in body.split(|s| prefetched.contains(&(s as Key))) {
            self.run(between)?;
        }
        self.land_all()?;
        self.end_of_turn(stmt, body);
        self.close_body(outside);
        let next = self.e.add(current, one);
        let at_end = self.e.icmp(Cmp::Eq, current, last);
        let next = self.e.select(at_end, zero, next);
        self.e.store(next, ring.stage);
        self.e.close();
        self.hazards.join(&entering);
        Ok(())
    }
}
