#!/usr/bin/env bash
# Checks that this machine can build mixc: a Rust toolchain and a C linker. Prints what is missing
# and how to get it; installs nothing.
set -euo pipefail

missing=0
need() { # need TOOL WHAT-FOR HOW
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "setup: '$1' is missing ($2). $3" >&2
        missing=1
    fi
}

need cargo "builds everything" "Install Rust 1.95 or newer: https://rustup.rs"
need cc "links the binaries" "Install a C tool chain: apt-get install build-essential"

if command -v cargo >/dev/null 2>&1; then
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        echo "setup: Rust $found is too old, $wanted or newer is needed. Run: rustup update stable" >&2
        missing=1
    fi
fi
exit "$missing"
