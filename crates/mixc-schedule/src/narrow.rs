//! Scratch in 16 bits, where it enters 16-bit products on the way to outputs alone.
//!
//! Chunk states that a second pass multiplies with bf16 queries are rounded for the product anyway; stored in bf16 they
//! take half of the memory traffic, and the copy engine can bring them as the products read them.

use mixc_ir::{DType, Name};
use mixc_tile::visit::{each, reads, written};
use mixc_tile::{Access, BufId, Kernel, Stmt, TensorArg, Usage, flow};
use std::collections::BTreeSet;

/// Gives such tensors the type bf16, in all kernels. f16 has not the range of a state.
pub fn narrow(kernels: &mut [Kernel]) {
    let scratch: BTreeSet<Name> = kernels
        .iter()
        .flat_map(|k| &k.tensors)
        .filter(|t| t.usage == Usage::Work && t.dtype == DType::F32)
        .map(|t| t.name.clone())
        .collect();
    // The type that products of what was computed are done in.
    let inputs = kernels
        .iter()
        .flat_map(|k| &k.tensors)
        .filter(|t| t.usage == Usage::In);
    let mut halves = inputs
        .map(|t| t.dtype)
        .filter(|d| matches!(d, DType::Bf16 | DType::F16));
    if halves.next() != Some(DType::Bf16) || halves.any(|d| d != DType::Bf16) {
        return;
    }
    for name in scratch {
        let readers: Vec<bool> = kernels
            .iter()
            .filter_map(|k| enters_products(k, &name))
            .collect();
        if readers.is_empty() || readers.contains(&false) {
            continue;
        }
        let all = kernels.iter_mut().flat_map(|k| &mut k.tensors);
        let same = all.filter(|t| t.name == name);
        same.for_each(|t| t.dtype = DType::Bf16);
    }
}

/// Whether all that a kernel does with the elements of a tensor is to multiply matrices with bf16 factors on the way to
/// outputs; None if it does not load it.
fn enters_products(kernel: &Kernel, name: &Name) -> Option<bool> {
    let mut tiles: BTreeSet<BufId> = BTreeSet::new();
    each(&kernel.body, &mut |stmt| {
        if let Stmt::Load { tensor, dst, .. } = stmt
            && tensor == name
        {
            tiles.insert(dst.buf);
        }
    });
    if tiles.is_empty() {
        return None;
    }
    let mut good = tiles.is_subset(&flow::passing(kernel));
    each(&kernel.body, &mut |stmt| {
        let touches = |access: &Access| tiles.contains(&access.buf);
        good &= match stmt {
            Stmt::Load { tensor, .. } if tensor == name => true,
            Stmt::Contract { a, b, .. } if touches(a) != touches(b) => {
                is_half(kernel, if touches(a) { b.buf } else { a.buf })
            }
            other => !reads(other).into_iter().chain(written(other)).any(touches),
        };
    });
    Some(good)
}

/// Whether a buffer holds what was loaded from a bf16 tensor, or was computed, which is rounded for the product.
fn is_half(kernel: &Kernel, buf: BufId) -> bool {
    let half = |tensor: &Name| {
        let of = |t: &&TensorArg| t.name == *tensor;
        let tensor = kernel.tensors.iter().find(of);
        tensor.is_some_and(|t| t.dtype == DType::Bf16)
    };
    let mut all = true;
    each(&kernel.body, &mut |stmt| {
        if let Stmt::Load { tensor, dst, .. } = stmt
            && dst.buf == buf
        {
            all &= half(tensor);
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_text::Source;

    fn kernels(factor: &str) -> Vec<Kernel> {
        let text = format!(
            "kernel first(dims: N) {{
               in k: bf16 [$N, 16] unit
               work w: f32 [$N, 16] unit
               shared tile: [16, 16]
               grid n0 < $N / 16
               load [n < 16, a < 16] tile[n, a] <- k[n0 * 16 + n, a]
               store [n < 16, a < 16] w[n0 * 16 + n, a] <- 2.0 * tile[n, a]
             }}
             kernel second(dims: N) {{
               work w: f32 [$N, 16] unit
               in q: {factor} [$N, 16] unit
               out o: bf16 [$N, 16] unit
               shared tile: [16, 16]
               shared rows: [16, 16]
               shared sum: [16, 16]
               grid n0 < $N / 16
               load [n < 16, a < 16] tile[n, a] <- w[n0 * 16 + n, a]
               load [m < 16, a < 16] rows[m, a] <- q[n0 * 16 + m, a]
               contract [m < 16, n < 16, a < 16] sum[m, n] = rows[m, a] * tile[n, a]
               store [m < 16, n < 16] o[n0 * 16 + m, n] <- sum[m, n]
             }}"
        );
        mixc_tile::parse_kernels(&Source::new("kernels", &text)).unwrap()
    }

    fn type_after(mut kernels: Vec<Kernel>) -> Vec<DType> {
        narrow(&mut kernels);
        let all = kernels.iter().flat_map(|k| &k.tensors);
        all.filter(|t| &*t.name == "w").map(|t| t.dtype).collect()
    }

    #[test]
    fn a_factor_of_bf16_products_is_stored_in_bf16_everywhere() {
        assert_eq!(type_after(kernels("bf16")), [DType::Bf16; 2]);
    }

    #[test]
    fn beside_f32_or_used_otherwise_it_stays() {
        assert_eq!(type_after(kernels("f32")), [DType::F32; 2]);
        let mut added = kernels("bf16");
        let text = added[1]
            .to_string()
            .replace("<- sum[m, n]", "<- sum[m, n] + tile[m, n]");
        added[1] = mixc_tile::parse_kernel(&Source::new("kernel", &text)).unwrap();
        assert_eq!(type_after(added), [DType::F32; 2]);
    }
}
