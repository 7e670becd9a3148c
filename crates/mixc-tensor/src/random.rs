//! Seeded inputs from declarations: ordinary values, and the ones that break kernels.

use crate::Tensor;
use mixc_ir::{DType, Kind};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

/// How the elements of an input are chosen. All patterns stay inside the declared range.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Standard normal values, folded into half-open ranges, uniform on bounded ones.
    Normal,
    /// Normal values times 8: scores that overflow `exp` unless a maximum is taken off.
    Large,
    /// Normal values times 2^-12.
    Small,
    /// 0, or the nearest bound; booleans false, lengths 0.
    Zeros,
    /// 1, or the nearest bound; booleans true.
    Ones,
    /// One normal value everywhere: all keys equal, all scores tied.
    Constant,
    /// Normal values, of which two fifths are replaced by the ends of the range (a decay of exactly
    /// 0 or 1, a log-decay of 0 or -inf), or by 0 where there is no range.
    Edges,
}

impl Pattern {
    pub const ALL: [Pattern; 7] = [
        Pattern::Normal,
        Pattern::Large,
        Pattern::Small,
        Pattern::Zeros,
        Pattern::Ones,
        Pattern::Constant,
        Pattern::Edges,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Pattern::Normal => "normal",
            Pattern::Large => "large",
            Pattern::Small => "small",
            Pattern::Zeros => "zeros",
            Pattern::Ones => "ones",
            Pattern::Constant => "constant",
            Pattern::Edges => "edges",
        }
    }
}

/// Fills a tensor for the input `declaration`.
///
/// The values depend on the seed, the pattern and the input's name only, on every machine. Integer
/// inputs without a range take values from 0 up to and with `int_limit`: lengths and positions.
pub fn random_tensor(
    declaration: &mixc_ir::Tensor,
    shape: &[usize],
    dtype: DType,
    pattern: Pattern,
    int_limit: i64,
    seed: u64,
) -> Tensor {
    let mut source = Source::new(seed, &declaration.name);
    let range = match declaration.kind {
        Kind::Real => declaration.range,
        Kind::Bool => (0.0, 1.0),
        Kind::Int if declaration.range == (f64::NEG_INFINITY, f64::INFINITY) => {
            (0.0, int_limit.max(0) as f64)
        }
        Kind::Int => declaration.range,
    };
    let real = declaration.kind == Kind::Real;
    let constant = source.value(range, real, 1.0);
    let element = |source: &mut Source| match pattern {
        Pattern::Normal => source.value(range, real, 1.0),
        Pattern::Large => source.value(range, real, 8.0),
        Pattern::Small => source.value(range, real, 1.0 / 4096.0),
        Pattern::Zeros => 0f64.clamp(range.0, range.1),
        Pattern::Ones => 1f64.clamp(range.0, range.1),
        Pattern::Constant => constant,
        Pattern::Edges => source.edge(range, real),
    };
    let count: usize = shape.iter().product();
    // Every element takes as many words of the stream as the first, so blocks of them can start anywhere in it.
    let begin = source.0.get_word_pos();
    element(&mut source);
    let words = source.0.get_word_pos() - begin;
    let block = |at: usize| {
        let mut source = source.clone();
        source.0.set_word_pos(begin + (at * BLOCK) as u128 * words);
        (at * BLOCK..count.min((at + 1) * BLOCK)).map(move |_| element(&mut source))
    };
    let blocks = 0..count.div_ceil(BLOCK);
    let values: Vec<f64> = blocks.into_par_iter().flat_map_iter(block).collect();
    match Tensor::from_f64(dtype, shape, &values) {
        Ok(tensor) => tensor,
        Err(e) => panic!("bug: {e}"),
    }
}

/// Elements that one thread makes in a row.
const BLOCK: usize = 1 << 14;

#[derive(Clone)]
struct Source(ChaCha8Rng);

impl Source {
    fn new(seed: u64, name: &str) -> Source {
        // FNV-1a, so that each input gets its own stream whatever the others are.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Source(ChaCha8Rng::seed_from_u64(seed ^ hash))
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (-53f64).exp2()
    }

    /// Standard normal (Box & Muller 1958).
    fn normal(&mut self) -> f64 {
        // Not the system's logarithm and cosine: their last bits differ from machine to machine.
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// One value inside the range.
    fn value(&mut self, (lo, hi): (f64, f64), real: bool, scale: f64) -> f64 {
        let spread = match (lo.is_finite(), hi.is_finite()) {
            (false, false) => self.normal() * scale,
            (true, false) => lo + (self.normal() * scale).abs(),
            (false, true) => hi - (self.normal() * scale).abs(),
            // An integer takes both ends with the same chance as the rest.
            (true, true) if !real => lo - 0.5 + self.uniform() * (hi - lo + 1.0),
            (true, true) => lo + self.uniform() * (hi - lo) * scale.min(1.0),
        };
        let value = if real { spread } else { spread.round() };
        value.clamp(lo, hi)
    }

    /// An end of the range two times in five, where there is one.
    fn edge(&mut self, (lo, hi): (f64, f64), real: bool) -> f64 {
        let choice = self.uniform();
        let ordinary = self.value((lo, hi), real, 1.0);
        if choice >= 0.4 {
            return ordinary;
        }
        match (lo.is_finite(), hi.is_finite()) {
            (false, false) => 0.0,
            // inf is nowhere a natural value; -inf is the logarithm of a decay of 0.
            (true, false) => lo,
            _ if choice < 0.2 => lo,
            _ => hi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(kind: Kind, range: (f64, f64)) -> mixc_ir::Tensor {
        let name = "x".into();
        mixc_ir::Tensor {
            name,
            kind,
            shape: vec![],
            axis_names: vec![],
            range,
            default: None,
        }
    }

    fn sample(kind: Kind, range: (f64, f64), pattern: Pattern) -> Vec<f64> {
        random_tensor(&declared(kind, range), &[4096], DType::F64, pattern, 100, 7).to_f64()
    }

    const NONE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    #[test]
    fn normal_values_have_mean_0_and_variance_1() {
        let x = sample(Kind::Real, NONE, Pattern::Normal);
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
        assert!(
            mean.abs() < 0.06 && (variance - 1.0).abs() < 0.1,
            "{mean} {variance}"
        );
    }

    #[test]
    fn every_pattern_stays_inside_the_range() {
        for range in [
            (0.0, 1.0),
            (f64::NEG_INFINITY, 0.0),
            (2.0, f64::INFINITY),
            (-3.0, -2.0),
        ] {
            for pattern in Pattern::ALL {
                for x in sample(Kind::Real, range, pattern) {
                    // -inf is the end of a half-open range; only `edges` may reach it.
                    assert!(
                        range.0 <= x && x <= range.1 && x < f64::INFINITY,
                        "{pattern:?} {range:?} {x}"
                    );
                    assert!(x.is_finite() || pattern == Pattern::Edges);
                }
            }
        }
    }

    #[test]
    fn blocks_continue_one_stream() {
        let count = 2 * BLOCK + 5;
        let declared = declared(Kind::Real, (f64::NEG_INFINITY, 0.0));
        for pattern in [Pattern::Normal, Pattern::Edges] {
            let all = random_tensor(&declared, &[count], DType::F64, pattern, 1, 7).to_f64();
            let mut source = Source::new(7, "x");
            source.value(declared.range, true, 1.0);
            let next = |_| match pattern {
                Pattern::Normal => source.value(declared.range, true, 1.0),
                _ => source.edge(declared.range, true),
            };
            assert_eq!(all, (0..count).map(next).collect::<Vec<_>>());
        }
    }

    #[test]
    fn edges_hit_both_ends_of_a_log_decay() {
        let x = sample(Kind::Real, (f64::NEG_INFINITY, 0.0), Pattern::Edges);
        assert!(x.contains(&0.0) && x.contains(&f64::NEG_INFINITY));
        assert!(x.iter().any(|v| v.is_finite() && *v < 0.0));
    }

    #[test]
    fn lengths_cover_zero_to_the_limit_and_are_whole() {
        let x = sample(Kind::Int, NONE, Pattern::Normal);
        assert!(x.contains(&0.0) && x.contains(&100.0));
        assert!(
            x.iter()
                .all(|v| v.fract() == 0.0 && (0.0..=100.0).contains(v))
        );
        let b = sample(Kind::Bool, NONE, Pattern::Normal);
        assert!(b.contains(&0.0) && b.contains(&1.0) && b.iter().all(|v| *v == 0.0 || *v == 1.0));
        assert!(
            sample(Kind::Bool, NONE, Pattern::Zeros)
                .iter()
                .all(|v| *v == 0.0)
        );
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            random_tensor(
                &declared(Kind::Real, NONE),
                &[3],
                DType::F64,
                Pattern::Normal,
                1,
                seed,
            )
            .to_f64()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
