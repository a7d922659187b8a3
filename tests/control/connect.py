# SPDX-License-Identifier: Apache-2.0
"""The client library after a creation: the ticket that came with it serves one connection, and when it does
not any more, another is asked for."""
import ctypes
import glob
import os
import sys

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


run([created], "--worker", os.path.join(os.path.dirname(sys.argv[2]), "praas-worker"))
