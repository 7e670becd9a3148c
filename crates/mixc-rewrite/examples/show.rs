//! Prints the forms of the definitions whose name contains the argument.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/mixers.rs"]
mod mixers;

use mixc_ir::{Stmt, T, Term};

fn text(t: &T) -> String {
    let kids: Vec<String> = t.children().into_iter().map(text).collect();
    let list = kids.join(", ");
    match &**t {
        Term::Const(v) => format!("{v}"),
        Term::Scalar(n) => n.to_string(),
        Term::Index(ix) => format!("#{ix}"),
        Term::Read { tensor, index } => {
            let index: Vec<String> = index.iter().map(|ix| ix.to_string()).collect();
            format!("{tensor}[{}]", index.join(","))
        }
        Term::Map { f, .. } => format!("{}({list})", f.name()),
        Term::Add(_) => format!("({})", kids.join(" + ")),
        Term::Sum { axes, .. } => format!("sum[{}]({list})", axes.join(",")),
        Term::Reduce { op, axes, .. } => format!("{op:?}[{}]({list})", axes.join(",")),
        Term::Softmax { axes, .. } => format!("softmax[{}]({list})", axes.join(",")),
        Term::Online { axes, .. } => format!("online[{}]({list})", axes.join(",")),
        Term::Ss { j, i, strict, .. } => {
            format!("ss{}[{j}>{i}]({list})", if *strict { "x" } else { "" })
        }
        Term::Scan { j, i, strict, .. } => {
            format!("scan{}[{j}>{i}]({list})", if *strict { "x" } else { "" })
        }
        Term::Last { j, .. } => format!("last[{j}]({list})"),
        Term::CumProd {
            axis, exclusive, ..
        } => format!(
            "cumprod{}[{axis}]({list})",
            if *exclusive { "x" } else { "" }
        ),
        Term::SufProd { axis, .. } => format!("sufprod[{axis}]({list})"),
        Term::CumSum { axis, .. } => format!("cumsum[{axis}]({list})"),
        Term::Merge {
            axis, outer, inner, ..
        } => format!("merge[{outer}.{inner}>{axis}]({list})"),
    }
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, program) in mixers::all()
        .into_iter()
        .filter(|(n, _)| n.contains(&wanted))
    {
        println!("== {name}");
        let options = mixc_rewrite::Options {
            sizes: [("T".into(), 4096)].into(),
            ..Default::default()
        };
        for form in mixc_rewrite::derive(&program, &options).forms {
            println!(
                "-- {} ({:?}) {}",
                form.name,
                form.class,
                form.rules.join(" ")
            );
            for stmt in &form.program.body {
                match stmt {
                    Stmt::Let(l) => {
                        println!("   {}[{}] = {}", l.name, l.axes.join(","), text(&l.value))
                    }
                    Stmt::Scan(s) => println!("   scan over {}", s.axis),
                }
            }
        }
    }
}
