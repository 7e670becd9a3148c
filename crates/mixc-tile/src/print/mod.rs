//! The text form of kernels (the grammar is in [`crate::text`]).
//!
//! Statements refer to buffers by number, so only a kernel knows their names: [`Kernel::show`] prints
//! a part of a kernel with names, and the plain `Display` of a part prints `%0`, `%1`, ...

mod expr;
mod stmt;

use crate::{Access, Buf, Compare, Expr, Kernel, LoadIx, ReduceKind, ScanKind, Space, Stmt, Usage};
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
