//! Prints the core program of every mixer of the given files, or their mistakes.

use mixc_text::Source;

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let source = Source::new(&path, std::fs::read_to_string(&path)?);
        match mixc_lang::compile(&source) {
            Ok(programs) => programs.iter().for_each(|p| println!("{p}")),
            Err(errors) => print!("{}", source.render(&errors)),
        }
    }
    Ok(())
}
