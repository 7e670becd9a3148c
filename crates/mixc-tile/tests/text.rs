//! The text form: what it looks like, that it reads back, and what mistakes get.

use mixc_text::Source;
use mixc_tile::{Kernel, parse_kernel, parse_kernels};

fn read(text: &str) -> Kernel {
    let source = Source::new("test.tile", text);
    parse_kernel(&source).unwrap_or_else(|errors| panic!("{}", source.render(&errors)))
}

/// One of everything, as the printer writes it.
const EVERYTHING: &str = "\
kernel everything(dims: B, T, w; scalars: scale, cap) {
  in q: bf16 [$B, $T, 64] unit
  in idx: i64 [$T]
  work s: f32 [$B, ceil]
  out o: f16 [$B, $T, 64]
  shared a: [16, 64]
  register m: [16]
  shared z: []
  grid b < $B, t0 < ($T + 15) / 16
  load [i < 16] m[i] <- idx[t0 * 16 + i - 1]
  load [i < 16, d < 64] a[i, d] <- q[b, gather m[i], d]
  map [] z[] = -0.0
  map [i < 16] a[i, 0] = -(m[i] + scale) * select(int(t0 * 16 + i) <= int($w), -1e-10, -inf) - neg(2.0)
  map [i < 16] a[i, t0 % 2] = (m[i] < cap) + (1.5 - (m[i] - cap)) / (m[i] / inf)
  for j0 in max(0, t0 - $w) .. t0 + 1 {
    reduce max [i < 16, d < 64] m[i] (+)= a[i, d]
    if j0 * 16 <= $w {
      contract [i < 16, j < 16, d < 64] m[i] = a[i, d] * a[i, d]
    } else {
      for k in reverse 0 .. 4 {
        scan sum [i < 16, d < 64] along i exclusive reverse a[i, d] = a[i, d] * z[]
      }
    }
  }
  scan prod [i < 16] along i m[i] = erf(m[i])
  store [i < 16, d < 64] o[b, t0 * 16 + i, d] <- a[i, d]
}
";

#[test]
fn print_parse_print_is_the_identity() {
    let text = EVERYTHING.replace("ceil]", "ceil[$T, 0]]");
    let kernel = read(&text);
    assert_eq!(kernel.to_string(), text);
    assert_eq!(read(&kernel.to_string()), kernel);
}

#[test]
fn not_a_number_reads_back() {
    let text = "kernel k() {\n  shared a: [2]\n  map [i < 2] a[i] = neg(nan) * nan\n}\n";
    assert_eq!(read(text).to_string(), text);
}

#[test]
fn parts_print_with_and_without_names() {
    let kernel = read("kernel k() { shared a: [4]\n map [i < 4] a[i] = 1.0 }");
    assert_eq!(
        kernel.show(&kernel.body[0]).to_string(),
        "map [i < 4] a[i] = 1.0"
    );
    assert_eq!(kernel.body[0].to_string(), "map [i < 4] %0[i] = 1.0");
}

#[test]
fn several_kernels_in_one_text() {
    let source = Source::new(
        "two",
        "/// First.\nkernel a() { }\nkernel \"b-2\"(scalars: x) { }",
    );
    let kernels = parse_kernels(&source).unwrap();
    assert_eq!(
        kernels.iter().map(|k| &*k.name).collect::<Vec<_>>(),
        ["a", "b-2"]
    );
    assert_eq!(
        parse_kernel(&source).unwrap_err()[0].message,
        "expected one kernel, found 2"
    );
}

#[test]
fn every_mistake_is_found_with_its_place() {
    let text = "\
kernel bad(dims: T) {
  in q: f33 [$T]
  shared a: [$T]
  shared tile: [4]
  map [i < 4] tle[i] = 1.0
  for t in 0 ... 4 {
    map [i < 4] tile[i] = expp(tile[i])
    lod [i < 4] tile[i] <- q[i]
  }
  map [i < 4] tile[i] = pow(tile[i])
  map [i < 4] tile[i] = $T
  reduce mean [i < 4] tile[0] = tile[i]
}
";
    let source = Source::new("bad.tile", text);
    let errors = parse_kernel(&source).unwrap_err();
    let found: Vec<String> = errors
        .iter()
        .map(|e| {
            format!(
                "{} {}{}",
                source.line_column(e.span().start).0,
                e.message,
                help(e)
            )
        })
        .collect();
    fn help(e: &mixc_text::Diagnostic) -> String {
        e.help.as_ref().map_or(String::new(), |h| format!(" ({h})"))
    }
    let expected = [
        "2 expected an element type (`f32`, `f16`, `bf16`, `f64`, `i32`, `i64`, `bool`), found `f33`",
        "3 the extent `$T` is not a constant",
        "5 there is no buffer `tle` (did you mean `tile`?)",
        "6 expected an index expression, found `.`",
        "7 there is no function `expp` (did you mean `exp`?)",
        "8 expected a statement, found `lod` (did you mean `load`?)",
        "10 `pow` takes 2 arguments, 1 are given",
        "11 the size `$T` is an integer, not a real number (write `int($T)`)",
        "12 expected a reduction (`sum`, `max`, `min`, `prod`), found `mean`",
    ];
    assert_eq!(found, expected, "{}", source.render(&errors));
}

#[test]
fn no_text_exhausts_the_stack() {
    for text in ["(", "-", "1 + ", "exp(", "1 < ("] {
        let text = format!(
            "kernel k() {{ shared a: []\n map [] a[] = {}",
            text.repeat(50_000)
        );
        let errors = parse_kernel(&Source::new("deep", text)).unwrap_err();
        assert!(!errors.is_empty());
    }
    let text = format!("kernel k() {{ {}", "for i in 0 .. 1 {\n".repeat(50_000));
    let errors = parse_kernel(&Source::new("deep", text)).unwrap_err();
    assert!(errors.iter().any(|e| e.code == "too-deep"));
}
