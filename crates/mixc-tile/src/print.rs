//! The text form of kernels (the grammar is in [`crate::text`]).
//!
//! Statements refer to buffers by number, so only a kernel knows their names: [`Kernel::show`] prints
//! a part of a kernel with names, and the plain `Display` of a part prints `%0`, `%1`, ...

use crate::{
    Access, Axis, Buf, Compare, Cond, Expr, Kernel, LoadIx, Place, ReduceKind, ScanKind, Space,
    Stmt, Usage,
};
use mixc_ir::Func;
use std::fmt::{self, Display, Formatter};

/// A part of a kernel together with the buffers that it refers to.
pub struct Show<'a, N> {
    bufs: &'a [Buf],
    node: &'a N,
    /// Nesting depth, in levels of two spaces.
    depth: usize,
}

impl Kernel {
    /// `node`, a part of this kernel, as something that prints with buffer names.
    pub fn show<'a, N>(&'a self, node: &'a N) -> Show<'a, N> {
        Show {
            bufs: &self.bufs,
            node,
            depth: 0,
        }
    }

    /// A statement on one line: of a loop or condition only its head.
    pub fn headline(&self, stmt: &Stmt) -> String {
        match stmt {
            Stmt::For {
                var,
                lo,
                hi,
                reverse,
                ..
            } => {
                let reverse = if *reverse { "reverse " } else { "" };
                format!("for {var} in {reverse}{lo} .. {hi}")
            }
            Stmt::If { cond, .. } => format!("if {cond}"),
            _ => self.show(stmt).to_string(),
        }
    }
}

impl<'a, N> Show<'a, N> {
    fn with<M>(&self, node: &'a M) -> Show<'a, M> {
        Show {
            bufs: self.bufs,
            node,
            depth: self.depth,
        }
    }
}

macro_rules! display_without_names {
    ($($node:ident)*) => {$(
        impl Display for $node {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                Show { bufs: &[], node: self, depth: 0 }.fmt(f)
            }
        }
    )*};
}
display_without_names!(Access LoadIx Expr Stmt);

/// Items separated by commas.
fn comma<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut show: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            f.write_str(", ")?;
        }
        show(f, item)?;
    }
    Ok(())
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kernel ")?;
        if is_identifier(&self.name) {
            write!(f, "{}", self.name)?
        } else {
            write!(f, "\"{}\"", self.name)?
        }
        write!(f, "(")?;
        if !self.dims.is_empty() {
            write!(f, "dims: ")?;
            comma(f, &self.dims, |f, d| write!(f, "{d}"))?;
        }
        if !self.scalars.is_empty() {
            write!(
                f,
                "{}scalars: ",
                if self.dims.is_empty() { "" } else { "; " }
            )?;
            comma(f, &self.scalars, |f, s| write!(f, "{s}"))?;
        }
        writeln!(f, ") {{")?;
        for t in &self.tensors {
            write!(f, "  {} {}: {} [", t.usage.name(), t.name, t.dtype.name())?;
            comma(f, &t.shape, |f, ix| write!(f, "{ix}"))?;
            writeln!(f, "]{}", if t.unit_inner { " unit" } else { "" })?;
        }
        for b in &self.bufs {
            writeln!(f, "  {} {}: {:?}", b.space.name(), b.name, b.shape)?;
        }
        if !self.grid.is_empty() {
            write!(f, "  grid ")?;
            comma(f, &self.grid, |f, g| write!(f, "{} < {}", g.name, g.extent))?;
            writeln!(f)?;
        }
        write_block(f, &self.bufs, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

/// Each statement on its own indented line.
fn write_block(f: &mut Formatter<'_>, bufs: &[Buf], body: &[Stmt], depth: usize) -> fmt::Result {
    for node in body {
        writeln!(
            f,
            "{:indent$}{}",
            "",
            Show { bufs, node, depth },
            indent = 2 * depth
        )?;
    }
    Ok(())
}

impl Display for Show<'_, Stmt> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let indent = 2 * self.depth;
        match self.node {
            Stmt::For {
                var,
                lo,
                hi,
                reverse,
                body,
            } => {
                let reverse = if *reverse { "reverse " } else { "" };
                writeln!(f, "for {var} in {reverse}{lo} .. {hi} {{")?;
                write_block(f, self.bufs, body, self.depth + 1)?;
                write!(f, "{:indent$}}}", "")
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                writeln!(f, "if {cond} {{")?;
                write_block(f, self.bufs, then, self.depth + 1)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{:indent$}}} else {{", "")?;
                    write_block(f, self.bufs, otherwise, self.depth + 1)?;
                }
                write!(f, "{:indent$}}}", "")
            }
            Stmt::Load {
                axes,
                dst,
                tensor,
                index,
            } => {
                write!(f, "load {} {} <- {tensor}[", Axes(axes), self.with(dst))?;
                comma(f, index, |f, ix| {
                    write!(
                        f,
                        "{}",
                        Show {
                            bufs: self.bufs,
                            node: ix,
                            depth: 0
                        }
                    )
                })?;
                write!(f, "]")
            }
            Stmt::Store {
                axes,
                tensor,
                index,
                src,
            } => {
                write!(f, "store {} {tensor}[", Axes(axes))?;
                comma(f, index, |f, ix| write!(f, "{ix}"))?;
                write!(f, "] <- {}", self.with(src))
            }
            Stmt::Map { axes, dst, expr } => {
                write!(
                    f,
                    "map {} {} = {}",
                    Axes(axes),
                    self.with(dst),
                    self.with(expr)
                )
            }
            Stmt::Reduce {
                axes,
                kind,
                accumulate,
                dst,
                expr,
            } => {
                let (kind, assign) = (kind.name(), assignment(*accumulate));
                write!(
                    f,
                    "reduce {kind} {} {} {assign} {}",
                    Axes(axes),
                    self.with(dst),
                    self.with(expr)
                )
            }
            Stmt::Contract {
                axes,
                accumulate,
                dst,
                a,
                b,
            } => {
                let assign = assignment(*accumulate);
                write!(f, "contract {} {} {assign} ", Axes(axes), self.with(dst))?;
                write!(f, "{} * {}", self.with(a), self.with(b))
            }
            Stmt::Scan {
                axes,
                along,
                kind,
                exclusive,
                reverse,
                dst,
                expr,
            } => {
                let exclusive = if *exclusive { " exclusive" } else { "" };
                let reverse = if *reverse { " reverse" } else { "" };
                write!(
                    f,
                    "scan {} {} along {along}{exclusive}{reverse} ",
                    kind.name(),
                    Axes(axes)
                )?;
                write!(f, "{} = {}", self.with(dst), self.with(expr))
            }
        }
    }
}

fn assignment(accumulate: bool) -> &'static str {
    if accumulate { "(+)=" } else { "=" }
}

struct Axes<'a>(&'a [Axis]);

impl Display for Axes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        comma(f, self.0, |f, a| write!(f, "{} < {}", a.name, a.extent))?;
        write!(f, "]")
    }
}

impl Display for Show<'_, Access> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let number = self.node.buf.0;
        match self.bufs.get(number as usize) {
            Some(buf) => write!(f, "{}[", buf.name)?,
            None => write!(f, "%{number}[")?,
        }
        comma(f, &self.node.places, |f, p| write!(f, "{p}"))?;
        write!(f, "]")
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Axis(name) => write!(f, "{name}"),
            Place::At(ix) => write!(f, "{ix}"),
        }
    }
}

impl Display for Show<'_, LoadIx> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.node {
            LoadIx::Ix(ix) => write!(f, "{ix}"),
            LoadIx::Gather(access) => write!(f, "gather {}", self.with(access)),
        }
    }
}

impl Display for Cond {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Cond {
            left,
            compare,
            right,
        } = self;
        write!(f, "{left} {} {right}", compare.symbol())
    }
}

/// How tightly the operator at the top of an expression binds.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Compare,
    Sum,
    Product,
    Sign,
    Primary,
}

/// `a symbol b`, if the expression is written so.
fn infix(expr: &Expr) -> Option<(&Expr, &'static str, &Expr, Level)> {
    match expr {
        Expr::Add(a, b) => Some((a, "+", b, Level::Sum)),
        Expr::Mul(a, b) => Some((a, "*", b, Level::Product)),
        Expr::Call(func, args) => {
            let [a, b] = args.as_slice() else { return None };
            let (symbol, level) = match func {
                Func::Sub => ("-", Level::Sum),
                Func::Div => ("/", Level::Product),
                Func::Lt => ("<", Level::Compare),
                Func::Le => ("<=", Level::Compare),
                Func::Eq => ("==", Level::Compare),
                Func::Ne => ("!=", Level::Compare),
                _ => return None,
            };
            Some((a, symbol, b, level))
        }
        _ => None,
    }
}

/// The operand of a leading `-`. A negated constant is written `neg(1.0)`, since `-1.0` is a constant.
fn negated(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Call(Func::Neg, args) => match args.as_slice() {
            [Expr::Const(_)] => None,
            [arg] => Some(arg),
            _ => None,
        },
        _ => None,
    }
}

fn level(expr: &Expr) -> Level {
    match (infix(expr), negated(expr)) {
        (Some((.., level)), _) => level,
        (None, Some(_)) => Level::Sign,
        (None, None) => Level::Primary,
    }
}

impl Display for Show<'_, Expr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bufs = self.bufs;
        let operand = |f: &mut Formatter<'_>, node: &Expr, parenthesise: bool| {
            let show = Show {
                bufs,
                node,
                depth: 0,
            };
            if parenthesise {
                write!(f, "({show})")
            } else {
                write!(f, "{show}")
            }
        };
        if let Some((a, symbol, b, own)) = infix(self.node) {
            // Sums and products group to the left, comparisons do not chain.
            operand(
                f,
                a,
                level(a) < own || (own == Level::Compare && level(a) == own),
            )?;
            write!(f, " {symbol} ")?;
            return operand(f, b, level(b) <= own);
        }
        if let Some(arg) = negated(self.node) {
            write!(f, "-")?;
            return operand(f, arg, level(arg) < Level::Sign);
        }
        match self.node {
            Expr::Const(v) if v.is_nan() => write!(f, "nan"),
            // `{:?}` of a float is the shortest text that reads back as the same float.
            Expr::Const(v) => write!(f, "{v:?}"),
            Expr::Scalar(name) => write!(f, "{name}"),
            Expr::Elem(access) => write!(
                f,
                "{}",
                Show {
                    bufs,
                    node: access,
                    depth: 0
                }
            ),
            Expr::Index(ix) => write!(f, "int({ix})"),
            Expr::Call(func, args) => {
                write!(f, "{}(", func.name())?;
                comma(f, args, |f, node| {
                    write!(
                        f,
                        "{}",
                        Show {
                            bufs,
                            node,
                            depth: 0
                        }
                    )
                })?;
                write!(f, ")")
            }
            Expr::Add(..) | Expr::Mul(..) => unreachable!("bug: sums and products are infix"),
        }
    }
}

/// Whether the lexer reads the whole text as one identifier.
pub(crate) fn is_identifier(text: &str) -> bool {
    let stem = text.trim_end_matches('\'');
    stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && stem.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

macro_rules! names {
    ($type:ident $method:ident $($variant:ident $name:literal)*) => {
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// How the text form writes it.
            pub fn $method(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}
names!(Usage name In "in" Out "out" Work "work");
names!(Space name Shared "shared" Register "register");
names!(ReduceKind name Sum "sum" Max "max" Min "min" Prod "prod");
names!(ScanKind name Sum "sum" Prod "prod");
names!(Compare symbol Lt "<" Le "<=" Eq "==");
