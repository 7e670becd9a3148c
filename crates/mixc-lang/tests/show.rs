use mixc_text::Source;
#[test]
fn show() {
    let Ok(path) = std::env::var("MIX") else { return };
    for path in path.split_whitespace() {
    let source = Source::new(path, std::fs::read_to_string(&path).unwrap());
    match mixc_lang::compile(&source) {
        Ok(programs) => for p in &programs {
            if std::env::var("P").is_ok() { println!("{p}"); }
            if let Err(e) = mixc_ir::verify(p) { println!("{path}: {e:#?}"); }
        }
        Err(errors) => println!("{}", source.render(&errors)),
    }
    }
}
