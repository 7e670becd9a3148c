//! Buffer accesses and scalar expressions.

use super::{Cursor, Parsed, parse_ix};
use crate::{Access, Expr, Place};
use mixc_ir::{Func, Ix};
use mixc_text::{Diagnostic, Span, TokenKind, closest};

/// An expression and the depth of its tree.
type Deep = (Expr, usize);

/// `buffer[i, j0 * 64]`: a lone local axis (see [`Cursor::locals`]) is that axis, anything else a
/// position known at run time.
pub fn parse_access(cursor: &mut Cursor) -> Parsed<Access> {
    let span = cursor.peek().span;
    let name = cursor.expect_name("a buffer")?;
    cursor.expect_punct("[")?;
    access_behind(cursor, &name, span)
}

/// The rest of an access whose `[` was passed.
fn access_behind(c: &mut Cursor, name: &str, span: Span) -> Parsed<Access> {
    let buf = c.buffer(name, span)?;
    let places = c.list("]", |c| {
        Ok(match parse_ix(c)? {
            Ix::Axis(name) if c.locals.contains(&name) => Place::Axis(name),
            ix => Place::At(ix),
        })
    })?;
    Ok(Access { buf, places })
}

/// `exp(s[i, j] - m[i]) * scale`.
pub fn parse_expr(cursor: &mut Cursor) -> Parsed<Expr> {
    comparison(cursor).map(|(expr, _)| expr)
}

fn call(func: Func) -> impl Fn(Expr, Expr) -> Expr {
    move |a, b| Expr::Call(func, vec![a, b])
}

fn comparison(c: &mut Cursor) -> Parsed<Deep> {
    let left = sum(c)?;
    let operators = [
        ("<", Func::Lt),
        ("<=", Func::Le),
        ("==", Func::Eq),
        ("!=", Func::Ne),
    ];
    let Some((_, func)) = operators.iter().find(|(symbol, _)| c.is_punct(symbol)) else {
        return Ok(left);
    };
    c.advance();
    join(c, call(*func), left, sum)
}

fn sum(c: &mut Cursor) -> Parsed<Deep> {
    let mut left = product(c)?;
    loop {
        left = if c.eat_punct("+") {
            join(c, |a, b| Expr::Add(Box::new(a), Box::new(b)), left, product)?
        } else if c.eat_punct("-") {
            join(c, call(Func::Sub), left, product)?
        } else {
            return Ok(left);
        };
    }
}

fn product(c: &mut Cursor) -> Parsed<Deep> {
    let mut left = unary(c)?;
    loop {
        left = if c.eat_punct("*") {
            join(c, |a, b| Expr::Mul(Box::new(a), Box::new(b)), left, unary)?
        } else if c.eat_punct("/") {
            join(c, call(Func::Div), left, unary)?
        } else {
            return Ok(left);
        };
    }
}

fn join(
    c: &mut Cursor,
    build: impl Fn(Expr, Expr) -> Expr,
    left: Deep,
    right: fn(&mut Cursor) -> Parsed<Deep>,
) -> Parsed<Deep> {
    let right = right(c)?;
    let depth = 1 + left.1.max(right.1);
    c.check_depth(depth)?;
    Ok((build(left.0, right.0), depth))
}

/// `-1.5` and `-inf` are constants, any other `-x` is `neg(x)`.
fn unary(c: &mut Cursor) -> Parsed<Deep> {
    if !c.eat_punct("-") {
        return primary(c);
    }
    if let Some(value) = number(c)? {
        return Ok((Expr::Const(-value), 0));
    }
    c.nested(|c| {
        let (arg, depth) = unary(c)?;
        c.check_depth(depth)?;
        Ok((Expr::Call(Func::Neg, vec![arg]), depth + 1))
    })
}

/// A number, `inf` or `nan`, if one comes next. Read as f32 at once: by way of f64 it could be
/// rounded twice.
fn number(c: &mut Cursor) -> Parsed<Option<f32>> {
    let token = c.peek().clone();
    let value = match token.kind {
        TokenKind::Int(_) | TokenKind::Float(_) => c.text_of(token.span).parse().ok(),
        TokenKind::Ident(name) if name == "inf" => Some(f32::INFINITY),
        TokenKind::Ident(name) if name == "nan" => Some(f32::NAN),
        _ => return Ok(None),
    };
    c.advance();
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(Diagnostic::error(
            "bad-number",
            token.span,
            "this number is not an f32",
        )),
    }
}

fn primary(c: &mut Cursor) -> Parsed<Deep> {
    if let Some(value) = number(c)? {
        return Ok((Expr::Const(value), 0));
    }
    let token = c.peek().clone();
    match token.kind {
        TokenKind::Punct("(") => {
            c.advance();
            let inner = c.nested(comparison)?;
            c.expect_punct(")")?;
            Ok(inner)
        }
        TokenKind::Punct("$") => size(c),
        TokenKind::Ident(name) => {
            c.advance();
            if c.eat_punct("[") {
                return Ok((Expr::Elem(access_behind(c, &name, token.span)?), 0));
            }
            if !c.eat_punct("(") {
                return Ok((Expr::Scalar(name.into()), 0));
            }
            if name == "int" {
                let ix = c.nested(parse_ix)?;
                c.expect_punct(")")?;
                return Ok((Expr::Index(ix), 0));
            }
            let args = c.nested(|c| c.list(")", comparison))?;
            let depth = 1 + args.iter().map(|(_, d)| *d).max().unwrap_or(0);
            c.check_depth(depth)?;
            let args: Vec<Expr> = args.into_iter().map(|(arg, _)| arg).collect();
            Ok((
                Expr::Call(function(&name, token.span, args.len())?, args),
                depth,
            ))
        }
        _ => Err(c.unexpected("an expression")),
    }
}

/// `$C` with a known value is that number.
fn size(c: &mut Cursor) -> Parsed<Deep> {
    let start = c.advance().span;
    let name = c.expect_name("the name of a size")?;
    match c.constants.get(&name) {
        Some(value) => Ok((Expr::Const(*value as f32), 0)),
        None => {
            let message = format!("the size `${name}` is an integer, not a real number");
            let error = Diagnostic::error("size-as-real", c.span_from(start), message);
            Err(error.help(format!("write `int(${name})`")))
        }
    }
}

fn function(name: &str, span: Span, given: usize) -> Parsed<Func> {
    let Some(func) = Func::by_name(name) else {
        let error = Diagnostic::error(
            "unknown-function",
            span,
            format!("there is no function `{name}`"),
        );
        let names = Func::ALL.iter().map(|f| f.name()).chain(["int"]);
        return Err(match closest(name, names) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let expected = func.arity();
    if given != expected {
        let message = format!("`{name}` takes {expected} arguments, {given} are given");
        return Err(Diagnostic::error("wrong-arity", span, message));
    }
    Ok(func)
}
