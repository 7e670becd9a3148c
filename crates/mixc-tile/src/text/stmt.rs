//! Statements, with recovery at the next statement after a mistake.

use super::{Cursor, Parsed, parse_access, parse_expr, parse_extent, parse_ix};
use crate::{Axis, Compare, Cond, LoadIx, ReduceKind, ScanKind, Stmt};
use mixc_text::TokenKind;

const KEYWORDS: [&str; 8] = [
    "for", "if", "load", "store", "map", "reduce", "contract", "scan",
];

/// Statements up to a `}` or the end of the text, neither of which is passed. Mistakes go to
/// [`Cursor::errors`], and reading goes on at the next statement.
pub fn parse_stmts(cursor: &mut Cursor) -> Vec<Stmt> {
    let mut body = vec![];
    while !cursor.is_punct("}") && !cursor.at_end() {
        statement_or_recover(cursor, &mut body);
    }
    body
}

/// Reads one statement onto the end of `body`, or skips it.
pub(super) fn statement_or_recover(cursor: &mut Cursor, body: &mut Vec<Stmt>) {
    let before = cursor.peek().span;
    match statement(cursor) {
        Ok(stmt) => body.push(stmt),
        Err(error) => {
            cursor.errors.push(error);
            if cursor.peek().span == before && !cursor.is_punct("}") {
                cursor.advance();
            }
            skip_statement(cursor);
        }
    }
    cursor.locals.clear();
}

/// Goes to the next line that starts with a word, or to the `}` that closes this block.
/// Blocks on the way are read for their own mistakes.
pub(super) fn skip_statement(c: &mut Cursor) {
    while !c.at_end() && !c.is_punct("}") {
        let next = c.peek();
        if next.starts_line && matches!(next.kind, TokenKind::Ident(_)) {
            return;
        }
        if c.eat_punct("{") {
            let inner = c.nested(|c| Ok(parse_stmts(c)));
            if inner.is_err() {
                // Too deep to read; nothing more can be said about the text.
                while !c.at_end() {
                    c.advance();
                }
            }
            c.eat_punct("}");
        } else {
            c.advance();
        }
    }
}

fn statement(c: &mut Cursor) -> Parsed<Stmt> {
    let TokenKind::Ident(keyword) = c.peek().kind.clone() else {
        return Err(c.unexpected("a statement"));
    };
    if !KEYWORDS.contains(&keyword.as_str()) {
        let error = c
            .unexpected("a statement")
            .note(format!("statements start with {}", KEYWORDS.join(", ")));
        return Err(match mixc_text::closest(&keyword, KEYWORDS) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    c.advance();
    match keyword.as_str() {
        "for" => for_loop(c),
        "if" => condition(c),
        "load" => {
            let axes = parse_axes(c)?;
            let dst = parse_access(c)?;
            c.expect_punct("<-")?;
            let tensor = c.expect_name("a tensor")?;
            c.expect_punct("[")?;
            let index = c.list("]", load_ix)?;
            Ok(Stmt::Load {
                axes,
                dst,
                tensor,
                index,
            })
        }
        "store" => {
            let axes = parse_axes(c)?;
            let tensor = c.expect_name("a tensor")?;
            c.expect_punct("[")?;
            let index = c.list("]", parse_ix)?;
            c.expect_punct("<-")?;
            Ok(Stmt::Store {
                axes,
                tensor,
                index,
                src: parse_expr(c)?,
            })
        }
        "map" => {
            let axes = parse_axes(c)?;
            let dst = parse_access(c)?;
            c.expect_punct("=")?;
            Ok(Stmt::Map {
                axes,
                dst,
                expr: parse_expr(c)?,
            })
        }
        "reduce" => {
            let kind = c.expect_one_of("a reduction", ReduceKind::ALL, ReduceKind::name)?;
            let axes = parse_axes(c)?;
            let dst = parse_access(c)?;
            let accumulate = assignment(c)?;
            Ok(Stmt::Reduce {
                axes,
                kind,
                accumulate,
                dst,
                expr: parse_expr(c)?,
            })
        }
        "contract" => {
            let axes = parse_axes(c)?;
            let dst = parse_access(c)?;
            let accumulate = assignment(c)?;
            let a = parse_access(c)?;
            c.expect_punct("*")?;
            Ok(Stmt::Contract {
                axes,
                accumulate,
                dst,
                a,
                b: parse_access(c)?,
            })
        }
        _ => scan(c),
    }
}

fn for_loop(c: &mut Cursor) -> Parsed<Stmt> {
    let var = c.expect_name("a loop variable")?;
    c.expect_word("in")?;
    let reverse = c.eat_word("reverse");
    let lo = parse_ix(c)?;
    c.expect_punct("..")?;
    let hi = parse_ix(c)?;
    Ok(Stmt::For {
        var,
        lo,
        hi,
        reverse,
        body: block(c)?,
    })
}

fn condition(c: &mut Cursor) -> Parsed<Stmt> {
    let left = parse_ix(c)?;
    let Some(compare) = Compare::ALL.iter().find(|k| c.is_punct(k.symbol())) else {
        return Err(c.unexpected("`<`, `<=` or `==`"));
    };
    c.advance();
    let cond = Cond {
        left,
        compare: *compare,
        right: parse_ix(c)?,
    };
    let then = block(c)?;
    let otherwise = if c.eat_word("else") {
        block(c)?
    } else {
        vec![]
    };
    Ok(Stmt::If {
        cond,
        then,
        otherwise,
    })
}

fn block(c: &mut Cursor) -> Parsed<Vec<Stmt>> {
    c.expect_punct("{")?;
    let body = c.nested(|c| Ok(parse_stmts(c)))?;
    c.expect_punct("}")?;
    Ok(body)
}

fn scan(c: &mut Cursor) -> Parsed<Stmt> {
    let kind = c.expect_one_of("a scan", ScanKind::ALL, ScanKind::name)?;
    let axes = parse_axes(c)?;
    c.expect_word("along")?;
    let along = c.expect_name("a local axis")?;
    let every = match c.eat_word("every") {
        true => Some(parse_extent(c)?),
        false => None,
    };
    let exclusive = c.eat_word("exclusive");
    let reverse = c.eat_word("reverse");
    let dst = parse_access(c)?;
    c.expect_punct("=")?;
    Ok(Stmt::Scan {
        axes,
        along,
        kind,
        every,
        exclusive,
        reverse,
        dst,
        expr: parse_expr(c)?,
    })
}

/// `[i < 64, d < 64]`, which become [`Cursor::locals`].
pub fn parse_axes(cursor: &mut Cursor) -> Parsed<Vec<Axis>> {
    cursor.expect_punct("[")?;
    let axes = cursor.list("]", |c| {
        let name = c.expect_name("a local axis")?;
        c.expect_punct("<")?;
        Ok(Axis {
            name,
            extent: parse_extent(c)?,
        })
    })?;
    cursor.locals = axes.iter().map(|a| a.name.clone()).collect();
    Ok(axes)
}

fn assignment(c: &mut Cursor) -> Parsed<bool> {
    if c.eat_punct("=") {
        return Ok(false);
    }
    if !c.is_punct("(") {
        return Err(c.unexpected("`=` or `(+)=`"));
    }
    ["(", "+", ")", "="]
        .into_iter()
        .try_for_each(|p| c.expect_punct(p))?;
    Ok(true)
}

fn load_ix(c: &mut Cursor) -> Parsed<LoadIx> {
    let gather = c.is_word("gather") && matches!(c.peek_ahead(1).kind, TokenKind::Ident(_));
    if gather {
        c.advance();
        return Ok(LoadIx::Gather(parse_access(c)?));
    }
    Ok(LoadIx::Ix(parse_ix(c)?))
}
