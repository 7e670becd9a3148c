#!/bin/sh
# Makes the PTX from the CUDA sources. Needs clang 14 (Debian package clang-14); the tests do not.
set -e
cd "$(dirname "$0")"
for source in *.cu; do
  clang-14 -x cuda -nocudainc -nocudalib --cuda-device-only --cuda-gpu-arch=sm_80 \
    -Xclang -target-feature -Xclang +ptx75 -O2 -S -I. "$source" -o "${source%.cu}.ptx"
done
