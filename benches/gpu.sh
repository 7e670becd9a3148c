#!/usr/bin/env bash
# Verifies and measures a bundle on this machine's NVIDIA GPU, then other people's kernels on the same inputs.
# Both results are stored under benches/results/, named by device, driver and date. Needs a built mixc-runner
# (cargo build --release -p mixc-runner, or a copy of it: MIXC_RUNNER=path) and, for the second half, torch.
#
#   benches/gpu.sh BUNDLE.mixb [options of mixc-runner]
set -uo pipefail

if [ $# -lt 1 ]; then
    echo "usage: benches/gpu.sh BUNDLE.mixb [options of mixc-runner]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
bundle=$1
shift
runner=${MIXC_RUNNER:-$here/../target/release/mixc-runner}
python=${PYTHON:-python3}
if [ ! -x "$runner" ]; then
    echo "gpu.sh: $runner is missing; build it with: cargo build --release -p mixc-runner" >&2
    exit 3
fi

card=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
if [ -z "$card" ]; then
    echo "gpu.sh: nvidia-smi shows no GPU" >&2
    exit 3
fi
name=$(printf '%s-%s' "$card" "$(date -u +%Y%m%dT%H%M%SZ)" | tr -cs 'A-Za-z0-9.\n' '-')
results=$here/results/$name
mkdir -p "$here/results"

"$runner" "$bundle" --out "$results.json" "$@"
code=$?
echo "results: $results.json (exit code $code)"
case $code in
    2 | 3) exit $code ;;
esac

"$python" "$here/peers/torch_gpu.py" --bundle "$bundle" --runner "$runner" --out "$results.peers.json"
peers=$?
echo "peers: $results.peers.json (exit code $peers)"
exit $code
