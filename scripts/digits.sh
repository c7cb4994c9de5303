#!/usr/bin/env bash
# Converts models/mnist/digits.keras with the present converter: digits.pnn records what the kernels compute, and is written again
# whenever they compute other bits. Says whether it changed.
set -eu -o pipefail
cd "$(dirname "$0")/.."
cargo build -q -p pocketnn-cli
program=${CARGO_TARGET_DIR:-target}/debug/pocketnn
before=$(sha256sum <models/mnist/digits.pnn 2>/dev/null || true)
labels=$(mktemp)
trap 'rm -f "$labels"' EXIT
printf '%s\n' 0 1 2 3 4 5 6 7 8 9 >"$labels"
"$program" convert models/mnist/digits.keras -o models/mnist/digits.pnn --labels "$labels" --sample models/mnist/samples/7a.png
if [ "$before" = "$(sha256sum <models/mnist/digits.pnn)" ]; then echo "unchanged"; else echo "changed"; fi
