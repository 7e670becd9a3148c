//! The parser's cursor and module-scope directives.

use super::ast::*;
use super::lexer::{Tok, Token, lex};
use mixc_text::{Diagnostic, Span};

/// Reads a PTX module. After a mistake it goes on at the next `;` or `}`, so that one run reports
/// several.
pub fn parse_module(text: &str) -> Result<Module, Vec<Diagnostic>> {
    let (tokens, errors) = lex(text);
    let mut parser = Parser {
        tokens,
        at: 0,
        errors,
        module: Module {
            address_size: 64,
            ..Module::default()
        },
    };
    while parser.peek() != &Tok::End {
        if let Err(error) = parser.top_level() {
            parser.errors.push(error);
            parser.recover();
        }
    }
    if parser.errors.is_empty() {
        Ok(parser.module)
    } else {
        Err(parser.errors)
    }
}

pub(super) type Parsed<T> = Result<T, Diagnostic>;

pub(super) struct Parser {
    tokens: Vec<Token>,
    pub at: usize,
    pub errors: Vec<Diagnostic>,
    module: Module,
}

impl Parser {
    pub fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }

    pub fn peek_at(&self, ahead: usize) -> &Tok {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    pub fn place(&self) -> Place {
        let token = &self.tokens[self.at];
        Place {
            span: token.span,
            line: token.line,
        }
    }

    /// From `start` to the end of the last token taken.
    pub fn since(&self, start: Place) -> Place {
        let end = self.tokens[self.at.saturating_sub(1)].span;
        Place {
            span: start.span.to(end),
            line: start.line,
        }
    }

    pub fn next(&mut self) -> Tok {
        let tok = self.tokens[self.at].tok.clone();
        if tok != Tok::End {
            self.at += 1;
        }
        tok
    }

    pub fn eat(&mut self, punct: char) -> bool {
        let found = self.peek() == &Tok::Punct(punct);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn expect(&mut self, punct: char) -> Parsed<()> {
        if self.eat(punct) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{punct}`")))
        }
    }

    pub fn eat_dot(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Tok::Dot(d) if d == name);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn word(&mut self, what: &str) -> Parsed<String> {
        match self.peek() {
            Tok::Word(w) => {
                let word = w.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub fn int(&mut self, what: &str) -> Parsed<i64> {
        let negative = self.eat('-');
        match *self.peek() {
            Tok::Int(v) => {
                self.at += 1;
                Ok(if negative {
                    (v as i64).wrapping_neg()
                } else {
                    v as i64
                })
            }
            _ => Err(self.expected(what)),
        }
    }

    pub fn expected(&self, what: &str) -> Diagnostic {
        let place = self.place();
        let found = match self.peek() {
            Tok::Word(w) => format!("`{w}`"),
            Tok::Dot(d) => format!("`.{d}`"),
            Tok::Punct(c) => format!("`{c}`"),
            Tok::Str(_) => "a string".to_string(),
            Tok::End => "the end of the text".to_string(),
            _ => "a number".to_string(),
        };
        Diagnostic::error(
            "ptx-syntax",
            place.span,
            format!("line {}: expected {what}, found {found}", place.line),
        )
    }

    pub fn error(&self, place: Place, message: impl std::fmt::Display) -> Diagnostic {
        Diagnostic::error(
            "ptx-syntax",
            place.span,
            format!("line {}: {message}", place.line),
        )
    }

    /// Skips past the next `;`, or to a closing brace.
    pub fn recover(&mut self) {
        loop {
            match self.peek() {
                Tok::End => return,
                Tok::Punct(';') => {
                    self.at += 1;
                    return;
                }
                Tok::Punct('}') => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    fn top_level(&mut self) -> Parsed<()> {
        let place = self.place();
        let Tok::Dot(directive) = self.peek().clone() else {
            if self.eat(';') {
                return Ok(());
            }
            return Err(self.expected("a directive such as `.entry` or `.global`"));
        };
        match directive.as_str() {
            "version" => {
                self.at += 1;
                self.module.version = match self.next() {
                    Tok::F64(v) => (v as u32, ((v - v.floor()) * 10.0).round() as u32),
                    Tok::Int(v) => (v as u32, 0),
                    _ => return Err(self.error(place, "expected a version such as `.version 7.8`")),
                };
                Ok(())
            }
            "target" => {
                self.at += 1;
                let architecture = self.word("an architecture such as `sm_80`")?;
                self.module.target.push(architecture);
                while self.eat(',') {
                    let option = self.word("a target option")?;
                    self.module.target.push(option);
                }
                Ok(())
            }
            "address_size" => {
                self.at += 1;
                self.module.address_size = self.int("32 or 64")? as u32;
                if self.module.address_size != 64 {
                    return Err(self.error(place, "only 64-bit addresses are supported"));
                }
                Ok(())
            }
            "file" | "loc" | "pragma" => self.skip_line_directive(),
            "section" => self.skip_section(),
            "alias" => {
                self.recover();
                Ok(())
            }
            _ => self.definition(),
        }
    }

    /// `.file 1 "a.cu"`, `.loc 1 2 3, function_name $x, inlined_at 1 2 3`, `.pragma "nounroll";`.
    pub fn skip_line_directive(&mut self) -> Parsed<()> {
        let line = self.place().line;
        while self.peek() != &Tok::End && self.place().line == line {
            self.at += 1;
        }
        Ok(())
    }

    fn skip_section(&mut self) -> Parsed<()> {
        self.at += 1;
        while !self.eat('{') {
            if self.next() == Tok::End {
                return Err(self.expected("`{` after `.section`"));
            }
        }
        while !self.eat('}') {
            if self.next() == Tok::End {
                return Err(self.expected("`}` to close the `.section`"));
            }
        }
        Ok(())
    }

    /// A variable, kernel or function, with its linking directives.
    fn definition(&mut self) -> Parsed<()> {
        loop {
            let Tok::Dot(d) = self.peek().clone() else {
                return Err(self.expected("a directive"));
            };
            match d.as_str() {
                "visible" | "weak" | "common" | "extern" => self.at += 1,
                "entry" => {
                    let entry = self.entry()?;
                    self.module.entries.push(entry);
                    return Ok(());
                }
                "func" => return self.skip_function(),
                _ => {
                    let mut variables = self.declaration()?;
                    self.module.variables.append(&mut variables);
                    return Ok(());
                }
            }
        }
    }

    /// Device functions are not called by the kernels that are supported; `call` is reported where it stands.
    fn skip_function(&mut self) -> Parsed<()> {
        let mut depth = 0usize;
        loop {
            match self.next() {
                Tok::End => return Err(self.expected("the end of the function")),
                Tok::Punct('{') => depth += 1,
                Tok::Punct('}') if depth <= 1 => return Ok(()),
                Tok::Punct('}') => depth -= 1,
                Tok::Punct(';') if depth == 0 => return Ok(()),
                _ => {}
            }
        }
    }

    fn entry(&mut self) -> Parsed<Entry> {
        self.at += 1;
        let place = self.place();
        let mut entry = Entry {
            name: self.word("the kernel's name")?,
            place,
            ..Entry::default()
        };
        if self.eat('(') {
            while !self.eat(')') {
                entry.params.push(self.parameter()?);
                if !self.eat(',') && self.peek() != &Tok::Punct(')') {
                    return Err(self.expected("`,` or `)` after a parameter"));
                }
            }
        }
        while let Tok::Dot(d) = self.peek().clone() {
            self.at += 1;
            let mut numbers = vec![];
            while let Tok::Int(v) = *self.peek() {
                self.at += 1;
                numbers.push(v as u32);
                self.eat(',');
            }
            numbers.resize(3, 1);
            let dims = [numbers[0], numbers[1], numbers[2]];
            match d.as_str() {
                "maxntid" => entry.max_threads = Some(dims),
                "reqntid" => entry.required_threads = Some(dims),
                "maxnreg" => entry.max_registers = Some(dims[0]),
                "minnctapersm" => entry.min_blocks = Some(dims[0]),
                "pragma" => {
                    self.next();
                    self.eat(';');
                }
                _ => {}
            }
        }
        if self.eat(';') {
            return Ok(entry);
        }
        self.expect('{')?;
        entry.body = self.statements()?;
        Ok(entry)
    }

    pub fn span_error(&self, span: Span, line: u32, message: impl std::fmt::Display) -> Diagnostic {
        self.error(Place { span, line }, message)
    }
}
