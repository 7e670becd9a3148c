#!/usr/bin/env bash
# The measurements that the project answers for, one thread unless said otherwise. Rows are appended
# to benches/results/<machine>.jsonl with the machine's description and the date.
#
#   benches/run.sh [path to mixc]
set -euo pipefail

mixc=${1:-target/release/mixc}
here=$(cd "$(dirname "$0")" && pwd)
machine=$(uname -n | tr -c 'A-Za-z0-9\n' '-')
results="$here/results/$machine.jsonl"
attention=B=1,H=8,G=8,I=4096,J=4096,D=64,E=64
recurrence=B=1,H=8,T=4096,K=64,V=64

bench() { # bench TITLE MIXER OPTIONS...
    echo
    echo "== $1"
    shift
    "$mixc" bench "$@" --append "$results"
}

bench "causal attention, f32, one thread, against the measured 128-bit peak" \
    attention_causal --shape "$attention" --form online --threads 1
causal=$(tail -n 1 "$results" | grep -o '"median_ms":[0-9.]*' | cut -d: -f2)
bench "full attention, f32, one thread" \
    attention_full --shape "$attention" --form online --threads 1
full=$(tail -n 1 "$results" | grep -o '"median_ms":[0-9.]*' | cut -d: -f2)
awk -v c="$causal" -v f="$full" 'BEGIN { printf "causal / full: %.2f\n", c / f }'

bench "linear recurrences: every form against the recurrence as written (plain), T = 4096" \
    linear_attention_scan --shape "$recurrence" --threads 1
bench "the same with a scalar decay" simple_gla --shape "$recurrence" --threads 1
bench "the same with a decay for each key channel" gla --shape "$recurrence" --threads 1

bench "cost of the chunkwise form, T from 1K to 256K: linear if the time doubles with T" \
    linear_attention_scan --shape "$recurrence" --sweep T=1024..262144 --form chunkwise --threads 1 --samples 5

if python3 -c 'import torch' 2>/dev/null; then
    echo
    echo "== PyTorch on the same problems"
    python3 "$here/peers/torch_cpu.py" --append "$results"
else
    echo
    echo "PyTorch is not installed; benches/peers/torch_cpu.py was not run"
fi
