//! Which cases to run.

use crate::Job;
use mixc_launch::BundleReader;
use regex_lite::Regex;
use std::collections::BTreeMap;

/// Nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCases {
    #[error("the bundle has no cases")]
    Empty,
    #[error("none of the {cases} cases of the bundle matches '{filter}'")]
    NoMatch { cases: usize, filter: String },
    #[error("there is no case {case}; the bundle has {cases}")]
    NoCase { case: usize, cases: usize },
}

/// The cases whose label the filter matches, or the one that is asked for by its number, and those that verify them, in the order of the bundle. What verifies
/// another case comes before it, as bundles require.
pub fn select(
    bundle: &BundleReader,
    filter: Option<&Regex>,
    only: Option<usize>,
    verify: bool,
) -> Result<Vec<Job>, NoCases> {
    if let Some(case) = only.filter(|&case| case >= bundle.len()) {
        let cases = bundle.len();
        return Err(NoCases::NoCase { case, cases });
    }
    let mut timed: BTreeMap<usize, bool> = BTreeMap::new();
    for (case, label) in bundle.labels().enumerate() {
        let matches = filter.is_none_or(|f| f.is_match(&label.to_string()));
        if matches && only.is_none_or(|only| only == case) {
            timed.insert(case, true);
        }
    }
    if timed.is_empty() {
        return Err(match filter {
            Some(filter) if !bundle.is_empty() => NoCases::NoMatch {
                cases: bundle.len(),
                filter: filter.to_string(),
            },
            _ => NoCases::Empty,
        });
    }
    let mut open: Vec<usize> = timed.keys().copied().filter(|_| verify).collect();
    while let Some(case) = open.pop() {
        if let Some(by) = bundle
            .verified_by(case)
            .filter(|by| !timed.contains_key(by))
        {
            timed.insert(by, false);
            open.push(by);
        }
    }
    Ok(timed
        .into_iter()
        .map(|(case, timed)| Job { case, timed })
        .collect())
}
