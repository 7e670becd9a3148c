//! What a kernel's machine code follows from, as a short text.

use mixc::gpu::Lowered;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// 128 bits of SHA-256 in hexadecimal over the MLIR, the architecture, and what the launch adds to them. Kernels with
/// the same hash become the same machine code as long as the tools are the same.
pub fn text_hash(lowered: &Lowered) -> String {
    let kernel = &lowered.kernel;
    let launch = format!(
        "{}\n{}\n{} {} {}\n",
        kernel.target.chip(),
        kernel.entry,
        kernel.threads,
        kernel.shared_bytes,
        lowered.options.stages
    );
    digest(&[&launch, &kernel.mlir])
}

/// 128 bits of SHA-256 in hexadecimal.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = String::with_capacity(32);
    for byte in &hasher.finalize()[..16] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mixc_ptx::{Options, Precision, PtxKernel, Room, Target};

    #[test]
    fn everything_that_decides_the_machine_code_changes_the_hash() {
        let kernel = PtxKernel {
            entry: "k".into(),
            target: Target::Sm80,
            mlir: "module {}".into(),
            params: vec![],
            grid: vec![],
            persistent: None,
            warps: 4,
            warpgroups: false,
            threads: 128,
            shared_bytes: 0,
            aligned: Default::default(),
        };
        let options = Options {
            target: Target::Sm80,
            precision: Precision::default(),
            warps: 4,
            stages: 2,
            aligned: Default::default(),
            producer: false,
            alternate: false,
            room: Room::default(),
        };
        let lowered = Lowered { kernel, options };
        let changed = |change: &dyn Fn(&mut Lowered)| {
            let mut other = lowered.clone();
            change(&mut other);
            text_hash(&other)
        };
        let all = [
            text_hash(&lowered),
            changed(&|l| l.options.stages = 1),
            changed(&|l| l.kernel.mlir.push(' ')),
            changed(&|l| l.kernel.target = Target::Sm89),
            changed(&|l| l.kernel.threads = 256),
            changed(&|l| l.kernel.shared_bytes = 16),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert_eq!(changed(&|_| ()), all[0]);
    }

    #[test]
    fn the_digest_is_sha_256_of_lengths_and_texts() {
        // The length in 8 bytes, then the text: printf '\3\0\0\0\0\0\0\0abc' | sha256sum
        assert_eq!(digest(&["abc"]), EXPECTED);
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }

    const EXPECTED: &str = "ce91dc5eec0139adf091900d225971d6";
}
