#!/usr/bin/env bash
# The main job, small enough to watch: what is shipped, and real attention inputs compared with
# reference outputs.
set -euo pipefail

mixc=${1:-target/release/mixc}
"$mixc" devices
"$mixc" list
