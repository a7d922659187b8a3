# SPDX-License-Identifier: Apache-2.0
"""Nodes are drained, and processes balanced over them, with the real programs: hosts are network namespaces.

usage: drain.py CONTROL CONTROLLER FUNCTIONS PRAAS
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time

import nodes
from nodes import HOSTS, MIB, PRAAS, SMALL, create, make_app, move, node, nodes_of, service
from peers import APP, P, Processes, beside, numbers
from service import Service, run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hosts as net  # noqa: E402

PATIENCE = 60


def drain(s, name, status=200, **more):
    return s.json("POST", f"/v1/nodes/{name}/drain", more, status)


def resume(s, name):
    return s.json("POST", f"/v1/nodes/{name}/resume", {}, 200)


def await_drain(s, name, what):
    """Until what is true of how far it is."""
    end = time.monotonic() + PATIENCE
    while not what(got := nodes_of(s)[name]["drain"]):
        assert time.monotonic() < end, got
        time.sleep(0.02)
    return got


def await_empty(s, name):
    return await_drain(s, name, lambda d: d["done"])


def view(s, name, app="a"):
    return s.json("GET", f"/v1/apps/{app}/processes/{name}", expect=200)


def metric(s, name):
    text = s.ask("GET", "/metrics")[2].decode()
    return int(dict(line.split() for line in text.splitlines() if line[0] != "#" and "{" not in line)["praas_" + name])


def hang(s, name, ms=5000):
    """A call that runs for so long, in a process of workers."""
    caller = threading.Thread(target=lambda: s.ask("POST", f"{APP}/invoke/hang", "", {
        "Praas-Pid": name, "Praas-Deadline-Ms": str(ms)}))
    caller.start()
    end = time.monotonic() + 60
    while view(s, name).get("metrics", {}).get("running", 0) == 0:
        assert time.monotonic() < end
        if not caller.is_alive():  # it was over before it was looked at
            assert ms < 40000, "the call does not stay"
            return hang(s, name, 2 * ms)
        time.sleep(0.01)
    return caller


def test_drain_moves(s):
    """All that serve go elsewhere, with what they have, few at a time; asked again nothing is different."""
    make_app(s)
    names = [f"p{i}" for i in range(3)]
    for name in names:
        create(s, name, node="x")
        assert s.ask("PUT", f"{P}/{name}/state/k", name.encode())[0] == 204
    create(s, "there", node="y")
    first = drain(s, "x")
    assert first["state"] == "DRAINED" and not first["drain"]["swap_out"], first
    moving = set()
    await_drain(s, "x", lambda d: moving.add(d["moving"]) or d["done"])
    assert max(moving) <= 2, moving
    for name in names:
        got = view(s, name)
        assert (got["node"], got["state"], got["epoch"], got["lost_epoch"]) == ("y", "ACTIVE", 2, 0), got
        assert s.ask("GET", f"{P}/{name}/state/k")[2] == name.encode()
    assert view(s, "there")["epoch"] == 1
    again = drain(s, "x")
    assert again["drain"] == {"swap_out": False, "done": True, "moved": 3, "moving": 0, "busy": 0, "stuck": 0}, again
    assert metric(s, "drain_moves_total") == 3 == metric(s, "moves_total")
    assert create(s, "new")["node"] == "y"
    assert "drain" not in resume(s, "x") and "drain" not in nodes_of(s)["y"]


def test_drain_busy(s):
    """Who works has time to end that; who does not goes first."""
    make_app(s, isolation="worker")
    create(s, "works", node="x")
    create(s, "rests", node="x")
    caller = hang(s, "works")
    drain(s, "x")
    got = await_drain(s, "x", lambda d: d["moved"] == 1)
    assert got == {"swap_out": False, "done": False, "moved": 1, "moving": 0, "busy": 1, "stuck": 0}, got
    assert (view(s, "rests")["node"], view(s, "works")["node"], view(s, "works")["epoch"]) == ("y", "x", 1)
    caller.join()
    await_empty(s, "x")
    assert (view(s, "works")["node"], view(s, "works")["state"]) == ("y", "ACTIVE")


def test_drain_called_off(s):
    """Resumed, nothing more leaves, and who is left serves on in its epoch."""
    make_app(s, isolation="worker")
    create(s, "works", node="x")
    caller = hang(s, "works")
    drain(s, "x")
    await_drain(s, "x", lambda d: d["busy"] == 1)
    assert resume(s, "x")["state"] == "READY"
    caller.join()
    time.sleep(1.5)
    got = view(s, "works")
    assert (got["node"], got["state"], got["epoch"]) == ("x", "ACTIVE", 1), got
    assert create(s, "new", node="x")["node"] == "x"


def test_drain_no_room(s):
    """Who finds no room stays while it has work, and that is told; without work it is swapped out. With room it is moved."""
    make_app(s, isolation="worker")
    make_app(s, "large", 150 * MIB)
    for name in ("1", "2"):
        s.json("POST", "/v1/apps/large/processes", {"pid": name, "node": "y"}, 201)
    create(s, "fits", node="x")
    create(s, "works", node="x")
    create(s, "rests", node="x")
    caller = hang(s, "works")
    drain(s, "x")
    s.await_state("a", "works", "ACTIVE")
    got = await_drain(s, "x", lambda d: d["moved"] == 1 and d["stuck"] + d["busy"] == 1 and d["moving"] == 0)
    assert "no node has room for 67108864 bytes" in got["why"], got
    assert sorted((view(s, n)["state"], view(s, n)["node"]) for n in ("fits", "rests")) == [("ACTIVE", "y"), ("SWAPPED", "x")]
    assert s.ask("DELETE", "/v1/apps/large/processes/1")[0] == 204
    caller.join()
    await_empty(s, "x")
    assert (view(s, "works")["state"], view(s, "works")["node"]) == ("ACTIVE", "y")


def test_drain_no_other(s):
    """The last node is not drained by moving, and that is said; to swap out needs no other node. Asked for the other way, it is that way."""
    make_app(s)
    drain(s, "y")
    create(s, "p")
    error = s.refused("POST", "/v1/nodes/x/drain", "{}", 409, "no_other_node")
    assert "swap_out" in error["hint"], error
    s.refused("POST", "/v1/nodes/x/drain", '{"swap_out": 1}', 400, "invalid")
    s.refused("POST", "/v1/nodes/x/resume", '{"swap_out": true}', 400, "invalid")
    assert nodes_of(s)["x"]["state"] == "READY" and view(s, "p")["state"] == "ACTIVE"
    assert drain(s, "x", swap_out=True)["drain"]["swap_out"]
    s.await_state("a", "p", "SWAPPED")
    s.refused("POST", f"{P}/p/swap-in", "{}", 409, "node_drained")
    s.kill()
    s.start()
    assert [nodes_of(s)[n]["drain"]["swap_out"] for n in "xy"] == [True, False]
    s.refused("POST", "/v1/nodes/x/drain", "{}", 409, "no_other_node")
    resume(s, "y")
    assert not drain(s, "x")["drain"]["swap_out"]
    assert nodes_of(s)["x"]["drain"]["done"]


def test_drain_restart(s):
    """The service is killed again and again while a node is drained: all are moved in the end, none is lost."""
    make_app(s)
    names = [f"p{i}" for i in range(3)]
    for name in names:
        create(s, name, node="x")
        assert s.ask("PUT", f"{P}/{name}/state/k", name.encode())[0] == 204
    drain(s, "x")
    for i in range(4):
        time.sleep(0.02 + 0.03 * i)
        s.kill()
        s.start()
    assert nodes_of(s)["x"]["state"] == "DRAINED"
    await_empty(s, "x")
    for name in names:
        s.await_state("a", name, "ACTIVE")
        got = view(s, name)
        assert (got["node"], got["lost_epoch"]) == ("y", 0), got
        assert s.ask("GET", f"{P}/{name}/state/k")[2] == name.encode()
    assert [nodes_of(s)[n]["processes"] for n in "xy"] == [0, 3]


def test_drain_messages(s):
    """Nodes are drained in turn under messages: each comes once and in order."""
    p = Processes(s, [], "worker", **SMALL)
    for name in ("a", "b"):
        p.numbers[name] = create(s, name, node="x")["number"]
    turns = ["x", "y"]

    def trouble():
        drain(s, turns[0])
        await_empty(s, turns[0])
        resume(s, turns[0])
        turns.append(turns.pop(0))

    def messages():
        for first in range(1, 401, 10):
            p.send("a", "b", first, 10)
            time.sleep(0.02)

    beside(trouble, messages)
    p.await_log("b", "a", numbers(1, 400))
    assert metric(s, "drain_moves_total") >= 2 and view(s, "b")["lost_epoch"] == 0


def test_drain_command(s):
    """The same by the command line."""
    def praas(*words, code=0):
        done = subprocess.run([PRAAS, *words, "--url", s.url, "--token", s.token], capture_output=True, text=True,
                              timeout=30, check=False)
        assert done.returncode == code, (words, done.returncode, done.stderr)
        return done.stdout + done.stderr

    make_app(s)
    create(s, "p", node="x")
    assert "DRAINED" in praas("node", "drain", "x")
    await_empty(s, "x")
    said = praas("node", "drain", "y", code=1)
    assert "no other node" in said and "; --swap-out swaps" in said and "swap_out" not in said, said
    assert "DRAINED" in praas("node", "drain", "y", "--swap-out")
    s.await_state("a", "p", "SWAPPED")
    head, *rows = [row.split() for row in praas("node", "ls").splitlines()]
    assert head[-5:] == ["MOVED", "MOVING", "BUSY", "STUCK", "WHY"], head
    assert [(row[0], row[1], row[-5:]) for row in rows] == [("x", "DRAINED", ["1", "0", "0", "0", "-"]),
                                                            ("y", "DRAINED", ["0", "0", "0", "0", "-"])], rows


def test_drain_fails(s):
    """No other controller can be started: tried three times, then swapped out for want of work, and why is told."""
    real, broken = s.controller, os.path.join(s.dir, "broken")
    program = os.path.join(s.dir, "praas-controller")
    with open(program, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\n[ -e {broken} ] && exit 9\nexec {real} \"$@\"\n")
    os.chmod(program, 0o755)
    other = Service(s.program, program, *BOTH).start()
    try:
        make_app(other)
        create(other, "p", node="x")
        assert other.ask("PUT", f"{P}/p/state/k", b"value")[0] == 204
        with open(broken, "w", encoding="ascii"):
            pass
        drain(other, "x")
        # Stuck it is also for a moment after each move, until its controller has spoken.
        got = await_drain(other, "x", lambda d: d["stuck"] == 1 and metric(other, "move_failures_total") >= 3 or d["done"])
        assert metric(other, "move_failures_total") >= 3, got
        other.await_state("a", "p", "SWAPPED")
        os.unlink(broken)
        other.json("POST", f"{P}/p/swap-in", {}, 200)
        assert view(other, "p")["node"] == "y" and other.ask("GET", f"{P}/p/state/k")[2] == b"value"
    finally:
        other.stop()
        other.cleanup()


def test_drain_journal(s):
    """One with a journal is moved as others are; what it acknowledges there outlives a crash."""
    s.json("POST", "/v1/apps", {"name": "a", "code": nodes.FUNCTIONS, "isolation": "worker", "allow_weak_sandbox": True,
                                "durability": "journal", **SMALL}, 201)
    create(s, "rests", node="x")
    assert s.ask("PUT", f"{P}/rests/state/k", b"value")[0] == 204
    drain(s, "x")
    got = await_empty(s, "x")
    assert got["moved"] == 1 and metric(s, "move_failures_total") == 0, got
    assert view(s, "rests")["node"] == "y" and s.ask("GET", f"{P}/rests/state/k")[2] == b"value"
    assert s.ask("PUT", f"{P}/rests/state/l", b"there")[0] == 204
    os.kill(view(s, "rests")["os_pid"], signal.SIGKILL)
    s.await_state("a", "rests", "LOST")
    s.json("POST", f"{P}/rests/swap-in", {}, 200)
    assert [s.ask("GET", f"{P}/rests/state/{k}")[2] for k in "kl"] == [b"value", b"there"]


def test_drain_one_fails(s):
    """Nothing can be started on the node that would be the first choice: after one try there the others are tried."""
    real, program = s.controller, os.path.join(s.dir, "praas-controller")
    with open(program, "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\n[ $(stat -Lc %i /proc/self/ns/net) = {os.stat(HOSTS['y'].netns).st_ino} ] && exit 9\n"
                f"exec {real} \"$@\"\n")
    os.chmod(program, 0o755)
    other = Service(s.program, program, *BOTH, "--node", "z,memory=400M").start()
    try:
        make_app(other)
        create(other, "p", node="x")
        assert other.ask("PUT", f"{P}/p/state/k", b"value")[0] == 204
        drain(other, "x")
        got = await_empty(other, "x")
        assert (got["moved"], metric(other, "move_failures_total")) == (1, 1), got
        p = view(other, "p")
        assert (p["node"], p["state"], p["lost_epoch"]) == ("z", "ACTIVE", 0), p
        assert other.ask("GET", f"{P}/p/state/k")[2] == b"value"
    finally:
        other.stop()
        other.cleanup()


def test_drain_silent(s):
    """Controllers that do not answer are in nobody's way, nor ended for it: they are told of, and go on when they can."""
    make_app(s, isolation="worker")
    names = ["p0", "p1", "p2"]
    for name in names:
        create(s, name, node="x")
        assert s.ask("PUT", f"{P}/{name}/state/k", name.encode())[0] == 204
    stopped = [view(s, name)["os_pid"] for name in names[:2]]
    caller = hang(s, "p2", 4000)  # so the others are tried first, as many as move at once
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        drain(s, "x")
        got = await_drain(s, "x", lambda d: d["moved"] == 1 and d["stuck"] == 2)
        assert "does not answer" in got["why"], got
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        caller.join()
    assert await_empty(s, "x")["moved"] == 3
    for name in names:
        got = view(s, name)
        assert (got["node"], got["state"], got["lost_epoch"]) == ("y", "ACTIVE", 0), got
        assert s.ask("GET", f"{P}/{name}/state/k")[2] == name.encode()


def test_drain_taken_off(s):
    """A process of a node that was taken off the command line goes where it is told to, and counts there."""
    other = Service(s.program, s.controller, *BOTH, "--node", "z,memory=400M").start()
    try:
        make_app(other)
        create(other, "p", node="x")
        assert other.ask("PUT", f"{P}/p/state/k", b"value")[0] == 204
        other.kill()
        other.options = (*service(node("y", memory="400M")), "--node", "z,memory=400M")
        other.start()
        end = time.monotonic() + PATIENCE
        while (got := other.ask("POST", f"{P}/p/migrate", '{"node": "z"}'))[0] == 409:  # until its controller has come back
            assert time.monotonic() < end, got
            time.sleep(0.05)
        assert got[0] == 200 and view(other, "p")["node"] == "z", (got, view(other, "p"))
        assert [nodes_of(other)[n]["processes"] for n in "yz"] == [0, 1]
        assert other.ask("GET", f"{P}/p/state/k")[2] == b"value"
    finally:
        other.stop()
        other.cleanup()


# ---- balancing


def await_nodes(s, wanted):
    """Until processes, of application a, are there; then no more moves."""
    end = time.monotonic() + PATIENCE
    while (got := sorted(view(s, name)["node"] for name in "123")) != wanted:
        assert time.monotonic() < end, got
        time.sleep(0.05)
    moves = metric(s, "balance_moves_total")
    time.sleep(3.5)  # three looks
    assert metric(s, "balance_moves_total") == moves == metric(s, "moves_total")
    assert sorted(view(s, name)["node"] for name in "123") == wanted
    return moves


def test_balance_neighbours(s):
    """Those of an application come together; who works is where it is; others stay. Then all stay."""
    make_app(s, isolation="worker")
    make_app(s, "b", 16 * MIB)
    create(s, "1", node="x")
    caller = hang(s, "1", 16000)  # before there is a reason to move
    create(s, "2", node="y")
    create(s, "3", node="y")
    s.json("POST", "/v1/apps/b/processes", {"pid": "o", "node": "x"}, 201)
    time.sleep(3)
    assert view(s, "1")["node"] == "x" and metric(s, "balance_moves_total") == 0
    caller.join()
    assert await_nodes(s, ["y", "y", "y"]) == 1
    assert view(s, "o", "b")["epoch"] == 1


def test_balance_stays(s):
    """Nobody moves who has just come."""
    make_app(s)
    create(s, "1", node="x")
    create(s, "2", node="y")
    time.sleep(4)
    assert metric(s, "balance_moves_total") == 0


def test_balance_spreads(s):
    """A full node gives off what makes it as full as the other, no more."""
    make_app(s)
    for name in "123":
        create(s, name, node="x")
    assert await_nodes(s, ["x", "y", "y"]) == 2  # 192 of 200 and 0 of 400 MiB; then 64 and 128


def test_balance_consolidates(s):
    """The node with the least is emptied."""
    make_app(s)
    create(s, "1", node="x")
    create(s, "2", node="y")
    create(s, "3", node="y")
    s.json("POST", "/v1/apps", {"name": "b", "code": nodes.FUNCTIONS, "isolation": "inline", "allow_weak_sandbox": True,
                                "resources": {"memory_bytes": 64 * MIB}}, 201)
    s.json("POST", "/v1/apps/b/processes", {"pid": "o", "node": "y"}, 201)  # 192 of 400 MiB against 64 of 200
    assert await_nodes(s, ["y", "y", "y"]) == 1
    assert move(s, "1", node="x")["node"] == "x"  # somebody wants it there: for its time it stays
    assert view(s, "1")["node"] == "x"


def test_balance_words(s):
    """What cannot be asked for is wrong usage."""
    for words in (["--balance-percent", "0"], ["--balance-percent", "101"], ["--balance-seconds", "86401"],
                  ["--balance-stay-seconds", "-1"], ["--drain-moves", "0"], ["--drain-moves", "33"],
                  ["--drain-seconds", "3601"]):
        done = subprocess.run([s.program, "--data", os.path.join(s.dir, "other"), *words], capture_output=True, text=True,
                              timeout=20, check=False)
        assert done.returncode == 2 and words[0][2:] in done.stderr, (words, done.returncode, done.stderr)


DRAINS = [test_drain_moves, test_drain_busy, test_drain_called_off, test_drain_no_room, test_drain_no_other, test_drain_restart,
          test_drain_messages, test_drain_command, test_drain_fails, test_drain_journal, test_drain_one_fails, test_drain_silent,
          test_drain_taken_off, test_balance_words]

if __name__ == "__main__":
    try:
        HOSTS.update(net.network(["x", "y"]))
    except net.Unavailable as e:
        print("SKIPPED:", e)
        sys.exit(77)
    BOTH = service(node("x", memory="200M"), node("y", memory="400M"))
    SOON = ["--balance-seconds", "1", "--balance-stay-seconds", "2"]
    failed = run(DRAINS, *BOTH, ends=False)
    failed += run([test_balance_neighbours], *BOTH, *SOON, ends=False)
    failed += run([test_balance_stays], *BOTH, "--balance-seconds", "1", ends=False)
    failed += run([test_balance_spreads], *BOTH, *SOON, "--placement", "spread", ends=False)
    failed += run([test_balance_consolidates], *BOTH, *SOON, "--placement", "consolidate", ends=False)
    sys.exit(1 if failed else 0)
