# SPDX-License-Identifier: Apache-2.0
"""What is done while a call fails. Each scenario: `before` makes the state that it begins from, `act` does it
(True: it succeeded; False: refused with an error that says why; anything else raises), `after` looks at what
is there and repeats it. Nothing fails in before and after."""
import json
import os
import subprocess
import time

A = "/v1/apps/inline"
W = "/v1/apps/worker"


class Wrong(Exception):
    """The programs did what they must not."""


def expect(true, *words):
    if not true:
        raise Wrong(" ".join(str(w) for w in words))


class Scenario:
    slow = False  # each run takes tens of milliseconds

    def __init__(self, s):
        self.s = s

    def before(self):
        pass

    def after(self, done):
        self.before()
        expect(self.act(), "does not work afterwards")

    def ask(self, method, path, body=None, headers=None, good=(200, 201, 204)):
        """The body of a good answer; None for an error of the form that all errors have."""
        status, got, data = self.s.ask(method, path, body, headers)
        if status in good:
            return data if data else b""
        expect(status >= 400, method, path, status, data)
        try:
            error = json.loads(data)["error"]
        except (ValueError, KeyError) as e:
            raise Wrong(f"{method} {path}: {status} without words: {data!r}") from e
        expect(error["code"] and error["message"], error)
        expect(status not in (400, 401, 403, 404, 405, 422), "blames the client", method, path, status, error)
        self.error = (status, error["code"], error["message"])
        return None

    def must(self, *a, **kw):
        data = self.ask(*a, **kw)
        expect(data is not None, a, getattr(self, "error", ""))
        return data

    def state(self, path):
        return json.loads(self.must("GET", path))["state"]

    def wake(self, path):
        if self.state(path) != "ACTIVE":
            self.must("POST", path + "/swap-in")

    def count(self, app, pid, key="n"):
        return int(self.must("POST", app + "/invoke/get", b"", {"Praas-Pid": pid, "Praas-Key": key}))

    def epoch(self, path):
        return json.loads(self.must("GET", path))["epoch"]


class App(Scenario):
    """An application is made."""

    def before(self):
        if self.s.ask("GET", "/v1/apps/t")[0] == 200:
            self.must("DELETE", "/v1/apps/t")

    def act(self):
        return self.ask("POST", "/v1/apps", json.dumps({"name": "t", "code": self.s.code})) is not None

    def after(self, done):
        there = self.s.ask("GET", "/v1/apps/t")[0]
        expect(there == 200 if done else there in (200, 404), "app", done, there)
        if there == 404:
            expect(self.act(), "app again", self.error if hasattr(self, "error") else "")
        self.must("DELETE", "/v1/apps/t")


class AppDelete(Scenario):
    def before(self):
        if self.s.ask("GET", "/v1/apps/t")[0] == 404:
            self.must("POST", "/v1/apps", json.dumps({"name": "t", "code": self.s.code}))

    def act(self):
        return self.ask("DELETE", "/v1/apps/t") is not None

    def after(self, done):
        there = self.s.ask("GET", "/v1/apps/t")[0]
        expect(there == 404 if done else there in (200, 404), "app", done, there)
        if there == 200:
            expect(self.act(), "delete again", getattr(self, "error", ""))


class Create(Scenario):
    """A process with a worker is made and called."""
    slow = True
    app, pid = W, "new"

    def act(self):
        return self.ask("POST", self.app + "/processes", json.dumps({"pid": self.pid})) is not None

    def after(self, done):
        status = self.s.ask("GET", f"{self.app}/processes/{self.pid}")[0]
        expect(status == 200 if done else status in (200, 404), "process", done, status)
        expect(self.act(), "create again", getattr(self, "error", ""))
        expect(self.count(self.app, self.pid) == 0, "not clean")
        self.must("DELETE", f"{self.app}/processes/{self.pid}")


class CreateInline(Create):
    app = A


class Invoke(Scenario):
    """An invocation through REST."""
    app, pid = A, "x"

    def before(self):
        path = f"{self.app}/processes/{self.pid}"
        if self.s.ask("GET", path)[0] == 404:
            self.must("POST", self.app + "/processes", json.dumps({"pid": self.pid}))
        self.wake(path)
        self.n = self.count(self.app, self.pid)
        self.was = self.epoch(path)

    def act(self):
        data = self.ask("POST", self.app + "/invoke/add", b"1", {"Praas-Pid": self.pid, "Praas-Key": "n"})
        expect(data is None or int(data) == self.n + 1, "wrong result", data, self.n)
        return data is not None

    def after(self, done):
        path = f"{self.app}/processes/{self.pid}"
        expect(self.state(path) == "ACTIVE" and self.epoch(path) == self.was, "epoch lost", self.state(path))
        n = self.count(self.app, self.pid)
        expect(n == self.n + 1 if done else n in (self.n, self.n + 1), "count", done, self.n, n)
        self.n = n
        expect(self.act(), "invoke again", getattr(self, "error", ""))


class InvokeWorker(Invoke):
    app = W


class InvokeFirst(Invoke):
    """The first invocation after a wake: the service connects to the process."""
    slow = True

    def before(self):
        path = f"{self.app}/processes/{self.pid}"
        super().before()
        self.must("POST", path + "/swap-out")
        self.wake(path)
        self.was = self.epoch(path)


class InvokeFirstWorker(InvokeFirst):
    app = W


class Direct(Invoke):
    """Ticket, connection and invocation past the control service."""
    slow = True
    transport = "shm"
    app, pid = W, "x"

    def act(self):
        p = subprocess.run([self.s.cli, "invoke", "worker", "add", "-p", "x", "-k", "n", "-d", "1",
                            "--transport", self.transport], capture_output=True, text=True, timeout=60,
                           env={"PRAAS_URL": self.s.url, "PRAAS_TOKEN": self.s.token, "HOME": self.s.dir,
                                "PATH": os.environ["PATH"]})
        if p.returncode == 0:
            expect(int(p.stdout) == self.n + 1, "wrong result", p.stdout, self.n)
            return True
        expect(p.returncode > 0 and p.stderr.strip() and not p.stdout, "no clear error", p)
        self.error = p.stderr
        return False


class DirectTcp(Direct):
    transport = "tcp"


class State(Invoke):
    """State is written, read, listed, deleted."""
    turn = 0

    def act(self):
        path = A + "/processes/x/state"
        State.turn += 1
        value = b"%d" % self.turn * 200
        done = self.ask("PUT", path + "/key", value) is not None
        got = self.ask("GET", path + "/key") if done else None
        expect(got is None or got == value, "another value")
        keys = self.ask("GET", path)
        expect(keys is None or not done or "key" in [k["key"] for k in json.loads(keys)["state"]], keys)
        return done and got is not None and keys is not None and self.ask("DELETE", path + "/key") is not None

    def after(self, done):
        expect(self.epoch(A + "/processes/x") == self.was, "epoch lost")
        expect(self.act(), "state again", getattr(self, "error", ""))


class Message(Invoke):
    """A message is sent and taken."""

    def drain(self, wait_ms=0):
        """All that is there. One that was refused half-way is back when its connection is gone: that may take a
        moment."""
        taken = []
        while True:
            status, _, data = self.s.ask("GET", f"{A}/processes/x/messages/box?wait_ms={wait_ms}")
            if status == 404:
                return taken
            expect(status == 200, "message", status, data)
            taken.append(data)

    def act(self):
        path = A + "/processes/x/messages/box"
        self.sent = self.ask("POST", path, b"m" * 300) is not None
        self.taken = None
        if self.sent:
            self.taken = self.ask("GET", path)
            expect(self.taken in (None, b"m" * 300), "another message")
        return self.taken is not None

    def after(self, done):
        expect(self.epoch(A + "/processes/x") == self.was, "epoch lost")
        left = self.drain(0 if done else 300)
        expect(len(left) <= 1 and not (done and left), "messages", done, left)
        expect(left or done or not self.sent, "what was sent and not received is lost")
        expect(self.act(), "messages again", getattr(self, "error", ""))


class SwapOut(Invoke):
    slow = True

    def before(self):
        super().before()
        self.must("POST", self.app + "/invoke/add", b"1", {"Praas-Pid": self.pid, "Praas-Key": "n"})
        self.n += 1

    def act(self):
        return self.ask("POST", f"{self.app}/processes/{self.pid}/swap-out") is not None

    def after(self, done):
        path = f"{self.app}/processes/{self.pid}"
        end = time.monotonic() + 10
        while self.state(path) == "DRAINING" and time.monotonic() < end:
            time.sleep(0.01)
        state = self.state(path)
        expect(state == "SWAPPED" if done else state in ("SWAPPED", "ACTIVE"), "after swap-out", done, state)
        expect(self.act(), "swap-out again", getattr(self, "error", ""))
        self.wake(path)
        expect(self.count(self.app, self.pid) == self.n, "count", self.n)


class SwapOutWorker(SwapOut):
    app = W


class SwapIn(SwapOut):
    def before(self):
        super().before()
        self.must("POST", f"{self.app}/processes/{self.pid}/swap-out")

    def act(self):
        return self.ask("POST", f"{self.app}/processes/{self.pid}/swap-in") is not None

    def after(self, done):
        expect(self.act(), "swap-in again", getattr(self, "error", ""))
        expect(self.count(self.app, self.pid) == self.n, "count", self.n)


class Checkpoint(SwapOut):
    def act(self):
        return self.ask("POST", f"{self.app}/processes/{self.pid}/checkpoint") is not None

    def after(self, done):
        path = f"{self.app}/processes/{self.pid}"
        expect(self.epoch(path) == self.was, "epoch lost")
        if not done:
            expect(self.act(), "checkpoint again", getattr(self, "error", ""))
        self.must("POST", path + "/kill")
        self.wake(path)
        expect(self.count(self.app, self.pid) == self.n, "count", self.n)


class Kill(SwapOut):
    app = W

    def before(self):
        super().before()
        self.must("POST", f"{self.app}/processes/{self.pid}/checkpoint")

    def act(self):
        return self.ask("POST", f"{self.app}/processes/{self.pid}/kill") is not None

    def after(self, done):
        path = f"{self.app}/processes/{self.pid}"
        end = time.monotonic() + 10
        while self.state(path) == "DRAINING" and time.monotonic() < end:
            time.sleep(0.01)
        state = self.state(path)
        expect(state == "KILLED" if done else state in ("KILLED", "ACTIVE", "LOST"), "kill", done, state)
        self.wake(path)
        expect(self.count(self.app, self.pid) == self.n, "count", self.n)


class Delete(Scenario):
    """A process is deleted."""
    slow = True
    path = A + "/processes/gone"

    def before(self):
        self.must("POST", A + "/processes", json.dumps({"pid": "gone"}))

    def act(self):
        return self.ask("DELETE", self.path) is not None

    def after(self, done):
        status = self.s.ask("GET", self.path)[0]
        expect(status == 404 if done else status in (200, 404), "delete", done, status)
        end = time.monotonic() + 5
        while self.s.ask("GET", self.path)[0] == 200 and time.monotonic() < end:
            self.s.ask("DELETE", self.path)  # refused as busy: it is tried again
            time.sleep(0.01)
        expect(self.s.ask("GET", self.path)[0] == 404, "cannot be deleted any more")


class List(Scenario):
    def act(self):
        done = True
        for path, member in (("/v1/apps", "apps"), (A + "/processes", "processes"), (A + "/members", "members"), ("/v1/tokens", "tokens"),
                             ("/v1/limits", "limits")):
            data = self.ask("GET", path)
            expect(data is None or member in json.loads(data), path, data)
            done = done and data is not None
        return done and self.ask("GET", "/metrics") is not None


class Token(Scenario):
    """A key is made, used and revoked."""

    def tokens(self):
        return {t["id"] for t in json.loads(self.must("GET", "/v1/tokens"))["tokens"]}

    def before(self):
        self.had = self.tokens()

    def act(self):
        data = self.ask("POST", "/v1/tokens", '{"scopes":["read"]}')
        if data is None:
            return False
        made = json.loads(data)
        status = self.s.ask("GET", "/v1/apps", token=made["token"])[0]
        expect(status == 200 or status >= 500, "new key", status)
        if self.ask("DELETE", "/v1/tokens/" + made["id"]) is None:
            return False
        expect(self.s.ask("GET", "/v1/apps", token=made["token"])[0] in (401, 500, 503), "revoked key")
        return status == 200

    def after(self, done):
        more = self.tokens() - self.had
        expect(len(more) <= (0 if done else 1), "keys", done, more)
        for token in more:
            self.must("DELETE", "/v1/tokens/" + token)
        expect(self.act(), "again", getattr(self, "error", ""))


class Deploy(Invoke):
    """Another revision is deployed and rolled."""
    slow = True
    app, pid = W, "x"
    turn = 0

    def act(self):
        Deploy.turn += 1
        self.memory = (128 + self.turn % 64) << 20
        return self.ask("PUT", self.app, json.dumps({"resources": {"memory_bytes": self.memory}})) is not None

    def after(self, done):
        path = f"{self.app}/processes/{self.pid}"
        app = json.loads(self.must("GET", self.app))
        expect(not done or app["resources"]["memory_bytes"] == self.memory, "not deployed", app)
        self.wake(path)
        expect(self.count(self.app, self.pid) == self.n, "count", self.n)
        expect(self.act(), "deploy again", getattr(self, "error", ""))
        self.wake(path)
        app, process = json.loads(self.must("GET", self.app)), json.loads(self.must("GET", path))
        expect(process["revision"] == app["revision"], "not rolled", app["revision"], process)
        expect(self.count(self.app, self.pid) == self.n, "count after", self.n)


class Restart(Scenario):
    """The service is killed and started again: it takes over what runs, or says why it does not begin."""
    slow = True

    def before(self):
        for app in (A, W):
            self.wake(app + "/processes/x")
        self.was = [self.epoch(app + "/processes/x") for app in (A, W)]
        self.had = [self.count(app, "x") for app in (A, W)]

    def act(self):
        self.s.kill()
        self.error = self.s.begin()
        if self.error is None:
            return True
        expect(self.error.strip(), "no words")
        expect(self.s.begin() is None, "cannot be started afterwards")
        return False

    def after(self, done):
        expect([self.count(app, "x") for app in (A, W)] == self.had, "state lost")
        expect([self.epoch(app + "/processes/x") for app in (A, W)] == self.was, "not taken over")


ALL = (App, AppDelete, Create, CreateInline, Invoke, InvokeWorker, InvokeFirst, InvokeFirstWorker, Direct,
       DirectTcp, State, Message, SwapOut,
       SwapOutWorker, SwapIn, Checkpoint, Kill, Delete, List, Token, Deploy, Restart)
