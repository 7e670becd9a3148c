//! Option values: `B=1,T=4096`, `q=B,T,H,D`, `scale=0.125`, `T=512..65536`, `ref_name=param`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// `B=1,H=8,T=4096`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape(pub BTreeMap<String, i64>);

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let mut sizes = BTreeMap::new();
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (name, value) = pair(part, "a size such as T=4096")?;
            if sizes.insert(name.to_owned(), size(value)?).is_some() {
                return Err(format!("'{name}' is given twice"));
            }
        }
        Ok(Shape(sizes))
    }
}

/// `T=512..65536`: powers of two times the start, up to and with the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub size: String,
    pub values: Vec<i64>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Sweep, String> {
        let (name, range) = pair(text, "a sweep such as T=512..65536")?;
        let (lo, hi) = range
            .split_once("..")
            .ok_or("expected a range such as 512..65536")?;
        let (lo, hi) = (size(lo)?, size(hi)?);
        if lo < 1 || hi < lo {
            return Err(format!("the range {lo}..{hi} is empty"));
        }
        let doubled = |n: &i64| n.checked_mul(2).filter(|n| *n <= hi);
        Ok(Sweep {
            size: name.to_owned(),
            values: std::iter::successors(Some(lo), doubled).collect(),
        })
    }
}

/// `scale=0.125`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting(pub String, pub f64);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = pair(text, "a value such as scale=0.125")?;
        let value = match value {
            "true" => 1.0,
            "false" => 0.0,
            number => number
                .parse()
                .map_err(|_| format!("'{number}' is not a number"))?,
        };
        Ok(Setting(name.to_owned(), value))
    }
}

/// `rows=32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knob(pub String, pub i64);

impl FromStr for Knob {
    type Err = String;

    fn from_str(text: &str) -> Result<Knob, String> {
        let (name, value) = pair(text, "a knob such as rows=32")?;
        Ok(Knob(name.to_owned(), size(value)?))
    }
}

/// `ref_name=param`: the file's name, then the definition's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename(pub String, pub String);

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Rename, String> {
        let (file, parameter) = pair(text, "a pair such as initial_state=state")?;
        Ok(Rename(file.to_owned(), parameter.to_owned()))
    }
}

/// `q=B,T,H,D,k=B,T,H,D`: an item without `=` is a further axis of the tensor before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layouts(pub Vec<(String, Vec<String>)>);

impl FromStr for Layouts {
    type Err = String;

    fn from_str(text: &str) -> Result<Layouts, String> {
        let mut layouts: Vec<(String, Vec<String>)> = vec![];
        for part in text
            .split([',', ';'])
            .map(str::trim)
            .filter(|p| !p.is_empty())
        {
            match (part.split_once('='), layouts.last_mut()) {
                (Some((name, axis)), _) => {
                    let axes = Some(axis.trim())
                        .filter(|a| !a.is_empty())
                        .map(str::to_owned);
                    layouts.push((name.trim().to_owned(), axes.into_iter().collect()));
                }
                (None, Some((_, axes))) => axes.push(part.to_owned()),
                (None, None) => return Err("expected a layout such as q=B,T,H,D".to_owned()),
            }
        }
        Ok(Layouts(layouts))
    }
}

fn pair<'a>(text: &'a str, expected: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim(), value.trim()))
        }
        _ => Err(format!("expected {expected}, found '{text}'")),
    }
}

fn size(text: &str) -> Result<i64, String> {
    match text.trim().parse() {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(format!("'{}' is not a size", text.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_named_sizes() {
        let shape: Shape = "B=1, T=4096".parse().unwrap();
        assert_eq!(shape.0["T"], 4096);
        assert!("B=1,B=2".parse::<Shape>().is_err());
        assert!("B=-1".parse::<Shape>().is_err());
        assert!("B".parse::<Shape>().is_err());
    }

    #[test]
    fn sweeps_double() {
        assert_eq!(
            "T=512..4096".parse::<Sweep>().unwrap().values,
            [512, 1024, 2048, 4096]
        );
        assert_eq!("T=100..399".parse::<Sweep>().unwrap().values, [100, 200]);
        assert!("T=8..4".parse::<Sweep>().is_err());
        assert!("T=0..4".parse::<Sweep>().is_err());
    }

    #[test]
    fn a_layout_option_holds_several_tensors() {
        let layouts: Layouts = "q=B,T,H,D,length=B".parse().unwrap();
        assert_eq!(
            layouts.0[0],
            (
                "q".to_owned(),
                ["B", "T", "H", "D"].map(str::to_owned).to_vec()
            )
        );
        assert_eq!(layouts.0[1].1, ["B"]);
        assert!("B,T".parse::<Layouts>().is_err());
    }

    #[test]
    fn settings_take_numbers_and_booleans() {
        assert_eq!(
            "causal=true".parse::<Setting>().unwrap(),
            Setting("causal".into(), 1.0)
        );
        assert_eq!("scale=1e-1".parse::<Setting>().unwrap().1, 0.1);
        assert_eq!("C=16".parse::<Knob>().unwrap(), Knob("C".into(), 16));
        assert!("C=16.5".parse::<Knob>().is_err());
        assert!("scale=big".parse::<Setting>().is_err());
        assert!("=1".parse::<Rename>().is_err());
    }
}
