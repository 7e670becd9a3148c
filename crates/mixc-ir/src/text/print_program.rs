//! Printing programs and their parts.

use super::print::{list, word};
use crate::{Ix, Kind, Let, Name, Output, Program, Relation, Scalar, Stmt, Tensor, Term};
use std::fmt::{self, Display, Formatter, Write};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for line in self.doc.lines() {
            writeln!(f, "{}", format!("/// {line}").trim_end())?;
        }
        f.write_str("program ")?;
        word(&self.name, f)?;
        f.write_str(" {\n")?;
        if !self.dims.is_empty() {
            writeln!(f, "    dims {}", list(&self.dims))?;
        }
        for tensor in &self.tensors {
            writeln!(f, "    {tensor}")?;
        }
        for scalar in &self.scalars {
            writeln!(f, "    {scalar}")?;
        }
        for constraint in &self.constraints {
            let symbol = match constraint.relation {
                Relation::Eq => "==",
                Relation::Le => "<=",
                Relation::Lt => "<",
            };
            writeln!(
                f,
                "    require {} {symbol} {}",
                constraint.left, constraint.right
            )?;
        }
        if !self.axes.is_empty() {
            let axes: Vec<String> = self
                .axes
                .iter()
                .map(|(name, size)| format!("{name} = {size}"))
                .collect();
            writeln!(f, "    axes {}", axes.join(", "))?;
        }
        for split in &self.splits {
            writeln!(
                f,
                "    split {} = {}, {} by {}",
                split.axis, split.outer, split.inner, split.size
            )?;
        }
        for stmt in &self.body {
            writeln!(f, "    {stmt}")?;
        }
        for output in &self.outputs {
            writeln!(f, "    {output}")?;
        }
        f.write_str("}\n")
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Real => "real",
        Kind::Int => "int",
        Kind::Bool => "bool",
    }
}

fn range((low, high): (f64, f64), f: &mut Formatter<'_>) -> fmt::Result {
    if (low, high) == (f64::NEG_INFINITY, f64::INFINITY) {
        return Ok(());
    }
    write!(f, " in [{}, {}]", Term::Const(low), Term::Const(high))
}

impl Display for Tensor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("tensor ")?;
        word(&self.name, f)?;
        let axis = |(name, size): (&Name, &Ix)| match size {
            Ix::Dim(size) if size == name => name.to_string(),
            _ => format!("{name} = {size}"),
        };
        let axes: Vec<String> = self.axis_names.iter().zip(&self.shape).map(axis).collect();
        write!(f, ": {}[{}]", kind_name(self.kind), axes.join(", "))?;
        range(self.range, f)?;
        match self.default {
            Some(value) => write!(f, " = {}", Term::Const(value)),
            None => Ok(()),
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("scalar ")?;
        word(&self.name, f)?;
        write!(f, ": {}", kind_name(self.kind))?;
        range(self.range, f)?;
        match &self.default {
            Some(value) => write!(f, " = {value}"),
            None => Ok(()),
        }
    }
}

impl Display for Let {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("let ")?;
        word(&self.name, f)?;
        write!(f, "[{}] = {}", list(&self.axes), self.value)
    }
}

/// As it stands in a program: one level deep, so that the lines of a scan are indented by two.
impl Display for Stmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let scan = match self {
            Stmt::Let(one) => return one.fmt(f),
            Stmt::Scan(scan) => scan,
        };
        let reverse = if scan.reverse { " reverse" } else { "" };
        writeln!(f, "scan {}{reverse} {{", scan.axis)?;
        for carry in &scan.carries {
            f.write_str("        carry ")?;
            word(&carry.name, f)?;
            write!(f, "[{}] = {} next ", list(&carry.axes), carry.init)?;
            word(&carry.next, f)?;
            f.write_str(" last ")?;
            word(&carry.last, f)?;
            f.write_char('\n')?;
        }
        for one in &scan.body {
            writeln!(f, "        {one}")?;
        }
        f.write_str("    }")
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("output ")?;
        word(&self.name, f)?;
        write!(f, "[{}] as [{}]", list(&self.axes), list(&self.axis_names))
    }
}
