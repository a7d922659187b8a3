# SPDX-License-Identifier: Apache-2.0
"""Invocations through REST whose connection to the process breaks while it is idle, or while the call is under way; the
process lives on. usage: broken.py CONTROL CONTROLLER FUNCTIONS"""
import ctypes
import json
import os
import shutil
import socket
import struct
import sys
import threading
import time

from service import run

APP = "/v1/apps/a"
P = APP + "/processes"
PIDFD_OPEN, PIDFD_GETFD = 434, 438
LIBC = ctypes.CDLL(None, use_errno=True)


def make_app(s, isolation):
    folder = os.path.join(s.dir, "functions")
    os.mkdir(folder, 0o755)
    os.chmod(s.dir, 0o755)
    shutil.copy(sys.argv[3], os.path.join(folder, "f.so"))
    with open(os.path.join(folder, "praas.json"), "w") as f:
        json.dump({"functions": {"count": {"library": "f.so"},
                                 "act": {"library": "f.so", "concurrency": "serial"}}}, f)
    s.json("POST", "/v1/apps", {"name": "a", "code": folder, "isolation": isolation, "allow_weak_sandbox": True,
                                "resources": {"concurrency": 2}}, 201)
    return s.json("POST", P, {"pid": "x"}, 201)


def call(s, fn, data=b"", connection=None):
    status, headers, answer = s.ask("POST", f"{APP}/invoke/{fn}", data, {"Praas-Pid": "x"}, connection=connection)
    assert status == 200, (fn, status, headers["Praas-Status"], answer)
    return struct.unpack("=Q", answer)[0]


def borrow(pid, fd):
    """The same socket as another process has."""
    pidfd = LIBC.syscall(PIDFD_OPEN, pid, 0)
    got = LIBC.syscall(PIDFD_GETFD, pidfd, fd, 0)
    error = ctypes.get_errno()
    if pidfd >= 0:
        os.close(pidfd)
    if got < 0:
        raise OSError(error, os.strerror(error))
    return socket.socket(fileno=got)


def connections(process):
    """What the controller has accepted on its local socket: (fd, inode) of each."""
    path = next(e for e in process["endpoints"] if e.startswith("shm://")).removeprefix("shm://")
    with open("/proc/net/unix", encoding="utf-8") as table:
        rows = [line.split() for line in table]
    inodes = {row[6] for row in rows if row[-1] == path and row[5] == "03"}
    folder = f"/proc/{process['os_pid']}/fd"
    for fd in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{fd}")
        except FileNotFoundError:  # it was closed meanwhile
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            yield int(fd)


def cut(process):
    """Breaks them all. Returns how many there were. The table of sockets is not read in one moment: again, if it
    shows none. (The rings outlive the socket for some calls: then there is none.)"""
    count = 0
    for fd in next(filter(None, (list(connections(process)) for _ in range(20))), []):
        with borrow(process["os_pid"], fd) as end:
            end.shutdown(socket.SHUT_RDWR)
        count += 1
    return count


def await_running(s):
    """The process has said that a function of it runs."""
    end = time.monotonic() + 20
    while s.json("GET", P + "/x", expect=200).get("metrics", {}).get("running") != 1:
        assert time.monotonic() < end
        time.sleep(0.01)


def idle(s, isolation, fn):
    process = {**make_app(s, isolation), **s.json("GET", P + "/x", expect=200)}
    kept, cuts = s.connect(), 0
    for n in range(1, 41):  # from the second on it is quick
        assert call(s, fn, connection=kept) == n
        if n % 4 == 0:
            cuts += cut(process)
            assert cuts >= 1
    assert s.json("GET", P + "/x", expect=200)["epoch"] == 1
    kept.close()


def under_way(s, isolation):
    process = {**make_app(s, isolation), **s.json("GET", P + "/x", expect=200)}
    assert call(s, "count") == 1
    cuts = 0
    for n in range(2, 20, 2):
        got = []
        caller = threading.Thread(target=lambda: got.append(call(s, "act", b"w")))
        caller.start()
        await_running(s)
        cuts += cut(process)
        assert cuts >= 1
        assert s.ask("POST", P + "/x/messages/go", b"")[0] == 204
        caller.join()
        assert got == [n], (got, n)
        assert call(s, "count") == n + 1  # it ran once
    assert s.json("GET", P + "/x", expect=200)["epoch"] == 1


def test_idle_inline(s):
    idle(s, "inline", "count")


def test_idle_worker(s):
    idle(s, "worker", "act")


def test_idle_direct(s):
    """Past the controller to a worker: one that a worker took is known to nobody. None runs twice."""
    process = {**make_app(s, "worker"), **s.json("GET", P + "/x", expect=200)}
    n = 0
    for round in range(40):
        status, headers, answer = s.ask("POST", f"{APP}/invoke/count", b"", {"Praas-Pid": "x"})
        if status == 200:
            value = struct.unpack("=Q", answer)[0]
            assert value == n + 1, (value, n)
        else:
            assert (status, json.loads(answer)["error"]["code"]) == (502, "unknown"), answer
            value = struct.unpack("=Q", s.ask("GET", P + "/x/state/n")[2])[0]
            assert value in (n, n + 1), (value, n)
        n = value
        if round % 4 == 3:
            cut(process)


def test_under_way_worker(s):
    under_way(s, "worker")


def test_killed_process(s):
    """Nobody knows whether it ran: that is said, and no other epoch runs it."""
    process = {**make_app(s, "worker"), **s.json("GET", P + "/x", expect=200)}
    assert call(s, "count") == 1
    s.json("POST", P + "/x/checkpoint", expect=200)
    got = []
    caller = threading.Thread(target=lambda: got.append(s.ask("POST", f"{APP}/invoke/act", b"w", {"Praas-Pid": "x"})))
    caller.start()
    await_running(s)
    os.kill(process["os_pid"], 9)
    caller.join()
    status, _, data = got[0]
    assert (status, json.loads(data)["error"]["code"]) == (502, "unknown"), got
    assert call(s, "count") == 2


if __name__ == "__main__":
    try:
        with socket.socketpair()[0] as one, borrow(os.getpid(), one.fileno()):
            pass
    except OSError as e:
        print(f"SKIPPED: a socket of another process cannot be had: {e}")
        sys.exit(77)
    run([test_idle_inline, test_idle_worker, test_idle_direct, test_under_way_worker, test_killed_process])
