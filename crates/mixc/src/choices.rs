//! What a user or a search decides about the kernels of a form; everything else follows from the sizes.

use crate::{Error, Form, Target};
use mixc_ptx::Precision;
use mixc_schedule::TEMPLATES;
use std::collections::BTreeMap;

/// Decisions. Empty means: the defaults for the sizes at hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// Knobs by name: those of the templates (`rows`, `stream`, `C`, ...), and for GPUs `warps`, `stages`,
    /// `producer` and `alternate`.
    pub knobs: BTreeMap<String, i64>,
    /// How GPUs multiply f32 matrices; None takes the default. Other targets have one way.
    pub precision: Option<Precision>,
}

/// Knobs of kernels for GPUs, with the values that they may take: warps of a thread block that compute, tiles in
/// flight, and whether warps of their own load them where the target can.
pub const GPU_KNOBS: [(&str, &[i64]); 4] = [
    ("warps", &[1, 2, 4, 8]),
    ("stages", &[1, 2, 3, 4]),
    ("producer", &[0, 1]),
    ("alternate", &[0, 1]),
];

impl Choices {
    /// These knobs, all else left open.
    pub fn knobs(knobs: BTreeMap<String, i64>) -> Choices {
        Choices {
            knobs,
            ..Choices::default()
        }
    }

    /// The same with knobs that these leave open taken from `more`.
    pub fn filled(&self, more: &BTreeMap<String, i64>) -> Choices {
        let mut filled = self.clone();
        for (name, value) in more {
            filled.knobs.entry(name.clone()).or_insert(*value);
        }
        filled
    }

    /// Refuses knobs that none of the forms has, values that a knob cannot take, and decisions that the target
    /// does not leave open.
    ///
    /// # Errors
    /// [`Error::Usage`], with what would be possible.
    pub fn check(&self, forms: &[Form], target: &Target) -> Result<(), Error> {
        let gpu = matches!(target, Target::Gpu(_));
        if self.precision.is_some() && !gpu {
            return Err(Error::usage(format!(
                "--precision is for GPU targets, not for {target}"
            )));
        }
        let mut known: BTreeMap<&str, &[i64]> = BTreeMap::new();
        let knobs: Vec<_> = forms.iter().flat_map(knobs_of).collect();
        known.extend(knobs.iter().map(|(name, values)| (name.as_str(), *values)));
        known.extend(GPU_KNOBS.into_iter().filter(|_| gpu));
        if *target == Target::Interp {
            return Ok(());
        }
        for (name, value) in &self.knobs {
            let list = |n: &[i64]| n.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
            match known.get(name.as_str()) {
                Some(values) if values.contains(value) => {}
                Some(values) => {
                    return Err(Error::usage(format!(
                        "--knob: {name} cannot be {value}, only {}",
                        list(values)
                    )));
                }
                None => {
                    let names: Vec<&str> = known.keys().copied().collect();
                    let message = format!(
                        "--knob: no form has the knob '{name}' on {target}, only {}",
                        names.join(", ")
                    );
                    return Err(Error::Usage(crate::error::with_suggestion(
                        message, name, names,
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The knobs of a form's schedule, with the values that each may take.
pub fn knobs_of(form: &Form) -> Vec<(String, &'static [i64])> {
    let own = mixc_schedule::knobs(&form.program);
    let mut knobs: Vec<(String, &'static [i64])> = own
        .iter()
        .map(|k| (k.name.clone(), k.values.as_slice()))
        .collect();
    // A symbol that would clash with a size of the program has underscores after the knob's name.
    for symbol in crate::open_sizes(&form.program) {
        let name = symbol.trim_start_matches('$');
        let all = TEMPLATES.iter().flat_map(|t| &t.knobs);
        let same = all
            .into_iter()
            .find(|k| k.name == name.trim_end_matches('_'));
        if let Some(knob) = same
            && knobs.iter().all(|(known, _)| known != name)
        {
            knobs.push((name.to_owned(), &knob.values));
        }
    }
    knobs
}

/// The name of a way to multiply, as options spell it.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Fma => "fma",
        Precision::Tf32 => "tf32",
        Precision::Tf32x3 => "tf32x3",
    }
}

/// The way to multiply that an option names.
///
/// # Errors
/// With the names that there are.
pub fn parse_precision(text: &str) -> Result<Precision, String> {
    let all = [Precision::Fma, Precision::Tf32, Precision::Tf32x3];
    let found = all.into_iter().find(|p| precision_name(*p) == text);
    found.ok_or_else(|| "expected fma, tf32 or tf32x3".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mixer;

    fn check(knobs: &[(&str, i64)], target: &str) -> Result<(), Error> {
        let mixer = Mixer::load("linear_attention").unwrap();
        let forms = mixer.forms(&BTreeMap::new(), &target.parse().unwrap());
        let knobs = knobs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        Choices::knobs(knobs).check(&forms, &target.parse().unwrap())
    }

    #[test]
    fn knobs_that_no_form_has_are_refused() {
        assert!(check(&[("rows", 32), ("C", 16)], "cpu").is_ok());
        assert!(check(&[("warps", 8), ("stages", 1)], "sm_80").is_ok());
        let message = |knobs, target| check(knobs, target).unwrap_err().to_string();
        assert!(message(&[("warps", 8)], "cpu").contains("no form has the knob 'warps' on cpu"));
        assert!(message(&[("warps", 3)], "sm_80").contains("only 1, 2, 4, 8"));
        assert!(message(&[("row", 8)], "sm_80").contains("did you mean 'rows'"));
    }

    #[test]
    fn a_precision_is_for_gpus() {
        let mixer = Mixer::load("linear_attention").unwrap();
        let forms = mixer.forms(&BTreeMap::new(), &Target::Cpu);
        let choices = Choices {
            precision: Some(Precision::Tf32),
            ..Choices::default()
        };
        assert!(choices.check(&forms, &Target::Cpu).is_err());
        assert!(choices.check(&forms, &"sm_80".parse().unwrap()).is_ok());
        for name in ["fma", "tf32", "tf32x3"] {
            assert_eq!(precision_name(parse_precision(name).unwrap()), name);
        }
        assert!(parse_precision("f16").is_err());
    }
}
