//! Where the tools are looked for, and what is said when one is not there.

use std::path::{Path, PathBuf};

/// A tool that is not installed. The message names what it is for and how to get it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tool} was not found ({purpose}). {remedy} Looked for: {}", list(.looked))]
pub struct Missing {
    pub tool: &'static str,
    pub purpose: &'static str,
    pub remedy: &'static str,
    /// The paths that were tried.
    pub looked: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

/// One tool: its file name, the variable that overrides where it is, and what it is for.
pub(crate) struct Tool {
    pub name: &'static str,
    pub variable: &'static str,
    pub purpose: &'static str,
    pub remedy: &'static str,
}

impl Tool {
    /// The variable's file where it is set, and only that; else the first folder that has the tool:
    /// of `folders`, then of PATH, then where an installed CUDA toolkit lies.
    pub fn find(&self, folders: &[PathBuf]) -> Result<PathBuf, Missing> {
        let set = std::env::var_os(self.variable).filter(|v| !v.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut after: Vec<PathBuf> = std::env::split_paths(&path).collect();
        after.push(PathBuf::from("/usr/local/cuda/bin"));
        let folders: Vec<PathBuf> = folders.iter().cloned().chain(after).collect();
        self.find_in(set.map(PathBuf::from), &folders)
    }

    fn find_in(&self, set: Option<PathBuf>, folders: &[PathBuf]) -> Result<PathBuf, Missing> {
        // A variable that points nowhere is a mistake to report, not one to work around.
        let places = match set {
            Some(set) => vec![set],
            None => {
                let file = format!("{}{}", self.name, std::env::consts::EXE_SUFFIX);
                folders.iter().map(|f| f.join(&file)).collect()
            }
        };
        let found = places.iter().find(|p| is_executable(p)).cloned();
        found.ok_or_else(|| self.missing(places))
    }

    fn missing(&self, looked: Vec<PathBuf>) -> Missing {
        Missing {
            tool: self.name,
            purpose: self.purpose,
            remedy: self.remedy,
            looked,
        }
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The folder of the running program, and the one above: test programs lie in `deps` below the
/// folder of the binaries.
pub(crate) fn beside_this_program() -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(|p| p.canonicalize());
    let program = program.unwrap_or_default();
    let folders = program.ancestors().skip(1).take(2);
    folders.map(Path::to_path_buf).collect()
}

/// Where the project's own copies of NVIDIA's tools lie: in `.tools/cuda/bin` of a folder above this
/// program, or of the sources that it was built from.
pub(crate) fn project_tools() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let roots = program.ancestors().skip(1).chain(sources);
    let folders = roots.map(|r| r.join(".tools/cuda/bin"));
    folders.filter(|f| f.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "mixc-some-tool",
        variable: "MIXC_SOME_TOOL",
        purpose: "it does something",
        remedy: "Install something.",
    };

    fn install(folder: &Path) -> PathBuf {
        let file = folder.join(format!("mixc-some-tool{}", std::env::consts::EXE_SUFFIX));
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        file
    }

    #[test]
    fn the_variable_wins_then_the_first_folder() {
        let [set, first, second] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let folders = [first.path().to_path_buf(), second.path().to_path_buf()];
        assert!(TOOL.find_in(None, &folders).is_err());
        let in_second = install(second.path());
        assert_eq!(TOOL.find_in(None, &folders), Ok(in_second));
        let in_first = install(first.path());
        assert_eq!(TOOL.find_in(None, &folders), Ok(in_first));
        let elsewhere = install(set.path());
        let found = TOOL.find_in(Some(elsewhere.clone()), &folders);
        assert_eq!(found, Ok(elsewhere));
    }

    #[test]
    fn a_variable_that_points_nowhere_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path());
        let nowhere = PathBuf::from("/nowhere/mixc-some-tool");
        let folders = [folder.path().to_path_buf()];
        let missing = TOOL.find_in(Some(nowhere.clone()), &folders).unwrap_err();
        assert_eq!(missing.looked, [nowhere]);
        let text = missing.to_string();
        for part in [
            "mixc-some-tool was not found",
            "it does something",
            "Install something.",
            "/nowhere/",
        ] {
            assert!(text.contains(part), "no '{part}' in {text}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mixc-some-tool")).unwrap();
        let folders = [folder.path().to_path_buf()];
        assert!(TOOL.find_in(None, &folders).is_err());
    }
}
