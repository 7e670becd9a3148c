use mixc_text::Source;
#[test]
fn show() {
    let Ok(path) = std::env::var("MIX") else {
        return;
    };
    let source = Source::new(&path, std::fs::read_to_string(&path).unwrap());
    match mixc_lang::compile(&source) {
        Ok(programs) => programs.iter().for_each(|p| println!("{p}")),
        Err(errors) => println!("{}", source.render(&errors)),
    }
}
