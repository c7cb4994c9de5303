#!/usr/bin/env python3
"""Writes importer/src/tflite/names.rs: the builtin operators and element types of the TFLite schema by number.

    tflite_names.py schema_py_generated.py > importer/src/tflite/names.rs

The argument is the schema's Python code as the package ai-edge-litert carries it.
"""
import re, sys


def enum(source, name):
    body = re.search(r"^class %s\(object\):\n((?:    \w+ = -?\d+\n)+)" % name, source, re.M)[1]
    return sorted((int(n), k) for k, n in re.findall(r"(\w+) = (-?\d+)", body))


source = open(sys.argv[1]).read()
print("//! Names of the TFLite schema by number. Written by `scripts/tflite_names.py`; do not edit.\n")
for rust, name, what in (("OPERATORS", "BuiltinOperator", "Builtin operators"), ("TYPES", "TensorType", "Element types")):
    values = enum(source, name)
    assert [n for n, _ in values] == list(range(len(values))), name
    print("/// %s: the position is the number in the file." % what)
    print("#[rustfmt::skip]")
    print("pub(super) const %s: &[&str] = &[" % rust)
    line = "   "
    for _, k in values:
        word = ' "%s",' % k
        if len(line + word) > 118: print(line); line = "   "
        line += word
    print(line + "\n];" + ("\n" if rust == "OPERATORS" else ""))
