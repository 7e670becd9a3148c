//! Recursive-descent parser: tokens in, syntax trees and mistakes out.
//!
//! A mistake ends the statement or parameter that it is in; parsing goes on behind it.

mod expr;
mod header;
mod stmt;

pub(crate) use expr::did_you_mean;

use crate::ast::{At, Ident, Mixer};
use mixc_text::{Diagnostic, Source, Span, Token, TokenKind, closest, lex};

/// Words that cannot be names.
pub const KEYWORDS: &[&str] = &[
    "mixer",
    "where",
    "scan",
    "in",
    "reverse",
    "carry",
    "if",
    "else",
    "and",
    "or",
    "not",
    "inf",
    "pi",
    "true",
    "false",
    "unlimited",
];

/// More mistakes than this in one file help nobody.
const MAX_ERRORS: usize = 60;

/// Parses every mixer of a file. Mixers whose declaration or statements could not be made out are
/// left out of the list (their mistakes are in the diagnostics); a mistake inside one expression
/// leaves [`crate::ast::ExprKind::Error`] in its place.
pub fn parse_mixers(source: &Source) -> (Vec<Mixer>, Vec<Diagnostic>) {
    let (tokens, errors) = lex(&source.text);
    let mut parser = Parser {
        tokens,
        at: 0,
        errors,
        nesting: 0,
        in_scan: false,
    };
    let mixers = parser.file();
    parser.errors.truncate(MAX_ERRORS);
    (mixers, parser.errors)
}

/// The parser gave up on the current construct; the mistake is recorded.
pub(crate) struct Bail;
pub(crate) type Parse<T> = Result<T, Bail>;

pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    errors: Vec<Diagnostic>,
    /// Levels of expressions around the current token.
    nesting: usize,
    in_scan: bool,
}

impl Parser {
    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &TokenKind {
        &self.token().kind
    }

    fn ahead(&self, n: usize) -> &Token {
        &self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    fn span(&self) -> Span {
        self.token().span
    }

    /// The span of the token before the current one.
    fn before(&self) -> Span {
        self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].span
    }

    fn bump(&mut self) -> Token {
        let token = self.token().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// A mistake at the first token of a construct must not stop the parser there for ever.
    fn progress(&mut self, before: usize) {
        if self.at == before {
            self.bump();
        }
    }

    fn at_end(&self) -> bool {
        *self.kind() == TokenKind::End
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.kind(), TokenKind::Punct(p) if *p == punct)
    }

    fn eat(&mut self, punct: &str) -> bool {
        let found = self.is(punct);
        if found {
            self.bump();
        }
        found
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), TokenKind::Ident(name) if name == word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.bump();
        }
        found
    }

    fn fail(&mut self, diagnostic: Diagnostic) -> Bail {
        self.errors.push(diagnostic);
        Bail
    }

    /// "expected WHAT, found ..." at the current token; at the end of a line, behind the one before.
    fn expected(&mut self, what: &str, help: Option<&str>) -> Bail {
        if let Some(help) = self.foreign_operator() {
            let message = format!("there is no operator {}", describe(self.kind()));
            let error = Diagnostic::error("foreign-operator", self.span(), message).help(help);
            return self.fail(error);
        }
        let found = describe(self.kind());
        let end = self.before().end;
        let span = if self.token().starts_line && self.at > 0 {
            Span::new(end, end)
        } else {
            self.span()
        };
        let message = format!("expected {what}, found {found}");
        let mut error =
            Diagnostic::error("unexpected-token", span, message).at(format!("expected {what}"));
        error.help = help.map(str::to_string);
        self.fail(error)
    }

    /// Operators of other languages, with ours.
    fn foreign_operator(&self) -> Option<&'static str> {
        match self.kind() {
            TokenKind::Punct("&&" | "&") => Some("write `and`"),
            TokenKind::Punct("||" | "|") => Some("write `or`"),
            TokenKind::Punct("^") => Some("a power is written `x ** y`"),
            TokenKind::Punct("?") => Some("a choice is written `x if c else y`"),
            TokenKind::Punct("!") => Some("negation is written `not`"),
            _ => None,
        }
    }

    fn expect(&mut self, punct: &str, help: &str) -> Parse<Span> {
        if self.is(punct) {
            return Ok(self.bump().span);
        }
        Err(self.expected(&format!("`{punct}`"), Some(help)))
    }

    /// A name that is not a keyword.
    fn ident(&mut self, what: &str) -> Parse<Ident> {
        let TokenKind::Ident(name) = self.kind() else {
            let help = "a name is made of letters, digits and `_`";
            return Err(self.expected(what, Some(help)));
        };
        let (name, span) = (name.clone(), self.span());
        if KEYWORDS.contains(&name.as_str()) {
            let error = Diagnostic::error(
                "reserved-word",
                span,
                format!("`{name}` is a reserved word"),
            )
            .at(format!("expected {what}"))
            .help(format!("choose another name, for example `{name}_`"));
            return Err(self.fail(error));
        }
        if let Some(plain) = name.strip_suffix('\'') {
            let error = Diagnostic::error(
                "primed-name",
                span,
                format!("the name `{name}` ends in `'`"),
            )
            .note("names with a prime are kept for generated code")
            .help(format!(
                "write `{}_next` or another name",
                plain.trim_end_matches('\'')
            ));
            return Err(self.fail(error));
        }
        self.bump();
        Ok(Ident { name, at: At(span) })
    }

    /// The doc comment lines here.
    fn docs(&mut self) -> Vec<String> {
        let mut docs = vec![];
        while let TokenKind::Doc(line) = self.kind() {
            docs.push(line.clone());
            self.bump();
        }
        docs
    }

    fn file(&mut self) -> Vec<Mixer> {
        let mut mixers: Vec<Mixer> = vec![];
        loop {
            let doc_span = self.span();
            let docs = self.docs();
            if self.at_end() {
                if !docs.is_empty() {
                    self.errors.push(stray_doc(doc_span));
                }
                return mixers;
            }
            if !self.is_word("mixer") {
                self.outside_of_mixer();
                continue;
            }
            if let Ok(mixer) = self.mixer(docs) {
                if let Some(first) = mixers.iter().find(|m| m.name == mixer.name) {
                    let what = format!(
                        "a mixer called `{}` is already in this file",
                        mixer.name.name
                    );
                    let error = Diagnostic::error("duplicate-mixer", mixer.name.span(), what)
                        .label(first.name.span(), "the first one is here")
                        .help("rename one of them");
                    self.errors.push(error);
                }
                mixers.push(mixer);
            }
        }
    }

    fn outside_of_mixer(&mut self) {
        let found = describe(self.kind());
        let mut error = Diagnostic::error(
            "expected-mixer",
            self.span(),
            format!("expected `mixer`, found {found}"),
        )
        .help("a file is a list of definitions `mixer name(parameters) -> outputs { ... }`");
        if let TokenKind::Ident(word) = self.kind()
            && closest(word, ["mixer"]).is_some()
        {
            error = error.help("did you mean `mixer`?");
        }
        self.errors.push(error);
        self.bump();
        self.skip_to_mixer();
    }

    /// Goes to the next `mixer` at the start of a line, or to its doc comment.
    fn skip_to_mixer(&mut self) {
        while !self.at_end() {
            let starts = self.token().starts_line;
            if starts && (self.is_word("mixer") || self.doc_of_mixer()) {
                return;
            }
            self.bump();
        }
    }

    fn doc_of_mixer(&self) -> bool {
        let mut n = 0;
        while matches!(self.ahead(n).kind, TokenKind::Doc(_)) {
            n += 1;
        }
        n > 0 && matches!(&self.ahead(n).kind, TokenKind::Ident(w) if w == "mixer")
    }
}

fn stray_doc(span: Span) -> Diagnostic {
    Diagnostic::error("stray-doc", span, "this doc comment documents nothing")
        .help("put it before a mixer, a parameter, an output or a statement, or write `//`")
}

pub(crate) fn describe(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Ident(name) => format!("`{name}`"),
        TokenKind::Int(value) => format!("`{value}`"),
        TokenKind::Float(value) => format!("`{value:?}`"),
        TokenKind::Str(_) => "a string".to_string(),
        TokenKind::Doc(_) => "a doc comment".to_string(),
        TokenKind::Punct(p) => format!("`{p}`"),
        TokenKind::End => "the end of the file".to_string(),
    }
}
