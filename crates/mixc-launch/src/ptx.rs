//! The little that a launch must know of PTX text: which kernels it has and what they take.

/// Sizes in bytes of the parameters of the kernel `entry`; None if the text has no such kernel or its parameters
/// cannot be read (PTX ISA 8.x, sections 5.1.6 and 11.1).
pub fn entry_params(ptx: &str, entry: &str) -> Option<Vec<usize>> {
    let text = without_comments(ptx);
    let mut rest = text.as_str();
    while let Some(at) = rest.find(".entry") {
        rest = rest[at + ".entry".len()..].trim_start();
        let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name == entry {
            return params(behind.trim_start());
        }
    }
    None
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%')
}

/// The list in parentheses that the text may start with.
fn params(text: &str) -> Option<Vec<usize>> {
    let Some(list) = text.strip_prefix('(') else {
        return Some(vec![]);
    };
    let list = &list[..list.find(')')?];
    if list.trim().is_empty() {
        return Some(vec![]);
    }
    list.split(',').map(param).collect()
}

/// `.param .align 64 .b8 name[128]`, `.param .u64 .ptr .global .align 16 name`.
fn param(text: &str) -> Option<usize> {
    let rest = text.trim().strip_prefix(".param")?;
    let element = rest.split_whitespace().find_map(type_size)?;
    let count = match rest.split_once('[') {
        Some((_, count)) => count.split(']').next()?.trim().parse().ok()?,
        None => 1,
    };
    element.checked_mul(count)
}

/// Bytes of `.u32` and the like.
fn type_size(word: &str) -> Option<usize> {
    let word = word.strip_prefix('.')?;
    let bits: usize = word.strip_prefix(['b', 'u', 's', 'f'])?.parse().ok()?;
    matches!(bits, 8 | 16 | 32 | 64 | 128).then_some(bits / 8)
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        out.push_str(&rest[..at]);
        out.push(' ');
        let end = if rest[at..].starts_with("//") {
            "\n"
        } else {
            "*/"
        };
        rest = rest[at + 2..]
            .split_once(end)
            .map_or("", |(_, behind)| behind);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        .version 8.3 // .entry nothing(.param .u64 x)
        .target sm_90a
        /* .entry hidden() */
        .visible .entry none
        {
            ret;
        }
        .visible .entry many(
            .param .u64 .ptr .global .align 16 many_param_0,
            .param .align 64 .b8 many_param_1[128], // a map
            .param .u32 many_param_2,
            .param .f32 many_param_3
        )
        .maxntid 128, 1, 1
        { ret; }
        .visible .entry many_more(.param .b64 x) { ret; }
        .entry empty() { ret; }";

    #[test]
    fn parameters_of_each_kernel() {
        assert_eq!(entry_params(TEXT, "many"), Some(vec![8, 128, 4, 4]));
        assert_eq!(entry_params(TEXT, "many_more"), Some(vec![8]));
        assert_eq!(entry_params(TEXT, "none"), Some(vec![]));
        assert_eq!(entry_params(TEXT, "empty"), Some(vec![]));
        for missing in ["nothing", "hidden", "man", ""] {
            assert_eq!(entry_params(TEXT, missing), None, "{missing}");
        }
    }

    #[test]
    fn broken_text_is_no_kernel() {
        for text in [
            "",
            ".entry",
            ".entry x(",
            ".entry x(.param)",
            ".entry x(.param .q7 a)",
            ".entry x(.param .b8 a[",
            "/*",
        ] {
            assert_eq!(entry_params(text, "x"), None, "{text}");
        }
    }
}
