//! Rules about the code as text: which crate may use which, and that none knows a mixer by name.

use std::path::{Path, PathBuf};

/// Every crate may use those in front of it.
const ORDER: &[&str] = &[
    "mixc-text",
    "mixc-layout",
    "mixc-ir",
    "mixc-sim",
    "mixc-tile",
    "mixc-interp",
    "mixc-lang",
    "mixc-rewrite",
    "mixc-schedule",
    "mixc-cpu",
    "mixc-tensor",
    "mixc-ptx",
    "mixc-nvtools",
    "mixc-mlir",
    "mixc-launch",
    "mixc-cuda",
    "mixc-runner",
    "mixc",
    "mixc-static",
    "mixc-cli",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().to_string();
        let place = ORDER.iter().position(|c| *c == name);
        let place = place.unwrap_or_else(|| panic!("{name} has no place in the order of crates"));
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let Some(used) = manifest.get("dependencies").and_then(|d| d.as_table()) else {
            continue;
        };
        for used in used.keys().filter(|d| d.starts_with("mixc")) {
            assert!(
                ORDER[..place].contains(&used.as_str()),
                "{name} must not use {used}"
            );
        }
    }
}

#[test]
fn no_crate_knows_a_mixer_by_name() {
    let (mut mixers, mut sources) = (vec![], vec![]);
    files(&root().join("ir"), "mix", &mut mixers);
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        files(&entry.unwrap().path().join("src"), "rs", &mut sources);
    }
    assert!(
        mixers.len() > 20 && sources.len() > 100,
        "the folders were not found"
    );
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        // What tests inside a source file mention is not knowledge of the compiler.
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for mixer in &mixers {
            let name = mixer.file_stem().unwrap().to_string_lossy();
            let literal = format!("\"{name}\"");
            assert!(
                !code.contains(&literal),
                "{} names the mixer {name}",
                source.display()
            );
        }
    }
}
