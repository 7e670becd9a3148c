//! Prints the forms of the definitions in the `.mix` files given as arguments, with their laws.

use mixc_rewrite::{Options, derive};

fn main() {
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let programs = match mixc_lang::compile(&mixc_text::Source::new(file.clone(), text)) {
            Ok(programs) => programs,
            Err(errors) => panic!("{file}: {errors:?}"),
        };
        for program in programs {
            let options = Options {
                sizes: [("T".into(), 4096)].into(),
                ..Options::default()
            };
            for form in derive(&program, &options).forms {
                let cost = form.cost(&options.sizes, &options.device);
                println!(
                    "-- {} ({:?}), {:.3e} s: {}",
                    form.name,
                    form.class,
                    cost.seconds,
                    form.rules.join(" ")
                );
                println!("{}", form.program);
            }
        }
    }
}
