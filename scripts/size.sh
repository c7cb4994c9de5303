#!/usr/bin/env bash
# Builds runtime/examples/smallest.rs as an app would ship it (runtime only, one thread, stripped), prints its size, and fails when it
# is above the limit or reads a drawn digit wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=${1:-700000}
cargo build --quiet --profile pocket -p pocketnn --no-default-features --example smallest
program=${CARGO_TARGET_DIR:-target}/pocket/examples/smallest
size=$(wc -c <"$program")
# A vertical stroke of three pixels: a one.
digit=$(LC_ALL=C awk 'BEGIN { for (y = 0; y < 28; y++) for (x = 0; x < 28; x++) printf "%c", (y > 4 && y < 23 && x > 12 && x < 16) ? 120 : 1 }' | "$program")
echo "smallest program: $size bytes (limit $limit), $(wc -c <models/mnist/digits.pnn) of them the model; reads a stroke as $digit"
[ "$digit" = 1 ] || { echo "expected 1"; exit 1; }
[ "$size" -le "$limit" ] || { echo "too large"; exit 1; }
