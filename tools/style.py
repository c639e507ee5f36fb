#!/usr/bin/env python3
"""Checks the shape of the C sources: functions of at most 70 lines, three levels of nesting, files of at most 1100 lines.

Leans on two habits: a function's braces stand in column 0, and a level of nesting is four spaces.
Lines aim at 100 columns; what a table or a drawing needs beyond that ends at 160.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
FUNCTION_LINES, NESTING, FILE_LINES, COLUMNS = 70, 3, 1100, 160
BLOCK = re.compile(r"( *)(?:\} else |else )?(?:if|for|while|do|switch)\b.*\{$")


def faults_in(name, lines):
    start = None
    if len(lines) > FILE_LINES:
        yield f"{name}: {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield f"{name}:{number}: {len(line)} columns"
        if line == "{":
            start = number
        elif start is not None and line.startswith("}"):
            if number - start - 1 > FUNCTION_LINES:
                yield f"{name}:{start}: a function of {number - start - 1} lines: {lines[start - 2]}"
            start = None
        block = BLOCK.match(line) if start is not None else None
        # A test may look one level deeper.
        if block and len(block[1]) // 4 > NESTING + name.startswith("tests/"):
            yield f"{name}:{number}: {len(block[1]) // 4} levels deep"


def main():
    files = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.cc"], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split()
    faults = []
    for name in files:
        with open(os.path.join(ROOT, name)) as f:
            faults += faults_in(name, f.read().splitlines())
    for fault in faults:
        print(fault)
    print(f"{len(files)} files, {len(faults)} faults")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
