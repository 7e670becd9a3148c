//! Statements, accesses and conditions.

use super::{Show, comma, write_block};
use crate::{Access, Axis, Cond, LoadIx, Place, Stmt};
use std::fmt::{self, Display, Formatter};

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
                every,
                exclusive,
                reverse,
                dst,
                expr,
            } => {
                let every = every.map(|n| format!(" every {n}")).unwrap_or_default();
                let exclusive = if *exclusive { " exclusive" } else { "" };
                let reverse = if *reverse { " reverse" } else { "" };
                write!(
                    f,
                    "scan {} {} along {along}{every}{exclusive}{reverse} ",
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
