//! Names: declarations, scopes, register families.

use super::{Compiler, Meaning};
use crate::program::*;
use crate::syntax::ast::{self, Space};
use std::collections::HashMap;

impl Compiler<'_> {
    pub(super) fn place_shared(&mut self, v: &ast::Variable) {
        let (offset, bytes) = if v.elements.is_some() {
            let at = self.shared_at.next_multiple_of(u64::from(v.align.max(1)));
            self.shared_at = at + v.bytes();
            (at, v.bytes())
        } else {
            (self.dynamic_base, 0)
        };
        let scope = self.scopes.last_mut().expect("bug: no scope");
        scope.insert(v.name.clone(), Meaning::Memory(Space::Shared, offset));
        self.shared.push(Placed {
            name: v.name.clone(),
            offset,
            bytes,
        });
    }

    pub(super) fn open_scope(&mut self) {
        self.scopes.push(HashMap::new());
        self.families.push(vec![]);
    }

    pub(super) fn close_scope(&mut self) {
        self.scopes.pop();
        self.families.pop();
    }

    pub(super) fn declare(&mut self, v: &ast::Variable) {
        match v.space {
            Space::Reg => {
                if let Some(count) = v.count {
                    let scope = self.families.last_mut().expect("bug: no scope");
                    scope.push((v.name.clone(), count, v.ty));
                } else {
                    let slot = self.new_slot(&v.name);
                    let scope = self.scopes.last_mut().expect("bug: no scope");
                    scope.insert(v.name.clone(), Meaning::Reg(slot, v.ty));
                }
            }
            Space::Shared => self.place_shared(v),
            // Parameters of a `call`, which is not supported.
            Space::Param => {
                let scope = self.scopes.last_mut().expect("bug: no scope");
                scope.insert(v.name.clone(), Meaning::Memory(Space::Param, 0));
            }
            Space::Local => {
                self.local_at = self.local_at.next_multiple_of(u64::from(v.align.max(1)));
                let meaning = Meaning::Memory(Space::Local, self.local_at);
                self.scopes
                    .last_mut()
                    .expect("bug: no scope")
                    .insert(v.name.clone(), meaning);
                self.local_at += v.bytes();
            }
            _ => self
                .errors
                .push(self.unsupported_at(v.place, "a declaration of this space inside a kernel")),
        }
    }

    pub fn lookup(&mut self, name: &str) -> Option<Meaning> {
        for depth in (0..self.scopes.len()).rev() {
            if let Some(found) = self.scopes[depth].get(name) {
                return Some(*found);
            }
            let family = self.families[depth].iter().find(|(prefix, count, _)| {
                let digits = name.strip_prefix(prefix.as_str());
                digits
                    .and_then(|d| d.parse::<u32>().ok())
                    .is_some_and(|n| n < *count)
            });
            if let Some(&(_, _, ty)) = family {
                let slot = self.new_slot(name);
                self.scopes[depth].insert(name.to_string(), Meaning::Reg(slot, ty));
                return Some(Meaning::Reg(slot, ty));
            }
        }
        self.globals
            .get(name)
            .map(|&address| Meaning::Memory(Space::Global, address))
    }
}
