//! A position in a token sequence, and what the names read so far mean.

use crate::{Buf, BufId};
use mixc_ir::Name;
use mixc_text::{Diagnostic, Source, Span, Token, TokenKind, closest, lex};
use std::collections::BTreeMap;

/// What was read, or the first mistake in it.
pub type Parsed<T> = Result<T, Diagnostic>;

/// How deep brackets, blocks and operators may nest: far more than kernels need, and little enough
/// that no text can exhaust the stack.
const MAX_DEPTH: usize = 128;

/// Reads tokens one by one. Readers return the first mistake; those of lists of statements collect
/// mistakes in [`Cursor::errors`] and go on behind them.
pub struct Cursor<'s> {
    text: &'s str,
    /// Without doc comments; the last one is the end.
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    pub errors: Vec<Diagnostic>,
    /// Buffers that accesses can name.
    pub bufs: Vec<Buf>,
    /// Local axes of the statement that is being read: they index buffers as [`crate::Place::Axis`].
    pub locals: Vec<Name>,
    /// Values for `$name`, in indices, extents and expressions.
    pub constants: BTreeMap<Name, i64>,
}

impl<'s> Cursor<'s> {
    pub fn new(source: &'s Source) -> Cursor<'s> {
        let (mut tokens, errors) = lex(&source.text);
        tokens.retain(|t| !matches!(t.kind, TokenKind::Doc(_)));
        Cursor {
            text: &source.text,
            tokens,
            at: 0,
            depth: 0,
            errors,
            bufs: vec![],
            locals: vec![],
            constants: BTreeMap::new(),
        }
    }

    pub fn peek(&self) -> &Token {
        self.peek_ahead(0)
    }

    /// The token `n` behind the next one.
    pub fn peek_ahead(&self, n: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + n).min(last)]
    }

    pub fn at_end(&self) -> bool {
        self.peek().kind == TokenKind::End
    }

    /// Passes the next token; the end is never passed.
    pub fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// The source text of a span.
    pub fn text_of(&self, span: Span) -> &'s str {
        self.text.get(span.start..span.end).unwrap_or("")
    }

    /// From `start` to the end of the last token that was passed.
    pub fn span_from(&self, start: Span) -> Span {
        let last = self.tokens[self.at.saturating_sub(1)].span;
        if last.start >= start.start {
            start.to(last)
        } else {
            start
        }
    }

    pub fn is_punct(&self, punct: &str) -> bool {
        matches!(self.peek().kind, TokenKind::Punct(p) if p == punct)
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Ident(name) if name == word)
    }

    pub fn eat_punct(&mut self, punct: &str) -> bool {
        let eaten = self.is_punct(punct);
        if eaten {
            self.advance();
        }
        eaten
    }

    pub fn eat_word(&mut self, word: &str) -> bool {
        let eaten = self.is_word(word);
        if eaten {
            self.advance();
        }
        eaten
    }

    pub fn expect_punct(&mut self, punct: &str) -> Parsed<()> {
        if self.eat_punct(punct) {
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

    /// An identifier; `what` it stands for is named in the mistake.
    pub fn expect_name(&mut self, what: &str) -> Parsed<Name> {
        let TokenKind::Ident(name) = &self.peek().kind else {
            return Err(self.unexpected(what));
        };
        let name = name.as_str().into();
        self.advance();
        Ok(name)
    }

    /// One of several words with a meaning.
    pub fn expect_one_of<T: Copy>(
        &mut self,
        what: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Parsed<T> {
        if let Some(found) = all.iter().find(|t| self.is_word(name(**t))) {
            self.advance();
            return Ok(*found);
        }
        let words: Vec<String> = all.iter().map(|t| format!("`{}`", name(*t))).collect();
        Err(self.unexpected(&format!("{what} ({})", words.join(", "))))
    }

    /// Items separated by commas up to and with `close`, which a comma may precede.
    pub fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = vec![];
        while !self.eat_punct(close) {
            items.push(item(self)?);
            if !self.eat_punct(",") && !self.is_punct(close) {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
        Ok(items)
    }

    /// The mistake that something else than `expected` comes next.
    pub fn unexpected(&self, expected: &str) -> Diagnostic {
        let token = self.peek();
        let found = match &token.kind {
            TokenKind::End => "the end of the text".to_string(),
            _ => format!("`{}`", self.text_of(token.span)),
        };
        let message = format!("expected {expected}, found {found}");
        Diagnostic::error("unexpected-token", token.span, message)
            .at(format!("expected {expected}"))
    }

    /// The declared buffer of a name.
    pub fn buffer(&self, name: &str, span: Span) -> Parsed<BufId> {
        if let Some(n) = self.bufs.iter().position(|b| &*b.name == name) {
            return Ok(BufId(n as u32));
        }
        let error = Diagnostic::error(
            "unknown-buffer",
            span,
            format!("there is no buffer `{name}`"),
        );
        Err(match closest(name, self.bufs.iter().map(|b| &*b.name)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!(
                "declare it: `shared {name}: [..]` or `register {name}: [..]`"
            )),
        })
    }

    /// Runs a reader one level deeper.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.check_depth(self.depth)?;
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The mistake of nesting too deeply, if `depth` is.
    pub fn check_depth(&self, depth: usize) -> Parsed<()> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        let message = format!("nested more than {MAX_DEPTH} levels deep");
        Err(Diagnostic::error("too-deep", self.peek().span, message))
    }
}
