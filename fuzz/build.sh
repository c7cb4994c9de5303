#!/bin/sh
# Builds all targets with the installed stable toolchain; prints the folder of the programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_WRAPPER="$here/instrument.sh" RUSTFLAGS="--cfg fuzzing" \
    cargo build --release --manifest-path "$here/Cargo.toml" --target "$host" --bins
echo "${CARGO_TARGET_DIR:-$here/target}/$host/release"
