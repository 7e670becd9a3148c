//! Prints the forms of definitions and the time that deriving them takes: of the `.mix` files
//! given as arguments, or of the definitions that the tests use.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/mixers.rs"]
mod mixers;

use mixc_ir::Program;
use mixc_rewrite::{Options, derive};

fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        mixers::all()
            .iter()
            .for_each(|(name, program)| report(name, program));
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        match mixc_lang::compile(&mixc_text::Source::new(file.clone(), text)) {
            Ok(programs) => programs.iter().for_each(|p| report(&p.name, p)),
            Err(errors) => println!("{file}: {errors:?}"),
        }
    }
}

fn report(name: &str, program: &Program) {
    let options = Options {
        sizes: [("T".into(), 4096)].into(),
        ..Options::default()
    };
    let derived = derive(program, &options);
    let forms: Vec<&str> = derived.forms.iter().map(|f| f.name.as_str()).collect();
    let r = &derived.report;
    println!(
        "{name:34} {:7.2} ms {:5} classes {:5} nodes {:3} iter. {:14} {}",
        r.micros as f64 / 1e3,
        r.classes,
        r.nodes,
        r.iterations,
        r.stop_reason,
        forms.join(", ")
    );
    for form in &derived.forms {
        if let Err(errors) = mixc_ir::verify(&form.program) {
            println!("{:34} {} is not valid: {errors:?}", "", form.name);
        }
    }
    for note in &r.notes {
        println!("{:34} {note}", "");
    }
}
