//! What the interpreter reports and how it treats the edges of tensors, on kernels built by hand.

mod common;

use common::{args, assert_close, nan, run_every_order, tensor};
use mixc_ir::{DType, Ix};
use mixc_tile::{
    Access, Axis, Buf, BufId, Expr, GridAxis, Kernel, LoadIx, Place, RunError, RunOptions, Space,
    Stmt, TensorArg, TensorData, Usage, interpret, interpret_with,
};

fn axis(name: &str, extent: usize) -> Axis {
    Axis {
        name: name.into(),
        extent,
    }
}

fn access(buf: u32, axes: &[&str]) -> Access {
    Access {
        buf: BufId(buf),
        places: axes.iter().map(|a| Place::Axis((*a).into())).collect(),
    }
}

fn matrix(name: &str, usage: Usage, shape: [&str; 2]) -> TensorArg {
    let shape = shape.iter().map(|d| Ix::dim(d)).collect();
    TensorArg {
        name: name.into(),
        dtype: DType::F32,
        usage,
        shape,
        unit_inner: true,
    }
}

fn buffer(name: &str, shape: &[usize]) -> Buf {
    Buf {
        name: name.into(),
        shape: shape.to_vec(),
        space: Space::Shared,
    }
}

/// c = a * b in tiles of 64 x 64 x 64, for any M, N and K.
fn matmul() -> Kernel {
    let row = Ix::axis("m0") * 64 + Ix::axis("m");
    let column = Ix::axis("n0") * 64 + Ix::axis("n");
    let inner = Ix::axis("k0") * 64 + Ix::axis("k");
    let load = |buf, tensor: &str, axes: [&str; 2], index: [&Ix; 2]| Stmt::Load {
        axes: axes.iter().map(|a| axis(a, 64)).collect(),
        dst: access(buf, &axes),
        tensor: tensor.into(),
        index: index.iter().map(|ix| LoadIx::Ix((*ix).clone())).collect(),
    };
    let product = Stmt::Contract {
        axes: vec![axis("m", 64), axis("n", 64), axis("k", 64)],
        accumulate: true,
        dst: access(2, &["m", "n"]),
        a: access(0, &["m", "k"]),
        b: access(1, &["k", "n"]),
    };
    let tiles = |dim: &str| Ix::dim(dim).ceil_div(Ix::Const(64));
    let both = || vec![axis("m", 64), axis("n", 64)];
    Kernel {
        name: "matmul".into(),
        dims: ["M", "N", "K"].map(Into::into).to_vec(),
        scalars: vec![],
        tensors: vec![
            matrix("a", Usage::In, ["M", "K"]),
            matrix("b", Usage::In, ["K", "N"]),
            matrix("c", Usage::Out, ["M", "N"]),
        ],
        bufs: vec![
            buffer("ta", &[64, 64]),
            buffer("tb", &[64, 64]),
            buffer("acc", &[64, 64]),
        ],
        grid: vec![
            GridAxis {
                name: "m0".into(),
                extent: tiles("M"),
            },
            GridAxis {
                name: "n0".into(),
                extent: tiles("N"),
            },
        ],
        body: vec![
            Stmt::Map {
                axes: both(),
                dst: access(2, &["m", "n"]),
                expr: Expr::Const(0.0),
            },
            Stmt::For {
                var: "k0".into(),
                lo: Ix::Const(0),
                hi: tiles("K"),
                reverse: false,
                body: vec![
                    load(0, "a", ["m", "k"], [&row, &inner]),
                    load(1, "b", ["k", "n"], [&inner, &column]),
                    product,
                ],
            },
            Stmt::Store {
                axes: both(),
                tensor: "c".into(),
                index: vec![row.clone(), column.clone()],
                src: Expr::Elem(access(2, &["m", "n"])),
            },
        ],
    }
}

#[test]
fn tiled_matmul_on_ragged_sizes() {
    for (m, n, k) in [(1, 1, 1), (64, 64, 64), (65, 63, 130), (3, 100, 0)] {
        let (a, b) = (tensor(1, &[m, k]), tensor(2, &[k, n]));
        let given = args(
            &[("M", m), ("N", n), ("K", k)],
            &[],
            vec![("a", a.clone()), ("b", b.clone()), ("c", nan(&[m, n]))],
        );
        let done = run_every_order(&matmul(), &given);
        assert_close(&done.tensors["c"], 1e-5, |at| {
            let term = |l: usize| {
                let (l, i, j) = (l as i64, at[0] as i64, at[1] as i64);
                f64::from(a.get(&[i, l])) * f64::from(b.get(&[l, j]))
            };
            (0..k).map(term).sum()
        });
    }
}

#[test]
fn arguments_are_checked_against_the_declarations() {
    let run = |dims: &[(&str, usize)], c: &[usize]| {
        let mut given = args(
            dims,
            &[],
            vec![
                ("a", tensor(1, &[2, 3])),
                ("b", tensor(2, &[3, 4])),
                ("c", nan(c)),
            ],
        );
        interpret(&matmul(), &mut given)
            .map(|()| given)
            .map_err(|e| e.to_string())
    };
    assert!(run(&[("M", 2), ("N", 4), ("K", 3)], &[2, 4]).is_ok());
    let missing = run(&[("M", 2), ("N", 4)], &[2, 4]).unwrap_err();
    assert_eq!(missing, "kernel `matmul` needs a value for size `K`");
    let shape = run(&[("M", 2), ("N", 4), ("K", 3)], &[2, 5]).unwrap_err();
    assert_eq!(shape, "tensor `c`: expected shape [2, 4], found [2, 5]");
}

#[test]
fn an_outer_stride_is_free_and_the_inner_one_is_promised() {
    let sizes = [("M", 2), ("N", 2), ("K", 2)];
    let mut given = args(
        &sizes,
        &[],
        vec![
            ("a", tensor(1, &[2, 2])),
            ("b", tensor(2, &[2, 2])),
            ("c", nan(&[2, 2])),
        ],
    );
    let plain = {
        let mut given = given.clone();
        interpret(&matmul(), &mut given).unwrap();
        given.tensors["c"].clone()
    };
    // Rows of c in reverse order, three apart, with a guard value between them.
    let c = given.tensors.get_mut("c").unwrap();
    (c.strides, c.data) = (vec![-3, 1], vec![7.0; 5]);
    interpret(&matmul(), &mut given).unwrap();
    let at = |i, j| plain.get(&[i, j]);
    assert_eq!(
        given.tensors["c"].data,
        [at(1, 0), at(1, 1), 7.0, at(0, 0), at(0, 1)]
    );

    given.tensors.get_mut("a").unwrap().strides = vec![1, 2];
    let error = interpret(&matmul(), &mut given).unwrap_err().to_string();
    assert_eq!(error, "tensor `a`: the last stride must be 1, found [1, 2]");
}

#[test]
fn two_grid_points_that_write_one_element_are_found() {
    let mut kernel = matmul();
    let Some(Stmt::Store { index, .. }) = kernel.body.last_mut() else {
        panic!("the last statement stores")
    };
    index[1] = Ix::axis("n");
    let tensors = vec![
        ("a", tensor(1, &[8, 8])),
        ("b", tensor(2, &[8, 70])),
        ("c", nan(&[8, 70])),
    ];
    let mut given = args(&[("M", 8), ("N", 70), ("K", 8)], &[], tensors);
    let options = RunOptions {
        find_races: true,
        ..RunOptions::default()
    };
    match interpret_with(&kernel, &mut given, options).unwrap_err() {
        RunError::Race(race) => {
            assert_eq!((&*race.tensor, &race.element[..]), ("c", &[0, 0][..]));
            assert_eq!((&*race.first, &race.second[..]), ("[0, 0]", &[0, 1][..]));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn faults_print_the_statement_and_the_grid_point() {
    let mut kernel = matmul();
    kernel.body[0] = Stmt::Map {
        axes: vec![axis("m", 64), axis("n", 64)],
        dst: access(2, &["m", "n"]),
        expr: Expr::Index(Ix::axis("m") / (Ix::axis("n0") - 1)),
    };
    let tensors = vec![
        ("a", tensor(1, &[8, 8])),
        ("b", tensor(2, &[8, 70])),
        ("c", nan(&[8, 70])),
    ];
    let mut given = args(&[("M", 8), ("N", 70), ("K", 8)], &[], tensors);
    let error = interpret(&kernel, &mut given).unwrap_err().to_string();
    assert!(
        error.contains("map [m < 64, n < 64] acc[m, n] = int(m / (n0 - 1))"),
        "{error}"
    );
    assert!(error.ends_with("at grid point [0, 1]"), "{error}");
    assert_eq!(
        given.tensors["b"].shape,
        [8, 70],
        "tensors survive an error"
    );
}

/// Runs a kernel text with `x` [4] = 1, -2, NaN, 4 and gives `y` [4].
fn run_text(body: &str) -> Result<Vec<f32>, RunError> {
    let text = format!(
        "kernel k(dims: n) {{ in x: f32 [4]  out y: f32 [4]  shared a: [4]  shared m: []
           load [i < 4] a[i] <- x[i]
           {body} }}"
    );
    let kernel = mixc_tile::parse_kernel(&mixc_text::Source::new("k", text)).unwrap();
    let x = TensorData::new(&[4], vec![1.0, -2.0, f32::NAN, 4.0]);
    let mut given = args(&[("n", 3)], &[], vec![("x", x), ("y", nan(&[4]))]);
    interpret(&kernel, &mut given)?;
    Ok(given.tensors["y"].data.clone())
}

#[test]
fn select_never_looks_at_the_untaken_branch() {
    // Neither at NaN, nor at a position outside the buffer, nor at a division by zero.
    let y = run_text(
        "store [i < 4] y[i] <- select(a[i] == a[i], select(1.0, a[i], a[$n + 9]), int(i / ($n - $n + 1)))",
    );
    assert_eq!(y.unwrap(), [1.0, -2.0, 2.0, 4.0]);
    let y = run_text("store [i < 4] y[i] <- select(1.0, 5.0, int(i / ($n - 3)))");
    assert_eq!(y.unwrap(), [5.0; 4]);
}

#[test]
fn nan_propagates_through_maxima_and_gathers_nothing() {
    let y = run_text("reduce max [i < 4] m[] = a[i]  store [i < 4] y[i] <- m[]").unwrap();
    assert!(y.iter().all(|v| v.is_nan()));
    let y = run_text(
        "reduce max [i < 2] m[] = a[i]  reduce min [i < 2] m[] (+)= a[i]  store [i < 4] y[i] <- m[]",
    );
    assert_eq!(y.unwrap(), [-2.0; 4]);
    let y =
        run_text("shared b: [4]  load [i < 4] b[i] <- x[gather a[i]]  store [i < 4] y[i] <- b[i]")
            .unwrap();
    assert_eq!(y, [-2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn positions_outside_a_buffer_are_faults() {
    let error = run_text("for j in 0 .. 5 { map [] m[] = a[j] }")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "a position outside the buffer, in `map [] m[] = a[j]` at grid point []"
    );
}

#[test]
fn kernels_that_are_not_legal_are_errors() {
    let error = |body: &str| run_text(body).unwrap_err().to_string();
    assert_eq!(
        error("map [] m[] = a[q]"),
        "unknown index variable `q`, in `map [] m[] = a[q]`"
    );
    assert_eq!(
        error("store [i < 4] z[i] <- a[i]"),
        "unknown tensor `z`, in `store [i < 4] z[i] <- a[i]`"
    );
    assert_eq!(
        error("map [i < 5] a[i] = 0.0"),
        "axis of 5 over a dimension of 4 of `a`, in `map [i < 5] a[i] = 0.0`"
    );
    assert_eq!(
        error("shared big: [999999, 999999]"),
        "the buffer has more than 268435456 elements, in `shared big: [999999, 999999]`"
    );
}

#[test]
fn buffers_are_not_defined_before_they_are_written() {
    let mut kernel = matmul();
    kernel.body.remove(0);
    let tensors = vec![
        ("a", tensor(1, &[2, 2])),
        ("b", tensor(2, &[2, 2])),
        ("c", tensor(3, &[2, 2])),
    ];
    let mut given = args(&[("M", 2), ("N", 2), ("K", 2)], &[], tensors);
    interpret(&kernel, &mut given).unwrap();
    assert!(given.tensors["c"].data.iter().all(|v| v.is_nan()));
}
