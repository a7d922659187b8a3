# SPDX-License-Identifier: Apache-2.0
"""The client library beside the control service: the ticket that came with a creation serves one connection, and when it
does not any more, another is asked for; a ticket comes with an invocation; who is busy over the data plane alone."""
import ctypes
import glob
import json
import os
import sys
import time

from service import Service, await_gone, run

ENOENT = 2
lib = ctypes.CDLL(sys.argv[4])
lib.praas_error.restype = ctypes.c_char_p


def tickets(s):
    """Requests for tickets so far, by the audit log."""
    n = 0
    for path in glob.glob(os.path.join(s.data, "log", "audit.jsonl*")):
        with open(path) as f:
            n += sum("/tickets" in line for line in f)
    return n


class Control:
    def __init__(self, s):
        self.handle = ctypes.c_void_p()
        assert lib.praas_control_open(s.url.encode(), s.token.encode(), ctypes.byref(self.handle)) == 0

    def create(self, name):
        rc = lib.praas_process_create(self.handle, b"a", name, None)
        assert rc == 0, (rc, lib.praas_error())

    def connect(self, name):
        connection = ctypes.c_void_p()
        rc = lib.praas_connect(self.handle, b"a", name, None, ctypes.byref(connection))
        if rc == 0:
            assert lib.praas_transport(connection)
            lib.praas_close(connection)
        return rc


def created(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(sys.argv[3]), "counter"),
                                "isolation": "inline"}, 201)
    c = Control(s)
    c.create(b"x")
    assert c.connect(b"x") == 0
    assert tickets(s) == 0
    assert c.connect(b"x") == 0  # it was for one connection
    assert tickets(s) == 1
    c.create(b"y")
    assert c.connect(b"x") == 0  # it was for y
    assert tickets(s) == 2
    assert c.connect(b"y") == 0
    assert tickets(s) == 2
    # Its process has rested since: another ticket wakes it.
    c.create(b"z")
    os_pid = s.json("GET", "/v1/apps/a/processes/z", expect=200)["os_pid"]
    s.json("POST", "/v1/apps/a/processes/z/swap-out", expect=200)
    await_gone(os_pid)
    assert c.connect(b"z") == 0
    assert tickets(s) == 3
    c.create(b"w")
    s.json("DELETE", "/v1/apps/a/processes/w", expect=204)
    assert c.connect(b"w") == -ENOENT
    c.create(b"v")
    lib.praas_control_close(c.handle)  # with a ticket that nobody used


def invoked(s):
    """A function is invoked without naming a process, and the ticket that came with the answer leads to it."""
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(sys.argv[3]), "counter"),
                                "isolation": "inline"}, 201)
    status, headers, data = s.ask("POST", "/v1/apps/a/invoke/add", b"4", {"Praas-Ticket": "1", "Praas-Key": "n"})
    assert (status, data) == (200, b"4"), (status, data)
    for transport in (b"shm", b"tcp"):
        connection = ctypes.c_void_p()
        rc = lib.praas_connect_ticket(headers["Praas-Ticket"].encode(), None, ctypes.byref(connection))
        assert rc == 0, (rc, lib.praas_error())
        lib.praas_close(connection)
    assert tickets(s) == 0


class Call(ctypes.Structure):  # struct praas_call
    _fields_ = [("function", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("data", ctypes.c_void_p),
                ("bytes", ctypes.c_size_t), ("key", ctypes.c_char_p), ("timeout_ns", ctypes.c_uint64),
                ("id", ctypes.c_uint64), ("trace", ctypes.c_void_p), ("timing", ctypes.c_void_p)]


class Result(ctypes.Structure):  # struct praas_result, with room
    _fields_ = [("call", ctypes.c_uint64), ("status", ctypes.c_int), ("rest", ctypes.c_uint64 * 16)]


def busy_where_nobody_sees(s):
    """A process that works for a client over its data plane, now and then, is not swapped out for want of work, though
    the service sees nothing of it; when the client has done, it is."""
    s.stop()
    s.options += ("--idle-seconds", "1", "--idle-swap-seconds", "1")
    s.start()
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(sys.argv[3]), "counter"),
                                "isolation": "inline"}, 201)
    ticket = s.json("POST", "/v1/apps/a/processes", {"pid": "x"}, 201)["ticket"]
    s.json("POST", "/v1/apps/a/processes", {"pid": "lazy"}, 201)
    for transport in (b"shm", b"tcp"):
        connection, function = ctypes.c_void_p(), ctypes.c_uint32()
        config = (ctypes.c_char_p * 64)(transport)  # struct praas_connect_config, the rest zeros
        assert lib.praas_connect_ticket(json.dumps(ticket).encode(), ctypes.byref(config), ctypes.byref(connection)) == 0
        assert lib.praas_function_lookup(connection, b"get", ctypes.byref(function)) == 0
        call, end = Call(function=function.value, key=b"n"), time.monotonic() + 4
        while time.monotonic() < end:
            result = Result()
            assert lib.praas_call(connection, ctypes.byref(call), ctypes.byref(result)) == 0, lib.praas_error()
            assert result.status == 0, result.status
            lib.praas_result_release(connection, ctypes.byref(result))
            time.sleep(0.4)
        lib.praas_close(connection)
    p = s.json("GET", "/v1/apps/a/processes/x", expect=200)
    assert p["epoch"] == 1 and p["state"] in ("ACTIVE", "IDLE"), p
    assert s.state("a", "lazy") == "SWAPPED"
    s.await_state("a", "x", "SWAPPED")


class Config(ctypes.Structure):  # struct praas_connect_config
    _fields_ = [("transport", ctypes.c_char_p), ("timeout_ns", ctypes.c_uint64), ("inflight_max", ctypes.c_uint32),
                ("wait", ctypes.c_int), ("no_direct", ctypes.c_bool), ("no_follow", ctypes.c_bool),
                ("members", ctypes.c_bool)]


class Event(ctypes.Structure):  # struct praas_event
    _fields_ = [("kind", ctypes.c_int), ("status", ctypes.c_int), ("epoch", ctypes.c_uint32)]


MOVED, MEMBERS = 1, 6


def events(connection, seconds, until=None):
    """Kinds, in order, until one is there, or the time is over."""
    kinds, event, end = [], Event(), time.monotonic() + seconds
    while time.monotonic() < end and (until is None or until not in kinds):
        if lib.praas_event_poll(connection, ctypes.byref(event)) == 0:
            kinds.append(event.kind)
        else:
            time.sleep(0.01)
    return kinds


def quiet(connections):
    for c in connections:
        while events(c, 0.3):
            pass


def told(connection):
    got = events(connection, 20, MEMBERS)
    assert got == [MEMBERS], got


def none(connection):
    got = events(connection, 0.2)
    assert got == [], got


def members_told(s):
    """Who asks is told once, and whenever the members change, over each transport, also after a move; who does not ask
    is not."""
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(sys.argv[3]), "counter"),
                                "isolation": "inline"}, 201)
    ticket = json.dumps(s.json("POST", "/v1/apps/a/processes", {"pid": "x"}, 201)["ticket"]).encode()
    connections = []
    for transport, members in ((b"shm", True), (b"tcp", True), (b"tcp", False)):
        c, config = ctypes.c_void_p(), Config(transport=transport, members=members)
        assert lib.praas_connect_ticket(ticket, ctypes.byref(config), ctypes.byref(c)) == 0, lib.praas_error()
        connections.append(c)
    asking, other = connections[:2], connections[2]
    for c in asking:
        told(c)
    for change in (lambda: s.json("POST", "/v1/apps/a/processes", {"pid": "y"}, 201),
                   lambda: s.json("POST", "/v1/apps/a/processes/y/swap-out", expect=200),
                   lambda: s.json("DELETE", "/v1/apps/a/processes/y", expect=204)):
        quiet(asking)
        change()
        for c in asking:
            told(c)
    quiet(asking)
    none(other)
    s.json("POST", "/v1/apps/a/processes/x/migrate", expect=200)
    for c in asking:
        got = events(c, 20, MOVED)  # where it goes on may have told it of members by then
        assert MOVED in got, got
    got = events(other, 20, MOVED)
    assert got == [MOVED], got
    quiet(asking)
    s.json("POST", "/v1/apps/a/processes", {"pid": "after"}, 201)
    for c in asking:
        told(c)
    none(other)
    for c in connections:
        lib.praas_close(c)


run([created, invoked, busy_where_nobody_sees, members_told], "--worker", os.path.join(os.path.dirname(sys.argv[2]), "praas-worker"))
