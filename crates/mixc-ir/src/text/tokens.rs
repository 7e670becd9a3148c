//! A cursor over tokens, with the errors that every rule needs.

use mixc_text::{Diagnostic, Span, Token, TokenKind};
use std::sync::Arc;

/// How deeply terms and indices may nest; deeper texts are refused before the stack ends.
const MAX_DEPTH: usize = 200;

pub(super) type Parsed<V> = Result<V, Diagnostic>;

pub(super) struct Tokens {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Tokens {
    /// `tokens` must end with [`TokenKind::End`], as the lexer's do.
    pub fn new(tokens: Vec<Token>) -> Tokens {
        Tokens {
            tokens,
            at: 0,
            depth: 0,
        }
    }

    pub fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    pub fn span(&self) -> Span {
        self.tokens[self.at].span
    }

    pub fn starts_line(&self) -> bool {
        self.tokens[self.at].starts_line
    }

    pub fn next(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    pub fn at_punct(&self, punct: &str) -> bool {
        matches!(self.peek(), TokenKind::Punct(p) if *p == punct)
    }

    pub fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Ident(name) if name == word)
    }

    /// Steps over `punct` if it comes next.
    pub fn eat(&mut self, punct: &str) -> bool {
        let found = self.at_punct(punct);
        if found {
            self.next();
        }
        found
    }

    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.next();
        }
        found
    }

    pub fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{punct}`")))
        }
    }

    pub fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{word}`")))
        }
    }

    /// A name: an identifier, or any text in quotes.
    pub fn name(&mut self, what: &str) -> Parsed<Arc<str>> {
        match self.peek() {
            TokenKind::Ident(name) | TokenKind::Str(name) => {
                let name = name.as_str().into();
                self.next();
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// `[item, item, ..]`, empty included.
    pub fn bracketed<V>(&mut self, item: impl FnMut(&mut Tokens) -> Parsed<V>) -> Parsed<Vec<V>> {
        self.expect("[")?;
        self.until("]", item)
    }

    /// `item, item, ..` and the closing `end`.
    pub fn until<V>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Tokens) -> Parsed<V>,
    ) -> Parsed<Vec<V>> {
        let mut items = vec![];
        if self.eat(end) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.eat(",") {
                self.expect(end)?;
                return Ok(items);
            }
        }
    }

    /// Runs one level of a recursive rule.
    pub fn nested<V>(&mut self, rule: impl FnOnce(&mut Tokens) -> Parsed<V>) -> Parsed<V> {
        if self.depth == MAX_DEPTH {
            let message = format!("this is nested more than {MAX_DEPTH} levels deep");
            return Err(Diagnostic::error("too-deep", self.span(), message));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    pub fn unexpected(&self, expected: &str) -> Diagnostic {
        let found = match self.peek() {
            TokenKind::Ident(name) => format!("`{name}`"),
            TokenKind::Int(value) => format!("`{value}`"),
            TokenKind::Float(value) => format!("`{value}`"),
            TokenKind::Str(text) => format!("\"{text}\""),
            TokenKind::Doc(_) => "a doc comment".to_string(),
            TokenKind::Punct(p) => format!("`{p}`"),
            TokenKind::End => "the end of the text".to_string(),
        };
        Diagnostic::error(
            "unexpected-token",
            self.span(),
            format!("expected {expected}, found {found}"),
        )
    }
}
