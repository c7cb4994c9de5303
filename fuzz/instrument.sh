#!/bin/sh
# Compiler wrapper (RUSTC_WRAPPER): counters for coverage go into the parsers, not into the kernels, which take minutes with them.
rustc=$1
shift
case " $* " in
*" --crate-name pocketnn_kernels "* | *" --crate-name wide "* | *" --crate-name build_script_"* | *" --crate-type proc-macro "*)
    exec "$rustc" "$@"
    ;;
esac
case " $* " in
*" --target "*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16
    ;;
esac
exec "$rustc" "$@"
