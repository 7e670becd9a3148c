#!/usr/bin/env bash
# Makes this machine ready to build and test mixc: checks for Rust and a C linker, installs LLVM and
# MLIR 22 on Debian and Ubuntu, and fetches ptxas and nvdisasm into .tools/. What is there already is
# left alone. What cannot be installed is named, with the commands that would, and the exit is 1.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

# --- Rust and a C linker ------------------------------------------------------------------------------

missing=0
need() { # need TOOL WHAT-FOR HOW
    if ! command -v "$1" >/dev/null 2>&1; then
        say "'$1' is missing ($2). $3"
        missing=1
    fi
}

need cargo "builds everything" "Install Rust 1.95 or newer: https://rustup.rs"
need cc "links the binaries" "Install a C tool chain: apt-get install build-essential"

if command -v cargo >/dev/null 2>&1; then
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        say "Rust $found is too old, $wanted or newer is needed. Run: rustup update stable"
        missing=1
    fi
fi
[ "$missing" -eq 0 ] || exit 1

# --- LLVM and MLIR 22, for the worker that lowers MLIR to PTX -----------------------------------------

llvm=22
# libclang and its headers make the bindings; polly, zstd, zlib and the C++ library are linked.
packages="llvm-$llvm-dev libmlir-$llvm-dev libclang1-$llvm libclang-common-$llvm-dev libpolly-$llvm-dev libzstd-dev zlib1g-dev g++"
codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}") || codename=
key=/usr/share/keyrings/apt.llvm.org.asc
source_file=/etc/apt/sources.list.d/llvm-$llvm.list
source_line="deb [signed-by=$key] https://apt.llvm.org/$codename/ llvm-toolchain-$codename-$llvm main"

# (No `grep -q` behind a pipe: it ends the writer early, which counts as a failure here.)
not_installed() { # prints which of PACKAGES are not
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

have_candidates() { # have_candidates PACKAGE...: whether the sources of apt offer all
    local package
    for package in "$@"; do
        case $(apt-cache policy "$package" 2>/dev/null) in
            *"Candidate: (none)"* | "") return 1 ;;
        esac
    done
}

as_root=
find_root() { # sets as_root; fails where there is no way to install
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null 2>&1 || return 1
    as_root="sudo"
    sudo -n true 2>/dev/null || [ -t 0 ]
}

quietly() { # quietly COMMAND...: its output is shown only where it fails
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || { say "this failed: $*"; cat "$log" >&2; }
    rm -f "$log"
    return "$status"
}

fetch() { # fetch ADDRESS: on standard output
    if command -v curl >/dev/null 2>&1; then curl -fsSL "$1"; else wget -qO- "$1"; fi
}

add_llvm_source() {
    local text
    command -v curl >/dev/null 2>&1 || command -v wget >/dev/null 2>&1 ||
        quietly $as_root apt-get install -y -q --no-install-recommends curl ca-certificates || return 1
    say "adding https://apt.llvm.org, since no source here has LLVM $llvm"
    text=$(fetch https://apt.llvm.org/llvm-snapshot.gpg.key) || return 1
    $as_root tee "$key" <<<"$text" >/dev/null || return 1
    $as_root tee "$source_file" <<<"$source_line" >/dev/null || return 1
    quietly $as_root apt-get update -q
}

explain_packages() { # explain_packages PACKAGE...
    say "these packages are missing: $*. As root, run:"
    if ! have_candidates "$@"; then
        echo "    curl -fsSL https://apt.llvm.org/llvm-snapshot.gpg.key -o $key" >&2
        echo "    echo '$source_line' > $source_file" >&2
    fi
    echo "    apt-get update" >&2
    echo "    apt-get install --no-install-recommends $*" >&2
}

install_packages() { # install_packages PACKAGE...
    if ! find_root; then
        explain_packages "$@"
        return 1
    fi
    say "installing $*"
    have_candidates "$@" || quietly $as_root apt-get update -q || true
    if ! have_candidates "$@" && ! add_llvm_source; then
        explain_packages "$@"
        return 1
    fi
    local install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
    # Lists that are too old name files that are gone.
    $install "$@" >/dev/null 2>&1 || { quietly $as_root apt-get update -q && quietly $install "$@"; }
}

if [ -n "${MLIR_SYS_220_PREFIX:-}" ]; then
    if [ ! -x "$MLIR_SYS_220_PREFIX/bin/llvm-config" ]; then
        say "MLIR_SYS_220_PREFIX is $MLIR_SYS_220_PREFIX, which has no bin/llvm-config"
        exit 1
    fi
elif command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    absent=$(not_installed $packages)
    [ -z "$absent" ] || install_packages $absent || exit 1
elif [ ! -x "/usr/lib/llvm-$llvm/bin/llvm-config" ]; then
    say "LLVM and MLIR $llvm with their headers and static libraries are missing. Install them and set"
    say "MLIR_SYS_220_PREFIX and TABLEGEN_220_PREFIX to the folder that has bin/llvm-config."
    exit 1
fi

# --- ptxas and nvdisasm, from NVIDIA's Python wheels --------------------------------------------------

wheels="nvidia-cuda-nvcc-cu12==12.9.86 \
  --hash=sha256:5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0 \
  --hash=sha256:44e1eca4d08926193a558d2434b1bf83d57b4d5743e0c431c0c83d51da1df62b
nvidia-cuda-nvdisasm==13.5.37 \
  --hash=sha256:d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca \
  --hash=sha256:a3a8248074edb9fba63b74c38a5416b712a91ab09e70b8ab37186c3d293fc605"
tools=.tools/cuda/bin
stamp=.tools/cuda/wheels.txt

have_tools() { # without the stamp they were put there by hand
    [ -x "$tools/ptxas" ] && [ -x "$tools/nvdisasm" ] && { [ ! -e "$stamp" ] || [ "$(cat "$stamp")" = "$wheels" ]; }
}

fetch_tools() {
    local folder wheel
    folder=$(mktemp -d .tools/fetch.XXXXXX)
    echo "$wheels" >"$folder/wheels.txt"
    if quietly python3 -m pip download -q --no-deps --only-binary=:all: --require-hashes -r "$folder/wheels.txt" -d "$folder"; then
        for wheel in "$folder"/*.whl; do
            python3 -m zipfile -e "$wheel" "$folder/files"
        done
        mkdir -p "$tools"
        find "$folder/files" \( -path '*/bin/ptxas' -o -path '*/bin/nvdisasm' \) -exec cp {} "$tools/" \;
        chmod +x "$tools/ptxas" "$tools/nvdisasm"
        mv "$folder/wheels.txt" "$stamp"
    fi
    rm -rf "$folder"
}

if ! have_tools; then
    if ! python3 -m pip --version >/dev/null 2>&1; then
        if ! command -v apt-get >/dev/null 2>&1; then
            say "python3 with pip is missing (it fetches ptxas and nvdisasm)"
            exit 1
        fi
        absent=$(not_installed python3 python3-pip)
        [ -z "$absent" ] || install_packages $absent || exit 1
    fi
    mkdir -p .tools
    say "fetching ptxas and nvdisasm into $tools"
    fetch_tools
    if ! have_tools; then
        say "they could not be fetched. Put the two from a CUDA toolkit (12.8 or newer) into $tools"
        exit 1
    fi
fi
