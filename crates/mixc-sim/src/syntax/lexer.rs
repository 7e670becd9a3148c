//! Splits PTX text into words, dotted modifiers, numbers and punctuation
//! (PTX ISA, "Syntax": identifiers, constants, comments).

use mixc_text::{Diagnostic, Span};

#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    /// An identifier: `add`, `%r12`, `$L__BB0_3`, `_Z3foov`, `_`.
    Word(String),
    /// A modifier or directive without its dot: `global`, `shared::cta`, `L2::128B`.
    Dot(String),
    /// An integer constant, as 64 bits; the sign is separate punctuation.
    Int(u64),
    /// A single-precision constant given by its bits, `0f3F800000`.
    F32(u32),
    /// A double-precision constant: `0d3FF0000000000000` or a decimal with a point or exponent.
    F64(f64),
    Str(String),
    Punct(char),
    End,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub tok: Tok,
    pub span: Span,
    pub line: u32,
}

/// Tokens of a text, ending with [`Tok::End`]. Characters that fit nothing are reported and skipped.
pub fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
    };
    let (mut tokens, mut errors) = (vec![], vec![]);
    loop {
        if let Err(error) = lexer.skip_blanks() {
            errors.push(error);
        }
        let (start, line) = (lexer.at, lexer.line);
        if start >= text.len() {
            break;
        }
        match lexer.token() {
            Ok(tok) => tokens.push(Token {
                tok,
                span: Span::new(start, lexer.at),
                line,
            }),
            Err(error) => errors.push(error),
        }
    }
    tokens.push(Token {
        tok: Tok::End,
        span: Span::new(text.len(), text.len()),
        line: lexer.line,
    });
    (tokens, errors)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$'
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) -> Result<(), Diagnostic> {
        loop {
            match self.peek(0) {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b if b.is_ascii_whitespace() => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                // `#` lines are left by preprocessors.
                b'#' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.bytes[self.at] != b'\n' {
            self.at += 1;
        }
    }

    fn block_comment(&mut self) -> Result<(), Diagnostic> {
        let start = self.at;
        match self.text[start + 2..].find("*/") {
            Some(n) => {
                self.at = start + 2 + n + 2;
                self.line += self.text[start..self.at].matches('\n').count() as u32;
                Ok(())
            }
            None => {
                self.at = self.bytes.len();
                Err(Diagnostic::error(
                    "open-comment",
                    Span::new(start, start + 2),
                    "this comment is not closed",
                ))
            }
        }
    }

    fn while_word(&mut self) {
        while is_word(self.peek(0)) {
            self.at += 1;
        }
    }

    fn token(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        match self.peek(0) {
            b if b.is_ascii_digit() => self.number(),
            b'%' if is_word(self.peek(1)) => {
                self.at += 1;
                self.while_word();
                Ok(Tok::Word(self.text[start..self.at].to_string()))
            }
            b if is_word(b) => {
                self.while_word();
                Ok(Tok::Word(self.text[start..self.at].to_string()))
            }
            b'.' if is_word(self.peek(1)) => {
                self.at += 1;
                self.while_word();
                while self.peek(0) == b':' && self.peek(1) == b':' && is_word(self.peek(2)) {
                    self.at += 2;
                    self.while_word();
                }
                Ok(Tok::Dot(self.text[start + 1..self.at].to_string()))
            }
            b'"' => self.string(),
            b if b.is_ascii_punctuation() => {
                self.at += 1;
                Ok(Tok::Punct(b as char))
            }
            _ => {
                let c = self.text[start..].chars().next().unwrap_or('?');
                self.at += c.len_utf8();
                let what = format!("unexpected character `{}`", c.escape_default());
                Err(Diagnostic::error(
                    "bad-character",
                    Span::new(start, self.at),
                    what,
                ))
            }
        }
    }

    fn string(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        let mut end = start + 1;
        while end < self.bytes.len() && self.bytes[end] != b'"' && self.bytes[end] != b'\n' {
            end += if self.bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.at = (end + 1).min(self.bytes.len());
        if self.bytes.get(end) == Some(&b'"') {
            Ok(Tok::Str(self.text[start + 1..end].to_string()))
        } else {
            self.at = end.min(self.bytes.len());
            Err(Diagnostic::error(
                "open-string",
                Span::new(start, self.at),
                "this string is not closed",
            ))
        }
    }

    fn number(&mut self) -> Result<Tok, Diagnostic> {
        let start = self.at;
        self.while_word();
        let decimal = self.text[start..self.at]
            .bytes()
            .all(|b| b.is_ascii_digit());
        if decimal && self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.while_word();
        }
        let body = self.text[start..self.at].to_string();
        if decimal_exponent(&body)
            && matches!(self.peek(0), b'+' | b'-')
            && self.peek(1).is_ascii_digit()
        {
            self.at += 1;
            self.while_word();
        }
        let body = &self.text[start..self.at];
        constant(body).ok_or_else(|| {
            let span = Span::new(start, self.at);
            Diagnostic::error("bad-number", span, format!("`{body}` is not a constant of PTX that fits in 64 bits"))
                .help("write decimal, 0x.., 0b.., 0.. (octal), 0f and 8 hex digits, or 0d and 16 hex digits")
        })
    }
}

fn decimal_exponent(body: &str) -> bool {
    body.ends_with(['e', 'E'])
        && body[..body.len() - 1]
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'.')
}

fn constant(body: &str) -> Option<Tok> {
    let lower = body.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0f").filter(|h| h.len() == 8) {
        return u32::from_str_radix(hex, 16).ok().map(Tok::F32);
    }
    if let Some(hex) = lower.strip_prefix("0d").filter(|h| h.len() == 16) {
        return u64::from_str_radix(hex, 16)
            .ok()
            .map(|b| Tok::F64(f64::from_bits(b)));
    }
    let digits = lower.strip_suffix('u').unwrap_or(&lower);
    let int = if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if let Some(bits) = digits.strip_prefix("0b") {
        u64::from_str_radix(bits, 2)
    } else if digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit())
    {
        u64::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse()
    };
    if let Ok(int) = int {
        return Some(Tok::Int(int));
    }
    let float = lower.starts_with(|c: char| c.is_ascii_digit())
        && (lower.contains('.') || lower.contains('e'));
    lower.parse().ok().filter(|_| float).map(Tok::F64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toks(text: &str) -> Vec<Tok> {
        let (tokens, errors) = lex(text);
        assert!(errors.is_empty(), "{errors:?}");
        tokens.into_iter().map(|t| t.tok).collect()
    }

    #[test]
    fn modifiers_keep_their_scopes() {
        let dot = |s: &str| Tok::Dot(s.to_string());
        assert_eq!(
            toks("cp.async.bulk.shared::cluster.L2::128B [%r1+-4]"),
            [
                Tok::Word("cp".into()),
                dot("async"),
                dot("bulk"),
                dot("shared::cluster"),
                dot("L2::128B"),
                Tok::Punct('['),
                Tok::Word("%r1".into()),
                Tok::Punct('+'),
                Tok::Punct('-'),
                Tok::Int(4),
                Tok::Punct(']'),
                Tok::End,
            ]
        );
    }

    #[test]
    fn constants_of_every_kind() {
        assert_eq!(
            toks("0f3F800000 0d3FF0000000000000 0x1F 0b101 017 42U 1.5 2e-3 0"),
            [
                Tok::F32(0x3f80_0000),
                Tok::F64(1.0),
                Tok::Int(31),
                Tok::Int(5),
                Tok::Int(15),
                Tok::Int(42),
                Tok::F64(1.5),
                Tok::F64(2e-3),
                Tok::Int(0),
                Tok::End,
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_comments() {
        let (tokens, _) = lex("a /* \n\n */ b // c\n d");
        assert_eq!(
            tokens.iter().map(|t| t.line).collect::<Vec<_>>(),
            [1, 3, 4, 4]
        );
    }
}
