//! Schedule templates: what a kernel does in which order, and its knobs. One text file each, in
//! `templates/`.
//!
//! ```text
//! template NAME {
//!   when CONDITION, not CONDITION ...       // which programs it fits
//!   knob NAME in V, V, ... default V        // tunable values; `, diagonal V`: default for diagonal decays;
//!                                           // `, shared V`: default for short rows that share what is streamed
//!   blocks cut-below, inside, cut-above     // parts of a streamed axis, in the order visited
//!   body { ACTION ... for RANGE { ACTION ... } ... }
//! }
//! ```
//! Conditions: `steps` (a recurrence), `parts` (its steps are chunks of a split axis), `streams` (a
//! reduction over a long axis), `scan` (a scan as written). The actions are the holes that the
//! program's own terms fill; [`Action`] lists them.

use include_dir::{Dir, include_dir};
use mixc_text::{Diagnostic, Source, Span, Token, TokenKind, closest, lex};
use std::sync::LazyLock;

#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub name: String,
    pub doc: String,
    /// Conditions with the value that they must have.
    pub when: Vec<(Condition, bool)>,
    pub knobs: Vec<Knob>,
    pub blocks: Vec<Blocks>,
    pub body: Vec<Action>,
}

/// A tunable value.
#[derive(Clone, Debug, PartialEq)]
pub struct Knob {
    pub name: String,
    pub doc: String,
    pub values: Vec<i64>,
    pub default: i64,
    /// Default where a decay varies over an axis that is summed in products with it.
    pub diagonal: Option<i64>,
    /// Default where a tile has fewer rows than it could, and several heads share what is streamed.
    pub shared: Option<i64>,
}

macro_rules! words {
    ($(#[doc = $doc:literal])* $type:ident { $($(#[doc = $item_doc:literal])* $variant:ident $word:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[doc = $item_doc])* $variant,)* }

        impl $type {
            const WORDS: &'static [(&'static str, $type)] = &[$(($word, $type::$variant),)*];
        }
    };
}

words! {
    /// A property of the program to be scheduled.
    Condition {
        Steps "steps",
        Parts "parts",
        Streams "streams",
        Scan "scan",
    }
}

words! {
    /// A part of a streamed axis, as its masks divide it.
    Blocks {
        /// Blocks that the masks cut at the lower bound.
        CutBelow "cut-below",
        /// Blocks in which every bounding mask holds.
        Inside "inside",
        /// Blocks that the masks, or the end of the axis, cut at the upper bound.
        CutAbove "cut-above",
    }
}

words! {
    /// What a loop of the template runs over.
    Range {
        /// Every step.
        Steps "steps",
        /// The parts of the split axis that have their full length.
        WholeParts "whole parts",
        /// The last part, if it is shorter.
        LastPart "last part",
    }
}

/// One thing that a kernel does; the program's terms say on what.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// States take their initial values.
    Init,
    /// Streamed reductions are computed.
    Stream,
    /// Results that are known here are stored.
    Store,
    /// States that results see after the step move on.
    AdvanceInclusive,
    /// States that results see before the step move on.
    AdvanceStrict,
    /// The lets of a scan's body are computed.
    Compute,
    /// The states of a scan become what its body has computed.
    Carry,
    /// Final states are stored.
    Finish,
    For(Range, Vec<Action>),
}

const ACTIONS: &[(&str, Action)] = &[
    ("init", Action::Init),
    ("stream", Action::Stream),
    ("store", Action::Store),
    ("advance inclusive", Action::AdvanceInclusive),
    ("advance strict", Action::AdvanceStrict),
    ("compute", Action::Compute),
    ("carry", Action::Carry),
    ("finish", Action::Finish),
];

static FILES: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../templates");

/// The shipped templates, by name.
pub static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    let mut templates = vec![];
    for file in FILES
        .files()
        .filter(|f| f.path().extension().is_some_and(|e| e == "tile"))
    {
        let source = Source::new(
            file.path().display().to_string(),
            file.contents_utf8().unwrap_or(""),
        );
        match parse_template(&source) {
            Ok(template) => templates.push(template),
            Err(errors) => panic!(
                "bug: a shipped template is wrong\n{}",
                source.render(&errors)
            ),
        }
    }
    templates.sort_by(|a: &Template, b| a.name.cmp(&b.name));
    templates
});

/// The first template whose conditions hold.
pub fn select(holds: impl Fn(Condition) -> bool) -> Option<&'static Template> {
    TEMPLATES
        .iter()
        .find(|t| t.when.iter().all(|(c, wanted)| holds(*c) == *wanted))
}

/// Parses one template.
///
/// # Errors
/// The first mistake, with its place and what was expected there.
pub fn parse_template(source: &Source) -> Result<Template, Vec<Diagnostic>> {
    let (tokens, errors) = lex(&source.text);
    if !errors.is_empty() {
        return Err(errors);
    }
    Parser { tokens, at: 0 }.template().map_err(|e| vec![e])
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

type Parsed<X> = Result<X, Diagnostic>;

impl Parser {
    fn template(&mut self) -> Parsed<Template> {
        let doc = self.docs();
        self.word("template")?;
        let name = self.ident("a name")?.0;
        let mut template = Template {
            name,
            doc,
            when: vec![],
            knobs: vec![],
            blocks: vec![],
            body: vec![],
        };
        self.punct("{")?;
        loop {
            let doc = self.docs();
            let (item, span) = match &self.peek().kind {
                TokenKind::Punct("}") => break,
                _ => self.ident("`when`, `knob`, `blocks` or `body`")?,
            };
            match item.as_str() {
                "when" => template.when = self.list(Parser::condition)?,
                "knob" => template.knobs.push(self.knob(doc)?),
                "blocks" => {
                    template.blocks =
                        self.list(|p| p.phrase(Blocks::WORDS, "part of a streamed axis"))?
                }
                "body" => template.body = self.actions()?,
                other => {
                    return Err(unknown(
                        "item",
                        other,
                        span,
                        &["when", "knob", "blocks", "body"],
                    ));
                }
            }
        }
        self.punct("}")?;
        Ok(template)
    }

    fn condition(&mut self) -> Parsed<(Condition, bool)> {
        let negated = matches!(&self.peek().kind, TokenKind::Ident(w) if w == "not");
        if negated {
            self.at += 1;
        }
        Ok((self.phrase(Condition::WORDS, "condition")?, !negated))
    }

    fn knob(&mut self, doc: String) -> Parsed<Knob> {
        let name = self.ident("the knob's name")?.0;
        self.word("in")?;
        let values = self.list(Parser::integer)?;
        self.word("default")?;
        let default = self.integer()?;
        let (mut diagonal, mut shared) = (None, None);
        while self.peek().kind == TokenKind::Punct(",") {
            self.at += 1;
            let (case, span) = self.ident("`diagonal` or `shared`")?;
            let value = Some(self.integer()?);
            match case.as_str() {
                "diagonal" => diagonal = value,
                "shared" => shared = value,
                other => return Err(unknown("default", other, span, &["diagonal", "shared"])),
            }
        }
        Ok(Knob {
            name,
            doc,
            values,
            default,
            diagonal,
            shared,
        })
    }

    fn actions(&mut self) -> Parsed<Vec<Action>> {
        self.punct("{")?;
        let mut actions = vec![];
        while self.peek().kind != TokenKind::Punct("}") {
            if matches!(&self.peek().kind, TokenKind::Ident(w) if w == "for") {
                self.at += 1;
                let range = self.phrase(Range::WORDS, "range")?;
                actions.push(Action::For(range, self.actions()?));
            } else {
                actions.push(self.phrase(ACTIONS, "action")?);
            }
        }
        self.punct("}")?;
        Ok(actions)
    }

    /// One of several phrases of one or two words (joined by a space or a hyphen).
    fn phrase<X: Clone>(&mut self, phrases: &[(&'static str, X)], what: &str) -> Parsed<X> {
        let (first, span) = self.ident(&format!("a {what}"))?;
        if let Some((_, value)) = phrases.iter().find(|(p, _)| *p == first) {
            return Ok(value.clone());
        }
        let hyphen = usize::from(self.peek().kind == TokenKind::Punct("-"));
        if let TokenKind::Ident(second) =
            &self.tokens[(self.at + hyphen).min(self.tokens.len() - 1)].kind
        {
            let joined = format!("{first}{}{second}", if hyphen == 1 { "-" } else { " " });
            if let Some((_, value)) = phrases.iter().find(|(p, _)| *p == joined) {
                self.at += hyphen + 1;
                return Ok(value.clone());
            }
        }
        let names: Vec<&str> = phrases.iter().map(|(p, _)| *p).collect();
        Err(unknown(what, &first, span, &names))
    }

    fn list<X>(&mut self, item: impl Fn(&mut Parser) -> Parsed<X>) -> Parsed<Vec<X>> {
        let mut items = vec![item(self)?];
        while self.peek().kind == TokenKind::Punct(",") {
            self.at += 1;
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn docs(&mut self) -> String {
        let mut lines = vec![];
        while let TokenKind::Doc(line) = &self.peek().kind {
            lines.push(line.clone());
            self.at += 1;
        }
        lines.join("\n")
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn integer(&mut self) -> Parsed<i64> {
        let token = self.peek().clone();
        match token.kind {
            TokenKind::Int(v) if i64::try_from(v).is_ok() => {
                self.at += 1;
                Ok(v as i64)
            }
            _ => Err(self.expected("an integer")),
        }
    }

    fn ident(&mut self, what: &str) -> Parsed<(String, Span)> {
        let token = self.peek().clone();
        match token.kind {
            TokenKind::Ident(name) => {
                self.at += 1;
                Ok((name, token.span))
            }
            _ => Err(self.expected(what)),
        }
    }

    fn word(&mut self, word: &str) -> Parsed<()> {
        match &self.peek().kind {
            TokenKind::Ident(w) if w == word => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.expected(&format!("`{word}`"))),
        }
    }

    fn punct(&mut self, punct: &str) -> Parsed<()> {
        match &self.peek().kind {
            TokenKind::Punct(p) if *p == punct => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.expected(&format!("`{punct}`"))),
        }
    }

    fn expected(&self, what: &str) -> Diagnostic {
        Diagnostic::error(
            "unexpected-token",
            self.peek().span,
            format!("expected {what}"),
        )
    }
}

fn unknown(what: &str, found: &str, span: Span, known: &[&str]) -> Diagnostic {
    let error = Diagnostic::error(
        "unknown-word",
        span,
        format!("there is no {what} `{found}`"),
    )
    .note(format!("expected one of: {}", known.join(", ")));
    match closest(found, known.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_template_fits_every_kind_of_program() {
        for bits in 0..8u32 {
            let holds = |c: Condition| match c {
                Condition::Scan => false,
                Condition::Steps => bits & 1 > 0,
                Condition::Parts => bits & 2 > 0,
                Condition::Streams => bits & 4 > 0,
            };
            if holds(Condition::Parts) && !holds(Condition::Steps) {
                continue;
            }
            let fitting = TEMPLATES
                .iter()
                .filter(|t| t.when.iter().all(|(c, wanted)| holds(*c) == *wanted));
            let names: Vec<&str> = fitting.map(|t| t.name.as_str()).collect();
            assert_eq!(names.len(), 1, "{bits:03b}: {names:?}");
        }
    }

    #[test]
    fn knob_defaults_are_among_the_values() {
        for knob in TEMPLATES.iter().flat_map(|t| &t.knobs) {
            assert!(knob.values.contains(&knob.default), "{knob:?}");
            for value in knob.diagonal.iter().chain(&knob.shared) {
                assert!(knob.values.contains(value), "{knob:?}");
            }
        }
    }

    #[test]
    fn a_misspelt_action_is_named_with_the_nearest_one() {
        let source = Source::new(
            "t",
            "template t { when steps body { for steps { advanze strict } } }",
        );
        let error = &parse_template(&source).unwrap_err()[0];
        assert_eq!(error.message, "there is no action `advanze`");
        let source = Source::new("t", "template t { wen steps }");
        assert_eq!(
            parse_template(&source).unwrap_err()[0].help.as_deref(),
            Some("did you mean `when`?")
        );
    }
}
