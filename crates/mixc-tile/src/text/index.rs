//! Index expressions. Nothing is folded, so that text and expression correspond node by node.

use super::{Cursor, Parsed};
use mixc_ir::Ix;
use mixc_text::{Diagnostic, TokenKind};
use std::collections::BTreeMap;
use std::sync::Arc;

type Binary = fn(Arc<Ix>, Arc<Ix>) -> Ix;

/// An index expression and the depth of its tree.
type Deep = (Ix, usize);

/// `i0 * 64 + i`, `min($J, i0 * 64 + 64)`.
pub fn parse_ix(cursor: &mut Cursor) -> Parsed<Ix> {
    sum(cursor).map(|(ix, _)| ix)
}

/// An index expression whose value is known while reading: the extent of an axis or buffer.
pub fn parse_extent(cursor: &mut Cursor) -> Parsed<usize> {
    let start = cursor.peek().span;
    let ix = parse_ix(cursor)?;
    let span = cursor.span_from(start);
    let Some(value) = ix.eval_sizes(&BTreeMap::new()) else {
        let error = Diagnostic::error(
            "not-constant",
            span,
            format!("the extent `{ix}` is not a constant"),
        );
        return Err(
            error.note("extents of buffers and local axes are known when the kernel is made")
        );
    };
    usize::try_from(value).map_err(|_| {
        Diagnostic::error(
            "negative-extent",
            span,
            format!("the extent is {value}, it must not be negative"),
        )
    })
}

fn sum(c: &mut Cursor) -> Parsed<Deep> {
    chain(c, &[("+", Ix::Add as Binary), ("-", Ix::Sub)], product)
}

fn product(c: &mut Cursor) -> Parsed<Deep> {
    chain(
        c,
        &[("*", Ix::Mul as Binary), ("/", Ix::Div), ("%", Ix::Mod)],
        unary,
    )
}

/// Operands joined by operators that group to the left.
fn chain(
    c: &mut Cursor,
    operators: &[(&str, Binary)],
    operand: fn(&mut Cursor) -> Parsed<Deep>,
) -> Parsed<Deep> {
    let mut left = operand(c)?;
    while let Some((_, build)) = operators.iter().find(|(symbol, _)| c.is_punct(symbol)) {
        c.advance();
        left = join(c, *build, left, operand)?;
    }
    Ok(left)
}

fn join(
    c: &mut Cursor,
    build: Binary,
    left: Deep,
    right: fn(&mut Cursor) -> Parsed<Deep>,
) -> Parsed<Deep> {
    let right = right(c)?;
    let depth = 1 + left.1.max(right.1);
    c.check_depth(depth)?;
    Ok((build(Arc::new(left.0), Arc::new(right.0)), depth))
}

fn unary(c: &mut Cursor) -> Parsed<Deep> {
    if !c.is_punct("-") {
        return primary(c);
    }
    let minus = c.advance().span;
    if let TokenKind::Int(value) = c.peek().kind {
        let span = minus.to(c.advance().span);
        let value = i64::try_from(-i128::from(value)).map_err(|_| too_large(span))?;
        return Ok((Ix::Const(value), 0));
    }
    c.nested(|c| join(c, Ix::Sub, (Ix::Const(0), 0), unary))
}

fn too_large(span: mixc_text::Span) -> Diagnostic {
    Diagnostic::error("bad-number", span, "this integer does not fit in 64 bits")
}

fn primary(c: &mut Cursor) -> Parsed<Deep> {
    let token = c.peek().clone();
    match token.kind {
        TokenKind::Int(value) => {
            c.advance();
            Ok((
                Ix::Const(i64::try_from(value).map_err(|_| too_large(token.span))?),
                0,
            ))
        }
        TokenKind::Punct("$") => {
            c.advance();
            let name = c.expect_name("the name of a size")?;
            Ok((
                c.constants
                    .get(&name)
                    .map_or(Ix::Dim(name), |v| Ix::Const(*v)),
                0,
            ))
        }
        TokenKind::Punct("(") => {
            c.advance();
            let inner = c.nested(sum)?;
            c.expect_punct(")")?;
            Ok(inner)
        }
        TokenKind::Ident(name) => {
            c.advance();
            if c.eat_punct("(") {
                return c.nested(|c| call(c, &name, token.span));
            }
            if c.eat_punct("[") {
                let index = c.nested(|c| c.list("]", sum))?;
                let depth = 1 + index.iter().map(|(_, d)| *d).max().unwrap_or(0);
                c.check_depth(depth)?;
                return Ok((
                    Ix::Elem(name.into(), index.into_iter().map(|(ix, _)| ix).collect()),
                    depth,
                ));
            }
            Ok((Ix::Axis(name.into()), 0))
        }
        _ => Err(c.unexpected("an index expression")),
    }
}

fn call(c: &mut Cursor, name: &str, span: mixc_text::Span) -> Parsed<Deep> {
    let build: Binary = match name {
        "min" => Ix::Min,
        "max" => Ix::Max,
        "ceil_div" => |a, b| {
            let last = Ix::Sub(Arc::new(Ix::Add(a, b.clone())), Arc::new(Ix::Const(1)));
            Ix::Div(Arc::new(last), b)
        },
        _ => {
            let error = Diagnostic::error(
                "unknown-function",
                span,
                format!("no function `{name}` on integers"),
            );
            return Err(error.note("expected `min`, `max` or `ceil_div`"));
        }
    };
    let left = sum(c)?;
    c.expect_punct(",")?;
    let (ix, depth) = join(c, build, left, sum)?;
    c.expect_punct(")")?;
    Ok((ix, depth + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_text::Source;

    fn read(text: &str) -> Result<String, String> {
        let source = Source::new("test", text);
        let mut cursor = Cursor::new(&source);
        cursor.constants.insert("C".into(), 16);
        parse_ix(&mut cursor)
            .map(|ix| ix.to_string())
            .map_err(|e| e.message)
    }

    #[test]
    fn operators_group_to_the_left_and_constants_are_put_in() {
        assert_eq!(
            read("a - (b - c) - 1 * $C").unwrap(),
            "a - (b - c) - 1 * 16"
        );
        assert_eq!(read("(a - b) - -3 % x").unwrap(), "a - b - -3 % x");
        assert_eq!(read("ceil_div($T, $C)").unwrap(), "($T + 16 - 1) / 16");
        assert_eq!(read("-x").unwrap(), "0 - x");
        assert_eq!(read("-9223372036854775808").unwrap(), i64::MIN.to_string());
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        assert_eq!(
            read("a + ").unwrap_err(),
            "expected an index expression, found the end of the text"
        );
        assert_eq!(read("min(a b)").unwrap_err(), "expected `,`, found `b`");
        assert_eq!(read("abs(a)").unwrap_err(), "no function `abs` on integers");
        assert_eq!(
            read("18446744073709551615").unwrap_err(),
            "this integer does not fit in 64 bits"
        );
        assert_eq!(
            read(&"(".repeat(100_000)).unwrap_err(),
            "nested more than 128 levels deep"
        );
        assert_eq!(
            read(&"1 + ".repeat(100_000)).unwrap_err(),
            "nested more than 128 levels deep"
        );
    }
}
