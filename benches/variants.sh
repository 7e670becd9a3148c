#!/usr/bin/env bash
# Makes a bundle that compares choices which predictions cannot settle: the same problems with one knob or number of warps
# changed. A few minutes on a GPU (benches/gpu.sh) answer all of them.
# Needs a built mixc with its worker (cargo build --release -p mixc-cli -p mixc-mlir).
#
#   benches/variants.sh [OUT.mixb]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mixc=${MIXC:-$here/../target/release/mixc}
out=${1:-variants.mixb}
if [ ! -x "$mixc" ]; then
    echo "variants.sh: $mixc is missing; build it with: cargo build --release -p mixc-cli -p mixc-mlir" >&2
    exit 3
fi
rm -f "$out"

add() { # add TARGET MIXER SHAPE OPTIONS...
    local target=$1 mixer=$2 shape=$3
    shift 3
    echo "== $mixer on $target, $*" >&2
    "$mixc" bundle "$mixer" --target "$target" --dtype bf16 --shape "$shape" -o "$out" --append "$@" >/dev/null
}

prefill128=B=1,H=64,G=8,D=128,E=128,I=8192,J=8192
prefill64=B=1,H=64,G=8,D=64,E=64,I=8192,J=8192
recurrent=B=1,H=16,T=8192,K=128,V=128
states=B=1,H=32,G=1,L=8192,P=64,N=128

# Do warpgroups that take turns at the matrix unit keep it busier?
for shape in $prefill128 $prefill64; do
    for alternate in 0 1; do
        add sm_90a attention_causal $shape --form online --knob alternate=$alternate
    done
done

# The portable path: a warp with 32 rows reads keys half as often and has fewer registers.
add sm_80 attention_causal $prefill128 --form online
add sm_80 attention_causal $prefill128 --form online --knob rows=128,stream=32 --warps 4
add sm_80 attention_causal $prefill128 --form online --knob rows=128,stream=64 --warps 8
add sm_80 attention_causal $prefill64 --form online --knob rows=128,stream=64 --warps 4

# Recurrences: longer chunks are fewer waits, narrower states more blocks.
for variant in "chunkwise 64" "chunkwise 128" "chunkwise-states 32" "chunkwise-states 64"; do
    read -r form chunk <<<"$variant"
    add sm_90a retention $recurrent --form "$form" --knob C="$chunk"
    add sm_90a ssd $states --form "$form" --knob C="$chunk"
done
for cols in 16 32 64; do
    add sm_90a simple_gla $recurrent --form chunkwise-states --knob cols=$cols
done

# A decay for every feature: shorter chunks leave room for more blocks on a multiprocessor.
for chunk in 16 32 64; do
    for warps in 4 8; do
        add sm_90a gla $recurrent --form chunkwise-states --knob C=$chunk --warps $warps
    done
done

echo "$out: $(du -k "$out" | cut -f1) KiB; on a machine with a GPU: benches/gpu.sh $out, or mixc-runner $out --out results.json"
