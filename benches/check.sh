#!/usr/bin/env bash
# Makes a bundle that checks every form of every shipped mixer, and of the definitions in tests/definitions, on a
# machine with a GPU: problems of awkward sizes with the outputs that they must give. Heads of 64 first, for which there
# are warpgroup products, then odd ones. Takes about an hour for one architecture.
#
#   benches/check.sh [OUT.mixb]          # there: mixc-runner OUT.mixb --verify-only --out results.json
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mixc=${MIXC:-$here/../target/release/mixc}
target=${TARGET:-sm_90a}
dtype=${DTYPE:-bf16}
out=${1:-check.mixb}
if [ ! -x "$mixc" ]; then
    echo "check.sh: $mixc is missing; build it with: cargo build --release -p mixc-cli -p mixc-mlir" >&2
    exit 3
fi
rm -f "$out"

mixers=$("$mixc" list --format json | sed -n 's/^ *"name": "\(.*\)",$/\1/p')
long="B=2 H=2 G=1 I=136 J=150 T=150 L=150 D=64 E=64 K=64 V=64 P=64 N=64 M=4 C=40"
odd="B=1 H=3 G=3 D=24 E=40 K=40 V=24 P=24 N=8 C=17"

# The sizes of `$2` that the mixer `$1` has: a size that it lacks is refused with the list of its own.
own() {
    local known sizes=""
    known=$("$mixc" bundle "$1" --target "$target" --shape Unknown=1 -o "$out" --append 2>&1 | sed -n 's/.*only //p')
    for size in $2; do
        case ", $known," in *", ${size%=*},"*) sizes+="${sizes:+,}$size" ;; esac
    done
    echo "$sizes"
}

for mixer in $mixers "$here"/../tests/definitions/*.mix; do
    for base in "$long" "$odd"; do
        shape=$(own "$mixer" "$base")
        echo "== $mixer $shape" >&2
        "$mixc" bundle "$mixer" --target "$target" --dtype "$dtype" ${shape:+--shape "$shape"} --draws 1 --all-forms \
            -o "$out" --append >/dev/null || echo "check.sh: nothing of $mixer with $shape" >&2
    done
done
echo "$out: $(du -k "$out" | cut -f1) KiB"
