#!/usr/bin/env python3
"""Checks the inner loops of the matrix tile in a compiled program: as many multiply-adds as the tile has, and no spills.

usage: scripts/tiles.py target/release/pocketnn

Needs objdump. A loop of the tile multiplies UNROLL steps of the inner dimension for MR rows and NV vectors, so it has UNROLL * MR * NV
multiply-adds in one basic block that jumps back to its start. For each size below such a loop must be there, and the best one of that
size may refer to at most so many vectors on the stack. A compiler that spills, splits the loop or drops the features fails this.
"""

import re
import subprocess
import sys

UNROLL = 4
# Instruction set, register, rows, vectors of sixteen outputs, registers of a vector, most references to the stack.
TILES = [
    ("avx512", "zmm", 14, 2, 1, 12),
    ("avx512", "zmm", 13, 2, 1, 12),
    ("avx512", "zmm", 12, 2, 1, 12),
    ("avx512", "zmm", 8, 2, 1, 12),
    ("avx512", "zmm", 7, 2, 1, 12),
    ("avx512", "zmm", 14, 1, 1, 0),
    ("avx2", "ymm", 6, 1, 2, 3),
    ("avx2", "ymm", 5, 1, 2, 3),
    ("avx2", "ymm", 4, 1, 2, 3),
]

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)")
STACK = re.compile(r"\(%r[sb]p")


def loops(program):
    """Basic blocks that jump back to their own start: lists of instructions."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True
    ).stdout
    body = []
    for line in listing.splitlines():
        m = INSTRUCTION.match(line)
        if not m:
            body = []
            continue
        address, text = int(m.group(1), 16), m.group(2)
        body.append((address, text))
        jump = JUMP.match(text)
        if jump:
            target = int(jump.group(1), 16)
            start = next((i for i, (a, _) in enumerate(body) if a == target), None)
            if start is not None and target < address:
                yield [t for _, t in body[start:]]
            body = []


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = {}
    for loop in loops(sys.argv[1]):
        products = [t for t in loop if t.startswith(("vfmadd", "vfnmadd"))]
        for register in ("zmm", "ymm"):
            if products and all(register in t for t in products):
                spilled = sum("mm" in t and STACK.search(t) is not None for t in loop)
                key = (register, len(products))
                found[key] = min(spilled, found.get(key, spilled))
    failed = []
    for isa, register, rows, vectors, registers, most in TILES:
        wanted = UNROLL * rows * vectors * registers
        spilled = found.get((register, wanted))
        state = "no such loop" if spilled is None else f"{spilled} references to the stack, at most {most} allowed"
        good = spilled is not None and spilled <= most
        print(f"{isa} {rows} rows x {16 * vectors}: {wanted} multiply-adds: {state}{'' if good else '  <-- FAILED'}")
        failed += [] if good else [f"{isa} {rows}x{16 * vectors}"]
    if failed:
        sys.exit(f"tiles that are not what they should be: {', '.join(failed)}")


if __name__ == "__main__":
    main()
