# SPDX-License-Identifier: Apache-2.0
"""Several control services of a test with one data folder and one Redis, and a load on them: what replicas.py stands on."""
import ctypes
import glob
import http.client
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time

from redis_server import Redis
from service import Service, alive

EXAMPLES = os.path.abspath(sys.argv[3])
APP = "/v1/apps/a"
P = APP + "/processes"
LEASE_S = 3
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

lib = ctypes.CDLL(sys.argv[5])
lib.praas_error.restype = ctypes.c_char_p


class Call(ctypes.Structure):  # struct praas_call
    _fields_ = [("function", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("data", ctypes.c_void_p),
                ("bytes", ctypes.c_size_t), ("key", ctypes.c_char_p), ("timeout_ns", ctypes.c_uint64),
                ("id", ctypes.c_uint64), ("trace", ctypes.c_void_p), ("timing", ctypes.c_void_p)]


class Result(ctypes.Structure):  # struct praas_result, with room
    _fields_ = [("call", ctypes.c_uint64), ("status", ctypes.c_int), ("rest", ctypes.c_uint64 * 16)]


class Replica(Service):
    """One of several: those of a group have everything in common but their address and what they say."""

    def __init__(self, group, name):
        self.program, self.controller = sys.argv[1], sys.argv[2]
        self.dir, self.data, self.code = group.dir, group.data, group.dir
        self.options = ("--replica", "--lease-seconds", str(LEASE_S), "--records", group.redis.url,
                        "--log-file", os.path.join(group.dir, name + ".log"), *group.options)
        self.process, self.tls, self.patience = None, group.tls, 60
        self.name = name

    def says(self):
        with open(os.path.join(self.dir, self.name + ".log")) as f:
            return f.read()

    def role(self):
        return self.json("GET", "/healthz", expect=200)["role"]

    def stand_still(self):
        """All of its threads, before this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def ends(self, seconds=30):
        code = self.process.wait(timeout=seconds)
        self.process.stdout.close()
        self.process = None
        return code


class Group:
    def __init__(self, count=3, options=(), tls=None):
        self.options, self.tls = options, tls
        self.redis = Redis(sys.argv[4]).start()
        self.dir = tempfile.mkdtemp(prefix="praas-rep-")
        self.data = os.path.join(self.dir, "d")
        self.all = [Replica(self, f"r{i}") for i in range(count)]
        for r in self.all:
            r.start()

    def living(self):
        return [r for r in self.all if r.process and r.process.poll() is None]

    def active(self, seconds=20):
        """The one that is active; waits until there is one that answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for r in self.living():
                if is_active(r):
                    return r
            time.sleep(0.02)
        raise AssertionError("no service is active")

    def standbys(self):
        active = self.active()
        return [r for r in self.living() if r is not active and not stopped(r)]

    def ask(self, method, path, body=None, key=None, on=None):
        """As a client behind a load balancer: any service, and again, with the same key, until there is an answer that is
        one. (status, body, tries)"""
        headers = {"Idempotency-Key": key} if key else {}
        end, tries = time.monotonic() + 60, 0
        while time.monotonic() < end:
            living = self.living()
            r = on or living[(tries + hash(key)) % len(living)]
            tries += 1
            try:
                if not stopped(r):
                    r.patience = 5
                    status, _, data = r.ask(method, path, body, headers)
                    if status not in (409, 500, 502, 503, 504):
                        return status, data, tries
                    # An error of ours, whole; the first that was asked may be at it yet.
                    if json.loads(data)["error"]["code"] != "in_progress" and status == 409:
                        return status, data, tries
            except (OSError, http.client.HTTPException):
                pass  # killed, or stopped, while it answered
            time.sleep(0.02)
        raise AssertionError(f"{method} {path}: no answer")

    def make(self, *pids, isolation="inline"):
        status, data, _ = self.ask("POST", "/v1/apps", json.dumps({
            "name": "a", "code": os.path.join(EXAMPLES, "counter"), "isolation": isolation}), "app")
        assert status == 201, data
        for pid in pids:
            status, data, _ = self.ask("POST", P, json.dumps({"pid": pid}), "make" + pid)
            assert status == 201, data

    def cleanup(self):
        for r in self.all:
            if r.process:
                r.kill()
        for pid in controllers(self):
            os.kill(pid, signal.SIGKILL)
        self.redis.cleanup()
        shutil.rmtree(self.dir, ignore_errors=True)


def is_active(r):
    try:
        return not stopped(r) and r.role() == "active" and r.ask("GET", "/readyz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False  # it just ended


def stopped(r):
    with open(f"/proc/{r.process.pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


def controllers(group):
    """OS processes of controllers with this data folder: the file that they log to is in it."""
    found = []
    for fds in glob.glob("/proc/[0-9]*/fd/2"):
        try:
            pid = int(fds.split("/")[2])
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                ours = b"praas-controller" in f.read()
            if ours and os.readlink(fds).startswith(group.data + "/") and alive(pid):
                found.append(pid)
        except OSError:
            pass
    return found


class Load:
    """Until it is ended: calls over the data plane on connections that were there before, and requests over REST that
    change something, each with a key of its own, by as many threads as there are processes."""

    def __init__(self, group, pids, rest=True):
        self.group, self.over, self.failures = group, threading.Event(), []
        self.calls, self.longest, self.added, self.retried, self.unknown = 0, 0.0, 0, 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.guarded, args=(self.call, pid)) for pid in pids]
        if rest:
            self.threads += [threading.Thread(target=self.guarded, args=(self.change, pid)) for pid in pids]
        for t in self.threads:
            t.start()

    def guarded(self, work, pid):
        try:
            work(pid)
        except Exception as e:  # told at the end, by the thread of the test
            self.failures.append(f"{work.__name__} {pid}: {type(e).__name__}: {e}")

    def call(self, pid):
        status, data, _ = self.group.ask("POST", f"{P}/{pid}/tickets")
        assert status == 200, data
        connection, function = ctypes.c_void_p(), ctypes.c_uint32()
        assert lib.praas_connect_ticket(data, None, ctypes.byref(connection)) == 0, lib.praas_error()
        assert lib.praas_function_lookup(connection, b"get", ctypes.byref(function)) == 0
        call = Call(function=function.value, key=b"n")
        while not self.over.is_set():
            result, began = Result(), time.monotonic()
            rc = lib.praas_call(connection, ctypes.byref(call), ctypes.byref(result))
            assert rc == 0 and result.status == 0, (rc, result.status, lib.praas_error())
            lib.praas_result_release(connection, ctypes.byref(result))
            with self.lock:
                self.calls += 1
                self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.002)
        lib.praas_close(connection)

    def change(self, pid):
        """State that is put, and processes that are made: what was answered is there at the end."""
        n = 0
        while not self.over.is_set():
            n += 1
            status, data, tries = self.group.ask("PUT", f"{P}/{pid}/state/k{n}", b"v%d" % n, f"{pid}-put-{n}")
            assert status == 204, (status, data)
            if n % 8 == 0:
                tries = max(tries, self.make(f"{pid}-{n}"))
            with self.lock:
                self.added += 1
                self.retried += tries > 1
        for k in range(1, n + 1):
            status, data, _ = self.group.ask("GET", f"{P}/{pid}/state/k{k}")
            assert (status, data) == (200, b"v%d" % k), (k, status, data)
        for k in range(8, n + 1, 8):
            assert self.group.ask("GET", f"{P}/{pid}-{k}")[0] == 200

    def make(self, name):
        """Killed in the midst of something that twice is not as once: it is said that nobody knows, and who asks looks."""
        body = json.dumps({"pid": name})
        status, data, tries = self.group.ask("POST", P, body, "make-" + name)
        if status == 409 and json.loads(data)["error"]["code"] == "outcome_unknown":
            with self.lock:
                self.unknown += 1
            if self.group.ask("GET", f"{P}/{name}")[0] == 200:
                return tries
            status, data, tries = self.group.ask("POST", P, body, "again-" + name)
        # 200: it is there, made by one that was told to end before it could say so.
        assert status in (200, 201), (name, status, data)
        return tries

    def run(self, seconds):
        """For a while, in which something was answered, of either kind."""
        calls, added, end = self.calls, self.added, time.monotonic() + seconds
        while time.monotonic() < end or self.calls == calls or self.added == added:
            assert not self.failures and time.monotonic() < end + 60, self.failures
            time.sleep(0.01)

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()
        assert not self.failures, self.failures
        return self
