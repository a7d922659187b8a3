# SPDX-License-Identifier: Apache-2.0
"""A control service under test: started, asked, stopped; nothing of it is left."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import guard  # noqa: E402

guard.ensure()  # whatever becomes of the test, nothing that it starts outlives it


class Service:
    def __init__(self, program, controller, *options, store=None):
        self.program, self.controller, self.options = program, controller, options
        self.dir = tempfile.mkdtemp(prefix="praas-ctl-")
        self.data = os.path.join(self.dir, "d")
        self.code = os.path.join(self.dir, "code")
        os.mkdir(self.code)
        with open(os.path.join(self.code, "praas.json"), "w") as f:
            json.dump({"functions": {"echo": {"library": "libecho.so", "symbol": "echo"}}}, f)
        with open(os.path.join(self.code, "libecho.so"), "w"):
            pass
        self.process = None
        self.tls = None  # an ssl context, for https
        self.patience = 60  # seconds for an answer

    def start(self, **env):
        """env: added to the service's environment."""
        self.process = subprocess.Popen(
            [self.program, "--data", self.data, "--controller", self.controller, *self.options],
            stdout=subprocess.PIPE, env={**os.environ, **env})
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process.stdout.close()
            self.process = None
            raise RuntimeError(f"the service did not start: exit code {code}")
        self.url = json.loads(line)["url"]
        self.host = self.url.split("//")[1]
        with open(os.path.join(self.data, "admin.token")) as f:
            self.token = f.read().strip()
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process = None
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def connect(self):
        if self.url.startswith("https:"):
            return http.client.HTTPSConnection(self.host, timeout=self.patience, context=self.tls)
        return http.client.HTTPConnection(self.host, timeout=self.patience)

    def ask(self, method, path, body=None, headers=None, token=None, connection=None):
        """(status, headers, raw body)"""
        c = connection or self.connect()
        h = {"Authorization": "Bearer " + (self.token if token is None else token)}
        h.update(headers or {})
        if token == "":
            del h["Authorization"]
        c.request(method, path, body=body, headers=h)
        r = c.getresponse()
        # A stream of events ends when its reader goes: its head alone is the answer here.
        data = b"" if r.headers.get_content_type() == "text/event-stream" else r.read()
        if connection is None:
            c.close()
        return r.status, r.headers, data

    def json(self, method, path, body=None, expect=None, **kw):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        status, _, data = self.ask(method, path, body, **kw)
        value = json.loads(data) if data else None
        if expect is not None and status != expect:
            raise AssertionError(f"{method} {path}: {status} {value}, expected {expect}")
        return value

    def refused(self, method, path, body, status, code, **kw):
        """The request fails with that status and code, in the form that all errors have."""
        got, headers, data = self.ask(method, path, body, **kw)
        error = json.loads(data)["error"]
        assert set(error) == {"code", "message", "hint"}, error
        assert (got, error["code"]) == (status, code), (method, path, got, error)
        return error

    def starts(self, name=None):
        """(process, epoch, os pid) of every controller that was started."""
        path = os.path.join(self.code, "starts")
        if not os.path.exists(path):
            return []
        with open(path) as f:
            rows = [line.split() for line in f]
        return [(a, int(b), int(c)) for a, b, c in rows if name in (None, a)]

    def state(self, app, pid):
        return self.json("GET", f"/v1/apps/{app}/processes/{pid}", expect=200)["state"]

    def await_state(self, app, pid, wanted, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.state(app, pid)
            if got == wanted:
                return
            time.sleep(0.01)
        raise AssertionError(f"{pid} is {got}, not {wanted}")

    def cleanup(self):
        if self.process:
            self.kill()
        left = [pid for _, _, pid in self.starts() if alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
        return left


def write_library(path, text=b""):
    """A library of this machine that can be told apart by what follows it."""
    with open("/proc/self/maps") as f:
        libc = next(line.split()[-1] for line in f if "/libc.so" in line or "/libc-" in line)
    shutil.copy(libc, path)
    with open(path, "ab") as f:
        f.write(text)


def alive(pid):
    """Also while its last threads end: they hold its descriptors and locks, though it is a zombie already."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):  # the second: gone between open and read
        return False


def await_gone(os_pid):
    """A swap-out is answered when it is committed; the controller ends right after."""
    end = time.monotonic() + 5
    while alive(os_pid):
        assert time.monotonic() < end, os_pid
        time.sleep(0.005)


def run(tests, *options, ends=True, starts=True):
    """Each test gets a service of its own, which runs unless the tests start it themselves; a failure shows its log. Ends
    the program, or says how many failed."""
    failed = 0
    for test in tests:
        service = Service(sys.argv[1], sys.argv[2], *options)
        began = time.monotonic()
        try:
            if starts:
                service.start()
            test(service)
            if service.process:
                code = service.stop()
                assert code == 0, f"exit code {code}"
            left = service.cleanup()
            assert not left, f"controllers left: {left}"
            print(f"ok {test.__name__} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next test runs anyway
            failed += 1
            print(f"FAILED {test.__name__}: {type(e).__name__}: {e}", flush=True)
            service.cleanup()
    if ends:
        sys.exit(1 if failed else 0)
    return failed
