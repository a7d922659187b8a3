# SPDX-License-Identifier: Apache-2.0
"""A real redis-server of a test's own, on a socket in a folder of its own."""
import os
import shutil
import socket
import subprocess
import tempfile
import time


class Redis:
    def __init__(self, program):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="praas-redis-")
        self.path = os.path.join(self.dir, "s")
        self.url = "redis+unix://" + self.path
        self.process = None

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)  # of one that was killed
        self.process = subprocess.Popen(
            [self.program, "--port", "0", "--unixsocket", self.path, "--dir", self.dir, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--logfile", "log"])
        end = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < end, "redis-server"
            time.sleep(0.01)
        return self

    def say(self, words):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(words.encode() + b"\r\n")
            return s.recv(4096).decode()

    def answers(self):
        try:
            return self.say("EXISTS x").startswith(":")
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cleanup(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir)

    def ask(self, *words):
        """A command of texts or bytes; its answer: bytes, a number, a list, None."""
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            with s.makefile("rb") as answer:
                return self.read(answer)

    def read(self, answer):
        kind, line = answer.read(1), answer.readline()[:-2]
        if kind in b"+:":
            return line if kind == b"+" else int(line)
        if kind == b"$":
            return None if int(line) < 0 else answer.read(int(line) + 2)[:-2]
        assert kind == b"*", line
        return [self.read(answer) for _ in range(int(line))]

    def names(self):
        """Of all that is in the stores of objects with the usual prefix."""
        return [f"{below.decode()}/{name.decode()}" for below in self.ask("ZRANGE", "{praas}:store:all", 0, -1)
                for name in self.ask("ZRANGE", b"{praas}:store:names:" + below, 0, -1)]

    def put(self, below, name, data):
        self.ask("SET", f"{{praas}}:store:object:{below}:{name}", data)
        self.ask("ZADD", f"{{praas}}:store:names:{below}", 0, name)
