//! Branches and their labels.

use super::{Built, Compiler, Meaning};
use crate::program::*;
use crate::syntax::ast::{Instr, Operand};
use mixc_text::Diagnostic;

impl Compiler<'_> {
    pub fn flow(&mut self, i: &Instr) -> Built<()> {
        match i.name.as_str() {
            "bra" => {
                let label = match self.operand(i, 0)? {
                    Operand::Name(name) => self.label(i, &name.clone())?,
                    _ => return Err(self.wrong(i, "expected a label")),
                };
                self.emit(i, Class::Branch, Op::Branch { to: label }, vec![])
            }
            "brx" => {
                self.at_least(i, 2)?;
                let index = self.source(i, 0, crate::syntax::ast::Ty::U32)?;
                let Operand::Name(table) = &i.operands[1] else {
                    return Err(self.wrong(i, "expected a list of targets"));
                };
                let names = self.branch_tables.get(table).cloned();
                let names = names
                    .ok_or_else(|| self.wrong(i, format!("`{table}` has no `.branchtargets`")))?;
                let targets = names
                    .iter()
                    .map(|n| self.label(i, n))
                    .collect::<Built<Vec<_>>>()?;
                self.emit(
                    i,
                    Class::Branch,
                    Op::BranchTable {
                        index,
                        targets: targets.into(),
                    },
                    vec![index],
                )
            }
            "ret" | "exit" => self.emit(i, Class::Branch, Op::Exit, vec![]),
            "trap" | "brkpt" => self.emit(i, Class::Branch, Op::Trap, vec![]),
            _ => Err(self.unsupported(i)),
        }
    }

    /// The label's index; [`Compiler::resolve_branches`] turns it into a place.
    fn label(&mut self, i: &Instr, name: &str) -> Built<Pc> {
        match self.lookup(name) {
            Some(Meaning::Label(index)) => Ok(index as Pc),
            _ => Err(self.wrong(i, format!("there is no label `{name}`"))),
        }
    }

    pub(super) fn resolve_branches(&mut self) {
        for (n, place) in self.labels.iter().enumerate() {
            if *place == NOWHERE {
                let (name, at) = &self.label_names[n];
                let what = format!("line {}: the label `{name}` has no place", at.line);
                self.errors
                    .push(Diagnostic::error("ptx-label", at.span, what));
            }
        }
        for inst in &mut self.code {
            match &mut inst.op {
                Op::Branch { to } => *to = self.labels[*to as usize],
                Op::BranchTable { targets, .. } => {
                    for t in targets.iter_mut() {
                        *t = self.labels[*t as usize];
                    }
                }
                _ => {}
            }
        }
    }
}
