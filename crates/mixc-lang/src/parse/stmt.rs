//! Statements. Line breaks mean nothing: a statement ends where an expression cannot go on.

use super::{Parse, Parser, stray_doc};
use crate::ast::{At, Binder, Carry, Expr, ExprKind, Scan, Stmt, StmtKind, Target};
use mixc_text::{Diagnostic, Span, TokenKind};

impl Parser {
    /// Statements up to the closing brace, which is eaten. The flag says whether every statement
    /// could be made out.
    pub(super) fn block(&mut self, open: Span) -> (Vec<Stmt>, bool) {
        let (mut body, mut fine) = (vec![], true);
        loop {
            while self.eat(";") {}
            let start = self.span();
            let docs = self.docs();
            if self.is("}") {
                if !docs.is_empty() {
                    self.errors.push(stray_doc(start));
                }
                self.bump();
                return (body, fine);
            }
            if self.at_end() || self.is_word("mixer") {
                let error = Diagnostic::error("open-block", open, "this block is not closed")
                    .label(self.span(), "it should have ended before this")
                    .help("add `}`");
                self.errors.push(error);
                return (body, false);
            }
            let before = self.at;
            match self.stmt(docs) {
                Ok(stmt) => body.push(stmt),
                Err(_) => {
                    fine = false;
                    self.progress(before);
                    self.skip_statement();
                }
            }
        }
    }

    fn stmt(&mut self, docs: Vec<String>) -> Parse<Stmt> {
        let start = self.span();
        if self.eat_word("scan") {
            if self.in_scan {
                let error = Diagnostic::error(
                    "nested-scan",
                    start,
                    "a scan cannot stand inside a scan",
                )
                .help(
                    "write the inner loop as a reduction, or put the two scans one after the other",
                );
                return Err(self.fail(error));
            }
            let kind = StmtKind::Scan(self.scan()?);
            return Ok(Stmt {
                docs,
                kind,
                at: At(start),
            });
        }
        let name = self.ident("a statement")?;
        if self.is("(") {
            let kind = self.function(name)?;
            return Ok(Stmt {
                docs,
                kind,
                at: At(start.to(self.before())),
            });
        }
        let target = self.target(name)?;
        if self.is("+=") {
            let error = Diagnostic::error("no-update", self.span(), "there is no `+=`").help(
                format!("write `{0}[...] = {0}[...] + ...`", target.name.name),
            );
            return Err(self.fail(error));
        }
        if !self.eat("=") {
            let help =
                "a statement is `name[indices] = value`, `name(parameters) = value` or `scan ...`";
            return Err(self.expected("`=`", Some(help)));
        }
        let value = self.value_or_error();
        Ok(Stmt {
            docs,
            kind: StmtKind::Let { target, value },
            at: At(start.to(self.before())),
        })
    }

    /// The value of a definition; a mistake in it leaves an error node, so that the name counts as
    /// defined.
    fn value_or_error(&mut self) -> Expr {
        let start = self.span();
        let first = self.at;
        let bail = match self.expr() {
            Ok(value) if self.ends_statement() => return value,
            Ok(_) if self.is("=") && self.rewind_to_statement(first) => self.expected(
                "a value",
                Some("the line before this statement is not complete"),
            ),
            Ok(_) => self.expected(
                "an operator or the end of the statement",
                Some("put the next statement on a line of its own, or after `;`"),
            ),
            Err(bail) => bail,
        };
        let super::Bail = bail;
        self.skip_statement();
        Expr::new(ExprKind::Error, start)
    }

    /// If the expression ran on into the next statement, goes back to where that starts.
    fn rewind_to_statement(&mut self, first: usize) -> bool {
        let equals = self.at;
        for at in (first + 1..equals).rev() {
            self.at = at;
            if self.token().starts_line && at + self.behind_target() == equals {
                return true;
            }
        }
        self.at = equals;
        false
    }

    fn ends_statement(&self) -> bool {
        match self.kind() {
            TokenKind::Punct(p) => matches!(*p, ";" | "}"),
            TokenKind::Ident(_) => self.token().starts_line,
            TokenKind::Doc(_) | TokenKind::End => true,
            _ => false,
        }
    }

    fn function(&mut self, name: crate::ast::Ident) -> Parse<StmtKind> {
        self.bump();
        let mut params = vec![];
        while !self.is(")") {
            params.push(self.ident("the name of a parameter")?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", "a function definition is `name(x, y) = value`")?;
        self.expect("=", "a function definition is `name(x, y) = value`")?;
        let body = self.value_or_error();
        Ok(StmtKind::Function { name, params, body })
    }

    /// What follows the name on a left side: `[i, j in J]` or nothing.
    fn target(&mut self, name: crate::ast::Ident) -> Parse<Target> {
        let start = name.span();
        let mut vars = vec![];
        if self.eat("[") {
            while !self.is("]") {
                vars.push(self.binder()?);
                if !self.eat(",") {
                    break;
                }
            }
            self.expect("]", "close the list of index variables")?;
        }
        Ok(Target {
            name,
            vars,
            at: At(start.to(self.before())),
        })
    }

    /// `t` or `t in T`.
    fn binder(&mut self) -> Parse<Binder> {
        let item = self.expr()?;
        let ExprKind::Name(name) = item.kind else {
            let error = Diagnostic::error(
                "target-index",
                item.span(),
                "expected an index variable here",
            )
            .note("the left side of a definition names every position once: `y[t] = ...`")
            .help("move the arithmetic to the right side, for example `y[t] = x[2 * t]`");
            return Err(self.fail(error));
        };
        let range = if self.eat_word("in") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Binder { name, range })
    }

    fn scan(&mut self) -> Parse<Scan> {
        let name = self.ident("the index variable of the scan")?;
        if !self.eat_word("in") {
            let help = format!("say what the scan runs over: `scan {} in T`", name.name);
            return Err(self.expected("`in`", Some(&help)));
        }
        let range = Some(self.expr()?);
        let reverse = self.eat_word("reverse");
        let mut carries = vec![];
        if self.eat_word("carry") {
            loop {
                let name = self.ident("the name of a carried state")?;
                let target = self.target(name)?;
                self.expect(
                    "=",
                    "a carried state has a first value: `carry S[a, e] = 0`",
                )?;
                carries.push(Carry {
                    target,
                    init: self.expr()?,
                });
                if !self.eat(",") {
                    break;
                }
            }
        }
        let open = self.expect("{", "the body of a scan stands in braces")?;
        self.in_scan = true;
        let (body, fine) = self.block(open);
        self.in_scan = false;
        if !fine {
            return Err(super::Bail);
        }
        Ok(Scan {
            var: Binder { name, range },
            reverse,
            carries,
            body,
        })
    }

    /// Goes to the next thing at the start of a line that looks like a statement.
    fn skip_statement(&mut self) {
        loop {
            let next = self.token().starts_line && self.starts_statement();
            if next || self.at_end() || self.is("}") {
                return;
            }
            self.bump();
        }
    }

    fn starts_statement(&self) -> bool {
        match self.kind() {
            TokenKind::Doc(_) => true,
            TokenKind::Ident(word) if word == "scan" || word == "mixer" => true,
            TokenKind::Ident(_) => self.ahead(self.behind_target()).kind == TokenKind::Punct("="),
            _ => false,
        }
    }

    /// How many tokens `name`, `name[...]` or `name(...)` takes from here.
    fn behind_target(&self) -> usize {
        let close = match self.ahead(1).kind {
            TokenKind::Punct("[") => "]",
            TokenKind::Punct("(") => ")",
            _ => return 1,
        };
        let mut n = 2;
        loop {
            match self.ahead(n).kind {
                TokenKind::Punct(p) if p == close => return n + 1,
                TokenKind::Punct("=" | "{" | "}") | TokenKind::End => return n + 1,
                _ => n += 1,
            }
        }
    }
}
