//! The examples in the documents compile.

use mixc_text::Source;

fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let rest = text.split(&fence).skip(1);
    rest.map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn examples_of_extending_compile() {
    let text = include_str!("../../../docs/extending.md");
    let (mixers, templates) = (blocks(text, "mix"), blocks(text, "tile"));
    assert!(!mixers.is_empty() && !templates.is_empty());
    for example in mixers {
        let programs = mixc::compile(&Source::new("docs/extending.md", example))
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(programs.len(), 1);
        assert!(mixc::paper(&programs[0].doc).is_some());
    }
    for example in templates {
        let source = Source::new("docs/extending.md", example);
        mixc_schedule::parse_template(&source).unwrap_or_else(|e| panic!("{}", source.render(&e)));
    }
}
