#!/usr/bin/env bash
# Formatting and lints, where the toolchain has the components.
set -euo pipefail

if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --all --check
else
    echo "lint: rustfmt is not installed, formatting is not checked" >&2
fi
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
else
    echo "lint: clippy is not installed, lints are not checked" >&2
fi
