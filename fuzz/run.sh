#!/bin/sh
# Builds the targets with the installed stable toolchain and runs one: run.sh TARGET [libFuzzer's options and folders].
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
programs=$("$here/build.sh" | tail -n 1)
case $target in
onnx | wire) words=onnx ;;
hdf5 | zip) words=keras ;;
graphdef | bundle) words=tensorflow ;;
pnn) words=pnn ;;
*) words= ;;
esac
mkdir -p "$here/artifacts/$target"
case " $* " in *" -merge=1 "*) folders= ;; *) folders="$here/corpus/$target $here/seeds/$target" ;; esac
# shellcheck disable=SC2086
exec "$programs/$target" -timeout=10 -rss_limit_mb=1024 -max_len=32768 -artifact_prefix="$here/artifacts/$target/" \
    ${words:+-dict="$here/dict/$words.dict"} "$@" $folders
