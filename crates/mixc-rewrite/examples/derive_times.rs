//! Prints the forms of a set of definitions and the time that deriving them takes.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/mixers.rs"]
mod mixers;

fn main() {
    for (name, program) in mixers::all() {
        let options = mixc_rewrite::Options {
            sizes: [("T".into(), 4096)].into(),
            ..Default::default()
        };
        let derived = mixc_rewrite::derive(&program, &options);
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
        for note in &r.notes {
            println!("{:34} {note}", "");
        }
    }
}
