//! Declarations: parameters, outputs, constraints.

use super::{Parse, Parser};
use crate::ast::{At, Interval, Mixer, Output, Param, Type};
use mixc_text::{Diagnostic, TokenKind};

impl Parser {
    /// `mixer name(params) -> outputs [where constraints] { body }`.
    pub(super) fn mixer(&mut self, docs: Vec<String>) -> Parse<Mixer> {
        let result = self.mixer_inner(docs);
        if result.is_err() {
            self.skip_to_mixer();
        }
        result
    }

    fn mixer_inner(&mut self, docs: Vec<String>) -> Parse<Mixer> {
        self.bump();
        let name = self.ident("the name of the mixer")?;
        self.expect(
            "(",
            "the parameters follow the name: `mixer name(q: [B, T, K]) -> ...`",
        )?;
        let (params, params_ok) = self.list(")", Parser::param)?;
        if !self.eat("->") {
            let help =
                "say what the mixer computes: `-> o: [B, H, T, V]`, or `-> (o: [...], lse: [...])`";
            return Err(self.expected("`->` and the outputs", Some(help)));
        }
        let (outputs, outputs_ok) = if self.eat("(") {
            self.list(")", Parser::output)?
        } else {
            (vec![self.output()?], true)
        };
        let mut constraints = vec![];
        if self.eat_word("where") {
            constraints.push(self.expr()?);
            while self.eat(",") {
                constraints.push(self.expr()?);
            }
        }
        let open = self.expect("{", "the body of the mixer stands in braces")?;
        let (body, body_ok) = self.block(open);
        if params_ok && outputs_ok && body_ok {
            return Ok(Mixer {
                docs,
                name,
                params,
                outputs,
                constraints,
                body,
            });
        }
        Err(super::Bail)
    }

    /// Items separated by commas up to `close`, which is eaten. The flag says whether all parsed.
    fn list<I>(&mut self, close: &str, item: fn(&mut Parser) -> Parse<I>) -> Parse<(Vec<I>, bool)> {
        let (mut items, mut fine) = (vec![], true);
        loop {
            if self.eat(close) {
                return Ok((items, fine));
            }
            let before = self.at;
            match item(self) {
                Ok(item) => items.push(item),
                Err(_) => {
                    fine = false;
                    self.progress(before);
                    self.skip_item(close);
                }
            }
            if self.is(close) {
                continue;
            }
            if !self.eat(",") {
                let help = format!("separate items with `,` and close the list with `{close}`");
                let bail = self.expected(&format!("`,` or `{close}`"), Some(&help));
                if !self.starts_item() {
                    return Err(bail);
                }
                fine = false;
            }
        }
    }

    /// `name :` is the start of a parameter: a comma was forgotten.
    fn starts_item(&self) -> bool {
        matches!(self.kind(), TokenKind::Ident(_)) && self.ahead(1).kind == TokenKind::Punct(":")
    }

    fn skip_item(&mut self, close: &str) {
        let mut level = 0usize;
        while !self.at_end() && !self.is("{") && !self.is("->") && !self.is_word("mixer") {
            if level == 0 && (self.is(",") || self.is(close)) {
                return;
            }
            if self.token().starts_line && self.starts_item() {
                return;
            }
            match self.bump().kind {
                TokenKind::Punct("(" | "[") => level += 1,
                TokenKind::Punct(")" | "]") => level = level.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn param(&mut self) -> Parse<Param> {
        let docs = self.docs();
        let name = self.ident("the name of a parameter")?;
        self.expect(
            ":",
            "every parameter has a type: `q: [B, H, T, K]` or `scale: f32`",
        )?;
        let ty = self.ty()?;
        let range = if self.eat_word("in") {
            Some(self.interval()?)
        } else {
            None
        };
        let default = if self.eat("=") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Param {
            docs,
            name,
            ty,
            range,
            default,
        })
    }

    fn output(&mut self) -> Parse<Output> {
        let docs = self.docs();
        let name = self.ident("the name of an output")?;
        self.expect(":", "every output has a shape: `o: [B, H, T, V]`")?;
        let ty = self.ty()?;
        if self.is("=") {
            let error =
                Diagnostic::error("output-default", self.span(), "an output has no default")
                    .help(format!("assign `{}` in the body", name.name));
            return Err(self.fail(error));
        }
        Ok(Output { docs, name, ty })
    }

    fn ty(&mut self) -> Parse<Type> {
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::Ident(_) => Some(self.ident("a type")?),
            _ => None,
        };
        if !self.eat("[") {
            if kind.is_none() {
                let help = "a tensor type lists its sizes, `[B, T, K]`; a scalar type is `f32`, `int` or `bool`";
                return Err(self.expected("a type", Some(help)));
            }
            return Ok(Type {
                kind,
                shape: None,
                at: At(start),
            });
        }
        let mut shape = vec![];
        while !self.is("]") {
            shape.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        let end = self.expect("]", "close the list of sizes")?;
        Ok(Type {
            kind,
            shape: Some(shape),
            at: At(start.to(end)),
        })
    }

    /// `[0, 1]`, `(-inf, 0]`.
    fn interval(&mut self) -> Parse<Interval> {
        let low_closed = self.is("[");
        if !self.eat("[") && !self.eat("(") {
            let help = "a range is written `[0, 1]`, or `(-inf, 0]` where an end is left out";
            return Err(self.expected("a range", Some(help)));
        }
        let low = self.expr()?;
        self.expect(",", "a range has two ends")?;
        let high = self.expr()?;
        let high_closed = self.is("]");
        if !self.eat("]") && !self.eat(")") {
            return Err(self.expected("`]` or `)`", Some("close the range")));
        }
        Ok(Interval {
            low,
            low_closed,
            high,
            high_closed,
        })
    }
}
