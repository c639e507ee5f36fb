"""What a power cut leaves behind: takes back, by the log of powercut.c, what no sync had made durable."""
import errno
import mmap
import os
import random
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
WRITE, SYNC, CREATE, RENAME, UNLINK, TRUNCATE, DIRSYNC, MKDIR = range(1, 9)
READS, WRITES, SYNCS, NAMES = 1, 2, 4, 8
HEAD = struct.Struct("<QIIQQQQII")
SECTOR = 512


def build(directory):
    out = os.path.join(directory, "powercut.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", out, os.path.join(HERE, "powercut.c"), "-ldl",
                    "-pthread"], check=True)
    return out


class Power:
    def __init__(self, library, directory, data):
        """`directory` and `data` lie in one file system."""
        self.directory, self.data = directory, os.path.realpath(data)
        self.log = os.path.join(directory, "log")
        open(self.log, "w").close()
        with open(os.path.join(directory, "fault"), "wb") as f:
            f.write(struct.pack("<qqiiQ", -1, 0, 0, 0, 0))
        self.env = {"LD_PRELOAD": library, "POWERCUT_DIR": directory, "POWERCUT_DATA": self.data}

    # ---- faults ----
    def fault(self, after, count=1, error=errno.EIO, calls=READS | WRITES | SYNCS | NAMES):
        with open(os.path.join(self.directory, "fault"), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[0:32] = struct.pack("<qqiiQ", -1, count, error, calls, 0)
            m[0:8] = struct.pack("<q", after)

    def heal(self):
        """Faults end; how many there were."""
        with open(os.path.join(self.directory, "fault"), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[0:8] = struct.pack("<q", -1)
            return struct.unpack("<Q", m[24:32])[0]

    # ---- the cut ----
    def records(self):
        with open(self.log, "rb") as f:
            while len(head := f.read(HEAD.size)) == HEAD.size:
                ns, kind, _, inode, at, number, size, a_len, b_len = HEAD.unpack(head)
                a, b = f.read(a_len), f.read(b_len)
                if len(a) < a_len or len(b) < b_len:
                    return              # killed while it noted: the call itself never happened
                yield ns, kind, inode, at, number, size, a, b

    def unsynced(self):
        names, files = [], {}
        for record in self.records():
            ns, kind, inode, at, _, _, a, b = record
            if kind in (WRITE, TRUNCATE):
                files.setdefault(inode, []).append(record)
            elif kind == SYNC:
                files[inode] = [r for r in files.get(inode, []) if r[0] >= at]
            elif kind == DIRSYNC:
                there = a.decode()
                names = [r for r in names if os.path.dirname((r[7] or r[6]).decode()) != there or r[0] >= at]
            else:
                names.append(record)
        return names, {inode: ops for inode, ops in files.items() if ops}

    def cut(self, rng):
        """Makes of the files one of the states that a power cut may have left.  What was taken back, in words."""
        names, files = self.unsynced()
        said = []
        keep = rng.randint(0, len(names))
        for record in reversed(names[keep:]):
            self.undo_name(record)
        if names[keep:]:
            said.append(f"{len(names) - keep} of {len(names)} names")
        paths = {}
        for where in (self.data, self.directory):
            for base, _, entries in os.walk(where):
                for entry in entries:
                    path = os.path.join(base, entry)
                    paths.setdefault(os.lstat(path).st_ino, path)
        for inode, ops in files.items():
            if inode in paths:
                said.append(f"{os.path.relpath(paths[inode], self.data)}: {self.undo_bytes(paths[inode], ops, rng)}")
        for entry in os.listdir(self.directory):
            if entry.startswith("saved."):
                os.unlink(os.path.join(self.directory, entry))
        os.truncate(self.log, 0)
        return said

    def undo_name(self, record):
        _, kind, _, _, number, _, a, b = record
        saved = os.path.join(self.directory, f"saved.{number}")
        a, b = a.decode(), b.decode()
        if kind == CREATE and os.path.exists(a):
            os.unlink(a)
        elif kind == RENAME and os.path.exists(b):
            os.rename(b, a)
            if number:
                os.link(saved, b)
        elif kind == UNLINK and not os.path.exists(a) and os.path.isdir(os.path.dirname(a)):
            os.link(saved, a)

    @staticmethod
    def undo_bytes(path, ops, rng):
        with open(path, "r+b") as f:
            for _, kind, _, at, _, size, old, _ in reversed(ops):
                f.truncate(size)
                f.seek(at)
                f.write(old)
            how = rng.choice(["dropped", "prefix", "any", "torn"])
            chosen = {"dropped": [], "prefix": ops[:rng.randint(0, len(ops))],
                      "any": [op for op in ops if rng.random() < 0.5], "torn": ops}[how]
            if how == "any":
                rng.shuffle(chosen)
            for i, (_, kind, _, at, _, _, _, new) in enumerate(chosen):
                if kind == TRUNCATE:
                    f.truncate(at)
                elif how == "torn" and i == len(chosen) - 1:
                    for s in range(0, len(new), SECTOR):
                        if rng.random() < 0.5:
                            f.seek(at + s)
                            f.write(new[s:s + SECTOR])
                else:
                    f.seek(at)
                    f.write(new)
        return f"{len(ops)} writes {how}"


def rng_of(seed):
    return random.Random(seed)
