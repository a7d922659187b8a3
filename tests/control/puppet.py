# SPDX-License-Identifier: Apache-2.0
"""Controllers that a test speaks for, on their links (docs/control-link.md, tests/lib/fake_controller.c)."""
import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import threading
import time

APP = "/v1/apps/a"
P = APP + "/processes"


class Puppet:
    """A connection of a process's controller."""

    def __init__(self, s, name, epoch):
        self.name, self.epoch = name, epoch
        self.path = os.path.join(s.code, f"{name}-{epoch}.sock")
        self.ids = 0
        self.deaf_to = ()
        self.connect()

    def connect(self):
        end = time.monotonic() + 60  # the disk may be busy with others
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(self.path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                assert time.monotonic() < end, self.path
                time.sleep(0.005)
        self.socket.settimeout(30)
        self.have = b""
        self.config = self.line()
        self.pid = self.config["pid"]

    def more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        self.have += data

    def line(self):
        while b"\n" not in self.have:
            self.more()
        line, self.have = self.have.split(b"\n", 1)
        return json.loads(line)

    def hear(self):
        """(message, its raw part)"""
        message = self.line()
        while message["t"] in self.deaf_to:
            message = self.line()
        count = message.get("bytes", 0) if message["t"] == "queue" else 0
        while len(self.have) < count:
            self.more()
        raw, self.have = self.have[:count], self.have[count:]
        return message, raw

    def say(self, message, raw=b""):
        self.socket.sendall(json.dumps(message).encode() + b"\n" + raw)

    def join(self, seen=None, state="ACTIVE"):
        c = self.config
        message = {"t": "join", "token": c["join_token"], "pid": c["pid"], "epoch": c["epoch"],
                   "controller": c["controller_id"], "endpoints": ["tcp://127.0.0.1:9"],
                   "os_pid": 1, "executor": "worker", "sandbox": [], "state": state}
        if seen is not None:
            message["seen"] = seen
        self.say(message)
        answer, _ = self.hear()
        assert answer["t"] == "ok", answer
        return answer.get("more", False)

    def ask(self, message, raw=b""):
        self.ids += 1
        self.say({**message, "id": self.ids}, raw)
        return self.ids

    def answer(self, message, raw=b""):
        number = self.ask(message, raw)
        answer, raw = self.hear()
        assert answer["id"] == number, answer
        return answer, raw

    def append_later(self, to, messages):
        """messages: (epoch, number, key, payload, trace or None)"""
        lines, raw = [], b""
        for epoch, number, key, payload, trace in messages:
            line = {"epoch": epoch, "number": number, "key_bytes": len(key), "bytes": len(payload)}
            if trace:
                line["trace"] = trace
            lines.append(line)
            raw += key + payload
        return self.ask({"t": "append", "to": to, "bytes": len(raw), "messages": lines}, raw)

    def append(self, to, *messages):
        number = self.append_later(to, messages)
        answer, _ = self.hear()
        assert (answer["t"], answer["id"]) == ("way", number), answer
        return answer

    def put(self, to, number, payload=b"x"):
        """One message is queued."""
        answer = self.append(to, (self.epoch, number, b"k", payload, None))
        wanted = {"t": "way", "id": self.ids, "rc": "QUEUED", "epoch": self.epoch, "number": number}
        assert answer == wanted, (answer, number)

    def way(self, to, **more):
        answer, _ = self.answer({"t": "append", "to": to, **more})
        assert answer["t"] == "way", answer
        return answer

    def read(self, after):
        """([(position, source, epoch, number, key, payload, trace)], more)"""
        answer, raw = self.answer({"t": "queue-read", "after": after})
        if "rc" in answer:
            return answer["rc"], None
        out, at = [], 0
        for m in answer["messages"]:
            key = raw[at:at + m["key_bytes"]]
            at += m["key_bytes"]
            payload = raw[at:at + m["bytes"]]
            at += m["bytes"]
            out.append((m["position"], m["source"], m["epoch"], m["number"], key, payload, m.get("trace")))
        assert at == len(raw) == answer["bytes"]
        return out, answer["more"]

    def read_all(self, after):
        out, more = [], True
        while more:
            some, more = self.read(after)
            out += some
            after = out[-1][0] if out else after
        return out

    def serve(self, seen, **more):
        answer, _ = self.answer({"t": "serve", "seen": seen, **more})
        assert answer["t"] == "served", answer
        return answer["rc"]

    def swapped(self, cut=None):
        message = {"t": "swapped", "epoch": self.epoch, "slot": 1, "bytes": 0}
        if cut is not None:
            message["cut"] = cut
        self.say(message)

    def ended(self):
        """The control service has ended the connection."""
        try:
            while True:
                self.hear()
        except (EOFError, ConnectionResetError):
            self.socket.close()

    def close(self):
        self.socket.close()


def app(s, name="a", **who):
    s.json("POST", "/v1/apps", {"name": name, "code": s.code}, 201, **who)


def begin(s, name, application="a", **who):
    """A new process whose controller has not joined yet."""
    s.json("POST", f"/v1/apps/{application}/processes", {"pid": name, "wait": False}, 202, **who)
    return Puppet(s, name, 1)


def serving(s, name, application="a"):
    p = begin(s, name, application)
    assert not p.join()
    s.await_state(application, name, "ACTIVE")
    return p


class Asked(threading.Thread):
    """A request of REST that is under way."""

    def __init__(self, s, path):
        super().__init__()
        self.s, self.path, self.status = s, path, None
        self.start()

    def run(self):
        try:
            self.status, _, _ = self.s.ask("POST", self.path)
        except (OSError, http.client.HTTPException):
            pass  # the service was killed

    def done(self, status=200):
        self.join()
        assert self.status == status, (self.path, self.status)


def wake(s, name, epoch):
    """The next epoch of a process that rests begins; somebody waits for it."""
    asked = Asked(s, f"{P}/{name}/swap-in")
    return Puppet(s, name, epoch), asked


def drain(s, p):
    asked = Asked(s, f"{P}/{p.name}/swap-out")
    request, _ = p.hear()
    assert request["t"] == "swap-out", request
    return asked, request["id"]


def rest(s, p, cut=None):
    """It swaps out; its controller ends."""
    asked, number = drain(s, p)
    done = {"t": "done", "id": number, "ok": True, "slot": 1}
    if cut is not None:
        done["cut"] = cut
    p.say(done)
    asked.done()
    end(s, p)


def end(s, p, how=signal.SIGKILL):
    for _, epoch, pid in s.starts(p.name):
        if epoch == p.epoch:
            os.kill(pid, how)
    p.close()


def two(s):
    """A sender that serves and a receiver that rests."""
    app(s)
    a = serving(s, "puppet-a")
    b = serving(s, "puppet-b")
    rest(s, b)
    s.await_state("a", "puppet-b", "SWAPPED")
    return a, b


def payloads(messages):
    return [m[5] for m in messages]


@contextlib.contextmanager
def records_held(s):
    """Nobody can commit to the records meanwhile (the service tries for 5 s)."""
    db = sqlite3.connect(os.path.join(s.data, "records.db"), isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()
