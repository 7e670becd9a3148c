//! From the tensors of a file to the parameters of a definition: names, axis order, scalars.

use crate::Error;
use crate::error::with_suggestion;
use mixc_ir::{Name, Program};
use mixc_tensor::{Bundle, Role, Tensor};
use std::collections::BTreeMap;

/// How the names and axes of a file map to those of a definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Binding {
    /// (name in the file, parameter or output), from `--rename`.
    pub renames: Vec<(String, String)>,
    /// Axis letters of the file's tensors, by the definition's name or by the file's. `1` stands for
    /// an axis of size 1 that the definition lacks; an axis of the definition that is not named has
    /// size 1 in the file and is added.
    pub layouts: BTreeMap<String, Vec<String>>,
    /// Scalar parameters, from `--set`.
    pub sets: BTreeMap<String, f64>,
}

/// Inputs in the definition's names and axis order, and remarks for the user.
#[derive(Clone, Debug, Default)]
pub struct BoundInputs {
    pub tensors: BTreeMap<Name, Tensor>,
    pub scalars: BTreeMap<Name, f64>,
    pub notes: Vec<String>,
}

impl Binding {
    /// Finds the inputs and scalars of `program` in a file.
    ///
    /// # Errors
    /// A name in an option that the definition lacks, a tensor that is missing and has no default,
    /// a layout that does not fit.
    pub fn inputs(&self, program: &Program, file: &Bundle) -> Result<BoundInputs, Error> {
        self.check_names(program)?;
        let mut bound = BoundInputs::default();
        for tensor in &program.tensors {
            match self.find(file, Role::Input, &tensor.name) {
                Some((file_name, found)) => {
                    let (view, note) = self.arranged(
                        file,
                        Role::Input,
                        &file_name,
                        &tensor.name,
                        found,
                        &tensor.axis_names,
                    )?;
                    bound.notes.extend(note);
                    bound.tensors.insert(tensor.name.clone(), view);
                }
                None if tensor.default.is_some() => {}
                None => return Err(missing_tensor(program, file, &tensor.name)),
            }
        }
        for scalar in &program.scalars {
            if let Some(value) = self.scalar(file, &scalar.name) {
                bound.scalars.insert(scalar.name.clone(), value);
            }
        }
        for name in file.names(Role::Input) {
            if program.tensor(self.parameter_of(name)).is_none()
                && !program
                    .outputs
                    .iter()
                    .any(|o| &*o.name == self.parameter_of(name))
            {
                bound.notes.push(format!(
                    "the file's tensor '{name}' is not an input of this mixer; ignored"
                ));
            }
        }
        Ok(bound)
    }

    /// The expected value of an output, in the definition's axis order; None if the file lacks it.
    pub fn reference(
        &self,
        program: &Program,
        file: &Bundle,
        output: &str,
    ) -> Result<Option<Tensor>, Error> {
        let Some(declared) = program.outputs.iter().find(|o| &*o.name == output) else {
            return Ok(None);
        };
        let Some((file_name, found)) = self.find(file, Role::Output, output) else {
            return Ok(None);
        };
        let (view, _) = self.arranged(
            file,
            Role::Output,
            &file_name,
            output,
            found,
            &declared.axis_names,
        )?;
        Ok(Some(view))
    }

    /// A result in the axis order that `--layout` gives for it, for writing.
    pub fn to_file_order(
        &self,
        program: &Program,
        output: &str,
        tensor: &Tensor,
    ) -> Result<Tensor, Error> {
        let declared = program.outputs.iter().find(|o| &*o.name == output);
        match (self.layouts.get(output), declared) {
            (Some(letters), Some(declared)) => {
                rearrange(output, tensor, &declared.axis_names, letters)
            }
            _ => Ok(tensor.clone()),
        }
    }

    /// The file's tensor for a parameter, and the name it has there.
    fn find<'a>(
        &self,
        file: &'a Bundle,
        role: Role,
        parameter: &str,
    ) -> Option<(String, &'a Tensor)> {
        let renamed = self
            .renames
            .iter()
            .filter(|(_, p)| p == parameter)
            .map(|(name, _)| name.as_str());
        renamed.chain([parameter]).find_map(|name| {
            file.find(role, name)
                .map(|tensor| (name.to_owned(), tensor))
        })
    }

    fn parameter_of<'a>(&'a self, file_name: &'a str) -> &'a str {
        self.renames
            .iter()
            .find(|(name, _)| name == file_name)
            .map_or(file_name, |(_, parameter)| parameter)
    }

    /// From `--set`, else from the file's metadata.
    fn scalar(&self, file: &Bundle, name: &str) -> Option<f64> {
        let renamed = self
            .renames
            .iter()
            .filter(|(_, p)| p == name)
            .map(|(name, _)| name.as_str());
        self.sets
            .get(name)
            .copied()
            .or_else(|| renamed.chain([name]).find_map(|name| file.param(name)))
    }

    /// The tensor in the declared axis order. Without a `--layout` it has that order already, unless
    /// the file says in its metadata that it holds the same axes in another order.
    fn arranged(
        &self,
        file: &Bundle,
        role: Role,
        file_name: &str,
        parameter: &str,
        found: &Tensor,
        declared: &[Name],
    ) -> Result<(Tensor, Option<String>), Error> {
        let given = self
            .layouts
            .get(file_name)
            .or_else(|| self.layouts.get(parameter));
        if let Some(letters) = given {
            return Ok((rearrange(parameter, found, letters, declared)?, None));
        }
        if let Some(letters) = file.layout(role, file_name)
            && is_permutation(&letters, declared)
            && letters
                .iter()
                .map(String::as_str)
                .ne(declared.iter().map(|a| &**a))
        {
            let note = format!(
                "'{parameter}' has axes {} according to the file",
                letters.join(",")
            );
            return Ok((rearrange(parameter, found, &letters, declared)?, Some(note)));
        }
        Ok((found.clone(), None))
    }

    fn check_names(&self, program: &Program) -> Result<(), Error> {
        let inputs = || program.tensors.iter().map(|t| &*t.name);
        let outputs = || program.outputs.iter().map(|o| &*o.name);
        let scalars = || program.scalars.iter().map(|s| &*s.name);
        let check = |option: &str, name: &str, known: Vec<&str>| {
            if known.contains(&name) {
                return Ok(());
            }
            let message = format!(
                "{option}: this mixer has no '{name}', only {}",
                known.join(", ")
            );
            Err(Error::Usage(with_suggestion(message, name, known)))
        };
        for (_, parameter) in &self.renames {
            check(
                "--rename",
                parameter,
                inputs().chain(outputs()).chain(scalars()).collect(),
            )?;
        }
        for name in self.sets.keys() {
            check("--set", name, scalars().collect())?;
        }
        let file_names = self.renames.iter().map(|(name, _)| name.as_str());
        let known: Vec<&str> = inputs().chain(outputs()).chain(file_names).collect();
        self.layouts
            .keys()
            .try_for_each(|name| check("--layout", name, known.clone()))
    }
}

/// A view of `tensor`, whose axes are `from`, with the axes `to`. Axes of size 1 may be dropped and
/// added; a letter that occurs twice is matched in order.
pub fn rearrange<A: AsRef<str>, B: AsRef<str>>(
    name: &str,
    tensor: &Tensor,
    from: &[A],
    to: &[B],
) -> Result<Tensor, Error> {
    let list = |axes: Vec<&str>| axes.join(",");
    let describe = || {
        format!(
            "layout of '{name}': the tensor has shape {:?} and axes [{}], wanted are [{}]",
            tensor.shape(),
            list(from.iter().map(AsRef::as_ref).collect()),
            list(to.iter().map(AsRef::as_ref).collect()),
        )
    };
    if from.len() != tensor.rank() {
        return Err(Error::usage(format!(
            "{}; the number of axes differs",
            describe()
        )));
    }
    let mut taken = vec![false; from.len()];
    let mut find = |letter: &str| {
        let at = (0..from.len())
            .find(|&at| !taken[at] && letter != "1" && from[at].as_ref() == letter)?;
        taken[at] = true;
        Some(at)
    };
    let axes: Vec<Option<usize>> = to.iter().map(|letter| find(letter.as_ref())).collect();
    tensor.rearranged(&axes).map_err(|_| {
        let left: Vec<&str> = (0..from.len())
            .filter(|&at| !axes.contains(&Some(at)) && tensor.shape()[at] != 1)
            .map(|at| from[at].as_ref())
            .collect();
        Error::usage(format!(
            "{}; nothing matches {}",
            describe(),
            left.join(",")
        ))
    })
}

fn is_permutation(letters: &[String], declared: &[Name]) -> bool {
    let mut a: Vec<&str> = letters.iter().map(String::as_str).collect();
    let mut b: Vec<&str> = declared.iter().map(|n| &**n).collect();
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

fn missing_tensor(program: &Program, file: &Bundle, name: &str) -> Error {
    let axes = program
        .tensor(name)
        .map(|t| t.axis_names.join(", "))
        .unwrap_or_default();
    let have = file.names(Role::Input);
    let message = format!(
        "the input '{name}' [{axes}] is missing; the file has {} (use --rename FILE_NAME={name})",
        if have.is_empty() {
            "no inputs".to_owned()
        } else {
            have.join(", ")
        }
    );
    Error::Usage(with_suggestion(message, name, have))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_ir::{DType, Ix, Kind, Output, Scalar};

    fn program() -> Program {
        let axes = ["B", "H", "T"].map(Name::from).to_vec();
        let tensor = |name: &str, default| mixc_ir::Tensor {
            name: name.into(),
            kind: Kind::Real,
            shape: axes.iter().map(|a| Ix::dim(a)).collect(),
            axis_names: axes.clone(),
            range: (f64::NEG_INFINITY, f64::INFINITY),
            default,
        };
        let range = (f64::NEG_INFINITY, f64::INFINITY);
        Program {
            tensors: vec![tensor("q", None), tensor("state", Some(0.0))],
            scalars: vec![Scalar {
                name: "scale".into(),
                kind: Kind::Real,
                default: None,
                range,
            }],
            outputs: vec![Output {
                name: "state".into(),
                axes: axes.clone(),
                axis_names: axes.clone(),
            }],
            ..Program::default()
        }
    }

    fn counted(shape: &[usize]) -> Tensor {
        let values: Vec<f64> = (0..shape.iter().product::<usize>())
            .map(|n| n as f64)
            .collect();
        Tensor::from_f64(DType::F32, shape, &values).unwrap()
    }

    fn file(tensors: &[(&str, &[usize])]) -> Bundle {
        let tensors = tensors
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), counted(shape)))
            .collect();
        Bundle {
            tensors,
            ..Bundle::default()
        }
    }

    fn letters(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn prefixes_renames_and_layouts_find_a_state_that_is_input_and_output() {
        let file = file(&[
            ("in.q", &[2, 5, 3]),
            ("in.first", &[2, 1, 3, 5]),
            ("out.last", &[2, 3, 5]),
        ]);
        let binding = Binding {
            renames: vec![
                ("first".into(), "state".into()),
                ("last".into(), "state".into()),
            ],
            layouts: [
                ("q".to_owned(), letters("B,T,H")),
                ("first".to_owned(), letters("B,1,H,T")),
            ]
            .into(),
            sets: [("scale".to_owned(), 2.0)].into(),
        };
        let bound = binding.inputs(&program(), &file).unwrap();
        assert_eq!(bound.tensors["q"].shape(), [2, 3, 5]);
        assert_eq!(bound.tensors["q"].get(&[1, 2, 4]), 15.0 + 4.0 * 3.0 + 2.0);
        assert_eq!(bound.tensors["state"].shape(), [2, 3, 5]);
        assert_eq!(bound.scalars["scale"], 2.0);
        let reference = binding
            .reference(&program(), &file, "state")
            .unwrap()
            .unwrap();
        assert_eq!(reference.to_f64(), counted(&[2, 3, 5]).to_f64());
    }

    #[test]
    fn an_axis_that_the_file_lacks_is_added_with_size_1() {
        let t = rearrange("x", &counted(&[2, 3]), &["B", "H"], &["B", "T", "H"]).unwrap();
        assert_eq!(t.shape(), [2, 1, 3]);
        let e = rearrange("x", &counted(&[2, 3]), &["B", "X"], &["B", "T", "H"]).unwrap_err();
        assert!(e.to_string().contains("nothing matches X"), "{e}");
        assert!(rearrange("x", &counted(&[2, 3]), &["B"], &["B"]).is_err());
    }

    #[test]
    fn the_files_own_layout_counts_only_for_the_same_axes() {
        let mut file = file(&[("in.q", &[2, 5, 3])]);
        file.metadata.insert("layout.q".into(), "B,T,H".into());
        let bound = Binding::default().inputs(&program(), &file).unwrap();
        assert_eq!(bound.tensors["q"].shape(), [2, 3, 5]);
        assert_eq!(bound.notes.len(), 1);
        file.metadata.insert("layout.q".into(), "B,L,H".into());
        assert_eq!(
            Binding::default()
                .inputs(&program(), &file)
                .unwrap()
                .tensors["q"]
                .shape(),
            [2, 5, 3]
        );
    }

    #[test]
    fn missing_and_unknown_names_are_errors_with_suggestions() {
        let e = Binding::default()
            .inputs(&program(), &file(&[("in.k", &[1, 1, 1])]))
            .unwrap_err();
        assert!(e.to_string().contains("'q' [B, H, T] is missing"), "{e}");
        let sets = [("scal".to_owned(), 1.0)].into();
        let binding = Binding {
            sets,
            ..Binding::default()
        };
        let e = binding
            .inputs(&program(), &file(&[("in.q", &[1, 1, 1])]))
            .unwrap_err();
        assert!(e.to_string().contains("did you mean 'scale'"), "{e}");
    }

    #[test]
    fn metadata_gives_scalars_and_set_wins() {
        let mut file = file(&[("q", &[1, 1, 1]), ("extra", &[1])]);
        file.metadata.insert("param.scale".into(), "0.5".into());
        let bound = Binding::default().inputs(&program(), &file).unwrap();
        assert_eq!(bound.scalars["scale"], 0.5);
        assert!(bound.notes[0].contains("'extra'"));
        let binding = Binding {
            sets: [("scale".to_owned(), 3.0)].into(),
            ..Binding::default()
        };
        assert_eq!(
            binding.inputs(&program(), &file).unwrap().scalars["scale"],
            3.0
        );
    }
}
