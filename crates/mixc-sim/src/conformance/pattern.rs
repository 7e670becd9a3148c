//! `add.{rn,rz}{,.ftz}.f32`: alternatives in braces stand for one opcode each.

/// All opcodes of a pattern, in order. Braces do not nest.
pub fn expand(pattern: &str) -> Vec<String> {
    let Some((head, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_string()];
    };
    let (choices, tail) = rest.split_once('}').expect("bug: a pattern without `}`");
    let tails = expand(tail);
    let all = choices
        .split(',')
        .flat_map(|c| tails.iter().map(move |t| format!("{head}{c}{t}")));
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_multiply() {
        assert_eq!(
            expand("a.{b,c}{,.d}.e"),
            ["a.b.e", "a.b.d.e", "a.c.e", "a.c.d.e"]
        );
        assert_eq!(expand("mov"), ["mov"]);
    }
}
