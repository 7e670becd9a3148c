//! Statements inside a kernel body: declarations, labels, guarded instructions, nested scopes.

use super::ast::*;
use super::lexer::Tok;
use super::parser::{Parsed, Parser};

impl Parser {
    /// Statements up to the closing brace, which is taken.
    pub fn statements(&mut self) -> Parsed<Vec<Statement>> {
        let mut out = vec![];
        loop {
            match self.peek() {
                Tok::Punct('}') => {
                    self.next();
                    return Ok(out);
                }
                Tok::End => return Err(self.expected("`}` to close the body")),
                _ => {}
            }
            match self.statement() {
                Ok(Some(statement)) => out.push(statement),
                Ok(None) => {}
                Err(error) => {
                    self.errors.push(error);
                    self.skip_statement();
                }
            }
        }
    }

    /// To the next `;` without leaving the body.
    fn skip_statement(&mut self) {
        loop {
            match self.peek() {
                Tok::End | Tok::Punct('}') => return,
                Tok::Punct(';') => {
                    self.next();
                    return;
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    fn statement(&mut self) -> Parsed<Option<Statement>> {
        let place = self.place();
        match self.peek().clone() {
            Tok::Punct(';') => {
                self.next();
                Ok(None)
            }
            Tok::Punct('{') => {
                self.next();
                Ok(Some(Statement::Block(self.statements()?)))
            }
            Tok::Dot(d) => match d.as_str() {
                "loc" | "file" | "pragma" => {
                    self.skip_line_directive()?;
                    Ok(None)
                }
                _ => {
                    self.eat_dot("extern");
                    let mut variables: Vec<_> = self
                        .declaration()?
                        .into_iter()
                        .map(Statement::Variable)
                        .collect();
                    Ok(if variables.len() == 1 {
                        variables.pop()
                    } else {
                        Some(Statement::Many(variables))
                    })
                }
            },
            Tok::Word(name) if self.peek_at(1) == &Tok::Punct(':') => {
                self.next();
                self.next();
                if self.eat_dot("branchtargets") {
                    let mut targets = vec![self.word("a label")?];
                    while self.eat(',') {
                        targets.push(self.word("a label")?);
                    }
                    self.expect(';')?;
                    return Ok(Some(Statement::BranchTargets(name, targets)));
                }
                Ok(Some(Statement::Label(name, place)))
            }
            Tok::Word(_) | Tok::Punct('@') => Ok(Some(Statement::Instr(self.instruction()?))),
            _ => Err(self.expected("an instruction, a label or a declaration")),
        }
    }

    fn instruction(&mut self) -> Parsed<Instr> {
        let place = self.place();
        let mut guard = None;
        if self.eat('@') {
            let negated = self.eat('!');
            guard = Some(Guard {
                negated,
                pred: self.word("a predicate register")?,
            });
        }
        let name = self.word("an instruction")?;
        let mut mods = vec![];
        while let Tok::Dot(d) = self.peek().clone() {
            self.next();
            mods.push(d);
        }
        let (operands, malformed) = match self.operands() {
            Ok(operands) => (operands, None),
            Err(error) => {
                self.skip_operands();
                (vec![], Some(error))
            }
        };
        Ok(Instr {
            place: self.since(place),
            guard,
            name,
            mods,
            operands,
            malformed,
        })
    }

    /// Operands and the `;` behind them.
    fn operands(&mut self) -> Parsed<Vec<Operand>> {
        let mut operands = vec![];
        while self.peek() != &Tok::Punct(';') {
            operands.push(self.operand()?);
            if !self.eat(',') {
                break;
            }
        }
        if !self.eat(';') {
            return Err(self.expected("`,` or `;` after an operand"));
        }
        Ok(operands)
    }

    /// To the next `;`, which is taken, but not out of the body.
    fn skip_operands(&mut self) {
        let mut depth = 0;
        loop {
            match self.peek() {
                Tok::Punct('}') if depth == 0 => return,
                Tok::End => return,
                Tok::Punct('{') => depth += 1,
                Tok::Punct('}') => depth -= 1,
                _ => {}
            }
            if self.next() == Tok::Punct(';') {
                return;
            }
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let first = self.single_operand()?;
        if self.eat('|') {
            let second = self.single_operand()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn single_operand(&mut self) -> Parsed<Operand> {
        let place = self.place();
        match self.next() {
            Tok::Word(w) if w == "_" => Ok(Operand::Sink),
            Tok::Word(w) => Ok(self.name_or_sum(w)?),
            Tok::Int(v) => Ok(Operand::Int(v as i64)),
            Tok::F32(bits) => Ok(Operand::F32(bits)),
            Tok::F64(v) => Ok(Operand::F64(v)),
            Tok::Punct('-') => match self.next() {
                Tok::Int(v) => Ok(Operand::Int((v as i64).wrapping_neg())),
                Tok::F32(bits) => Ok(Operand::F32(bits ^ (1 << 31))),
                Tok::F64(v) => Ok(Operand::F64(-v)),
                _ => Err(self.span_error(place.span, place.line, "expected a number after `-`")),
            },
            Tok::Punct('!') => Ok(Operand::Not(Box::new(self.single_operand()?))),
            Tok::Punct('{') => {
                let mut items = vec![];
                while !self.eat('}') {
                    items.push(self.single_operand()?);
                    if !self.eat(',') && self.peek() != &Tok::Punct('}') {
                        return Err(self.expected("`,` or `}` in a vector"));
                    }
                }
                if items.is_empty() {
                    return Err(self.error(place, "a vector has at least one element"));
                }
                Ok(Operand::Vector(items))
            }
            Tok::Punct('[') => self.address(),
            _ => Err(self.span_error(
                place.span,
                place.line,
                "expected an operand: a register, a number, `{..}` or `[..]`",
            )),
        }
    }

    /// `%tid.x`, `name`, or `name+8` (the address of a part of a variable).
    fn name_or_sum(&mut self, word: String) -> Parsed<Operand> {
        if let (true, Tok::Dot(part)) = (word.starts_with('%'), self.peek().clone()) {
            self.next();
            return Ok(Operand::Name(format!("{word}.{part}")));
        }
        if matches!(self.peek(), Tok::Punct('+')) {
            self.next();
            let offset = self.int("an offset")?;
            return Ok(Operand::Address {
                base: Box::new(Operand::Name(word)),
                offset,
            });
        }
        Ok(Operand::Name(word))
    }

    fn address(&mut self) -> Parsed<Operand> {
        let place = self.place();
        let base = match self.next() {
            Tok::Word(w) => Operand::Name(w),
            Tok::Int(v) => Operand::Int(v as i64),
            _ => {
                return Err(self.span_error(
                    place.span,
                    place.line,
                    "expected a register, a variable or a number in `[..]`",
                ));
            }
        };
        let mut offset = 0i64;
        loop {
            // A minus belongs to the number: `[%r1+-4]` and `[%r1-4]`.
            if self.eat('+') || self.peek() == &Tok::Punct('-') {
                offset = offset.wrapping_add(self.int("an offset")?);
            } else {
                break;
            }
        }
        if self.eat(',') {
            let mut rest = vec![self.single_operand()?];
            while self.eat(',') {
                rest.push(self.single_operand()?);
            }
            self.expect(']')?;
            let map = if offset == 0 {
                base
            } else {
                Operand::Address {
                    base: Box::new(base),
                    offset,
                }
            };
            return Ok(Operand::Tensor {
                map: Box::new(map),
                rest,
            });
        }
        self.expect(']')?;
        Ok(Operand::Address {
            base: Box::new(base),
            offset,
        })
    }
}
