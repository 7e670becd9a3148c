//! What a user's mistake gets: one file for each, with the rendered text beside it.

use mixc_text::Source;
use std::path::Path;

/// `tests/mistakes/NAME.mix` renders as `tests/mistakes/NAME.snap`. `INSTA_UPDATE=always` rewrites.
#[test]
fn every_mistake_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let entries = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|p| p.extension().is_some_and(|e| e == "mix"))
        .collect();
    files.sort();
    assert!(files.len() >= 40, "{} mistakes", files.len());

    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut helpless = vec![];
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let source = Source::new(
            format!("{name}.mix"),
            std::fs::read_to_string(&path).unwrap(),
        );
        let errors = mixc_lang::compile(&source).expect_err(&name);
        for error in &errors {
            if error.help.is_none() {
                helpless.push(format!("{name}: {}", error.message));
            }
            assert!(error.span().end <= source.text.len(), "{name}: {error:?}");
        }
        settings.bind(|| insta::assert_snapshot!(name.clone(), source.render(&errors)));
    }
    // The lexer alone cannot know what a stray character was meant to be.
    helpless.retain(|line| !line.starts_with("bad-"));
    assert!(helpless.is_empty(), "no suggestion: {helpless:#?}");
}
