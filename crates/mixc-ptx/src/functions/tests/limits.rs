//! Special values, the types of arguments, and what the chips' instructions are.

use super::super::{Accuracy, call, number};
use super::harness::{Body, Kernels, name, run};
use super::{Bound, SILU_END, exact, ulps};
use crate::emit::{Emit, Ty, Val};
use mixc_ir::Func;

const SPECIAL: [f32; 23] = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    1e-39,
    -1e-39,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    0.5,
    -0.5,
    1.0,
    -1.0,
    2.0,
    -2.0,
    3.0,
    -3.0,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Every function at every combination of special values, on chips with and without instructions for
/// minima that keep NaN.
#[test]
fn special_values_have_their_limits() {
    for chip in ["sm_75", "sm_80", "sm_100a"] {
        let module = Kernels::of_all(chip).ready();
        for f in Func::ALL.iter().copied() {
            let args = combinations(f.arity());
            for accuracy in [Accuracy::Full, Accuracy::Fast] {
                for (args, got) in args.iter().zip(run(&module, &name(f, accuracy), &args)) {
                    let given = &args[..f.arity()];
                    assert!(
                        is_right(f, accuracy, args, got),
                        "{} {accuracy:?} at {given:?} on {chip}: {got:e}, not {:e}",
                        f.name(),
                        exact(f, args)
                    );
                }
            }
        }
    }
}

fn combinations(arity: usize) -> Vec<[f32; 3]> {
    let mut all = vec![[0.0; 3]];
    for n in 0..arity {
        let with = |args: &[f32; 3]| {
            let mut args = *args;
            SPECIAL.map(|x| {
                args[n] = x;
                args
            })
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

fn is_right(f: Func, accuracy: Accuracy, args: &[f32; 3], got: f32) -> bool {
    let [x, y, _] = *args;
    match f {
        // No digits are left, but it has to be a sine.
        Func::Sin | Func::Cos if x.is_finite() && x.abs() > 2f32.powi(20) => {
            return got.abs() <= 1.0;
        }
        // Nor of a remainder of so large a quotient.
        Func::Mod if x.is_finite() && (x / y).abs() > 2f32.powi(24) => return true,
        _ => {}
    }
    let bound: Bound = match accuracy {
        Accuracy::Full => ulps(4.0),
        Accuracy::Fast => ulps(512.0),
    };
    let bound = bound.zero_below(SILU_END);
    let bound = match f {
        Func::Gelu if x.is_finite() => bound.least(f64::from(x.abs()).max(1e-30)),
        _ => bound,
    };
    // Approximations may take subnormal arguments for 0, some of them or all.
    let choices = match accuracy {
        Accuracy::Full => 1,
        Accuracy::Fast => 1 << f.arity(),
    };
    (0..choices).any(|flushed| {
        let mut args = *args;
        for (n, x) in args.iter_mut().enumerate() {
            if flushed >> n & 1 == 1 && x.is_subnormal() {
                *x *= 0.0;
            }
        }
        let exact = exact(f, &args);
        // A remainder may be off by a whole divisor: the quotient was rounded.
        let other = match f {
            Func::Mod => exact - f64::from(y),
            _ => exact,
        };
        bound.error(got, exact) <= bound.ulps || bound.error(got, other) <= bound.ulps
    })
}

#[test]
fn no_chip_needs_a_function_of_a_library() {
    for chip in ["sm_75", "sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        let kernels = Kernels::of_all(chip);
        let ptx = kernels.ptx();
        assert_eq!(ptx.matches(".visible .entry").count(), 2 * Func::ALL.len());
        for word in ["call", ".extern", ".func", "st.local"] {
            assert!(!ptx.contains(word), "{word} on {chip}:\n{ptx}");
        }
    }
}

#[test]
fn predicates_are_conditions_and_all_else_is_a_number() {
    for f in Func::ALL.iter().copied() {
        for ty in [Ty::F32, Ty::I32, Ty::I1] {
            for accuracy in [Accuracy::Full, Accuracy::Fast] {
                let mut e = Emit::new();
                let args: Vec<Val> = (0..f.arity()).map(|_| e.fresh(ty)).collect();
                let expected = if f.is_predicate() { Ty::I1 } else { Ty::F32 };
                assert_eq!(
                    call(&mut e, accuracy, f, &args).ty,
                    expected,
                    "{f:?} of {ty:?}"
                );
            }
        }
    }
}

#[test]
fn integers_compare_as_integers_and_count_as_numbers_elsewhere() {
    // x as an integer, and the next one.
    let of_integers = |f: Func| -> Body {
        Box::new(move |e, args| {
            let a = e.float_to_int(args[0]);
            let one = e.i32(1);
            let b = e.add(a, one);
            call(e, Accuracy::Full, f, &[a, b])
        })
    };
    let of_both = |f: Func| -> Body {
        Box::new(move |e, args| {
            let a = e.float_to_int(args[0]);
            let one = e.i32(1);
            let b = e.add(a, one);
            call(e, Accuracy::Full, f, &[b, args[0]])
        })
    };
    let of_conditions = |f: Func| -> Body {
        Box::new(move |e, args| {
            let zero = e.f32(0.0);
            let a = e.fcmp("ogt", args[0], zero);
            let b = e.fcmp("ogt", args[1], zero);
            call(e, Accuracy::Full, f, &[a, b, args[2]][..f.arity()])
        })
    };
    let mut kernels: Vec<(String, Body)> = vec![];
    for f in [
        Func::Lt,
        Func::Le,
        Func::Eq,
        Func::Ne,
        Func::Sub,
        Func::Max,
        Func::And,
    ] {
        kernels.push((format!("integers_{}", f.name()), of_integers(f)));
        kernels.push((format!("both_{}", f.name()), of_both(f)));
        kernels.push((format!("conditions_{}", f.name()), of_conditions(f)));
    }
    kernels.push(("conditions_select".into(), of_conditions(Func::Select)));
    let module = Kernels::new("sm_80", &kernels).ready();
    let value = |kernel: &str, args: [f32; 3]| run(&module, kernel, &[args])[0];

    // 2^24 + 1 is no f32; as a number it is 2^24.
    let large = [16_777_216.0, 0.0, 0.0];
    for (f, integers, both) in [
        ("lt", 1.0, 0.0),
        ("le", 1.0, 1.0),
        ("eq", 0.0, 1.0),
        ("ne", 1.0, 0.0),
        ("sub", 0.0, 0.0),
        ("and", 1.0, 1.0),
    ] {
        assert_eq!(value(&format!("integers_{f}"), large), integers, "{f}");
        assert_eq!(value(&format!("both_{f}"), large), both, "{f}");
    }
    assert_eq!(value("integers_sub", [-5.0, 0.0, 0.0]), -1.0);
    assert_eq!(value("integers_max", [-5.0, 0.0, 0.0]), -4.0);
    assert_eq!(value("integers_and", [0.0, 0.0, 0.0]), 0.0);
    assert_eq!(value("integers_and", [-1.0, 0.0, 0.0]), 0.0);

    for (args, lt, sub, and, select) in [
        ([-1.0, 1.0, 7.5], 1.0, -1.0, 0.0, 7.5),
        ([1.0, -1.0, 7.5], 0.0, 1.0, 0.0, 0.0),
        ([1.0, 1.0, 7.5], 0.0, 0.0, 1.0, 1.0),
    ] {
        assert_eq!(value("conditions_lt", args), lt, "{args:?}");
        assert_eq!(value("conditions_sub", args), sub, "{args:?}");
        assert_eq!(value("conditions_and", args), and, "{args:?}");
        assert_eq!(value("conditions_select", args), select, "{args:?}");
    }
}

#[test]
fn a_number_of_an_integer_or_a_condition_is_its_value() {
    let body: Body = Box::new(|e, args| {
        let zero = e.f32(0.0);
        let is_negative = e.fcmp("olt", args[0], zero);
        let whole = e.float_to_int(args[0]);
        let (a, b) = (number(e, is_negative), number(e, whole));
        e.fma(a, args[1], b)
    });
    let module = Kernels::new("sm_80", &[("k".to_owned(), body)]).ready();
    let got = run(&module, "k", &[[-2.5, 100.0, 0.0], [3.75, 100.0, 0.0]]);
    assert_eq!(got, [98.0, 3.0]);
}
