//! Lowers a placed kernel statement by statement.

mod alternate;
mod contract;
mod deferred;
mod elements;
mod expr;
mod feeds;
mod flights;
mod ldmatrix;
mod matrix;
mod outer;
mod pipeline;
mod points;
mod producer;
mod reduce;
mod scan;
mod shared;
mod sync;
mod transfer;
mod warpgroup;

use crate::emit::{Cmp, Emit, Ty, Val};
use crate::functions::Accuracy;
use crate::index::Scope;
use crate::place::{Home, Placement, place};
use crate::room::{self, Traits};
use crate::visit::{self, Key};
use crate::{BulkMap, LowerError, Options, Param, PtxKernel, spread};
use feeds::Turn;
use mixc_ir::{DType, Ix, Name};
use mixc_tile::ranges::Interval;
use mixc_tile::{Access, Compare, Cond, Kernel, Stmt, maxima};
use std::collections::{HashMap, HashSet};
use sync::Hazards;

/// Turns a kernel into MLIR.
///
/// # Errors
/// If its tiles do not fit into shared memory, or it uses what PTX code cannot do.
pub fn lower(kernel: &Kernel, options: &Options) -> Result<PtxKernel, LowerError> {
    let fast = accuracy(kernel) == Accuracy::Fast;
    let factored = fast.then(|| maxima::factored(kernel)).flatten();
    let kernel = factored.as_ref().unwrap_or(kernel);
    let placement = place(kernel, options)?;
    let mut lower = Lower::new(kernel, options, placement);
    let named = |e: LowerError| match e {
        LowerError::Unsupported { what, .. } => LowerError::Unsupported {
            kernel: kernel.name.clone(),
            what,
        },
        other => other,
    };
    lower.prologue().map_err(named)?;
    lower.body().map_err(named)?;
    Ok(lower.finish())
}

pub(crate) struct Lower<'k> {
    e: Emit,
    kernel: &'k Kernel,
    options: &'k Options,
    placement: Placement,
    accuracy: Accuracy,
    scope: Scope,
    scalars: HashMap<Name, Val>,
    pointers: HashMap<Name, Val>,
    /// Strides in elements, I64.
    strides: HashMap<(Name, usize), Val>,
    lane: Val,
    warp: Val,
    thread: Val,
    shared: Val,
    /// By buffer in registers: a stack slot for each register.
    registers: Vec<Vec<Val>>,
    /// By slot of shared memory: where its current stage begins, if it has several.
    stages: HashMap<usize, Val>,
    hazards: Hazards,
    /// Register buffers whose copy in shared memory is behind.
    dirty: HashSet<usize>,
    params: Vec<Param>,
    arguments: Vec<String>,
    /// Some product reads shared memory through the async proxy.
    uses_warpgroups: bool,
    maps: HashMap<BulkMap, Val>,
    /// By ring of what a producer loads: where the current role is.
    turns_of_rings: Vec<Turn>,
    /// What a producer loads for the current turns.
    open: Vec<feeds::Open>,
    /// Products that were started, the oldest first.
    flights: Vec<flights::Flight<'k>>,
    /// Packed words stay behind the waits before them.
    pinned: bool,
}

/// Kernels with 16-bit tensors may use the hardware's approximations.
fn accuracy(kernel: &Kernel) -> Accuracy {
    let half = |t: &mixc_tile::TensorArg| matches!(t.dtype, DType::Bf16 | DType::F16);
    match kernel.tensors.iter().any(half) {
        true => Accuracy::Fast,
        false => Accuracy::Full,
    }
}

impl<'k> Lower<'k> {
    fn new(kernel: &'k Kernel, options: &'k Options, placement: Placement) -> Lower<'k> {
        let mut e = Emit::new();
        let placeholder = e.i32(0);
        let hazards = Hazards::new(&placement.slots);
        Lower {
            e,
            kernel,
            options,
            accuracy: accuracy(kernel),
            scope: Scope::default(),
            scalars: HashMap::new(),
            pointers: HashMap::new(),
            strides: HashMap::new(),
            lane: placeholder,
            warp: placeholder,
            thread: placeholder,
            shared: placeholder,
            registers: vec![],
            stages: HashMap::new(),
            hazards,
            dirty: HashSet::new(),
            params: vec![],
            arguments: vec![],
            uses_warpgroups: placement.products.values().any(|p| p.warpgroup.is_some()),
            maps: HashMap::new(),
            turns_of_rings: vec![],
            open: vec![],
            flights: vec![],
            pinned: false,
            placement,
        }
    }

    fn argument(&mut self, param: Param, ty: Ty) -> Val {
        let v = self.e.fresh(ty);
        let by_value = match &param {
            Param::Map(_) => {
                " {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant}"
            }
            _ => "",
        };
        self.arguments.push(format!("{v}: {}{by_value}", ty.text()));
        self.params.push(param);
        v
    }

    /// The whole work of a block.
    fn body(&mut self) -> Result<(), LowerError> {
        if self.placement.producer.is_some() {
            return self.specialised();
        }
        let point = self.e.special("ctaid.x");
        self.grid(point)?;
        self.read_elements()?;
        self.hoist_divisions()?;
        let kernel = self.kernel;
        self.block(&kernel.body)
    }

    /// Parameters, thread numbers, register slots.
    fn prologue(&mut self) -> Result<(), LowerError> {
        for tensor in &self.kernel.tensors {
            let pointer = self.argument(Param::Pointer(tensor.name.clone()), Ty::Global);
            self.pointers.insert(tensor.name.clone(), pointer);
            for dim in 0..tensor.shape.len() {
                if tensor.unit_inner && dim + 1 == tensor.shape.len() {
                    continue;
                }
                let stride = self.argument(
                    Param::Stride {
                        tensor: tensor.name.clone(),
                        dim,
                    },
                    Ty::I64,
                );
                self.strides.insert((tensor.name.clone(), dim), stride);
            }
        }
        for name in &self.kernel.dims {
            let v = self.argument(Param::Dim(name.clone()), Ty::I32);
            let range = Interval::new(0, i64::from(i32::MAX));
            self.scope.set(Ix::Dim(name.clone()), v, range);
        }
        for name in &self.kernel.scalars {
            let v = self.argument(Param::Scalar(name.clone()), Ty::F32);
            self.scalars.insert(name.clone(), v);
        }
        let feeds = self.placement.producer.iter().flat_map(|p| &p.feeds);
        let maps: Vec<BulkMap> = feeds.map(|f| f.copy.map.clone()).collect();
        for map in maps {
            if !self.maps.contains_key(&map) {
                let v = self.argument(Param::Map(map.clone()), Ty::Slot);
                self.maps.insert(map, v);
            }
        }
        self.thread = self.e.special("tid.x");
        let mask = self.e.i32(31);
        self.lane = self.e.bit_and(self.thread, mask);
        self.warp = self.e.shr(self.thread, 5);
        self.shared = self.e.fresh(Ty::Shared);
        let shared = self.shared;
        self.e.line(&format!(
            "{shared} = llvm.mlir.addressof @smem : !llvm.ptr<3>"
        ));
        for home in &self.placement.homes {
            let slots = match home {
                Home::Registers(layout) => (0..spread::registers(layout))
                    .map(|_| self.e.slot(Ty::F32))
                    .collect(),
                Home::Shared => vec![],
            };
            self.registers.push(slots);
        }
        Ok(())
    }

    /// The coordinates of a grid point by its number.
    fn grid(&mut self, point: Val) -> Result<(), LowerError> {
        let mut rest = point;
        for (n, (axis, backwards)) in self.grid_order().into_iter().enumerate().rev() {
            let axis = &self.kernel.grid[axis];
            let mut value = rest;
            if n > 0 || backwards {
                let extent = self.uniform(&axis.extent)?;
                if n > 0 {
                    let q = self.e.div_natural(rest, extent);
                    let product = self.e.mul(q, extent);
                    value = self.e.sub(rest, product);
                    rest = q;
                }
                if backwards {
                    let one = self.e.i32(1);
                    let last = self.e.sub(extent, one);
                    value = self.e.sub(last, value);
                }
            }
            let range = self.scope.range(&axis.extent, &HashMap::new());
            let hi = if range.hi == i64::MAX {
                i64::from(i32::MAX)
            } else {
                range.hi
            };
            self.scope.set(
                Ix::Axis(axis.name.clone()),
                value,
                Interval::new(0, (hi - 1).max(0)),
            );
        }
        Ok(())
    }

    /// Quotients of sizes and grid coordinates (the key head of a query head) are computed once. The optimiser cannot
    /// do it, since a division might trap where it was not executed.
    fn hoist_divisions(&mut self) -> Result<(), LowerError> {
        let kernel = self.kernel;
        let mut found: Vec<Ix> = vec![];
        visit::each(&kernel.body, &mut |stmt| {
            visit::indices(stmt, &mut |ix| divisions(ix, kernel, &mut found));
        });
        for ix in found {
            let value = self.uniform(&ix)?;
            let range = self.scope.range(&ix, &HashMap::new());
            self.scope.set(ix, value, range);
        }
        Ok(())
    }

    /// The value of an index that is the same for all threads.
    fn uniform(&mut self, ix: &Ix) -> Result<Val, LowerError> {
        self.scope
            .value(&mut self.e, ix, &|_, _| None, &HashMap::new())
    }

    fn finish(mut self) -> PtxKernel {
        self.e.line("llvm.return");
        let persistent = self.producer().map(|_| self.blocks_per_multiprocessor());
        let mut threads = 32u32 << self.placement.warp_bits;
        if persistent.is_some() {
            threads += producer::PRODUCERS;
        }
        let loops = |s: &Stmt| matches!(s, Stmt::For { .. });
        let traits = Traits {
            persistent,
            threads,
            shared_bytes: self.placement.shared_bytes as u32,
            loops: self.kernel.body.iter().any(loops),
            products: !self.placement.products.is_empty(),
            split: matches!(self.accuracy, Accuracy::Full),
        };
        let blocks = room::blocks(self.options.room, &traits, &self.options.target.limits());
        let bound = blocks.map_or(String::new(), |n| format!(", nvvm.minctasm = {n} : i32"));
        let mlir = format!(
            "module attributes {{gpu.container_module}} {{\ngpu.module @kernels {{\n\
             llvm.mlir.global external @smem() {{addr_space = 3 : i32, alignment = 1024 : i64}} : !llvm.array<0 x i8>\n\
             llvm.func @{}({}) attributes {{gpu.kernel, nvvm.kernel, nvvm.reqntid = array<i32: {threads}, 1, 1>{bound}}} {{\n{}}}\n}}\n}}\n",
            self.kernel.name,
            self.arguments.join(", "),
            self.e.finish()
        );
        PtxKernel {
            entry: self.kernel.name.clone(),
            target: self.options.target,
            mlir,
            params: self.params,
            grid: self.kernel.grid.iter().map(|g| g.extent.clone()).collect(),
            persistent,
            warps: 1 << self.placement.warp_bits,
            warpgroups: self.uses_warpgroups,
            threads,
            shared_bytes: self.placement.shared_bytes as u32,
            aligned: self.options.aligned.clone(),
        }
    }

    /// Statements, and the waits for the products that they started.
    fn block(&mut self, body: &'k [Stmt]) -> Result<(), LowerError> {
        self.run(body)?;
        self.land_all()
    }

    fn run(&mut self, body: &'k [Stmt]) -> Result<(), LowerError> {
        let mut n = 0;
        while n < body.len() {
            let stmt = &body[n];
            if let Some(pipeline) = self.placement.pipelines.get(&(stmt as Key)).cloned()
                && self.producer().is_none()
            {
                self.pipelined(&body[n..n + pipeline.length], &pipeline)?;
                n += pipeline.length;
                continue;
            }
            self.land_for(stmt)?;
            let ring = self.ring_of(stmt);
            let length = body[n..].iter().take_while(|s| self.ring_of(s) == ring);
            let length = ring.map_or(1, |_| length.count());
            let together = &body[n..n + length];
            for stmt in together {
                self.await_feeds(stmt);
            }
            match ring {
                Some(ring) => self.fed_chain(together, ring)?,
                None => self.stmt(stmt)?,
            }
            for stmt in together {
                self.release_feeds(stmt);
            }
            n += length;
        }
        Ok(())
    }

    /// The ring that a loop goes through.
    fn ring_of(&self, stmt: &Stmt) -> Option<usize> {
        let key: Key = stmt;
        self.producer().and_then(|p| p.of_loop.get(&key).copied())
    }

    fn stmt(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        let fed = self.producer();
        match stmt {
            Stmt::Load { .. } if fed.is_some_and(|p| p.of_load.contains_key(&(stmt as Key))) => {
                Ok(())
            }
            Stmt::For { .. } => self.plain_loop(stmt),
            Stmt::If {
                cond,
                then,
                otherwise,
            } => self.branch(cond, then, otherwise),
            Stmt::Load { .. } => self.load(stmt),
            Stmt::Store { .. } => self.store(stmt),
            Stmt::Map { .. } => self.map(stmt),
            Stmt::Reduce { .. } => self.reduce(stmt),
            Stmt::Contract { .. } => self.contract(stmt),
            Stmt::Scan { .. } => self.scan(stmt),
        }
    }

    fn branch(
        &mut self,
        cond: &Cond,
        then: &'k [Stmt],
        otherwise: &'k [Stmt],
    ) -> Result<(), LowerError> {
        self.flush_all();
        let holds = self.condition(cond)?;
        let before = self.hazards.clone();
        self.e.open_if(holds);
        self.block(then)?;
        self.flush_all();
        let after = std::mem::replace(&mut self.hazards, before);
        self.e.open_else();
        self.block(otherwise)?;
        self.flush_all();
        self.e.close();
        self.hazards.join(&after);
        Ok(())
    }

    fn condition(&mut self, cond: &Cond) -> Result<Val, LowerError> {
        let left = self.uniform(&cond.left)?;
        let right = self.uniform(&cond.right)?;
        let compare = match cond.compare {
            Compare::Lt => Cmp::Lt,
            Compare::Le => Cmp::Le,
            Compare::Eq => Cmp::Eq,
        };
        Ok(self.e.icmp(compare, left, right))
    }

    /// A loop without prefetching.
    fn plain_loop(&mut self, stmt: &'k Stmt) -> Result<(), LowerError> {
        self.counted_loop(stmt, |own, body| own.block(body))
    }

    /// A loop whose turns `f` lowers.
    fn counted_loop(
        &mut self,
        stmt: &'k Stmt,
        f: impl FnOnce(&mut Self, &'k [Stmt]) -> Result<(), LowerError>,
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
        self.flush_all();
        let before = self.hazards.clone();
        let counter = self.e.open_for(low, high);
        self.bind_loop(var, lo, hi, low, high, counter, *reverse);
        if self.touches_shared(body) {
            self.barrier();
        }
        let outside = self.open_body();
        f(self, body)?;
        self.end_of_turn(stmt, body);
        self.close_body(outside);
        self.e.close();
        // There may be no turn, and then no barrier.
        self.hazards.join(&before);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn bind_loop(
        &mut self,
        var: &Name,
        lo: &Ix,
        hi: &Ix,
        low: Val,
        high: Val,
        counter: Val,
        reverse: bool,
    ) {
        let value = if reverse {
            let one = self.e.i32(1);
            let sum = self.e.add(low, high);
            let last = self.e.sub(sum, one);
            self.e.sub(last, counter)
        } else {
            counter
        };
        let none = HashMap::new();
        let (low, high) = (self.scope.range(lo, &none), self.scope.range(hi, &none));
        let range = Interval::new(low.lo.max(-(1 << 31)), high.hi.min(i64::from(i32::MAX)) - 1);
        self.scope.set(Ix::Axis(var.clone()), value, range);
    }

    /// Thread numbers that the optimiser cannot see through, for the body of a loop: otherwise it computes every address
    /// and every comparison of the body before the loop and keeps them all in registers. Returns the old ones.
    fn open_body(&mut self) -> (Val, Val) {
        let old = (self.lane, self.warp);
        for v in [&mut self.lane, &mut self.warp] {
            let fresh = self
                .e
                .asm_volatile("mov.b32 $0, $1;", "=r,r", &[*v], Ty::I32);
            *v = fresh;
        }
        old
    }

    fn close_body(&mut self, old: (Val, Val)) {
        (self.lane, self.warp) = old;
    }

    /// Whether anything in these statements needs the threads to wait for each other.
    fn touches_shared(&self, body: &[Stmt]) -> bool {
        let mut found = false;
        visit::each(body, &mut |stmt| {
            let mut buffers = visit::reads(stmt);
            buffers.extend(visit::written(stmt));
            // What a producer loads has barriers of its own.
            let fed = |buf: usize| self.producer().is_some_and(|p| p.of_buf.contains_key(&buf));
            found |= buffers.iter().any(|a| {
                let buf = visit::index(a.buf);
                self.placement.storage[buf].is_some() && !fed(buf)
            });
            found |= self.placement.scratch.contains_key(&(stmt as Key));
            if let Stmt::Store { tensor, .. } | Stmt::Load { tensor, .. } = stmt {
                found |= self.is_scratch(tensor);
            }
        });
        found
    }

    /// Copies in shared memory that the next turn of the loop, or what comes after, may read are brought up to date.
    fn end_of_turn(&mut self, stmt: &'k Stmt, body: &'k [Stmt]) {
        let mut dirty: Vec<usize> = self.dirty.iter().copied().collect();
        dirty.sort_unstable();
        for buf in dirty {
            if self.is_carried(stmt, body, buf) {
                self.flush(buf);
            } else {
                self.dirty.remove(&buf);
            }
        }
    }

    fn is_carried(&self, stmt: &Stmt, body: &[Stmt], buf: usize) -> bool {
        let count = |body: &[Stmt]| {
            let (mut n, mut first_writes) = (0, None);
            visit::each(body, &mut |s| {
                let reads = visit::reads(s).iter().any(|a| visit::index(a.buf) == buf);
                let writes = visit::written(s).is_some_and(|d| visit::index(d.buf) == buf);
                if reads || writes {
                    n += 1;
                    first_writes.get_or_insert(writes && !reads && !visit::accumulates(s));
                }
            });
            (n, first_writes.unwrap_or(true))
        };
        let _ = stmt;
        let (inside, local) = count(body);
        let (everywhere, _) = count(&self.kernel.body);
        !local || inside != everywhere
    }

    fn tensor(&self, name: &Name) -> Result<&'k mixc_tile::TensorArg, LowerError> {
        let found = self.kernel.tensors.iter().find(|t| t.name == *name);
        found.ok_or_else(|| unsupported(format!("the tensor {name} is not declared")))
    }

    /// Whether a tensor is read and written by this kernel, so that the order of accesses matters.
    fn is_scratch(&self, tensor: &Name) -> bool {
        let declared = self.kernel.tensors.iter().find(|t| t.name == *tensor);
        declared.is_some_and(|t| t.usage == mixc_tile::Usage::Work)
            && !visit::only_read(self.kernel, tensor)
    }

    fn storage(&self, access: &Access) -> Result<crate::place::Storage, LowerError> {
        let found = self.placement.storage[visit::index(access.buf)].clone();
        found.ok_or_else(|| unsupported("bug: a buffer has no shared memory".to_owned()))
    }
}

/// Collects divisions whose leaves are sizes and grid axes, inner ones first.
fn divisions(ix: &Ix, kernel: &Kernel, found: &mut Vec<Ix>) {
    let Some((a, b)) = ix.operands() else { return };
    divisions(a, kernel, found);
    divisions(b, kernel, found);
    let mut fixed = true;
    ix.visit_leaves(&mut |leaf| {
        fixed &= match leaf {
            Ix::Dim(_) => true,
            Ix::Axis(name) => kernel.grid.iter().any(|g| g.name == *name),
            _ => false,
        }
    });
    if fixed && matches!(ix, Ix::Div(..) | Ix::Mod(..)) && !found.contains(ix) {
        found.push(ix.clone());
    }
}

pub(crate) fn unsupported(what: String) -> LowerError {
    LowerError::Unsupported {
        kernel: String::new(),
        what,
    }
}
