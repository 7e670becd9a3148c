//! One illegal kernel for each invariant of the verifier.

use mixc_ir::{Func, Ix};
use mixc_text::Source;
use mixc_tile::{Access, BufId, Expr, Kernel, Place, Stmt, parse_kernel, verify};

fn read(text: &str) -> Kernel {
    let source = Source::new("test.tile", text);
    parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

/// A legal frame: buffers `a`, `b`, `c` [4, 8] and `m` [4] are written, `u` [4] and `v` [8] are not.
fn framed(body: &str) -> Kernel {
    read(&format!(
        "kernel k(dims: T, n; scalars: scale) {{
           in x: f32 [$T, 8] unit
           out y: f32 [$T, 8] unit
           shared a: [4, 8]  shared b: [4, 8]  shared c: [4, 8]  register m: [4]
           register u: [4]  register v: [8]
           grid t0 < ($T + 3) / 4
           load [i < 4, d < 8] a[i, d] <- x[t0 * 4 + i, d]
           map [i < 4, d < 8] b[i, d] = a[i, d] * scale
           map [i < 4, d < 8] c[i, d] = 0.0
           map [i < 4] m[i] = int(i)
           {body}
         }}"
    ))
}

fn errors(kernel: &Kernel) -> Vec<String> {
    let errors = verify(kernel).err().unwrap_or_default();
    errors
        .into_iter()
        .map(|e| format!("{}: {}", e.code, e.what))
        .collect()
}

#[track_caller]
fn rejects(body: &str, expected: &[&str]) {
    assert_eq!(errors(&framed(body)), expected, "{body}");
}

#[track_caller]
fn accepts(body: &str) {
    assert_eq!(errors(&framed(body)), [""; 0], "{body}");
}

#[test]
fn legal_statements_pass() {
    accepts("store [i < 4, d < 8] y[t0 * 4 + i, d] <- a[i, d] + b[i, d]");
    accepts("map [i < 4, d < 8] a[i, d] = a[i, d] * m[i]");
    accepts("map [i < 2] m[i] = a[i, $n % 8]");
    accepts("map [i < 4] m[i] = a[i, i]");
    accepts("reduce max [i < 4, d < 8] m[i] (+)= a[i, d]");
    accepts(
        "contract [i < 4, j < 4, d < 8] u[i] = a[i, d] * b[i, d]"
            .replace("j < 4, ", "")
            .as_str(),
    );
    accepts("contract [i < 4, d < 8] c[i, d] (+)= a[i, d] * b[i, d]");
    accepts("scan sum [i < 4, d < 8] along i c[i, d] = a[i, d]");
    accepts("load [i < 4, d < 8] c[i, d] <- x[gather m[i], d]");
    accepts("for j in 0 .. 3 { map [i < 4] u[i] = 0.0 } map [i < 4] m[i] = u[i]");
    accepts(
        "if $n < 3 { map [i < 4] u[i] = 0.0 } else { map [j < 4] u[j] = 1.0 } map [i < 4] m[i] = u[i]",
    );
    accepts(
        "for j in 0 .. $n { map [i < 4] m[i] = 0.0 } for j in 0 .. $n { map [i < 4] m[i] = int(j) }",
    );
}

#[test]
fn errors_print_the_statement() {
    let kernel = framed("for j in 0 .. q { map [i < 4] m[i] = e }");
    let errors: Vec<String> = verify(&kernel)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "unknown index variable `q`, in `for j in 0 .. q`",
        "unknown scalar `e`, in `map [i < 4] m[i] = e`",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn bad_name() {
    let mut kernel = framed("");
    kernel.dims.push("a-b".into());
    kernel.scalars.push("nan".into());
    let expected = [
        "bad-name: the size name `a-b` is not an identifier",
        "bad-name: `nan` is a number and cannot name a scalar",
    ];
    assert_eq!(errors(&kernel), expected);
}

#[test]
fn duplicate_name() {
    let mut kernel = framed("");
    kernel.tensors[1].name = "x".into();
    kernel.bufs[1].name = "a".into();
    let expected = [
        "duplicate-name: two tensor declarations have the name `x`",
        "duplicate-name: two buffer declarations have the name `a`",
    ];
    assert_eq!(errors(&kernel), expected);
    rejects(
        "for t0 in 0 .. 4 { }",
        &["duplicate-name: the loop variable `t0` hides an index variable of that name"],
    );
    rejects(
        "for i in 0 .. 4 { map [i < 4] m[i] = 0.0 }",
        &["duplicate-name: the local axis `i` hides an index variable of that name"],
    );
    rejects(
        "map [i < 4, i < 4] m[i] = 0.0",
        &["duplicate-name: the local axis `i` hides an index variable of that name"],
    );
}

#[test]
fn unknown_name() {
    rejects(
        "map [i < 4] m[i] = z",
        &["unknown-name: unknown scalar `z`"],
    );
    rejects(
        "map [i < 4] m[i] = int(z + $z)",
        &[
            "unknown-name: unknown index variable `z`",
            "unknown-name: unknown size `$z`",
        ],
    );
    rejects(
        "map [i < 4] m[i] = a[i, z]",
        &["unknown-name: unknown index variable `z`"],
    );
    rejects(
        "store [i < 4] z[i] <- m[i]",
        &["unknown-name: unknown tensor `z`"],
    );
    rejects(
        "if z < 1 { }",
        &["unknown-name: unknown index variable `z`"],
    );
    // A loop variable is known in its loop only.
    rejects(
        "for j in 0 .. j { } map [i < 4] m[i] = int(j)",
        &[
            "unknown-name: unknown index variable `j`",
            "unknown-name: unknown index variable `j`",
        ],
    );
    let mut kernel = framed("");
    kernel.body = vec![Stmt::Map {
        axes: vec![],
        dst: Access {
            buf: BufId(9),
            places: vec![],
        },
        expr: Expr::Elem(Access {
            buf: BufId(3),
            places: vec![Place::Axis("i".into())],
        }),
    }];
    let expected = [
        "unknown-name: there is no buffer %9",
        "unknown-name: `i` is not a local axis",
        "unwritten: `m` may be read before it is written",
    ];
    assert_eq!(errors(&kernel), expected);
}

#[test]
fn bad_size() {
    let mut kernel = framed("");
    kernel.grid[0].extent = Ix::axis("t0");
    kernel.bufs[0].shape = vec![1 << 40, 1 << 40];
    let expected = [
        "bad-size: the buffer is larger than any memory",
        "bad-size: a size cannot depend on the index variable `t0`",
    ];
    assert_eq!(errors(&kernel), expected);
}

#[test]
fn rank() {
    rejects(
        "map [i < 4] m[i] = a[i]",
        &["rank: `a` has 2 dimensions, 1 are indexed"],
    );
    rejects(
        "load [i < 4] m[i] <- x[i]",
        &["rank: `x` has 2 dimensions, 1 are indexed"],
    );
    rejects(
        "store [i < 4] y[i] <- m[i]",
        &["rank: `y` has 2 dimensions, 1 are indexed"],
    );
}

#[test]
fn extent() {
    rejects(
        "map [i < 5] m[i] = 0.0",
        &["extent: `i` takes 5 values, dimension 0 of `m` has 4"],
    );
}

#[test]
fn element_index() {
    rejects(
        "load [i < 4] m[i] <- x[x[i, 0], 0]",
        &["element-index: `x[i, 0]` is a tensor element, load it and gather"],
    );
}

#[test]
fn local_index() {
    rejects(
        "map [i < 4] m[i] = a[i, i + 1]",
        &["local-index: the local axis `i` stands where all axes need the same value"],
    );
}

#[test]
fn arity() {
    let mut kernel = framed("map [i < 4] m[i] = exp(m[i])");
    let Some(Stmt::Map {
        expr: Expr::Call(_, args),
        ..
    }) = kernel.body.last_mut()
    else {
        panic!("a map")
    };
    args.push(Expr::Const(1.0));
    assert_eq!(
        errors(&kernel),
        ["arity: `exp` takes 1 arguments, 2 are given"]
    );
    let Some(Stmt::Map { expr, .. }) = kernel.body.last_mut() else {
        panic!("a map")
    };
    *expr = Expr::Call(Func::Select, vec![]);
    assert_eq!(
        errors(&kernel),
        ["arity: `select` takes 3 arguments, 0 are given"]
    );
}

#[test]
fn unused_axis() {
    rejects(
        "reduce sum [i < 4, j < 8] m[i] = a[i, 0]",
        &["unused-axis: the local axis `j` is not used"],
    );
    rejects(
        "store [i < 4] y[0, 0] <- scale",
        &["unused-axis: the local axis `i` is not used"],
    );
}

#[test]
fn destination_axes() {
    rejects(
        "map [i < 4] a[i, i] = 0.0",
        &["destination-axes: `a[i, i]` names the local axis `i` twice"],
    );
    rejects(
        "map [i < 4, d < 8] m[i] = a[i, d]",
        &["destination-axes: the destination lacks the local axis `d`"],
    );
    rejects(
        "load [i < 4, d < 8] m[i] <- x[i, d]",
        &["destination-axes: the destination lacks the local axis `d`"],
    );
    rejects(
        "scan sum [i < 4, d < 8] along d m[i] = a[i, d]",
        &["destination-axes: the destination lacks the local axis `d`"],
    );
    rejects(
        "store [i < 4, d < 8] y[i, 0] <- a[i, d]",
        &["destination-axes: the local axis `d` is not in the index of the store"],
    );
}

#[test]
fn contract_axes() {
    rejects(
        "contract [i < 4, j < 4, d < 8] c[i, j] = a[i, d] * m[j]",
        &["contract-axes: the axis `d` occurs in one access, expected two or three"],
    );
    rejects(
        "contract [i < 4] u[i] = a[i, i] * m[i]",
        &["contract-axes: `a[i, i]` names the local axis `i` twice"],
    );
}

#[test]
fn scan_segment() {
    accepts("scan sum [i < 4, d < 8] along d every 2 c[i, d] = a[i, d]");
    rejects(
        "scan sum [i < 4] along i every 3 u[i] = m[i]",
        &["scan-segment: the scan starts anew every 3 positions, which is no power of 2"],
    );
}

#[test]
fn scan_axis() {
    rejects(
        "scan sum [i < 4] along d u[i] = m[i]",
        &["scan-axis: the scan runs along `d`, which is not a local axis"],
    );
}

#[test]
fn alias() {
    rejects(
        "map [i < 4, d < 8] a[i, d] = a[i, 0]",
        &["alias: `a[i, 0]` is not the place that is written"],
    );
    rejects(
        "reduce sum [i < 4, d < 8] a[i, 0] = a[i, d]",
        &["alias: `a[i, d]` reads the buffer that is written"],
    );
    rejects(
        "contract [i < 4, d < 8] a[i, d] = a[i, d] * b[i, d]",
        &["alias: `a[i, d]` reads the buffer that is written"],
    );
    rejects(
        "scan sum [i < 4] along i m[i] = m[i]",
        &["alias: `m[i]` reads the buffer that is written"],
    );
    rejects(
        "load [i < 4] m[i] <- x[gather m[i], 0]",
        &["alias: `m[i]` reads the buffer that is written"],
    );
}

#[test]
fn usage() {
    rejects(
        "store [i < 4] x[i, 0] <- m[i]",
        &["usage: `x` is an input and cannot be stored to"],
    );
    rejects(
        "load [i < 4] m[i] <- y[i, 0]",
        &["usage: `y` is an output and cannot be loaded (use `work`)"],
    );
}

#[test]
fn unwritten() {
    let error = ["unwritten: `u` may be read before it is written"];
    rejects("map [i < 4] m[i] = u[i]", &error);
    rejects("map [i < 4] u[i] = u[i] + 1.0", &error);
    rejects("reduce sum [i < 4, d < 8] u[i] (+)= a[i, d]", &error);
    rejects(
        "contract [i < 4, d < 8] u[i] (+)= a[i, d] * b[i, d]",
        &error,
    );
    rejects("store [i < 4] y[i, 0] <- u[i]", &error);
    rejects("load [i < 4] m[i] <- x[gather u[i], 0]", &error);
    // A loop may run no times, and its first iteration has no predecessor.
    rejects(
        "for j in 0 .. $n { map [i < 4] u[i] = 0.0 } map [i < 4] m[i] = u[i]",
        &error,
    );
    rejects(
        "for j in 0 .. 0 { map [i < 4] u[i] = 0.0 } map [i < 4] m[i] = u[i]",
        &error,
    );
    rejects(
        "for j in 0 .. 9 { map [i < 4] m[i] = u[i] map [i < 4] u[i] = 0.0 }",
        &error,
    );
    rejects(
        "if $n < 3 { map [i < 4] u[i] = 0.0 } map [i < 4] m[i] = u[i]",
        &error,
    );
}
