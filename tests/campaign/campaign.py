# SPDX-License-Identifier: Apache-2.0
"""Workers, controllers and the control service are killed with SIGKILL at random points, one after the other,
under a load of calls, messages and state; between, processes are swapped out, woken and saved. At the end what
clients saw is held against the contract (history.py, docs/protocols.md).

usage: campaign.py CONTROL CONTROLLER FUNCTIONS LOAD [--rounds 300] [--seed N] [--seconds N] [--keep]
"""
import argparse
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from history import History  # noqa: E402
from service import Service, alive  # noqa: E402

PROCESSES = (("w", "a"), ("w", "b"), ("i", "c"))
CLIENTS = ("w/a/tcp", "w/a/shm", "w/a/direct", "w/b/tcp", "w/b/shm", "w/b/direct", "i/c/tcp", "i/c/shm")
UNSURE = (-1002, -1011, -1013)  # DEADLINE, UNKNOWN, DUPLICATE: it may have run


class Campaign:
    processes, clients = PROCESSES, CLIENTS
    late = False  # history.py
    patience = 33  # seconds for an answer of the service

    def __init__(self, o):
        self.random = random.Random(o.seed)
        self.s = Service(o.control, o.controller, *self.options())
        self.s.patience = 45
        self.functions, self.load_program = o.functions, o.load
        self.lock = threading.Lock()
        self.killed = {p: set() for p in self.processes}  # epochs
        self.saved = {p: {} for p in self.processes}  # epoch: when the last one that was answered began
        self.counts = {}
        self.problems = []
        self.over = False
        self.loads = []

    @staticmethod
    def options():
        return "--listen", f"127.0.0.1:{free_port()}"

    def resources(self):
        return {"concurrency": 2}

    def begin(self):
        self.s.start()
        for app, isolation in (("w", "worker"), ("i", "inline")):
            self.s.json("POST", "/v1/apps", {"name": app, "code": self.functions, "isolation": isolation,
                                             "allow_weak_sandbox": True, "resources": self.resources()}, 201)
        for app, pid in self.processes:
            self.s.json("POST", f"/v1/apps/{app}/processes", {"pid": pid}, 201)
        self.start_load()
        self.saver = threading.Thread(target=self.save_at_times)
        self.saver.start()

    def start_load(self, *before, clients=None):
        """Clients, begun by a command before; their history has a file of its own."""
        history = open(os.path.join(self.s.dir, f"history-{len(self.loads)}"), "w+")
        self.loads.append((subprocess.Popen([*before, self.load_program, self.s.url, self.s.token,
                                             *(clients or self.clients)], stdin=subprocess.PIPE, stdout=history), history))

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def ask(self, method, path):
        """(status, body); status 0: the service is away."""
        began = time.monotonic()
        try:
            status, _, data = self.s.ask(method, path)
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            if time.monotonic() - began > self.patience:
                self.problems.append(f"{method} {path} took {time.monotonic() - began:.1f} s")
        try:
            value = json.loads(data) if data else None
        except ValueError:
            value = None
        if status >= 400 and not (value or {}).get("error", {}).get("code"):
            self.problems.append(f"{method} {path}: {status} {data!r}")
        return status, value

    def save_at_times(self):
        """Swap-outs (whoever calls next wakes the process), checkpoints and wakes, all along."""
        chance = random.Random(self.random.random())
        while not self.over:
            app, pid = place = chance.choice(self.processes)
            action = chance.choice(("swap-out", "checkpoint", "checkpoint", "swap-in"))
            path = f"/v1/apps/{app}/processes/{pid}"
            status, view = self.ask("GET", path)
            begun = time.monotonic_ns()
            done, _ = self.ask("POST", f"{path}/{action}")
            after, again = self.ask("GET", path)
            # Of which epoch it was is only sure when that did not change meanwhile.
            if action != "swap-in" and (status, done, after) == (200, 200, 200) and \
                    view["state"] == "ACTIVE" and again["epoch"] == view["epoch"]:
                with self.lock:
                    self.saved[place][view["epoch"]] = begun
            self.count(f"{action} {done}")
            time.sleep(chance.uniform(0.0, 0.25))

    def controller_of(self, place):
        """(os pid, epoch) of a controller that runs, as the OS tells it; None."""
        status, view = self.ask("GET", f"/v1/apps/{place[0]}/processes/{place[1]}")
        if status != 200 or not view.get("os_pid") or view["state"] not in ("ACTIVE", "DRAINING"):
            return None
        return view["os_pid"], view["epoch"]

    def round(self):
        kind = self.random.choices(("controller", "worker", "control"), (5, 3, 2))[0]
        place = self.random.choice(self.processes)
        point = self.random.uniform(0.0, 0.25)
        time.sleep(point)
        if kind == "control":
            self.s.kill()
            time.sleep(self.random.uniform(0.0, 0.1))
            self.s.start()
        else:
            found = self.controller_of(place)
            if not found:
                return False
            if kind == "worker":
                workers = children(found[0])
                if not workers:
                    return False
                victim = self.random.choice(workers)
            else:
                victim = found[0]
                with self.lock:
                    self.killed[place].add(found[1])
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                return False
        self.count("killed " + kind)
        return True

    def end(self):
        self.over = True
        self.saver.join()
        for load, _ in self.loads:
            load.stdin.close()
        for load, _ in self.loads:
            try:
                code = load.wait(timeout=60)
            except subprocess.TimeoutExpired:
                load.kill()
                raise AssertionError("a client hangs") from None
            if code != 0:
                self.problems.append(f"the load ended with {code}")

    def judge(self):
        """All can be woken and read; and the history fits."""
        lines = []
        for _, history in self.loads:
            history.seek(0)
            lines += history.read().splitlines()
        h = History(lines, self.clients, UNSURE, self.late)
        kept = missing = doubled = 0
        for client, name in enumerate(self.clients):
            app, pid, *_ = name.split("/")
            path = f"/v1/apps/{app}/processes/{pid}"
            self.s.json("POST", path + "/swap-in", expect=200)
            status, _, data = self.s.ask("GET", f"{path}/state/log%2F{client}")
            assert status in (200, 404), (status, data)
            log = list(struct.iter_unpack("<QQ", data)) if status == 200 else []
            place = h.check_log(client, log)
            missing += h.check_kept(client, place, self.killed[(app, pid)], self.saved[(app, pid)])
            h.check_others(client)
            kept += len(place)
            doubled += len(log) - len(place)
        self.problems += h.problems
        return f"{h.requests} requests, {kept} effects kept, {missing} lost with their epochs, {doubled} ran again"


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(c) for c in f.read().split()]
    except OSError:
        pass
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def options():
    p = argparse.ArgumentParser()
    for name in ("control", "controller", "functions", "load"):
        p.add_argument(name, type=os.path.abspath)
    p.add_argument("--rounds", type=int, default=300)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    p.add_argument("--seconds", type=int, default=0, help="no more rounds after that")
    p.add_argument("--keep", action="store_true", help="keep the folder of a failure")
    return p.parse_args()


def main(campaign=Campaign):
    o = options()
    began = time.monotonic()
    c = campaign(o)
    log = os.path.join(c.s.dir, "stderr")
    os.dup2(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), 2)
    rounds = 0
    try:
        c.begin()
        while rounds < o.rounds and not (o.seconds and time.monotonic() - began > o.seconds):
            rounds += c.round()
        c.end()
        result = c.judge()
        code = c.s.stop()
        if code != 0:
            c.problems.append(f"the control service ended with {code}")
    except BaseException as e:  # a thread that goes on would keep us
        c.problems.append(f"{type(e).__name__}: {e}")
        result = "not judged"
        c.over = True
        for load, _ in c.loads:
            load.kill()
    print(f"seed {o.seed}: {rounds} rounds in {time.monotonic() - began:.0f} s, {result}; " +
          ", ".join(f"{n} {what}" for what, n in sorted(c.counts.items())), flush=True)
    for problem in c.problems[:20]:
        print("FAILED:", problem)
    if c.problems:
        with open(log, errors="replace") as f:
            print(f"{len(c.problems)} problems; the service's log:\n{f.read()[-2000:]}")
    if c.problems and o.keep:
        print("kept in", c.s.dir)
    else:
        c.s.cleanup()
    sys.exit(1 if c.problems else 0)


if __name__ == "__main__":
    main()
