//! Random kernels print and read back as themselves; random bytes never make the reader panic.

use mixc_ir::{DType, Func, Ix, Name};
use mixc_text::Source;
use mixc_tile::{
    Access, Axis, Buf, BufId, Compare, Cond, Expr, GridAxis, Kernel, KernelArgs, LoadIx, Place,
    ReduceKind, ScanKind, Space, Stmt, TensorArg, TensorData, Usage, interpret, parse_kernel,
    verify,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// Local axes and other index variables have different names: a lone name in an access is the former
/// exactly if the statement declares it.
const LOCAL: [&str; 4] = ["i", "j", "d", "e''"];
const UNIFORM: [&str; 3] = ["b", "t0", "k0'"];
const DIMS: [&str; 3] = ["B", "T", "min"];

fn name(names: &'static [&'static str]) -> impl Strategy<Value = Name> {
    select(names).prop_map(Name::from)
}

fn ix(locals: bool) -> BoxedStrategy<Ix> {
    let axis = if locals {
        name(&LOCAL).boxed()
    } else {
        name(&UNIFORM).boxed()
    };
    let leaf = prop_oneof![
        (-5i64..100).prop_map(Ix::Const),
        any::<i64>().prop_map(Ix::Const),
        axis.prop_map(Ix::Axis),
        name(&UNIFORM).prop_map(Ix::Axis),
        name(&DIMS).prop_map(Ix::Dim),
    ];
    let build = select(vec![
        Ix::Add as fn(Arc<Ix>, Arc<Ix>) -> Ix,
        Ix::Sub,
        Ix::Mul,
        Ix::Div,
        Ix::Mod,
        Ix::Min,
        Ix::Max,
    ]);
    leaf.prop_recursive(4, 12, 2, move |inner| {
        (build.clone(), inner.clone(), inner).prop_map(|(f, a, b)| f(Arc::new(a), Arc::new(b)))
    })
    .boxed()
}

fn access() -> impl Strategy<Value = Access> {
    let place = prop_oneof![
        name(&LOCAL).prop_map(Place::Axis),
        ix(false).prop_map(Place::At)
    ];
    (0u32..3, prop::collection::vec(place, 0..3)).prop_map(|(n, places)| Access {
        buf: BufId(n),
        places,
    })
}

fn expr() -> BoxedStrategy<Expr> {
    let number = any::<f32>().prop_filter("NaN is not equal to itself", |v| !v.is_nan());
    let leaf = prop_oneof![
        number.prop_map(Expr::Const),
        name(&["scale", "int", "exp"]).prop_map(Expr::Scalar),
        access().prop_map(Expr::Elem),
        ix(true).prop_map(Expr::Index),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let call = (
            select(Func::ALL.to_vec()),
            prop::collection::vec(inner.clone(), 3),
        )
            .prop_map(|(f, mut args)| {
                args.truncate(f.arity());
                Expr::Call(f, args)
            });
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::Add(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Expr::Mul(Box::new(a), Box::new(b))),
            call,
        ]
    })
    .boxed()
}

/// All local axes in a random order, so that every access can use them.
fn axes() -> impl Strategy<Value = Vec<Axis>> {
    (
        Just(LOCAL.to_vec()).prop_shuffle(),
        prop::collection::vec(0usize..12, LOCAL.len()),
    )
        .prop_map(|(names, extents)| {
            names
                .into_iter()
                .zip(extents)
                .map(|(n, extent)| Axis {
                    name: n.into(),
                    extent,
                })
                .collect()
        })
}

fn stmt() -> BoxedStrategy<Stmt> {
    let load_ix = prop_oneof![
        ix(true).prop_map(LoadIx::Ix),
        access().prop_map(LoadIx::Gather)
    ];
    let tensor = || name(&["q", "out", "for"]);
    let leaf = prop_oneof![
        (
            axes(),
            access(),
            tensor(),
            prop::collection::vec(load_ix, 0..4)
        )
            .prop_map(|(axes, dst, tensor, index)| Stmt::Load {
                axes,
                dst,
                tensor,
                index
            }),
        (
            axes(),
            tensor(),
            prop::collection::vec(ix(true), 0..4),
            expr()
        )
            .prop_map(|(axes, tensor, index, src)| Stmt::Store {
                axes,
                tensor,
                index,
                src
            }),
        (axes(), access(), expr()).prop_map(|(axes, dst, expr)| Stmt::Map { axes, dst, expr }),
        (
            axes(),
            select(ReduceKind::ALL),
            any::<bool>(),
            access(),
            expr()
        )
            .prop_map(|(axes, kind, accumulate, dst, expr)| Stmt::Reduce {
                axes,
                kind,
                accumulate,
                dst,
                expr
            }),
        (axes(), any::<bool>(), access(), access(), access()).prop_map(
            |(axes, accumulate, dst, a, b)| Stmt::Contract {
                axes,
                accumulate,
                dst,
                a,
                b
            }
        ),
        (
            axes(),
            name(&LOCAL),
            select(ScanKind::ALL),
            select(&[None, Some(1), Some(4)][..]),
            any::<bool>(),
            any::<bool>(),
            access(),
            expr()
        )
            .prop_map(
                |(axes, along, kind, every, exclusive, reverse, dst, expr)| Stmt::Scan {
                    axes,
                    along,
                    kind,
                    every,
                    exclusive,
                    reverse,
                    dst,
                    expr
                }
            ),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        let body = || prop::collection::vec(inner.clone(), 0..3);
        let cond =
            (ix(false), select(Compare::ALL), ix(false)).prop_map(|(left, compare, right)| Cond {
                left,
                compare,
                right,
            });
        prop_oneof![
            (name(&UNIFORM), ix(false), ix(false), any::<bool>(), body()).prop_map(
                |(var, lo, hi, reverse, body)| Stmt::For {
                    var,
                    lo,
                    hi,
                    reverse,
                    body
                }
            ),
            (cond, body(), body()).prop_map(|(cond, then, otherwise)| Stmt::If {
                cond,
                then,
                otherwise
            }),
        ]
    })
    .boxed()
}

fn kernel() -> impl Strategy<Value = Kernel> {
    let tensor = (
        select(vec![
            DType::F32,
            DType::F16,
            DType::Bf16,
            DType::F64,
            DType::I32,
            DType::I64,
            DType::Bool,
        ]),
        select(Usage::ALL),
        prop::collection::vec(ix(false), 0..4),
        any::<bool>(),
    );
    let tensor = (name(&["q", "out", "for"]), tensor).prop_map(
        |(name, (dtype, usage, shape, unit_inner))| TensorArg {
            name,
            dtype,
            usage,
            shape,
            unit_inner,
        },
    );
    let bufs = prop::collection::vec(
        (prop::collection::vec(0usize..300, 0..3), select(Space::ALL)),
        3,
    );
    let grid = prop::collection::vec((name(&UNIFORM), ix(false)), 0..3);
    let body = prop::collection::vec(stmt(), 0..4);
    let lists = (
        prop::collection::vec(name(&DIMS), 0..3),
        prop::collection::vec(name(&["scale", "int"]), 0..3),
    );
    (
        select(vec!["k", "a-b", "1 x"]),
        lists,
        prop::collection::vec(tensor, 0..3),
        bufs,
        grid,
        body,
    )
        .prop_map(
            |(name, (dims, scalars), tensors, bufs, grid, body)| Kernel {
                name: name.to_string(),
                dims,
                scalars,
                tensors,
                bufs: bufs
                    .into_iter()
                    .zip(["acc", "store", "select"])
                    .map(|((shape, space), name)| Buf {
                        name: name.into(),
                        shape,
                        space,
                    })
                    .collect(),
                grid: grid
                    .into_iter()
                    .map(|(name, extent)| GridAxis { name, extent })
                    .collect(),
                body,
            },
        )
}

/// Loops run too long; their bodies are as good.
fn without_loops(body: &[Stmt]) -> Vec<Stmt> {
    let flat = |s: &Stmt| match s {
        Stmt::For { body, .. } => without_loops(body),
        Stmt::If {
            cond,
            then,
            otherwise,
        } => {
            let (then, otherwise) = (without_loops(then), without_loops(otherwise));
            vec![Stmt::If {
                cond: cond.clone(),
                then,
                otherwise,
            }]
        }
        other => vec![other.clone()],
    };
    body.iter().flat_map(flat).collect()
}

/// Bytes that look like a kernel often enough to reach every reader.
fn kernel_like() -> impl Strategy<Value = String> {
    let words = [
        "kernel k(dims: T; scalars: s) {",
        "}",
        "{",
        "in q: f32 [$T] unit",
        "shared a: [4]",
        "grid b < $T,",
        "for i in 0 .. 4 {",
        "if 1 < 2 {",
        "else",
        "load [i < 4]",
        "store [i < 4]",
        "map [i < 4]",
        "reduce max [i < 4]",
        "(+)=",
        "contract [i < 4]",
        "scan sum",
        "along i",
        "every 4",
        "a[i]",
        "a[",
        "]",
        "(",
        ")",
        "=",
        "<-",
        "exp(",
        "select(",
        "int(",
        "-",
        "+",
        "*",
        "/",
        "%",
        "<",
        "..",
        ",",
        ":",
        ";",
        "$",
        "min(",
        "q[",
        "gather",
        "1.5",
        "9999999999999999999999",
        "inf",
        "\n",
        "x",
        "\"",
        "é",
        "///",
        "//",
    ];
    prop::collection::vec(select(words.to_vec()), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn kernels_read_back_as_themselves(kernel in kernel()) {
        let text = kernel.to_string();
        let source = Source::new("random", &*text);
        let read = parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)));
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(read, kernel);
    }

    #[test]
    fn no_kernel_makes_verifier_or_interpreter_panic(kernel in kernel()) {
        let _ = verify(&kernel);
        let data = |t: &TensorArg| (t.name.clone(), TensorData::filled(&vec![2; t.shape.len()], 1.0));
        let mut args = KernelArgs {
            dims: kernel.dims.iter().map(|d| (d.clone(), 2)).collect(),
            scalars: kernel.scalars.iter().map(|s| (s.clone(), 0.5)).collect(),
            tensors: kernel.tensors.iter().map(data).collect(),
        };
        // Loops and grids run too long. Shapes hardly ever fit; without tensors the body is reached.
        let kernel = Kernel { grid: vec![], body: without_loops(&kernel.body), ..kernel };
        let _ = interpret(&kernel, &mut args);
        let _ = interpret(&Kernel { tensors: vec![], ..kernel }, &mut args);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_kernel(&Source::new("random", String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn nothing_like_a_kernel_makes_the_reader_panic(text in kernel_like()) {
        let source = Source::new("random", text);
        match parse_kernel(&source) {
            Ok(kernel) => { let _ = verify(&kernel); }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                source.render(&errors);
            }
        }
    }
}
