#!/usr/bin/env python3
"""Checks who includes whom: the folders' directions, and that each outside library is seen in one folder only."""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))

# folder -> folders it may include from (itself always)
MAY = {
    "proto": set(),
    "transport": {"proto"},
    "storage": {"proto"},
    "actors": {"proto", "transport", "storage"},
    "api": {"proto", "transport", "actors"},
    "bench": {"proto", "transport", "storage", "actors", "api", "tools"},
    "tools": {"proto", "transport", "storage", "actors", "api", "bench"},
    "tests": {"proto", "transport", "storage", "actors", "api", "bench", "tools"},
}
# Of the folders above, the only files of them that api/ may see.
API_SEES = {"transport": {"board.h", "table.h", "count.h", "faults.h", "trail.h"},
            "actors": {"ak.h", "ak_loop.h", "ak_node.h", "kinds.h", "options.h", "replay.h", "seat.h", "status.h"}}
# outside header -> folders or files that may include it
LIBRARIES = {
    r"zmq\.h|czmq\.h": {"transport"},
    r"rocksdb/.*": {"storage"},
    r"h2o(/.*)?\.h|h2o/.*|wslay/.*|openssl/.*": {"api"},
    r"msgpack(/.*)?\.h|msgpack/.*": {"proto"},
    r"cjson/.*": {"proto"},
    r"sodium(/.*)?\.h|sodium/.*": {"proto"},
    r"zstd\.h|zlib\.h": {"proto"},
    r"xxhash\.h": {"proto"},
    r"toml\+\+/.*": {"proto"},
    r"curl/.*": {"actors/notifier_send.c", "tools/web.c"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.M)


def main():
    files = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.cc"], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split()
    faults = []
    for name in files:
        folder = name.split("/")[0]
        if folder not in MAY:
            faults.append(f"{name}: in a folder without a rule")
            continue
        with open(os.path.join(ROOT, name)) as f:
            text = f.read()
        for included in INCLUDE.findall(text):
            other = included.split("/")[0]
            if other in MAY and "/" in included:
                if other != folder and other not in MAY[folder]:
                    faults.append(f"{name}: {folder}/ may not include {included}")
                elif folder == "api" and other in API_SEES and included.split("/", 1)[1] not in API_SEES[other]:
                    faults.append(f"{name}: api/ may not see {included}")
                continue
            for pattern, homes in LIBRARIES.items():
                if re.fullmatch(pattern, included) and not {folder, name} & (homes | {"tests", "bench"}):
                    faults.append(f"{name}: {included} belongs to {', '.join(sorted(homes))}/")
    for fault in faults:
        print(fault)
    print(f"{len(files)} files, {len(faults)} faults")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
