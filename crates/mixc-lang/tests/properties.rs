//! No text makes the front end panic, run away or overflow the stack, and what parses prints and
//! parses back.

use mixc_text::Source;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn shipped() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "mix") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut files = vec![];
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ir"),
        &mut files,
    );
    files.sort();
    files
}

/// Prints what parses and compares; compiles; renders the mistakes.
fn exercise(text: &str) {
    let source = Source::new("text", text);
    let (mixers, errors) = mixc_lang::parse_mixers(&source);
    if errors.is_empty() {
        let printed: String = mixers.iter().map(|m| format!("{m}\n")).collect();
        let (again, errors) = mixc_lang::parse_mixers(&Source::new("printed", printed.clone()));
        assert!(errors.is_empty(), "{printed}\n{errors:#?}");
        assert_eq!(again, mixers, "{printed}");
    }
    match mixc_lang::compile(&source) {
        Ok(programs) => programs.iter().for_each(|p| {
            mixc_ir::verify(p).unwrap_or_else(|e| panic!("{text}\n{p}\n{e:#?}"));
        }),
        Err(errors) => {
            assert!(!errors.is_empty());
            source.render(&errors);
        }
    }
}

#[test]
fn shipped_definitions_print_and_parse_back() {
    let files = shipped();
    assert!(files.len() > 30);
    for (path, text) in files {
        let source = Source::new(path.to_string_lossy(), text.as_str());
        let (mixers, errors) = mixc_lang::parse_mixers(&source);
        assert!(errors.is_empty(), "{}", source.render(&errors));
        let [mixer] = mixers.as_slice() else {
            panic!("{path:?}: one mixer")
        };
        assert_eq!(
            path.file_stem().unwrap().to_str(),
            Some(mixer.name.name.as_str())
        );
        assert!(
            mixer
                .docs
                .iter()
                .any(|d| d.contains("19") || d.contains("20")),
            "{path:?}: a citation"
        );
        exercise(&text);
    }
}

#[test]
fn hostile_nesting_is_refused() {
    let deep = 20_000;
    let bodies = [
        format!("o[t] = {}x[t]{}", "(".repeat(deep), ")".repeat(deep)),
        format!("o[t] = {}x[t]", "-".repeat(deep)),
        format!("o[t] = {}x[t]", "not ".repeat(deep)),
        format!("o[t] = x[t]{}", " + x[t]".repeat(deep)),
        format!("o[t] = x[t]{}", " ** x[t]".repeat(deep)),
        format!("o[t] = {}x[t]", "x[t] if t > 0 else ".repeat(deep)),
        format!("o[t] = {}x[t]{}", "exp(".repeat(deep), ")".repeat(deep)),
        format!("o[t] = {}t{}", "x[".repeat(deep), "]".repeat(deep)),
        format!(
            "o[t] = {}x[t]{}",
            "sum[a in 2](".repeat(deep),
            ")".repeat(deep)
        ),
        "scan t in T {".repeat(deep),
    ];
    for body in bodies {
        let text = format!("mixer m(x: [B, T]) -> o: [B, T] {{\n{body}\n}}\n");
        let errors = mixc_lang::compile(&Source::new("deep", text)).unwrap_err();
        assert!(errors.iter().all(|e| !e.message.is_empty()));
    }
}

#[test]
fn functions_and_complex_products_cannot_explode() {
    let doubling = (1..40)
        .map(|n| format!("f{n}(a) = f{}(a) + f{}(a)\n", n - 1, n - 1))
        .collect::<String>();
    exercise(&format!(
        "mixer m(x: [T]) -> o: [T] {{\nf0(a) = a\n{doubling}o[t] = f39(x[t])\n}}\n"
    ));
    let product = " * z[t]".repeat(80);
    exercise(&format!(
        "mixer m(z: complex [T]) -> o: complex [T] {{\no[t] = z[t]{product}\n}}\n"
    ));
    let ranks = format!("{}x[t]{}", "rank[t](".repeat(30), ")".repeat(30));
    exercise(&format!(
        "mixer m(x: [T]) -> o: [T] {{\no[t] = {ranks}\n}}\n"
    ));
}

const WORDS: &[&str] = &[
    "mixer",
    "m",
    "x",
    "o",
    "s",
    "t",
    "i",
    "j",
    "B",
    "H",
    "T",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "->",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "<",
    "<=",
    "==",
    "!=",
    "if",
    "else",
    "and",
    "or",
    "not",
    "in",
    "scan",
    "carry",
    "reverse",
    "where",
    "sum",
    "softmax",
    "cumsum",
    "topk",
    "argmax",
    "max",
    "exp",
    "complex",
    "int",
    "f32",
    "0",
    "1",
    "2.5",
    "inf",
    "pi",
    "\n",
    "\n",
    "/// doc\n",
    ";",
    "'",
    "\"",
    "unlimited",
    "re",
    "1e400",
    "99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..120)) {
        exercise(&words.join(" "));
        exercise(&format!("mixer m(x: [B, H, T], y: complex [H, 2], n: int = 1) -> o: [B, H, T] {{\n{}\no[t] = x[t]\n}}", words.join(" ")));
    }

    #[test]
    fn mutated_definitions(
        file in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, proptest::sample::select(WORDS)), 1..6),
    ) {
        let files = shipped();
        let mut text = file.get(&files).1.clone();
        for (place, delete, word) in edits {
            let mut at = place.index(text.len() + 1);
            while !text.is_char_boundary(at) { at -= 1; }
            let mut end = (at + delete).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(at..end, word);
        }
        exercise(&text);
    }
}
