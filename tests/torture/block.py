# SPDX-License-Identifier: Apache-2.0
"""The block that says which call of which program fails (tests/lib/fault_shim.h)."""
import mmap
import os
import struct
import subprocess

PROGRAMS = ("control", "controller")
KINDS = ("alloc", "file", "socket", "spawn")
CALLS, COUNTDOWN, FIRED, FRAMES, FRAME, NAME, BYTES = 0, 64, 128, 136, 144, 240, 272


class Block:
    def __init__(self, path, programs):
        self.path, self.programs = path, programs
        with open(path, "wb") as f:
            f.write(bytes(BYTES))
        self.fd = os.open(path, os.O_RDWR)
        self.map = mmap.mmap(self.fd, BYTES)

    def number(self, at):
        return struct.unpack_from("<Q", self.map, at)[0]

    def place(self, program, kind):
        return 8 * (PROGRAMS.index(program) * len(KINDS) + KINDS.index(kind))

    def calls(self, program, kind):
        return self.number(CALLS + self.place(program, kind))

    def arm(self, program, kind, n):
        """The n-th call from now fails; the number of those that failed so far."""
        fired = self.number(FIRED)
        struct.pack_into("<Q", self.map, COUNTDOWN + self.place(program, kind), n)
        return fired

    def disarm(self):
        self.map[COUNTDOWN:FIRED] = bytes(FIRED - COUNTDOWN)

    def fired(self):
        return self.number(FIRED)

    def where(self, program):
        """The call that failed last, and who made it."""
        name = self.map[NAME:NAME + 32].split(b"\0")[0].decode()
        frames = [hex(self.number(FRAME + 8 * i) - 1) for i in range(min(12, self.number(FRAMES)))]
        text = subprocess.run(["addr2line", "-fs", "-e", self.programs[program], *frames],
                              capture_output=True, text=True).stdout.split("\n")
        steps = [f"{a} {b}" for a, b in zip(text[::2], text[1::2]) if "??" not in b]
        return f"{name} < " + " < ".join(steps)
