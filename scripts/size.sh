#!/usr/bin/env bash
# Builds runtime/examples/smallest.rs as an app would ship it (runtime only, one thread, stripped, the families of ops that its model
# needs), prints its size with the portable kernels alone and with AVX2, and fails when the first is above the limit or one reads a drawn
# digit wrong. Then tests that a program without a family refuses it.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=${1:-1450000}
families=conv,dense,pool,softmax
target=${CARGO_TARGET_DIR:-target}
# A vertical stroke of three pixels: a one.
stroke() { LC_ALL=C awk 'BEGIN { for (y = 0; y < 28; y++) for (x = 0; x < 28; x++) printf "%c", (y > 4 && y < 23 && x > 12 && x < 16) ? 120 : 1 }'; }
weigh() {
    cargo build --quiet --profile pocket -p pocketnn --no-default-features --features "$1" --example smallest
    size=$(wc -c <"$target/pocket/examples/smallest")
    digit=$(stroke | "$target/pocket/examples/smallest")
    echo "smallest program, $2: $size bytes, $(wc -c <models/mnist/digits.pnn) of them the model; reads a stroke as $digit"
    [ "$digit" = 1 ] || { echo "expected 1"; exit 1; }
}
weigh "$families,avx2" "portable and AVX2 kernels"
weigh "$families" "portable kernels"
[ "$size" -le "$limit" ] || { echo "too large: the limit is $limit"; exit 1; }
cargo test --quiet -p pocketnn --no-default-features --features conv --test small
