//! A parsed kernel to the compact form of [`crate::program`].
//!
//! In: [`ast::Entry`] and the module's variables. Out: [`Program`]. What cannot be run is reported
//! with its line; nothing is guessed. It does not know how instructions are executed.

mod alu;
mod arithmetic;
mod compare;
mod comparison;
mod convert;
mod dispatch;
mod flow;
mod graph;
mod integers;
mod memory;
mod modifiers;
mod operands;
mod scope;
mod sync;
mod tensor;

use crate::program::*;
use crate::syntax::ast::{self, Instr, Place, Space, Statement, Ty};
use mixc_text::Diagnostic;
use std::collections::HashMap;

/// The code of diagnostics about PTX that is right but not known here.
const UNSUPPORTED: &str = "ptx-unsupported";

pub(crate) use dispatch::families;

pub(crate) type Built<T> = Result<T, Diagnostic>;

/// Module-scope variables in the memory that all blocks see, with their addresses.
pub type ModuleVars = HashMap<String, u64>;

pub fn compile(
    entry: &ast::Entry,
    shared: &[ast::Variable],
    globals: &ModuleVars,
) -> Result<Program, Vec<Diagnostic>> {
    let mut c = Compiler::new(entry, globals);
    c.dynamic_base = static_shared(shared.iter().chain(&declared(&entry.body)));
    for v in shared {
        c.place_shared(v);
    }
    c.open_scope();
    c.statements(&entry.body);
    c.close_scope();
    c.finish(entry)
}

/// The variables that a body declares, scopes included, in order.
fn declared(body: &[Statement]) -> Vec<ast::Variable> {
    let mut out = vec![];
    for statement in body {
        match statement {
            Statement::Variable(v) => out.push(v.clone()),
            Statement::Many(inner) | Statement::Block(inner) => out.append(&mut declared(inner)),
            _ => {}
        }
    }
    out
}

/// Bytes of all shared variables with a size; dynamic shared memory starts there.
fn static_shared<'v>(variables: impl Iterator<Item = &'v ast::Variable>) -> u64 {
    let with_size = variables.filter(|v| v.space == Space::Shared && v.elements.is_some());
    let end = with_size.fold(0u64, |at, v| {
        at.next_multiple_of(u64::from(v.align.max(1))) + v.bytes()
    });
    // The largest alignment that any access or bulk copy asks for.
    if end == 0 {
        0
    } else {
        end.next_multiple_of(128)
    }
}

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning {
    Reg(Slot, Ty),
    /// An address in a space; shared, local and param addresses start at 0.
    Memory(Space, u64),
    /// `%r<9>` declares a family: resolved on first use.
    Label(usize),
}

pub(crate) struct Compiler<'a> {
    pub code: Vec<Inst>,
    scopes: Vec<HashMap<String, Meaning>>,
    /// Register families `%r<9>` per scope: prefix, count, type.
    families: Vec<Vec<(String, u32, Ty)>>,
    /// Label index to its place in the code.
    labels: Vec<Pc>,
    label_names: Vec<(String, Place)>,
    branch_tables: HashMap<String, Vec<String>>,
    /// Branches whose targets are label indices until the end.
    pub slots: usize,
    pub names: Vec<String>,
    constants: HashMap<u64, Slot>,
    specials: HashMap<Special, Slot>,
    globals: &'a ModuleVars,
    shared: Vec<Placed>,
    shared_at: u64,
    dynamic_base: u64,
    local_at: u64,
    params: Vec<Param>,
    param_at: usize,
    pub granule: u32,
    pub async_proxy: bool,
    carry: Option<Slot>,
    errors: Vec<Diagnostic>,
    unsupported: Vec<(String, u32)>,
}

impl<'a> Compiler<'a> {
    fn new(entry: &ast::Entry, globals: &'a ModuleVars) -> Compiler<'a> {
        let mut c = Compiler {
            code: vec![],
            scopes: vec![HashMap::new()],
            families: vec![vec![]],
            labels: vec![],
            label_names: vec![],
            branch_tables: HashMap::new(),
            slots: 0,
            names: vec![],
            constants: HashMap::new(),
            specials: HashMap::new(),
            globals,
            shared: vec![],
            shared_at: 0,
            dynamic_base: 0,
            local_at: 0,
            params: vec![],
            param_at: 0,
            granule: 16,
            async_proxy: false,
            carry: None,
            errors: vec![],
            unsupported: vec![],
        };
        for p in &entry.params {
            let bytes = p.bytes() as usize;
            c.param_at = c.param_at.next_multiple_of(p.align.max(1) as usize);
            c.params.push(Param {
                name: p.name.clone(),
                offset: c.param_at,
                bytes,
            });
            c.scopes[0].insert(
                p.name.clone(),
                Meaning::Memory(Space::Param, c.param_at as u64),
            );
            c.param_at += bytes;
        }
        c
    }

    /// Labels may be used before they stand, so a scope's labels are declared first.
    fn statements(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::Label(name, place) => {
                    let index = self.labels.len();
                    self.labels.push(NOWHERE);
                    self.label_names.push((name.clone(), *place));
                    let scope = self.scopes.last_mut().expect("bug: no scope");
                    if scope.insert(name.clone(), Meaning::Label(index)).is_some() {
                        let what = format!("line {}: `{name}` is defined twice", place.line);
                        self.errors
                            .push(Diagnostic::error("ptx-duplicate", place.span, what));
                    }
                }
                Statement::BranchTargets(name, targets) => {
                    self.branch_tables.insert(name.clone(), targets.clone());
                }
                _ => {}
            }
        }
        for statement in body {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Variable(v) => self.declare(v),
            Statement::Many(all) => all.iter().for_each(|s| self.statement(s)),
            Statement::Label(name, _) => {
                if let Some(Meaning::Label(index)) = self.lookup(name) {
                    self.labels[index] = self.code.len() as Pc;
                }
            }
            Statement::BranchTargets(..) => {}
            Statement::Block(body) => {
                self.open_scope();
                self.statements(body);
                self.close_scope();
            }
            Statement::Instr(instr) => {
                let first = self.code.len();
                if let Err(error) = self.instruction(instr) {
                    self.code.truncate(first);
                    self.keep_or_report(instr, error);
                }
                let last = self.code.len().max(first + 1) - 1;
                self.code[first..last]
                    .iter_mut()
                    .for_each(|i| i.part = true);
            }
        }
    }

    /// An instruction that the simulator does not know stays in the program, for kernels that never
    /// execute it; mistakes are reported.
    fn keep_or_report(&mut self, i: &Instr, error: Diagnostic) {
        if error.code != UNSUPPORTED {
            self.errors.push(error);
        } else if let Err(error) = self.emit(i, Class::Other, Op::Unsupported, vec![]) {
            self.errors.push(error);
        } else {
            self.unsupported.push((i.opcode(), i.place.line));
        }
    }

    pub fn new_slot(&mut self, name: &str) -> Slot {
        self.slots += 1;
        self.names.push(name.to_string());
        (self.slots - 1) as Slot
    }

    /// A register that PTX does not name, for a step in the middle of an instruction.
    pub fn temporary(&mut self) -> Slot {
        self.new_slot("")
    }

    pub fn constant(&mut self, value: u64) -> Slot {
        if let Some(&slot) = self.constants.get(&value) {
            return slot;
        }
        let slot = self.new_slot("");
        self.constants.insert(value, slot);
        slot
    }

    pub fn special(&mut self, special: Special) -> Slot {
        if let Some(&slot) = self.specials.get(&special) {
            return slot;
        }
        let slot = self.new_slot("");
        self.specials.insert(special, slot);
        slot
    }

    /// The condition code of `add.cc` and `addc`.
    pub fn carry_slot(&mut self) -> Slot {
        if let Some(slot) = self.carry {
            return slot;
        }
        let slot = self.new_slot("CC.CF");
        self.carry = Some(slot);
        slot
    }

    pub fn unsupported_at(&self, place: Place, what: &str) -> Diagnostic {
        let message = format!(
            "line {}: {what} is not supported by the simulator",
            place.line
        );
        Diagnostic::error(UNSUPPORTED, place.span, message)
    }

    pub fn unsupported(&self, i: &Instr) -> Diagnostic {
        self.unsupported_at(i.place, &format!("`{}`", i.opcode()))
    }

    pub fn wrong(&self, i: &Instr, what: impl std::fmt::Display) -> Diagnostic {
        let message = format!("line {}: `{}`: {what}", i.place.line, i.opcode());
        Diagnostic::error("ptx-operand", i.place.span, message)
    }

    pub fn emit(&mut self, i: &Instr, class: Class, op: Op, uses: Vec<Slot>) -> Built<()> {
        let guard = match &i.guard {
            None => None,
            Some(g) => match self.lookup(&g.pred) {
                Some(Meaning::Reg(slot, Ty::Pred)) => Some((slot, g.negated)),
                _ => return Err(self.wrong(i, format!("`{}` is not a predicate register", g.pred))),
            },
        };
        self.code.push(Inst {
            op,
            guard,
            uses: uses.into(),
            class,
            place: i.place,
            part: false,
            meet: NOWHERE,
        });
        Ok(())
    }

    fn finish(mut self, entry: &ast::Entry) -> Result<Program, Vec<Diagnostic>> {
        // Falling off the end returns.
        let place = self.code.last().map_or(entry.place, |i| i.place);
        let exit = Inst {
            op: Op::Exit,
            guard: None,
            uses: [].into(),
            class: Class::Branch,
            place,
            part: false,
            meet: NOWHERE,
        };
        self.code.push(exit);
        self.resolve_branches();
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let loops = graph::analyse(&mut self.code);
        let products = self.code.iter().any(|i| matches!(i.op, Op::Wgmma(_)));
        let accesses = if products {
            accesses(&self.code)
        } else {
            vec![]
        };
        Ok(Program {
            name: entry.name.clone(),
            params: self.params,
            param_bytes: self.param_at,
            registers: registers(entry, &self.code),
            code: self.code,
            loops,
            slots: self.slots,
            constants: self.constants.into_iter().map(|(v, s)| (s, v)).collect(),
            specials: self.specials.into_iter().map(|(v, s)| (s, v)).collect(),
            names: self.names,
            shared: self.shared,
            shared_bytes: self.shared_at,
            dynamic_base: self.dynamic_base,
            local_bytes: self.local_at.next_multiple_of(16),
            granule: self.granule,
            required_threads: entry.required_threads,
            max_threads: entry.max_threads,
            async_proxy: self.async_proxy,
            accesses,
            unsupported: self.unsupported,
        })
    }
}

/// Registers of each thread at the start of a kernel with `setmaxnreg`, as assemblers choose them: the most
/// that any `setmaxnreg` asks for, within what `.maxnreg` allows and within an equal share of the 65,536 of a
/// multiprocessor, in steps of 8, where `.minnctapersm` says how many blocks share them. Without such a
/// limit `setmaxnreg` is ignored (PTX ISA, "Performance-Tuning Directives", "setmaxnreg").
fn registers(entry: &ast::Entry, code: &[Inst]) -> Option<u32> {
    let threads = entry.required_threads.or(entry.max_threads);
    let share = threads.zip(entry.min_blocks).map(|(threads, blocks)| {
        let threads: u32 = threads.iter().product();
        (65536 / (threads.max(1) * blocks.max(1)) / 8 * 8).min(255)
    });
    let limit = share.into_iter().chain(entry.max_registers).min()?;
    let asked = code.iter().filter_map(|i| match i.op {
        Op::SetRegisters { count, .. } => Some(count),
        _ => None,
    });
    Some(asked.max().map_or(limit, |most| limit.min(most)))
}
