//! Which sizes the mixers are examined at: a file with shapes by family and by mixer.

use crate::{Accepted, Error};
use mixc::{BoundInputs, Job};
use mixc_interp::scalar_values;
use mixc_ir::{DType, Ix, Kind, Name, Program};
use mixc_ptx::Target;
use mixc_tensor::Tensor;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Shapes as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problems {
    /// Element types of all mixers.
    dtypes: Vec<String>,
    /// Further ones by family.
    #[serde(default)]
    more_dtypes: BTreeMap<String, Vec<String>>,
    /// Architectures for which only the first shape of a mixer is examined.
    #[serde(default)]
    first_shape_only: Vec<String>,
    /// The forms whose predicted times are shown to readers: `mixer/form`.
    #[serde(default)]
    pub predicted: Vec<String>,
    /// Spills that are accepted.
    #[serde(default)]
    pub spills: Vec<Accepted>,
    /// Forms that are accepted without machine code.
    #[serde(default)]
    pub without_code: Vec<Accepted>,
    family: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    mixer: BTreeMap<String, Vec<String>>,
}

/// A mixer at sizes: those of its axes, and its integer parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub mixer: String,
    pub family: String,
    pub sizes: BTreeMap<Name, i64>,
}

impl Problem {
    /// `B=1,H=16`.
    pub fn shape(&self) -> String {
        let sizes = self.sizes.iter().map(|(name, n)| format!("{name}={n}"));
        sizes.collect::<Vec<_>>().join(",")
    }
}

impl Problems {
    /// Reads a file such as `benches/static.toml`.
    ///
    /// # Errors
    /// If it cannot be read or is not understood.
    pub fn read(path: &Path) -> Result<Problems, Error> {
        let text = std::fs::read_to_string(path)?;
        toml::from_str(&text).map_err(|e| Error::Problems {
            file: path.display().to_string(),
            what: e.to_string(),
        })
    }

    /// The element types in which a family is examined.
    pub fn dtypes(&self, family: &str) -> Vec<DType> {
        let more = self.more_dtypes.get(family).into_iter().flatten();
        let all = [DType::F32, DType::Bf16, DType::F16];
        let named = |text: &String| all.into_iter().find(|d| d.name() == text);
        self.dtypes.iter().chain(more).filter_map(named).collect()
    }

    /// Whether only the first shape of every mixer is examined for an architecture.
    pub fn only_first_shape(&self, target: Target) -> bool {
        self.first_shape_only.iter().any(|t| t == target.chip())
    }

    /// The problems of one mixer, in the order of the file.
    ///
    /// # Errors
    /// If the file says nothing about the mixer and its family, or leaves one of its sizes open.
    pub fn of(&self, program: &Program, family: &str) -> Result<Vec<Problem>, Error> {
        let failed = |what: String| Error::Problems {
            file: format!("the shapes of {}", program.name),
            what,
        };
        let shapes = self.mixer.get(&program.name).or(self.family.get(family));
        let shapes = shapes
            .ok_or_else(|| failed(format!("neither the mixer nor its family {family} has any")))?;
        let problem = |text: &String| {
            let mut sizes = parse(text).ok_or_else(|| failed(format!("`{text}` is no shape")))?;
            sizes.retain(|name, _| program.dims.contains(name) || program.scalar(name).is_some());
            match program.dims.iter().find(|d| !sizes.contains_key(*d)) {
                Some(open) => Err(failed(format!("`{text}` has no {open}"))),
                None => Ok(Problem {
                    mixer: program.name.clone(),
                    family: family.to_owned(),
                    sizes,
                }),
            }
        };
        shapes.iter().map(problem).collect()
    }
}

fn parse(text: &str) -> Option<BTreeMap<Name, i64>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((Name::from(name.trim()), value.trim().parse().ok()?))
    };
    text.split(',').map(pair).collect()
}

/// A job whose inputs are all zero: only their shapes and types matter here.
///
/// # Errors
/// Sizes that break a constraint or leave a shape open.
pub fn empty_job(program: &Program, problem: &Problem, dtype: DType) -> Result<Job, Error> {
    let mut bound = BoundInputs::default();
    for scalar in &program.scalars {
        let given = problem.sizes.get(&scalar.name).map(|n| *n as f64);
        let needed = scalar.default.is_none().then_some(scalar.range.0.max(1.0));
        let value = given.or(needed);
        bound
            .scalars
            .extend(value.map(|v| (scalar.name.clone(), v)));
    }
    let mut known = problem.sizes.clone();
    let values = scalar_values(program, &known, &bound.scalars).map_err(mixc::Error::from)?;
    let integers = program.scalars.iter().filter(|s| s.kind != Kind::Real);
    known.extend(integers.filter_map(|s| Some((s.name.clone(), *values.get(&s.name)? as i64))));
    for tensor in &program.tensors {
        let extent = |ix: &Ix| ix.eval_sizes(&known).and_then(|n| usize::try_from(n).ok());
        let shape: Option<Vec<usize>> = tensor.shape.iter().map(extent).collect();
        let shape = shape.ok_or_else(|| Error::Problems {
            file: problem.shape(),
            what: format!("the shape of '{}' needs more sizes", tensor.name),
        })?;
        let dtype = match tensor.kind {
            Kind::Real => dtype,
            Kind::Int => DType::I32,
            Kind::Bool => DType::Bool,
        };
        bound
            .tensors
            .insert(tensor.name.clone(), Tensor::zeros(dtype, &shape));
    }
    Ok(Job::new(program, bound, Some(dtype))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixer_wins_over_its_family_and_takes_only_its_own_sizes() {
        let file = "
            dtypes = ['bf16']
            [more_dtypes]
            rows = ['f16']
            [family]
            rows = ['B=2,X=3']
            [mixer]
            special = ['B=4']";
        let problems: Problems = toml::from_str(file).unwrap();
        let program = |name: &str| Program {
            name: name.into(),
            dims: vec!["B".into()],
            ..Program::default()
        };
        let shape = |name: &str| problems.of(&program(name), "rows").unwrap()[0].shape();
        assert_eq!([shape("special"), shape("plain")], ["B=4", "B=2"]);
        assert!(problems.of(&program("plain"), "columns").is_err());
        assert_eq!(problems.dtypes("rows"), [DType::Bf16, DType::F16]);
        let more = Program {
            dims: vec!["B".into(), "Y".into()],
            ..program("plain")
        };
        let error = problems.of(&more, "rows").unwrap_err().to_string();
        assert!(error.contains("has no Y"), "{error}");
    }
}
