//! One lexer for all text formats: identifiers, numbers, strings, punctuation, doc comments.

use crate::{Diagnostic, Span};

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// `[A-Za-z_][A-Za-z0-9_]*`, with any number of trailing `'` (generated names use them).
    Ident(String),
    Int(u64),
    Float(f64),
    /// A double-quoted string without escapes.
    Str(String),
    /// The text of one `///` line, without the slashes and one leading space.
    Doc(String),
    /// Punctuation, longest match first: `->`, `<=`, `..`, ...
    Punct(&'static str),
    /// End of the text; always the last token.
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
    /// Whether a line break stands between this token and the one before it.
    pub starts_line: bool,
}

const PUNCT: &[&str] = &[
    "..=", "->", "<-", "<=", ">=", "==", "!=", "+=", ":=", "=>", "..", "**", "&&", "||", "(", ")",
    "[", "]", "{", "}", "<", ">", "=", "+", "-", "*", "/", "%", ",", ":", ";", ".", "@", "$", "|",
    "?", "!", "^", "&", "~", "#",
];

/// Splits a text into tokens. Bytes that fit nothing are reported and skipped, so that the caller
/// can go on. `//` starts a comment, `///` a doc comment.
pub fn lex(text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let bytes = text.as_bytes();
    let (mut tokens, mut errors) = (vec![], vec![]);
    let (mut at, mut starts_line) = (0, true);
    while at < bytes.len() {
        let start = at;
        let c = bytes[at];
        if c == b'\n' {
            starts_line = true;
            at += 1;
            continue;
        }
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if bytes[at..].starts_with(b"//") {
            let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
            let body = &text[at..end];
            if body.starts_with("///") && !body.starts_with("////") {
                let doc = body[3..]
                    .strip_prefix(' ')
                    .unwrap_or(&body[3..])
                    .trim_end()
                    .to_string();
                tokens.push(Token {
                    kind: TokenKind::Doc(doc),
                    span: Span::new(at, end),
                    starts_line,
                });
            }
            at = end;
            continue;
        }
        let kind = if c.is_ascii_alphabetic() || c == b'_' {
            at = scan_while(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'_');
            at = scan_while(bytes, at, |b| b == b'\'');
            TokenKind::Ident(text[start..at].to_string())
        } else if c.is_ascii_digit() {
            at = number_end(bytes, at);
            match number(&text[start..at]) {
                Some(kind) => kind,
                None => {
                    let what = format!("`{}` is not a number that fits", &text[start..at]);
                    errors.push(Diagnostic::error("bad-number", Span::new(start, at), what));
                    TokenKind::Int(0)
                }
            }
        } else if c == b'"' {
            let close = text[at + 1..].find(['"', '\n']).map(|n| at + 1 + n);
            match close {
                Some(end) if bytes[end] == b'"' => {
                    at = end + 1;
                    TokenKind::Str(text[start + 1..end].to_string())
                }
                _ => {
                    at = close.unwrap_or(text.len());
                    let error = Diagnostic::error(
                        "open-string",
                        Span::new(start, at),
                        "this string is not closed",
                    );
                    errors.push(error.help("end it with `\"` on the same line"));
                    continue;
                }
            }
        } else if let Some(p) = PUNCT.iter().find(|p| bytes[at..].starts_with(p.as_bytes())) {
            at += p.len();
            TokenKind::Punct(p)
        } else {
            let c = text[at..].chars().next().unwrap_or('?');
            at += c.len_utf8();
            let what = format!("unexpected character `{}`", c.escape_default());
            errors.push(Diagnostic::error(
                "bad-character",
                Span::new(start, at),
                what,
            ));
            continue;
        };
        tokens.push(Token {
            kind,
            span: Span::new(start, at),
            starts_line,
        });
        starts_line = false;
    }
    tokens.push(Token {
        kind: TokenKind::End,
        span: Span::new(text.len(), text.len()),
        starts_line: true,
    });
    (tokens, errors)
}

fn scan_while(bytes: &[u8], mut at: usize, keep: impl Fn(u8) -> bool) -> usize {
    while at < bytes.len() && keep(bytes[at]) {
        at += 1;
    }
    at
}

/// `12`, `1.5`, `1e-3`, `2.0e8`; `1..4` is an integer and a range.
fn number_end(bytes: &[u8], at: usize) -> usize {
    let digits = |from| scan_while(bytes, from, |b| b.is_ascii_digit());
    let mut end = digits(at);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

fn number(text: &str) -> Option<TokenKind> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(TokenKind::Int);
    }
    text.parse()
        .ok()
        .filter(|v: &f64| v.is_finite())
        .map(TokenKind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        lex(text).0.into_iter().map(|t| t.kind).collect()
    }

    #[test]
    fn numbers_and_ranges_do_not_run_into_each_other() {
        use TokenKind::*;
        assert_eq!(kinds("1..4"), [Int(1), Punct(".."), Int(4), End]);
        assert_eq!(kinds("1.5e-3 2e8"), [Float(1.5e-3), Float(2e8), End]);
    }

    #[test]
    fn unknown_bytes_are_reported_and_skipped() {
        let (tokens, errors) = lex("a € b \"x");
        assert_eq!(tokens.len(), 3);
        assert_eq!(
            errors.iter().map(|e| e.code).collect::<Vec<_>>(),
            ["bad-character", "open-string"]
        );
    }
}
