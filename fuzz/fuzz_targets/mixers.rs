//! Any text: the front end answers with programs that verify or with mistakes, and what parses
//! prints and parses back. Seeds: the shipped definitions.
//!
//! `cargo +nightly fuzz run mixers fuzz/corpus/mixers ir/*`

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixc_text::Source;

fuzz_target!(|text: &str| {
    let source = Source::new("text", text);
    let (mixers, errors) = mixc_lang::parse_mixers(&source);
    if errors.is_empty() {
        let printed: String = mixers.iter().map(|m| format!("{m}\n")).collect();
        let (again, errors) = mixc_lang::parse_mixers(&Source::new("printed", printed));
        assert!(errors.is_empty() && again == mixers);
    }
    match mixc_lang::compile(&source) {
        Ok(programs) => programs.iter().for_each(|p| assert!(mixc_ir::verify(p).is_ok())),
        Err(errors) => {
            source.render(&errors);
        }
    }
});
