//! Expressions, by precedence. From loose to tight: `x if c else y`, `or`, `and`, `not`,
//! comparisons, `+ -`, `* / %`, unary `-`, `**`, primaries.

use super::{Parse, Parser};
use crate::ast::{At, BinOp, Binder, CmpOp, Expr, ExprKind, Ident, MAX_DEPTH};
use mixc_text::{Diagnostic, Span, TokenKind, closest};

impl Parser {
    pub(super) fn expr(&mut self) -> Parse<Expr> {
        self.nested(Parser::conditional)
    }

    /// One level of nesting further down; the parser itself must not run out of stack.
    fn nested(&mut self, parse: impl FnOnce(&mut Parser) -> Parse<Expr>) -> Parse<Expr> {
        if self.nesting > MAX_DEPTH {
            return Err(self.too_deep(self.span()));
        }
        self.nesting += 1;
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    /// A new node, unless the tree gets too deep (a long chain of operators is deep too).
    fn node(&mut self, kind: ExprKind, span: Span) -> Parse<Expr> {
        let expr = Expr::new(kind, span);
        if expr.depth() > MAX_DEPTH {
            Err(self.too_deep(span))
        } else {
            Ok(expr)
        }
    }

    fn too_deep(&mut self, span: Span) -> super::Bail {
        let what = format!("this expression is nested deeper than {MAX_DEPTH} levels");
        self.fail(
            Diagnostic::error("too-deep", span, what)
                .help("name parts of it with definitions of their own"),
        )
    }

    fn conditional(&mut self) -> Parse<Expr> {
        let then = self.disjunction()?;
        if !self.eat_word("if") {
            return Ok(then);
        }
        let cond = self.disjunction()?;
        if !self.eat_word("else") {
            return Err(self.expected("`else`", Some("every `if` has an `else`: `x if c else 0`")));
        }
        let other = self.expr()?;
        let span = then.span().to(other.span());
        self.node(
            ExprKind::If {
                then: Box::new(then),
                cond: Box::new(cond),
                other: Box::new(other),
            },
            span,
        )
    }

    fn disjunction(&mut self) -> Parse<Expr> {
        self.chain(&[BinOp::Or], Parser::conjunction)
    }

    fn conjunction(&mut self) -> Parse<Expr> {
        self.chain(&[BinOp::And], Parser::negation)
    }

    fn negation(&mut self) -> Parse<Expr> {
        if !self.is_word("not") {
            return self.comparison();
        }
        let start = self.bump().span;
        let inner = self.nested(Parser::negation)?;
        let span = start.to(inner.span());
        self.node(ExprKind::Not(Box::new(inner)), span)
    }

    fn comparison(&mut self) -> Parse<Expr> {
        let first = self.sum()?;
        let mut rest = vec![];
        while let Some(op) = CmpOp::ALL.into_iter().find(|op| self.is(op.symbol())) {
            self.bump();
            rest.push((op, self.sum()?));
        }
        let Some((_, last)) = rest.last() else {
            return Ok(first);
        };
        let span = first.span().to(last.span());
        self.node(
            ExprKind::Compare {
                first: Box::new(first),
                rest,
            },
            span,
        )
    }

    fn sum(&mut self) -> Parse<Expr> {
        self.chain(&[BinOp::Add, BinOp::Sub], Parser::product)
    }

    fn product(&mut self) -> Parse<Expr> {
        self.chain(&[BinOp::Mul, BinOp::Div, BinOp::Mod], Parser::unary)
    }

    fn chain(&mut self, ops: &[BinOp], next: fn(&mut Parser) -> Parse<Expr>) -> Parse<Expr> {
        let mut left = next(self)?;
        while let Some(op) = ops
            .iter()
            .copied()
            .find(|op| self.is(op.symbol()) || self.is_word(op.symbol()))
        {
            self.bump();
            let right = next(self)?;
            let span = left.span().to(right.span());
            left = self.node(
                ExprKind::Binary {
                    op,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                span,
            )?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parse<Expr> {
        if !self.is("-") {
            return self.power();
        }
        let start = self.bump().span;
        let inner = self.nested(Parser::unary)?;
        let span = start.to(inner.span());
        self.node(ExprKind::Neg(Box::new(inner)), span)
    }

    fn power(&mut self) -> Parse<Expr> {
        let base = self.primary()?;
        if !self.eat("**") {
            return Ok(base);
        }
        let exponent = self.nested(Parser::unary)?;
        let span = base.span().to(exponent.span());
        self.node(
            ExprKind::Binary {
                op: BinOp::Pow,
                left: Box::new(base),
                right: Box::new(exponent),
            },
            span,
        )
    }

    fn primary(&mut self) -> Parse<Expr> {
        let span = self.span();
        match self.kind().clone() {
            TokenKind::Int(value) => {
                self.bump();
                if i64::try_from(value).is_err() {
                    let what = format!("the integer `{value}` does not fit in 64 bits");
                    return Err(self.fail(
                        Diagnostic::error("bad-number", span, what)
                            .help("write it as a real number, `1e20`"),
                    ));
                }
                Ok(Expr::new(ExprKind::Int(value), span))
            }
            TokenKind::Float(value) => {
                self.bump();
                Ok(Expr::new(ExprKind::Float(value), span))
            }
            TokenKind::Punct("(") => {
                self.bump();
                let inner = self.expr()?;
                self.expect(")", "close the parenthesis")?;
                Ok(inner)
            }
            TokenKind::Ident(word) if is_constant(&word) => {
                self.bump();
                Ok(Expr::new(
                    ExprKind::Name(Ident {
                        name: word,
                        at: At(span),
                    }),
                    span,
                ))
            }
            TokenKind::Ident(_) => {
                let name = self.ident("a value")?;
                self.after_name(name)
            }
            _ => Err(self.expected(
                "a value",
                Some("a value is a number, a name, `x[i]`, `f(x)`, `sum[j](...)` or `(...)`"),
            )),
        }
    }

    /// A name, a read `x[i]`, a call `f(x)` or a reduction `sum[j](x)`.
    fn after_name(&mut self, name: Ident) -> Parse<Expr> {
        let start = name.span();
        if self.eat("(") {
            let args = self.arguments()?;
            let span = start.to(self.before());
            return self.node(ExprKind::Call { name, args }, span);
        }
        if !self.eat("[") {
            return Ok(Expr::new(ExprKind::Name(name), start));
        }
        let (mut index, mut ranges) = (vec![], vec![]);
        while !self.is("]") {
            index.push(self.expr()?);
            ranges.push(if self.eat_word("in") {
                Some(self.expr()?)
            } else {
                None
            });
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]", "close the list of indices")?;
        if self.eat("(") {
            let vars = index
                .into_iter()
                .zip(ranges)
                .map(|(item, range)| self.reduced(item, range));
            let vars = vars.collect::<Parse<Vec<Binder>>>()?;
            let args = self.arguments()?;
            let span = start.to(self.before());
            return self.node(ExprKind::Reduce { name, vars, args }, span);
        }
        let span = start.to(self.before());
        if let Some(range) = ranges.into_iter().flatten().next() {
            let error = Diagnostic::error(
                "range-in-read",
                range.span(),
                "a range is given where a tensor is read",
            )
            .note("`in` gives the range of a variable where it is introduced: `sum[s in T](...)`")
            .help(format!(
                "if `{}` is a reduction, its argument in parentheses is missing",
                name.name
            ));
            return Err(self.fail(error));
        }
        self.node(ExprKind::Index { name, index }, span)
    }

    fn reduced(&mut self, item: Expr, range: Option<Expr>) -> Parse<Binder> {
        match item.kind {
            ExprKind::Name(name) => Ok(Binder { name, range }),
            _ => {
                let error = Diagnostic::error(
                    "bound-index",
                    item.span(),
                    "expected an index variable here",
                )
                .help("a reduction names the variables that it runs over: `sum[j](x[2 * j])`");
                Err(self.fail(error))
            }
        }
    }

    fn arguments(&mut self) -> Parse<Vec<Expr>> {
        let mut args = vec![];
        while !self.is(")") {
            args.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")", "close the list of arguments")?;
        Ok(args)
    }
}

fn is_constant(word: &str) -> bool {
    ["inf", "pi", "true", "false", "unlimited"].contains(&word)
}

/// The word nearest to a mistyped one, as a help line.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Every other single letter is one change away from a single letter.
    let long = |c: &&str| word.len() > 1 || c.eq_ignore_ascii_case(word);
    closest(word, candidates.into_iter().filter(long)).map(|c| format!("did you mean `{c}`?"))
}
