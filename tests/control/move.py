# SPDX-License-Identifier: Apache-2.0
"""A process goes on in another controller, with the real programs: what it has goes along, messages of others and calls
beside it count once and in order, and whoever of the three is killed meanwhile, it is one of the two that goes on.

usage: move.py CONTROL CONTROLLER FUNCTIONS [MOVES]"""
import json
import os
import random
import signal
import sys
import threading
import time

from peers import APP, P, PATIENCE, Processes, numbers
from service import await_gone, run

MOVES = int(sys.argv[4]) if len(sys.argv) > 4 else 20


class World(Processes):
    def show(self, name):
        return self.s.json("GET", f"{P}/{name}", expect=200)

    def move(self, name):
        """After the controllers of the one before have ended."""
        end = time.monotonic() + PATIENCE
        while True:
            before = self.show(name)
            status, _, data = self.s.ask("POST", f"{P}/{name}/migrate", "{}")
            if status != 409 or b"is not over yet" not in data or time.monotonic() > end:
                break
            time.sleep(0.01)
        assert status == 200, (status, data)
        after = json.loads(data)
        assert after["state"] == "ACTIVE" and after["epoch"] > before["epoch"], (before, after)
        assert after["os_pid"] != before["os_pid"] and after["endpoints"] != before["endpoints"], (before, after)
        await_gone(before["os_pid"])
        return after


def goes_along(s, isolation):
    """State, mailbox, what is known of other processes, and snapshots before and after."""
    w = World(s, ["a", "b"], isolation)
    big = os.urandom(300000)
    for key, value in (("small", b"1"), ("big", big)):
        assert s.ask("PUT", f"{P}/a/state/{key}", value)[0] == 204
    assert s.ask("POST", P + "/a/messages/box", b"waits")[0] == 204
    w.send("b", "a", 1, 100)
    w.send("a", "b", 1, 100)
    for i in range(3):
        w.move("a")
        assert s.ask("GET", P + "/a/state/big")[2] == big
        w.send("b", "a", 101 + 100 * i, 100)
        w.send("a", "b", 101 + 100 * i, 100)
        if i == 0:
            s.json("POST", P + "/a/checkpoint", {}, 200)
        assert s.ask("PUT", P + "/a/state/small", b"%d" % i)[0] == 204
    w.await_log("a", "b", numbers(1, 400))
    w.await_log("b", "a", numbers(1, 400))
    s.json("POST", P + "/a/swap-out", {}, 200)
    assert s.ask("GET", P + "/a/state/small")[2] == b"2"
    assert s.ask("GET", P + "/a/state/big")[2] == big
    assert s.ask("GET", P + "/a/messages/box")[2] == b"waits"
    w.move("b")
    w.send("a", "b", 401, 100)
    w.await_log("b", "a", numbers(1, 500))
    assert "lost_epoch" not in w.show("b") or w.show("b")["lost_epoch"] == 0


def test_goes_along_inline(s):
    goes_along(s, "inline")


def test_goes_along_worker(s):
    goes_along(s, "worker")


class Calls(threading.Thread):
    """Appends numbers to an object of the state by calls, one after the other, until it is told to stop."""

    def __init__(self, s, name, key):
        super().__init__()
        self.s, self.name_, self.key, self.over, self.failed, self.sent = s, name, key, False, None, 0

    def run(self):
        try:
            while not self.over:
                n = self.sent + 1
                got, _, answer = self.s.ask("POST", f"{APP}/invoke/append", n.to_bytes(8, "little"),
                                            {"Praas-Pid": self.name_, "Praas-Key": self.key})
                assert got == 200, (n, got, answer)
                self.sent = n
        except Exception as e:
            self.failed = e

    def stop(self):
        self.over = True
        self.join()
        assert self.failed is None, self.failed
        return self.sent


def appended(s, name, key):
    data = s.ask("GET", f"{P}/{name}/state/{key}")[2]
    return [int.from_bytes(data[i:i + 8], "little") for i in range(0, len(data), 16)]


def test_beside_calls_and_messages(s):
    """Callers of two processes that move and send to each other see nothing of it; each call and each message counts
    once, in order."""
    w = World(s, ["a", "b"], "worker", resources={"concurrency": 2})
    callers = [Calls(s, name, f"k{i}") for i, name in enumerate(("a", "a", "b"))]
    for c in callers:
        c.start()
    sent = 0
    for i in range(MOVES):
        if i % 2 == 0:
            w.send("a", "b", sent + 1, 100)
            w.send("b", "a", sent + 1, 100)
            sent += 100
        w.move("ab"[i % 3 == 2])
    counts = [c.stop() for c in callers]
    for c, n in zip(callers, counts):
        assert n > 0 and appended(s, c.name_, c.key) == list(range(1, n + 1)), (c.key, n)
    w.await_log("b", "a", numbers(1, sent))
    w.await_log("a", "b", numbers(1, sent))
    text = s.ask("GET", "/metrics")[2].decode()
    figures = dict(line.split(" ") for line in text.splitlines() if line.startswith("praas_move"))
    assert int(figures["praas_moves_total"]) == MOVES and int(figures["praas_move_failures_total"]) == 0, figures
    print(f"   {MOVES} moves, {sum(counts)} calls, pause {1000 * float(figures['praas_move_pause_seconds_sum']) / MOVES:.1f} ms "
          f"on average, {1000 * float(figures['praas_move_pause_max_seconds']):.1f} ms at most")


def test_refused(s):
    """What cannot move says why, and stays what it is."""
    w = World(s, ["a"], "inline")
    s.refused("POST", P + "/none/migrate", "{}", 404, "not_found")
    s.refused("POST", P + "/a/migrate", '{"node": "elsewhere"}', 404, "no_node")
    s.refused("POST", P + "/a/migrate", '{"node": 7}', 400, "invalid")
    s.json("POST", P + "/a/swap-out", {}, 200)
    s.refused("POST", P + "/a/migrate", "{}", 409, "not_active")
    assert s.state("a", "a") == "SWAPPED"
    w.call("a", "stores")
    first = threading.Thread(target=lambda: s.ask("POST", P + "/a/migrate", "{}"))
    first.start()
    codes = []
    while first.is_alive():
        got, _, data = s.ask("POST", P + "/a/migrate", "{}")
        codes.append((got, data[:60]))
    first.join()
    assert all(got in (200, 409) for got, _ in codes), codes
    w.move("a")
    assert s.ask("GET", P + "/a/state/stored")[2] == b"value"
    w.call("a", "stores")
    moving = threading.Thread(target=lambda: s.ask("POST", P + "/a/migrate", "{}"))
    moving.start()
    time.sleep(0.01)
    assert s.ask("DELETE", P + "/a")[0] == 204
    moving.join()
    s.refused("GET", P + "/a", None, 404, "not_found")


def controllers(s):
    """OS processes of controllers that are children of the service, oldest first."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", errors="replace") as f:
                rest = f.read().rsplit(")", 1)[1].split()
            if rest[0] != "Z" and int(rest[1]) == s.process.pid and "praas-controlle" in open(f"/proc/{pid}/comm", errors="replace").read():
                found.append((int(rest[19]), int(pid)))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return [pid for _, pid in sorted(found)]


def kill_destination(s, source):
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        for pid in controllers(s):
            if pid != source:
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def killed(s, who, rounds, chance):
    """Somebody is killed in the midst of a move: what was saved is there, and nothing else than what was acknowledged."""
    w = World(s, ["a"], "inline")
    whole = lost = 0
    n = 0
    for _ in range(rounds):
        n += 1
        assert s.ask("PUT", P + "/a/state/n", b"%d saved" % n)[0] == 204
        s.json("POST", P + "/a/checkpoint", {}, 200)
        assert s.ask("PUT", P + "/a/state/n", b"%d" % n)[0] == 204
        before, outcome = w.show("a"), []

        def ask():
            try:
                outcome.append(s.ask("POST", P + "/a/migrate", "{}")[0])
            except OSError:
                outcome.append(None)

        t = threading.Thread(target=ask)
        t.start()
        time.sleep(chance.uniform(0, 0.05))
        if who == "source":
            try:
                os.kill(before["os_pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
        elif who == "destination":
            kill_destination(s, before["os_pid"])
        else:
            s.kill()
            t.join()
            s.start()
        t.join()
        got = s.ask("GET", P + "/a/state/n")
        assert got[0] == 200, got
        assert got[2] in (b"%d" % n, b"%d saved" % n), (n, got, outcome)
        whole += got[2] == b"%d" % n
        lost += got[2] != b"%d" % n
        assert who != "control" or got[2] == b"%d" % n, (n, got, outcome, w.show("a"))
        assert s.state("a", "a") == "ACTIVE"
    w.move("a")
    assert s.ask("GET", P + "/a/state/n")[2].startswith(b"%d" % n)
    print(f"   {who}: {whole} times whole, {lost} times as it was saved")
    return whole, lost


def test_source_killed(s):
    killed(s, "source", max(MOVES // 4, 5), random.Random(1))


def test_destination_killed(s):
    whole, _ = killed(s, "destination", max(MOVES, 10), random.Random(2))
    assert whole > 0


def test_control_killed(s):
    killed(s, "control", max(MOVES // 2, 10), random.Random(3))


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
