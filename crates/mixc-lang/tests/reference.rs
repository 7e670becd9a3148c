//! The examples of the language reference are definitions that work.

use mixc_text::Source;
use std::path::Path;

#[test]
fn examples_of_the_reference_compile() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    let text = std::fs::read_to_string(path).unwrap();
    let examples: Vec<&str> = text
        .split("```mix\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 13, "{} examples", examples.len());
    for example in examples {
        let source = Source::new("docs/language.md", example);
        let programs =
            mixc_lang::compile(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
        for program in programs {
            mixc_ir::verify(&program).unwrap_or_else(|e| panic!("{program}\n{e:#?}"));
        }
    }
}

#[test]
fn the_reference_names_every_function_reduction_and_reserved_word() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    let text = std::fs::read_to_string(path).unwrap();
    let words: std::collections::BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let functions = mixc_lang::builtins::Fun::names();
    let reductions = mixc_lang::builtins::Reduction::ALL.iter().map(|r| r.name());
    for name in functions
        .chain(reductions)
        .chain(mixc_lang::KEYWORDS.iter().copied())
    {
        assert!(
            words.contains(name),
            "docs/language.md does not mention `{name}`"
        );
    }
}

#[test]
fn the_editor_grammar_knows_the_same_words() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../editors/mix.tmLanguage.json");
    let text = std::fs::read_to_string(path).unwrap();
    let words: std::collections::BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        // In JSON a word boundary is written `\\b`, which leaves a `b` before the first word.
        .flat_map(|w| [w, w.strip_prefix('b').unwrap_or(w)])
        .collect();
    let reductions = mixc_lang::builtins::Reduction::ALL.iter().map(|r| r.name());
    for name in reductions.chain(mixc_lang::KEYWORDS.iter().copied()) {
        assert!(
            words.contains(name),
            "editors/mix.tmLanguage.json does not know `{name}`"
        );
    }
}
