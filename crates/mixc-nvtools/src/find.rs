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
    /// The variable's file where it is set, and only that; else the first of `folders` that has the
    /// tool; else the first of PATH.
    pub fn find(&self, folders: &[PathBuf]) -> Result<PathBuf, Missing> {
        let set = std::env::var_os(self.variable).filter(|v| !v.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.find_in(set.map(PathBuf::from), folders, &path)
    }

    fn find_in(
        &self,
        set: Option<PathBuf>,
        folders: &[PathBuf],
        path: &std::ffi::OsStr,
    ) -> Result<PathBuf, Missing> {
        // A variable that points nowhere is a mistake to report, not one to work around.
        if let Some(set) = set {
            let found = is_executable(&set).then(|| set.clone());
            return found.ok_or_else(|| self.missing(vec![set]));
        }
        let file = format!("{}{}", self.name, std::env::consts::EXE_SUFFIX);
        let on_path = std::env::split_paths(path).collect::<Vec<_>>();
        let places: Vec<PathBuf> = folders
            .iter()
            .chain(&on_path)
            .map(|f| f.join(&file))
            .collect();
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
    fn the_variable_wins_then_the_folders_then_the_path() {
        let [set, first, second, path] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let folders = [first.path().to_path_buf(), second.path().to_path_buf()];
        let search = path.path().as_os_str();
        assert!(TOOL.find_in(None, &folders, search).is_err());
        let on_path = install(path.path());
        assert_eq!(TOOL.find_in(None, &folders, search), Ok(on_path));
        let in_second = install(second.path());
        assert_eq!(TOOL.find_in(None, &folders, search), Ok(in_second));
        let in_first = install(first.path());
        assert_eq!(TOOL.find_in(None, &folders, search), Ok(in_first));
        let elsewhere = install(set.path());
        let found = TOOL.find_in(Some(elsewhere.clone()), &folders, search);
        assert_eq!(found, Ok(elsewhere));
    }

    #[test]
    fn a_variable_that_points_nowhere_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path());
        let nowhere = PathBuf::from("/nowhere/mixc-some-tool");
        let folders = [folder.path().to_path_buf()];
        let missing = TOOL
            .find_in(Some(nowhere.clone()), &folders, "".as_ref())
            .unwrap_err();
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
        assert!(TOOL.find_in(None, &folders, "".as_ref()).is_err());
    }
}
