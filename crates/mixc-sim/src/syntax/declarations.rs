//! Declarations of registers, variables and parameters.

use super::ast::*;
use super::lexer::Tok;
use super::parser::{Parsed, Parser};

impl Parser {
    pub fn parameter(&mut self) -> Parsed<Variable> {
        let place = self.place();
        if !self.eat_dot("param") {
            return Err(self.expected("`.param`"));
        }
        let (mut align, mut ty) = (0, None);
        while let Tok::Dot(d) = self.peek().clone() {
            self.at += 1;
            match d.as_str() {
                "align" => align = self.int("an alignment")? as u32,
                // `.ptr .global .align 16`: about what the pointer points to.
                "ptr" | "global" | "shared" | "const" | "local" | "param" => {
                    if d == "ptr" {
                        while matches!(self.peek(), Tok::Dot(p) if matches!(p.as_str(), "global" | "shared" | "const" | "local" | "param"))
                        {
                            self.at += 1;
                        }
                        if self.eat_dot("align") {
                            self.int("an alignment")?;
                        }
                    }
                }
                name => ty = Some(self.type_named(name, place)?),
            }
        }
        let ty = ty.ok_or_else(|| self.expected("the parameter's type"))?;
        let name = self.word("the parameter's name")?;
        let elements = self.dimensions()?.unwrap_or(Some(1));
        let place = self.since(place);
        let align = if align == 0 { ty.bytes() } else { align };
        Ok(Variable {
            place,
            space: Space::Param,
            ty,
            name,
            count: None,
            elements,
            align,
            init: vec![],
        })
    }

    fn type_named(&self, name: &str, place: Place) -> Parsed<Ty> {
        Ty::from_name(name).ok_or_else(|| {
            self.error(
                place,
                format!("`.{name}` is not a type of PTX that is supported"),
            )
        })
    }

    /// `[4][8]`: the product, `Some(None)` for `[]`, `None` when there are no brackets.
    fn dimensions(&mut self) -> Parsed<Option<Option<u64>>> {
        let mut total = None;
        while self.eat('[') {
            if self.eat(']') {
                return Ok(Some(None));
            }
            let n = self.int("the array's size")? as u64;
            total = Some(Some(total.flatten().unwrap_or(1) * n));
            self.expect(']')?;
        }
        Ok(total)
    }

    /// `.reg .b32 %a, %b<4>;` and the like; the cursor stands on the state space.
    pub fn declaration(&mut self) -> Parsed<Vec<Variable>> {
        let start = self.place();
        let Tok::Dot(space) = self.next() else {
            return Err(self.error(start, "expected a declaration"));
        };
        let space = match space.as_str() {
            "reg" => Space::Reg,
            "global" => Space::Global,
            "shared" | "shared::cta" => Space::Shared,
            "local" => Space::Local,
            "const" => Space::Const,
            "param" => Space::Param,
            other => {
                return Err(
                    self.error(start, format!("directive `.{other}` is not supported here"))
                );
            }
        };
        let (mut align, mut ty, mut lanes) = (0, None, 1u64);
        while let Tok::Dot(d) = self.peek().clone() {
            self.at += 1;
            match d.as_str() {
                "align" => align = self.int("an alignment")? as u32,
                "v2" => lanes = 2,
                "v4" => lanes = 4,
                name => ty = Some(self.type_named(name, start)?),
            }
        }
        let ty = ty.ok_or_else(|| self.expected("a type such as `.b32`"))?;
        let align = if align == 0 {
            ty.bytes() * lanes as u32
        } else {
            align
        };
        let mut out = vec![];
        loop {
            let place = self.place();
            let name = self.word("a name")?;
            let mut variable = Variable {
                place,
                space,
                ty,
                name,
                count: None,
                elements: Some(lanes),
                align,
                init: vec![],
            };
            if self.eat('<') {
                variable.count = Some(self.int("the number of registers")? as u32);
                self.expect('>')?;
            }
            if let Some(n) = self.dimensions()? {
                variable.elements = n.map(|n| n * lanes);
            }
            if self.eat('=') {
                self.initial_value(ty, &mut variable.init)?;
                if variable.elements.is_none() {
                    variable.elements = Some(variable.init.len() as u64 / u64::from(ty.bytes()));
                }
            }
            out.push(variable);
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';')?;
        Ok(out)
    }

    fn initial_value(&mut self, ty: Ty, out: &mut Vec<u8>) -> Parsed<()> {
        if self.eat('{') {
            while !self.eat('}') {
                self.initial_value(ty, out)?;
                self.eat(',');
            }
            return Ok(());
        }
        let negative = self.eat('-');
        let place = self.place();
        let bits = match self.next() {
            Tok::Int(v) => {
                if negative {
                    v.wrapping_neg()
                } else {
                    v
                }
            }
            Tok::F32(b) => u64::from(b) ^ if negative { 1 << 31 } else { 0 },
            Tok::F64(v) => {
                let v = if negative { -v } else { v };
                if ty == Ty::F32 {
                    u64::from((v as f32).to_bits())
                } else {
                    v.to_bits()
                }
            }
            _ => {
                return Err(self.error(
                    place,
                    "expected a number; addresses as initial values are not supported",
                ));
            }
        };
        out.extend_from_slice(&bits.to_le_bytes()[..ty.bytes() as usize]);
        Ok(())
    }
}
