//! Legal programs pass; for each invariant there is an illegal program that breaks it alone.

use mixc_ir::{Func, Stmt, Term, parse_program, verify};
use mixc_text::Source;

/// Declarations that the bodies below share.
const HEADER: &str = "
    dims T, D, V
    tensor x: real[T, D]
    tensor a: real[T]
    tensor n: int[T]
    tensor state: real[D] = 0
    scalar window: int in [1, inf] = 4
    axes t = $T, u = $T, j = $T, i = $T, d = $D, v = $V, t0 = ($T + $C - 1) / $C, t1 = $C
    split t = t0, t1 by $C
";

fn program(body: &str) -> mixc_ir::Program {
    let source = Source::new("test", format!("program test {{{HEADER}{body}\n}}"));
    parse_program(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

/// Codes of the errors in a body, in order.
fn codes(body: &str) -> Vec<&'static str> {
    match verify(&program(body)) {
        Ok(()) => vec![],
        Err(errors) => errors.iter().map(|e| e.code).collect(),
    }
}

#[test]
fn legal_programs_pass() {
    for body in [
        "let y[t, d] = x[t - 1, d] + sum[j](ss[j <= t](a[j]) * x[j, d]) output y[d, t] as [D, T]",
        "let y[t] = sum[j](softmax[j](a[j] if #j <= #t) * a[j]) / #(max($window, 1))",
        // Siblings may bind the same axis, and shared subterms then stay equal.
        "let y[i, d] = recip0(online[j](a[j], 1)) * online[j](a[j], x[j, d])",
        "let y[t, d] = merge[t = t0, t1](scan[u <= t](1, 0, x[t0 * $C + t1, d]))",
        "let s[t0, t1] = a[t0 * $C + t1] let y[t] = merge[t = t0, t1](s[t0, t1] + cumprod[t1](s[t0, t1]))",
        "let y[t, d] = scan[j < t](a[j], x[j, d], state[d]) let z[d] = last[j](a[j], x[j, d], state[d])",
        // A state that is called like the input it starts from, and a let that reads itself.
        "scan t { carry S[d] = state[d] next S' last state
             let S'[d] = a[t] * S[d] + x[t, d] let y[t] = sum[d](S'[d]) + y[t - 1] let z[t, d] = S[d] }
         let w[t] = y[t] output state[d] as [D] output y[t] as [T]",
        "let y[t] = x[n[t], 0] + a[n[n[t]] - 1]",
        "let y[] = 1 output y[] as []",
    ] {
        assert_eq!(codes(body), [""; 0], "{body}");
    }
}

#[test]
fn names_are_unique() {
    assert_eq!(codes("let y[t] = a[t] let y[t] = a[t]"), ["repeated-name"]);
    assert_eq!(codes("let x[t] = a[t]"), ["repeated-name"]);
    assert_eq!(codes("tensor x: real[T]"), ["repeated-name"]);
    assert_eq!(codes("dims T"), ["repeated-name"]);
    assert_eq!(codes("scalar T: int = 1"), ["repeated-name"]);
    assert_eq!(codes("scalar window: real = 1"), ["repeated-name"]);
    // An input cannot be read once an output has its name.
    assert_eq!(
        codes("let a[t] = a[t] let y[t] = a[t] output a[t] as [T]"),
        ["read"]
    );
    assert_eq!(
        codes("let a[t] = 1 let a[t] = 2 output a[t] as [T]"),
        ["repeated-name"]
    );
}

#[test]
fn names_can_be_printed() {
    let mut program = program("let y[t] = a[t]");
    program.tensors[0].name = "a\"b".into();
    program.axes.insert("2nd".into(), mixc_ir::Ix::Const(2));
    let codes: Vec<_> = verify(&program)
        .unwrap_err()
        .into_iter()
        .map(|e| e.code)
        .collect();
    assert_eq!(codes, ["bad-name", "bad-name"]);
}

#[test]
fn every_axis_and_symbol_has_a_size() {
    assert_eq!(codes("let y[z] = 1"), ["axis-size"]);
    assert_eq!(codes("let y[] = sum[z](1)"), ["axis-size"]);
    assert_eq!(codes("let y[] = #$Z"), ["size"]);
    assert_eq!(codes("axes z = $Z"), ["size"]);
    assert_eq!(codes("axes z = t + 1"), ["size"]);
    assert_eq!(codes("tensor z: real[Z]"), ["size"]);
    assert_eq!(codes("require $Z < 4"), ["size"]);
    assert_eq!(codes("scan z { }"), ["axis-size"]);
}

#[test]
fn declarations_are_consistent() {
    let mut bad = program("");
    bad.tensors[0].axis_names.pop();
    assert_eq!(verify(&bad).unwrap_err()[0].code, "letters");
    assert_eq!(codes("tensor z: real[T] in [1, 0]"), ["range"]);
    assert_eq!(codes("scalar z: real in [nan, 0] = 0"), ["range"]);
    assert_eq!(
        codes("scalar z: real = later scalar later: real = 1"),
        ["default"]
    );
    assert_eq!(codes("scalar z: real = sum[t](1)"), ["default"]);
    assert_eq!(codes("scalar z: real = a[0]"), ["default"]);
    assert_eq!(codes("scalar z: real = #t"), ["scope"]);
}

#[test]
fn free_axes_are_among_the_axes_of_the_let() {
    assert_eq!(codes("let y[t] = a[j]"), ["scope"]);
    assert_eq!(codes("let y[t] = #d"), ["scope"]);
    assert_eq!(codes("let y[t] = softmax[j](1)"), ["scope"]);
    assert_eq!(codes("let y[t] = cumsum[j](1)"), ["scope"]);
    assert_eq!(codes("let y[t] = ss[j <= t](1)"), ["scope"]);
    assert_eq!(codes("let y[] = scan[j <= t](1, 1, 0)"), ["scope"]);
    assert_eq!(codes("let y[] = merge[t = t0, t1](1)"), ["scope"]);
    assert_eq!(codes("let y[t, t] = 1"), ["repeated-axis"]);
    // The start of a scan stands before its axis.
    assert_eq!(codes("let y[t] = scan[j <= t](1, 1, a[j])"), ["scope"]);
    assert_eq!(
        codes("scan t { carry S[] = a[t] next S' last z let S'[] = a[t] }"),
        ["scope"]
    );
}

#[test]
fn binding_never_captures() {
    assert_eq!(codes("let y[j] = sum[j](a[j])"), ["capture"]);
    assert_eq!(codes("let y[] = sum[j](a[j] * sum[j](a[j]))"), ["capture"]);
    assert_eq!(codes("let y[j, t] = last[j](1, a[j], 0)"), ["capture"]);
    assert_eq!(codes("let y[t, t1] = merge[t = t0, t1](1)"), ["capture"]);
    assert_eq!(codes("scan t { let y[] = sum[t](a[t]) }"), ["capture"]);
    assert_eq!(codes("let y[] = sum[j, j](a[j])"), ["repeated-axis"]);
}

#[test]
fn reads_see_what_is_defined_before() {
    assert_eq!(codes("let y[t] = z[t] let z[t] = 1"), ["read"]);
    assert_eq!(codes("let y[t] = y[t]"), ["read"]);
    assert_eq!(codes("let y[t] = x[t]"), ["read"]);
    assert_eq!(codes("let y[t] = zeta"), ["read"]);
    assert_eq!(codes("let y[t] = x[z[t], 0]"), ["read"]);
    assert_eq!(codes("let y[t] = x[n[t, 0], 0]"), ["read"]);
    assert_eq!(codes("let y[t] = x[a[t], 0]"), ["read"]);
    let scan = "scan t { carry S[] = 0 next S' last z let S'[] = S[] + a[t] let y[t] = S'[] }";
    assert_eq!(codes(&format!("{scan} let w[] = z[] + y[0]")), [""; 0]);
    assert_eq!(codes(&format!("{scan} let w[] = S[]")), ["read"]);
    assert_eq!(codes(&format!("{scan} let w[] = S'[]")), ["read"]);
    assert_eq!(codes("scan t { let p[] = q[] let q[] = 1 }"), ["read"]);
}

#[test]
fn functions_have_their_arity() {
    let mut bad = program("let y[t] = a[t]");
    let Stmt::Let(one) = &mut bad.body[0] else {
        unreachable!()
    };
    one.value = Term::map(Func::Sub, vec![Term::one()]);
    assert_eq!(verify(&bad).unwrap_err()[0].code, "arity");
}

#[test]
fn the_axes_of_a_scan_fit() {
    assert_eq!(codes("let y[t, d] = ss[d <= t](1)"), ["axis-pair"]);
    assert_eq!(codes("let y[t] = scan[j <= t](a[t], 1, 0)"), ["axis-pair"]);
    assert_eq!(codes("let y[t] = ss[t <= t](1)"), ["axis-pair"]);
    // Sizes that a constraint makes equal are equal.
    assert_eq!(
        codes("require $D == $T let y[t, d] = ss[d <= t](1)"),
        [""; 0]
    );
}

#[test]
fn splits_are_consistent() {
    let parts = "axes p = ($C - 1 + $T) / $C, q = $C";
    assert_eq!(codes(&format!("{parts} split j = u, q by $C")), ["split"]);
    assert_eq!(codes(&format!("{parts} split j = p, u by $C")), ["split"]);
    assert_eq!(
        codes(&format!("{parts} split j = p, p by $C")),
        ["split", "split"]
    );
    assert_eq!(codes(&format!("{parts} split j = p, t1 by $C")), ["split"]);
    assert_eq!(codes("let y[t] = merge[t = t0, i](1)"), ["split"]);
    assert_eq!(codes("let y[d] = merge[d = t0, t1](1)"), ["split"]);
    // Another spelling of the same size is the same size.
    assert_eq!(
        codes("axes p = ($C - 1 + $T) / $C, q = $C split j = p, q by $C"),
        [""; 0]
    );
}

#[test]
fn states_fit_their_scan() {
    let scan = |carry: &str| format!("scan t {{ carry {carry} let p[d] = 1 let q[t, d] = 1 }}");
    assert_eq!(codes(&scan("S[d] = 0 next p last z")), [""; 0]);
    assert_eq!(codes(&scan("S[d] = 0 next r last z")), ["carry"]);
    assert_eq!(codes(&scan("S[v] = 0 next p last z")), ["carry"]);
    assert_eq!(codes(&scan("S[t, d] = 0 next q last z")), ["carry"]);
}

#[test]
fn outputs_are_results_with_the_same_axes() {
    assert_eq!(codes("output y[t] as [T]"), ["output"]);
    assert_eq!(codes("output a[t] as [T]"), ["output"]);
    assert_eq!(codes("let y[t] = 1 output y[j] as [T]"), ["output"]);
    assert_eq!(codes("let y[t] = 1 output y[t] as []"), ["output"]);
    assert_eq!(
        codes("let y[t] = 1 output y[t] as [T] output y[t] as [T]"),
        ["repeated-name"]
    );
    assert_eq!(codes("scan t { let p[] = 1 } output p[] as []"), ["output"]);
}

#[test]
fn all_errors_are_collected_with_place_and_term() {
    let errors = verify(&program("let y[t] = a[j] + x[t] let z[] = sum[j](b[j])")).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "in `y`: axis `j` is not in scope, in `a[j]`",
            "in `y`: `x` has 2 axes and is read with 1, in `x[t]`",
            "in `z`: `b` is not defined here, in `b[j]`",
        ]
    );
}
