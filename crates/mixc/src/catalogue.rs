//! The shipped mixers, embedded at build time, and how a `MIXER` argument finds its source.

use crate::error::with_suggestion;
use crate::pipeline::compile;
use crate::{Direction, Error, GpuTarget, Target};
use mixc_text::Source;
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// A shipped definition file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's stem.
    pub name: &'static str,
    /// The folder it lies in.
    pub family: &'static str,
    /// Its path below `ir/`.
    pub file: &'static str,
    pub text: &'static str,
}

/// One line of `mixc list`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    pub name: String,
    pub family: String,
    pub paper: Option<String>,
    pub directions: Vec<String>,
    pub targets: Vec<String>,
}

/// Every shipped mixer.
///
/// # Errors
/// If a shipped definition does not compile.
pub fn list() -> Result<Vec<Listed>, Error> {
    let gpus = [GpuTarget::Sm80, GpuTarget::Sm89, GpuTarget::Sm90a].map(Target::Gpu);
    let targets = [Target::Cpu, Target::Tile, Target::Interp];
    let targets: Vec<String> = targets.iter().chain(&gpus).map(Target::to_string).collect();
    let mut listed = vec![];
    for entry in catalogue() {
        for program in compile(&entry.source())? {
            listed.push(Listed {
                name: program.name.clone(),
                family: entry.family.to_owned(),
                paper: paper(&program.doc),
                directions: vec![Direction::Forward.to_string()],
                targets: targets.clone(),
            });
        }
    }
    Ok(listed)
}

impl Entry {
    pub fn source(&self) -> Source {
        Source::new(format!("ir/{}", self.file), self.text)
    }
}

/// Every shipped file, sorted by family and name.
pub fn catalogue() -> impl Iterator<Item = Entry> {
    FILES.iter().map(|&(file, text)| {
        let (family, name) = file.rsplit_once('/').unwrap_or(("", file));
        Entry {
            name: name.trim_end_matches(".mix"),
            family,
            file,
            text,
        }
    })
}

/// The shipped definition called `name`.
pub fn shipped(name: &str) -> Option<Entry> {
    catalogue().find(|e| e.name == name)
}

/// The source of a `MIXER` argument: a path to a `.mix` file, else the name of a shipped mixer.
pub fn load_source(mixer: &str) -> Result<Source, Error> {
    let path = Path::new(mixer);
    if mixer.ends_with(".mix") || path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.into(),
            source,
        })?;
        return Ok(Source::new(mixer, text));
    }
    if let Some(entry) = shipped(mixer) {
        return Ok(entry.source());
    }
    let message = format!(
        "there is no shipped mixer '{mixer}' and no file of that name (`mixc list` shows them)"
    );
    Err(Error::Usage(with_suggestion(
        message,
        mixer,
        catalogue().map(|e| e.name),
    )))
}

/// The source of a `MIXER` argument, and which of its mixers is meant if the argument says so: a
/// shipped file may define further mixers, and their names work as well as the file's.
pub(crate) fn find_mixer(mixer: &str) -> Result<(Source, Option<String>), Error> {
    let named = |entry: Entry| {
        mixc_lang::compile(&entry.source()).is_ok_and(|all| all.iter().any(|p| p.name == mixer))
    };
    match load_source(mixer) {
        Ok(source) => {
            let same = shipped(mixer).is_some_and(named);
            Ok((source, same.then(|| mixer.to_owned())))
        }
        Err(e) => match catalogue().find(|entry| named(*entry)) {
            Some(entry) => Ok((entry.source(), Some(mixer.to_owned()))),
            None => Err(e),
        },
    }
}

/// The citation in a doc comment: the first parentheses that hold a year, else nothing.
///
/// `Causal attention (Vaswani et al. 2017; Shazeer 2019).` gives `Vaswani et al. 2017; Shazeer 2019`.
pub fn paper(doc: &str) -> Option<String> {
    let has_year = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit())
            .any(|n| n.len() == 4 && (n.starts_with("19") || n.starts_with("20")))
    };
    let mut rest = doc;
    while let Some(open) = rest.find('(') {
        let inside = &rest[open + 1..];
        let close = inside.find(')')?;
        if has_year(&inside[..close]) {
            return Some(
                inside[..close]
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        rest = &inside[close + 1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_is_the_parenthesis_with_a_year() {
        let doc =
            "Attention over (grouped) heads\n(Vaswani et al. 2017;\nShazeer 2019). More (2021).";
        assert_eq!(
            paper(doc).as_deref(),
            Some("Vaswani et al. 2017; Shazeer 2019")
        );
        assert_eq!(paper("nothing (to see) here"), None);
        assert_eq!(paper("open (2017"), None);
    }

    #[test]
    fn an_unknown_mixer_is_a_usage_error() {
        let e = load_source("no_such_mixer").unwrap_err();
        assert_eq!(e.exit_code(), 2);
        assert!(e.to_string().contains("no_such_mixer"));
        assert!(matches!(
            load_source("missing/file.mix"),
            Err(Error::Read { .. })
        ));
    }
}
