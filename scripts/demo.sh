#!/usr/bin/env bash
# The main job, small enough to watch: mixers from ir/, their forms, kernels for this CPU, results on
# real and reference inputs compared with published implementations, and times.
#
#   scripts/demo.sh [path to mixc]
set -euo pipefail

mixc=${1:-target/release/mixc}
goldens=$(cd "$(dirname "$0")/../tests/goldens" && pwd)
attention="--layout q=B,I,H,D,k=B,J,G,D,v=B,J,G,E,o=B,I,H,E"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
failed=0

echo "== What can be compiled for"
"$mixc" devices

echo
echo "== One definition, its forms, and why one is chosen"
"$mixc" explain attention_causal --shape B=1,H=8,G=8,I=4096,J=4096,D=64,E=64

echo
echo "== On real and reference inputs, compared with published implementations"
printf '%-24s %-28s %-10s %-12s %10s %12s  %s\n' mixer input form output "rel err" "ms" ""

compare() { # compare MIXER FILE [OPTIONS...]
    local mixer=$1 name=$2 file=$goldens/$2.safetensors status=0 text
    shift 2
    text=$("$mixc" run "$mixer" --inputs "$file" --compare "$file" --target cpu "$@" 2>"$errors") || status=$?
    if [ -z "$text" ]; then
        cat "$errors" >&2
        failed=1
        return
    fi
    [ "$status" -eq 0 ] || failed=1
    awk -v mixer="$mixer" -v input="$name" '
        NR == 1 { form = $2; ms = $(NF - 1) }
        NR > 2 { printf "%-24s %-28s %-10s %-12s %10s %12s  %s\n", mixer, input, form, $1, $3, ms, $5 }
    ' <<<"$text"
}

# Queries, keys and values of a sentence encoder on three passages of text.
compare softmax_attention real_minilm_l0
compare softmax_attention real_minilm_l5
compare attention_causal attn_causal_gqa_awkward $attention
compare attention_causal attn_causal_masked_rows $attention
compare attention_window attn_causal_window $attention
compare attention_sink attn_causal_sink $attention
compare linear_attention linear_attn_regular
compare retention retention_awkward
compare simple_gla simple_gla_d128
compare gla gla_awkward
compare rwkv6 rwkv6_awkward
compare hgrn hgrn_regular
compare gated_delta_rule gated_delta_rule_awkward
compare selective_scan selective_scan_regular --layout B=B,N,L,C=B,N,L --rename B=Bt,C=Ct,D=skip
compare ssd ssd_regular --rename B=Bt,C=Ct,D=skip
compare s4d s4d_regular --rename D=skip
compare megalodon_cema megalodon_cema_regular \
    --layout alpha=D,N,1,delta=D,N,1,theta=D,1,1,omega=D,1
compare causal_conv1d causal_conv1d_regular
compare long_conv_gated fftconv_gated

echo
echo "== Every form on random and adversarial inputs, against the f64 interpreter"
"$mixc" verify attention_causal || failed=1

echo
echo "== Times of all forms, one thread"
"$mixc" bench attention_causal --shape B=1,H=8,G=8,I=1024,J=1024,D=64,E=64 --threads 1 || failed=1
"$mixc" bench linear_attention_scan --shape B=1,H=8,T=4096,K=64,V=64 --threads 1 || failed=1
exit "$failed"
