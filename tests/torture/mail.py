# SPDX-License-Identifier: Apache-2.0
"""Messages that pass the control service while one call of it after the other fails, under a sanitizer. What
was answered is there once and in order, whoever had to ask again; the service goes on.

usage: mail.py CONTROL CONTROLLER [KIND …]; CONTROL has tests/lib/fault_shim.c in it, CONTROLLER is the double.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from puppet import P, Asked, app, drain, serving  # noqa: E402
from service import Service, alive  # noqa: E402
from block import Block  # noqa: E402

KINDS = sys.argv[3:] or ("alloc", "file", "socket")
BROKEN = (EOFError, ConnectionError)


def again(p, seen=None):
    """A connection that was ended: it joins again. Whether it is behind."""
    while True:
        p.close()
        p.connect()
        try:
            return p.join(seen=seen)
        except BROKEN:
            pass


def deliver(a, to, number, payload):
    """Until it is in the queue."""
    while True:
        try:
            answer = a.append(to, (1, number, b"key", payload, "cd" * 32))
            if answer["rc"] == "QUEUED":
                assert answer["number"] == number, answer
                return
            assert answer["rc"] == "BUSY", answer
        except BROKEN:
            again(a)


def ask_way(a, to):
    """The ways that need no queue."""
    while True:
        try:
            for message in ({}, {"wake": True}):
                answer = a.way(to, **message)
                assert answer["rc"] in ("MOVED", "BUSY"), answer
            if answer["rc"] == "MOVED":
                return
        except BROKEN:
            again(a)


def until_more(b, number, seen):
    """A swap-out fails, and something waits."""
    more = False
    while not more:
        try:
            if number:
                b.say({"t": "done", "id": number, "ok": False, "code": "ENOSPC", "message": "full"})
            message, _ = b.hear()
            number = message["id"] if message["t"] == "swap-out" else 0
            more = message["t"] == "more"
        except BROKEN:
            more = again(b, seen)
            number = 0


def catch_up(b, seen):
    """All that waits, and the position behind it."""
    got = []
    while True:
        try:
            messages, more = b.read(seen)
            if messages == "BUSY":
                continue
            got += messages
            seen = got[-1][0] if got else seen
            if not more and b.serve(seen) == "OK":
                return got, seen
        except BROKEN:
            if not again(b, seen):
                return got, seen


def settle(a, b):
    """Connections that the last failure has ended are made again."""
    ask_way(a, b.pid)
    try:
        assert b.serve(b.seen) == "OK"
    except BROKEN:
        assert not again(b, b.seen)


def one(s, block, a, b, turn, kind, n):
    """True when a call failed, that is, when there was an n-th one."""
    payload = os.urandom(100 + turn % 3 * 20000)
    asked, number = drain(s, b)
    fired = block.arm("control", kind, n)
    deliver(a, b.pid, turn, payload)
    until_more(b, number, b.seen)
    got, b.seen = catch_up(b, b.seen)
    ask_way(a, b.pid)
    block.disarm()
    settle(a, b)
    asked.join()
    assert asked.status in (500, 503), asked.status  # or there was no memory for the answer
    assert [m[3:] for m in got] == [(turn, b"key", payload, "cd" * 32)], got
    assert s.state("a", b.name) == "ACTIVE"
    return block.fired() != fired


def tidy(s, b):
    """What was read may go."""
    asked = Asked(s, P + "/" + b.name + "/checkpoint")
    request, _ = b.hear()
    assert request["t"] == "checkpoint", request
    b.say({"t": "done", "id": request["id"], "ok": True, "slot": 1, "cut": b.seen})
    asked.done()


def main():
    s = Service(sys.argv[1], sys.argv[2])
    block = Block(os.path.join(s.dir, "faults"), {"control": s.program})
    os.environ["PRAAS_FAULT_BLOCK"] = block.path
    logs = os.path.join(tempfile.mkdtemp(dir=s.dir), "san")
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "detect_leaks=1") + f":log_path={logs}:allocator_may_return_null=1"
    turn = 0
    try:
        s.start()
        app(s)
        a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
        b.seen = 0
        for kind in KINDS:
            n, failed = 1, 0
            while True:
                turn += 1
                if not one(s, block, a, b, turn, kind, n):
                    break
                n, failed = n + 1, failed + 1
                if turn % 16 == 0:
                    tidy(s, b)
            print(f"{kind}: {failed} calls failed", flush=True)
            assert failed > 0, kind
        assert s.ask("GET", "/healthz", token="")[0] == 200
        for _, _, pid in s.starts():
            if alive(pid):
                os.kill(pid, 9)
        assert s.stop() == 0
        reports = [open(os.path.join(os.path.dirname(logs), f)).read() for f in os.listdir(os.path.dirname(logs))]
        assert not reports, "\n".join(reports)
    except BaseException:
        print(f"turn {turn}: the last call that failed: {block.where('control')}", flush=True)
        raise
    finally:
        s.cleanup()


main()
