# SPDX-License-Identifier: Apache-2.0
"""Messages through REST whose answer does not reach who asked: the client cuts the connection, or the service is
killed. They are in the mailbox again, in their places. usage: receive.py CONTROL CONTROLLER EXAMPLES"""
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time

from service import run

P = "/v1/apps/a/processes"
BOX = P + "/x/messages/box"
EXAMPLES = os.path.abspath(sys.argv[3])
LARGE = 16 << 20  # more than the sockets of both sides take


def make(s, isolation="inline"):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(EXAMPLES, "counter"), "isolation": isolation,
                                "allow_weak_sandbox": True}, 201)
    s.json("POST", P, {"pid": "x"}, 201)


def post(s, data):
    assert s.ask("POST", BOX, data)[0] == 204


def get(s, wait_ms=10000, **kw):
    status, _, data = s.ask("GET", f"{BOX}?wait_ms={wait_ms}", **kw)
    assert status == 200, (status, data)
    return data


def empty(s):
    s.refused("GET", BOX, None, 404, "no_message")


def begin(s, query="", headers="", room=None):
    """A client that has asked, and reads nothing."""
    host, port = s.host.split(":")
    c = socket.socket()
    if room:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    c.settimeout(60)
    c.connect((host, int(port)))
    c.sendall(f"GET {BOX}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n{headers}\r\n".encode())
    return c


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def stuck(s):
    """An answer that is under way: its head is there, the rest does not fit into the sockets."""
    c = begin(s, room=4096)
    assert c.recv(12) == b"HTTP/1.1 200"
    return c


def test_cut_while_it_waits(s):
    """He asks, goes, and then there is a message."""
    make(s)
    for cut in (lambda c: c.close(), reset):
        for n in range(5):
            cut(begin(s, "?wait_ms=20000"))
            time.sleep(0.02 * n)  # before it is looked for, or after
            post(s, b"%d" % n)
            assert get(s) == b"%d" % n
    empty(s)


def test_half_closed(s):
    """Who says that he sends no more, and reads, has what he reads."""
    make(s)
    for _ in range(5):
        c = begin(s, "?wait_ms=20000")
        c.shutdown(socket.SHUT_WR)
        post(s, b"m")
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while part := c.recv(4096):
                got += part
        c.close()
        if got:  # libmicrohttpd may have ended the connection without an answer
            assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"m"), got
            empty(s)
        else:
            assert get(s) == b"m"


def test_cut_in_the_answer(s):
    make(s, "worker")
    for cut in (lambda c: c.close(), reset):
        post(s, bytes(LARGE))
        post(s, b"behind")
        c = stuck(s)
        assert get(s) == b"behind"  # others have what is behind it meanwhile
        empty(s)
        cut(c)
        assert get(s) == bytes(LARGE)
        empty(s)


def test_service_killed_in_the_answer(s):
    make(s)
    post(s, bytes(LARGE))
    post(s, b"behind")
    c = stuck(s)
    s.kill()
    c.close()
    s.start()
    assert get(s) == bytes(LARGE) and get(s) == b"behind"
    empty(s)


def test_service_killed_while_it_waits(s):
    make(s)
    c = begin(s, "?wait_ms=20000")
    time.sleep(0.2)
    s.kill()
    c.close()
    s.start()
    post(s, b"m")
    assert get(s) == b"m"
    empty(s)


def test_not_met_again(s):
    """Who has it does not find it in the snapshot that he asks for next, by the same connection or another."""
    make(s)
    for kept in (None, s.connect()):
        for save in ("swap-out", "checkpoint"):
            for n in range(10):
                post(s, b"%d" % n)
                assert get(s, connection=kept) == b"%d" % n
                s.json("POST", f"{P}/x/{save}", b"", 200)
            if save == "checkpoint":
                os.kill(s.json("GET", P + "/x")["os_pid"], signal.SIGKILL)
                s.await_state("a", "x", "LOST")
            empty(s)  # woken with the snapshot


def test_key(s):
    """With an Idempotency-Key the answer is kept before the message is taken: it is received once, whatever is cut."""
    make(s)
    for n in range(5):
        c = begin(s, "?wait_ms=20000", f"Idempotency-Key: k{n}\r\n")
        post(s, b"%d" % n)
        reset(c)
        end = time.monotonic() + 20
        while True:
            status, headers, data = s.ask("GET", f"{BOX}?wait_ms=20000", headers={"Idempotency-Key": f"k{n}"})
            if status != 409:
                break
            assert json.loads(data)["error"]["code"] == "in_progress" and time.monotonic() < end, data
            time.sleep(0.01)
        assert (status, data) == (200, b"%d" % n), (status, data)
        empty(s)
    # One that is too large to be kept is taken when it is sent: cut, it is there again.
    post(s, bytes(LARGE))
    c = begin(s, headers="Idempotency-Key: large\r\n", room=4096)
    assert c.recv(12) == b"HTTP/1.1 200"
    reset(c)
    s.refused("GET", BOX, None, 409, "outcome_not_kept", headers={"Idempotency-Key": "large"})
    assert get(s) == bytes(LARGE)
    empty(s)


def test_many(s):
    """Clients that take, and clients that cut, at the same time: each message is had by one of those who read it."""
    make(s, "worker")
    sent, got = 100, []
    for n in range(sent):
        post(s, b"%d" % n)
    while True:
        c = begin(s)
        (reset if len(got) % 2 else lambda x: x.close())(c)
        status, _, data = s.ask("GET", f"{BOX}?wait_ms=200")
        if status == 404:
            break
        got.append(int(data))
    # Those that were handed over before the cut are with who cut; none is had twice.
    assert len(set(got)) == len(got) and len(got) >= sent * 3 // 4, got


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
