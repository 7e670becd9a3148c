//! Name resolution of scans: states, and tensors that are collected step by step.

use super::hir::*;
use super::resolve::{Def, Resolver, ScanScope};
use crate::ast::{Binder, Scan, StmtKind};
use mixc_text::Diagnostic;

impl<'m> Resolver<'m> {
    pub(super) fn scan(&mut self, scan: &'m Scan) -> Option<HStmt> {
        let var = self.push_var(&scan.var);
        let name = scan.var.name.name.clone();
        let mut carries = vec![];
        let mut inits = vec![];
        for carry in &scan.carries {
            let vars = self.target_vars(&carry.target);
            let init = self.expr(&carry.init);
            self.pop_vars(&vars);
            let defined = !self.redefined(&carry.target)
                && !carries
                    .iter()
                    .any(|(n, ..): &(String, SymId, bool)| *n == carry.target.name.name);
            let sym = self.new_sym(
                &carry.target.name.name,
                carry.target.name.span(),
                &vars,
                Life::Step,
            );
            if defined {
                carries.push((carry.target.name.name.clone(), sym, false));
            }
            inits.push((carry, sym, vars, init));
        }
        for (name, sym, _) in &carries {
            self.values.insert(name.clone(), Def::Local(*sym));
        }
        let before: Vec<String> = self.values.keys().cloned().collect();
        let functions: Vec<String> = self.functions.keys().cloned().collect();
        self.scan = Some(ScanScope {
            var,
            name: name.clone(),
            carries,
        });
        self.announce_collected(scan);
        let mut body = vec![];
        for stmt in &scan.body {
            match &stmt.kind {
                StmtKind::Let { target, value } => body.extend(self.definition(target, value)),
                StmtKind::Function { name, params, body } => self.function(name, params, body),
                StmtKind::Scan(_) => {}
            }
        }
        let scope = self.scan.take()?;
        self.pop_vars(&[var]);
        self.functions.retain(|name, _| functions.contains(name));
        for (name, def) in &mut self.values {
            if let Def::Local(id) = def
                && self.syms[id.0].life == Life::Step
                && !before.contains(name)
            {
                *def = Def::Gone(self.syms[id.0].span);
            }
        }
        let mut out = vec![];
        for (carry, sym, vars, init) in inits {
            let state = &carry.target.name.name;
            let Some((_, next, changed)) = scope.carries.iter().find(|(n, ..)| n == state) else {
                continue;
            };
            if !changed {
                let error = Diagnostic::error(
                    "unchanged-carry",
                    carry.target.at.0,
                    format!("the scan never changes the state `{state}`"),
                )
                .help(format!(
                    "add `{} = ...` to its body, or define it outside of the scan",
                    carry.target
                ));
                self.errors.push(error);
            }
            let last = self.new_sym(state, carry.target.name.span(), &vars, Life::Program);
            self.syms[last.0].root = sym;
            self.values.insert(state.clone(), Def::Local(last));
            out.push(HCarry {
                sym,
                vars,
                init,
                next: *next,
                last,
            });
        }
        Some(HStmt::Scan {
            var,
            reverse: scan.reverse,
            carries: out,
            body,
        })
    }

    /// Tensors that the scan collects can be read in its body before they are defined: what
    /// earlier steps wrote.
    pub(super) fn announce_collected(&mut self, scan: &Scan) {
        let Some(var) = self.scan.as_ref().map(|s| s.var) else {
            return;
        };
        for stmt in &scan.body {
            let StmtKind::Let { target, .. } = &stmt.kind else {
                continue;
            };
            let name = &target.name.name;
            let collected = target
                .vars
                .iter()
                .any(|b| b.name.name == scan.var.name.name);
            if !collected || self.values.contains_key(name) {
                continue;
            }
            let id = self.new_sym(name, target.name.span(), &[], Life::Collected);
            let axis = |b: &Binder, this: &mut Self| {
                if b.name.name == scan.var.name.name {
                    this.vars[var.0].range
                } else {
                    this.ranges.fresh()
                }
            };
            let axes = target.vars.iter().map(|b| axis(b, self)).collect();
            let sym = &mut self.syms[id.0];
            sym.axes = axes;
            sym.time = target
                .vars
                .iter()
                .position(|b| b.name.name == scan.var.name.name);
            sym.defined = false;
            self.values.insert(name.clone(), Def::Local(id));
        }
    }
}
