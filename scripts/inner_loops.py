#!/usr/bin/env python3
"""Inner loops of the hot kernels touch no stack: what a register holds is not read from memory at every step.

    inner_loops.py BINARY...

Disassembles the tiles of products and convolutions for AVX2 and AVX-512 in each binary of a release build, takes the straight loops
that multiply and add, and fails where one keeps what it needs on the stack. Says so, and passes, where there is no objdump or no x86-64."""

import platform
import re
import shutil
import subprocess
import sys

KERNELS = re.compile(r"kiln_cpu::(gemm::kernels::tile_of|conv::microkernel::rows_of)::(avx2|avx512)\b")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
STACK = re.compile(r"\(%rsp")
# Sixteen registers hold AVX2's widest tile and what its mask is made of but for one: that is all that may come from the stack.
LIMIT = 1


def functions(binary):
    """Name and instructions (address, name, operands) of each kernel."""
    lines = subprocess.run(
        ["objdump", "-d", "-C", "--no-show-raw-insn", binary], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    name, body = None, []
    for line in lines:
        if found := FUNCTION.match(line):
            if name:
                yield name, body
            name = found[1] if KERNELS.search(found[1]) else None
            body = []
        elif name and (found := INSTRUCTION.match(line)):
            body.append((int(found[1], 16), found[2], found[3]))
    if name:
        yield name, body


def inner_loops(body):
    """The instructions of each loop that is one straight run of them, as those over the terms of a sum are."""
    places = {address: place for place, (address, _, _) in enumerate(body)}
    for end, (address, operation, operands) in enumerate(body):
        target = re.match(r"([0-9a-f]+)\b", operands) if operation.startswith("j") else None
        start = places.get(int(target[1], 16)) if target else None
        if start is not None and start <= end:
            loop = body[start : end + 1]
            if not any(inside.startswith("j") for _, inside, _ in loop[:-1]):
                yield loop


def main():
    if platform.machine() not in ("x86_64", "AMD64") or not shutil.which("objdump"):
        print("inner_loops.py: NOT CHECKED: it needs x86-64 and objdump", file=sys.stderr)
        return 0
    loops, faults = 0, []
    for binary in sys.argv[1:]:
        for name, body in functions(binary):
            for loop in inner_loops(body):
                sums = sum("fmadd" in operation for _, operation, _ in loop)
                if sums == 0:
                    continue
                loops += 1
                stack = sum(bool(STACK.search(operands)) for _, _, operands in loop)
                if stack > LIMIT:
                    faults.append(f"{name} at {loop[0][0]:x}: {stack} of {len(loop)} instructions, {sums} sums")
    print(f"{loops} inner loops of tiles, {len(faults)} of which touch the stack")
    print("\n".join(faults[:20]), file=sys.stderr)
    if loops == 0:
        print("inner_loops.py: no tile found; was the binary stripped?", file=sys.stderr)
    return 1 if faults or loops == 0 else 0


sys.exit(main())
