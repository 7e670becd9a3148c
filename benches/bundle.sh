#!/usr/bin/env bash
# Makes the bundle of the shapes that the project's speed is judged by, for benches/gpu.sh on a machine with a GPU.
# Needs a built mixc with its worker (cargo build --release -p mixc-cli -p mixc-mlir). Options after the file name
# go to every `mixc bundle`, e.g. --all-forms or --knob rows=64.
#
#   benches/bundle.sh [OUT.mixb [options of mixc bundle]]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mixc=${MIXC:-$here/../target/release/mixc}
targets=${TARGETS:-sm_80,sm_90a}
out=${1:-speed.mixb}
[ $# -gt 0 ] && shift
if [ ! -x "$mixc" ]; then
    echo "bundle.sh: $mixc is missing; build it with: cargo build --release -p mixc-cli -p mixc-mlir" >&2
    exit 3
fi
rm -f "$out"

add() { # add MIXER "SHAPE..." OPTIONS...
    local mixer=$1 shapes=() shape
    for shape in $2; do shapes+=(--shape "$shape"); done
    shift 2
    echo "== $mixer" >&2
    "$mixc" bundle "$mixer" --target "$targets" --dtype bf16 "${shapes[@]}" -o "$out" --append "$@" >/dev/null
}

# B, query heads, key heads, head size, queries, keys
attention() { echo "B=$1,H=$2,G=$3,D=$4,E=$4,I=$5,J=$6"; }

prefill=""
decode=""
for heads in "16 16" "64 8"; do
    for size in 64 128; do
        for length in 2048 8192 32768; do
            # shellcheck disable=SC2086
            prefill+=" $(attention 1 $heads $size $length $length)"
        done
        for length in 8192 32768; do
            # shellcheck disable=SC2086
            decode+=" $(attention 8 $heads $size 1 $length)"
        done
    done
done
add attention_causal "$prefill" "$@"
add attention_full "$prefill" "$@"
add attention_window "$prefill" --set window_left=1023 "$@"
add attention_causal "$decode" "$@"

recurrent=""
states=""
for length in 4096 8192 16384 32768; do
    recurrent+=" B=1,H=16,T=$length,K=128,V=128"
    states+=" B=1,H=32,G=1,L=$length,P=64,N=128"
done
# Enough heads for every multiprocessor.
recurrent+=" B=8,H=16,T=4096,K=128,V=128"
states+=" B=8,H=32,G=1,L=4096,P=64,N=128"
for mixer in retention simple_gla gla; do
    add "$mixer" "$recurrent" "$@"
done
add ssd "$states" "$@"

echo "$out: $(du -k "$out" | cut -f1) KiB; on a machine with a GPU: benches/gpu.sh $out, or mixc-runner $out --out results.json"
