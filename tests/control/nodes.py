# SPDX-License-Identifier: Apache-2.0
"""Several nodes on one control service, with the real programs: hosts are network namespaces, joined by a bridge. Where
processes go, who is told of shared memory, and messages and calls from node to node while the network is bad.

usage: nodes.py CONTROL CONTROLLER FUNCTIONS PRAAS
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time

from peers import APP, P, Processes, beside, calls, numbers
from service import Service, run

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hosts as net  # noqa: E402

FUNCTIONS, PRAAS = os.path.abspath(sys.argv[3]), os.path.abspath(sys.argv[4])
MIB = 1 << 20
SMALL = {"resources": {"memory_bytes": 64 * MIB}}
HOSTS = {}


def node(name, **more):
    words = [name, f"netns={HOSTS[name].netns}", f"listen={HOSTS[name].address}"]
    return "--node", ",".join(words + [f"{k}={v}" for k, v in more.items()])


def service(*nodes, listen=net.HERE):
    return ["--listen", f"{listen}:0", "--insecure-listen", "--no-cgroup", *[w for words in nodes for w in words]]


def create(s, name, status=201, **more):
    return s.json("POST", P, {"pid": name, **more}, status)


def make_app(s, name="a", memory=64 * MIB, isolation="inline"):
    s.json("POST", "/v1/apps", {"name": name, "code": FUNCTIONS, "isolation": isolation, "allow_weak_sandbox": True,
                                "resources": {"memory_bytes": memory}}, 201)


def nodes_of(s):
    return {n["name"]: n for n in s.json("GET", "/v1/nodes", expect=200)["nodes"]}


def schemes(view):
    return {e.split(":")[0] for e in view["endpoints"]}


def netns_of(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_nodes_where(s):
    """Neighbours go together until there is no room; a node can be named; what is used is counted and given back."""
    make_app(s)
    make_app(s, "other")
    first = create(s, "p1")
    assert first["node"] == "x", first
    assert [create(s, f"p{i}")["node"] for i in (2, 3)] == ["x", "x"]  # 192 of 200 MiB
    assert create(s, "p4")["node"] == "y"
    assert s.json("POST", "/v1/apps/other/processes", {"pid": "o"}, 201)["node"] == "y"  # where most is left
    assert netns_of(first["os_pid"]) == os.stat(HOSTS["x"].netns).st_ino
    assert HOSTS["x"].address in first["endpoints"][0], first["endpoints"]
    used = nodes_of(s)
    assert (used["x"]["processes"], used["x"]["memory_used_bytes"]) == (3, 192 * MIB), used
    assert (used["y"]["processes"], used["y"]["memory_used_bytes"], used["y"]["memory_bytes"]) == \
        (2, 128 * MIB, 400 * MIB)
    s.refused("POST", P, json.dumps({"pid": "p5", "node": "x"}), 503, "no_room")
    s.refused("POST", P, json.dumps({"pid": "p5", "node": "z"}), 404, "no_node")
    s.refused("POST", P, json.dumps({"pid": "p1", "node": "y"}), 409, "elsewhere")
    s.refused("GET", f"{P}/p5", None, 404, "not_found")
    assert create(s, "p1", 200, node="x")["epoch"] == 1
    s.json("POST", f"{P}/p1/swap-out", {}, 200)
    assert nodes_of(s)["x"]["processes"] == 2
    assert create(s, "p1", 200, node="y")["node"] == "y"  # it rested: it may be anywhere
    s.json("POST", f"{P}/p2/kill", {}, 200)
    s.json("DELETE", f"{P}/p3", expect=204)
    used = nodes_of(s)
    assert (used["x"]["processes"], used["x"]["memory_used_bytes"], used["y"]["processes"]) == (0, 0, 3), used
    assert s.json("GET", f"{P}/p2", expect=200)["node"] == "x"  # where it was


def test_nodes_full(s):
    """No room anywhere is an error of its own, and one that passes."""
    make_app(s, memory=150 * MIB)
    for name in "123":
        create(s, name)
    assert nodes_of(s)["x"]["processes"] == 1 and nodes_of(s)["y"]["processes"] == 2
    error = s.refused("POST", P, '{"pid": "4"}', 503, "no_room")
    assert "no node has room" in error["message"], error
    s.json("POST", f"{P}/1/swap-out", {}, 200)
    create(s, "4")
    s.refused("POST", f"{P}/1/swap-in", "{}", 503, "no_room")
    assert s.state("a", "1") == "SWAPPED"
    s.json("DELETE", f"{P}/4", expect=204)
    s.json("POST", f"{P}/1/swap-in", {}, 200)


def test_nodes_drained(s):
    """A node that is drained by swapping out gets nothing new, and loses what has no work; also after a restart. Then it is used again."""
    make_app(s, isolation="worker")
    create(s, "here", node="x")
    create(s, "works", node="x")
    hanging = threading.Thread(target=lambda: s.ask("POST", f"{APP}/invoke/hang", "", {"Praas-Pid": "works",
                                                                                       "Praas-Deadline-Ms": "6000"}))
    hanging.start()
    time.sleep(0.3)
    assert s.json("POST", "/v1/nodes/x/drain", {"swap_out": True}, 200)["state"] == "DRAINED"
    s.refused("POST", "/v1/nodes/z/drain", "{}", 404, "no_node")
    s.await_state("a", "here", "SWAPPED")
    assert s.state("a", "works") == "ACTIVE"
    assert create(s, "new")["node"] == "y"
    s.refused("POST", P, json.dumps({"pid": "n2", "node": "x"}), 409, "node_drained")
    hanging.join()
    s.await_state("a", "works", "SWAPPED")
    s.kill()
    s.start()
    assert nodes_of(s)["x"]["state"] == "DRAINED"
    assert create(s, "here", 200)["node"] == "y"
    s.json("POST", "/v1/nodes/y/drain", {"swap_out": True}, 200)
    s.refused("POST", P, '{"pid": "n3"}', 409, "node_drained")
    s.json("POST", "/v1/nodes/x/resume", {}, 200)
    assert create(s, "n3")["node"] == "x"


def move(s, name, status=200, **more):
    """When the controller of the move before has ended."""
    end = time.monotonic() + 20
    while True:
        got, _, data = s.ask("POST", f"{P}/{name}/migrate", json.dumps(more))
        if got != 409 or b"not over yet" not in data or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert got == status, (got, data)
    return json.loads(data)


def is_on(s, view, name):
    assert view["node"] == name and netns_of(view["os_pid"]) == os.stat(HOSTS[name].netns).st_ino, view
    assert HOSTS[name].address in view["endpoints"][0], view


def test_nodes_move(s):
    """A process goes to the node that is named, with what it has, and counts there, and on its old node no more. What cannot be is refused, and changes nothing."""
    make_app(s, isolation="worker")
    create(s, "m", node="x")
    create(s, "other", node="x")
    assert s.ask("PUT", f"{P}/m/state/k", b"value")[0] == 204
    for to in ("y", "x", "x", "y"):
        is_on(s, move(s, "m", node=to), to)
        assert s.ask("GET", f"{P}/m/state/k")[2] == b"value"
    is_on(s, move(s, "m"), "y")  # where it is
    used = nodes_of(s)
    assert [(used[n]["processes"], used[n]["memory_used_bytes"]) for n in "xy"] == [(1, 64 * MIB)] * 2, used
    assert move(s, "m", 404, node="z")["error"]["code"] == "no_node"
    s.json("POST", "/v1/nodes/x/drain", {"swap_out": True}, 200)
    assert move(s, "m", 409, node="x")["error"]["code"] == "node_drained"
    s.await_state("a", "other", "SWAPPED")  # else it may stay, or not
    s.json("POST", "/v1/nodes/x/resume", {}, 200)
    make_app(s, "large", 150 * MIB)
    s.json("POST", "/v1/apps/large/processes", {"pid": "l", "node": "x"}, 201)
    assert move(s, "m", 503, node="x")["error"]["code"] == "no_room"
    is_on(s, s.json("GET", f"{P}/m", expect=200), "y")
    assert [nodes_of(s)[n]["processes"] for n in "xy"] == [1, 1]
    assert s.ask("DELETE", f"{P}/m")[0] == 204
    assert nodes_of(s)["y"]["processes"] == 0


def test_nodes_move_restart(s):
    """The service is killed while a process goes from node to node: it is where its controller is, and counts there."""
    make_app(s)
    create(s, "m", node="x")
    assert s.ask("PUT", f"{P}/m/state/k", b"value")[0] == 204
    seen = set()
    for i in range(40):
        at = s.json("GET", f"{P}/m", expect=200)["node"]
        asked = threading.Thread(target=lambda to="y" if at == "x" else "x": ask_quietly(s, to))
        asked.start()
        time.sleep(0.004 * i)
        s.kill()
        asked.join()
        s.start()
        assert s.ask("GET", f"{P}/m/state/k")[2] == b"value"
        view = s.json("GET", f"{P}/m", expect=200)
        is_on(s, view, view["node"])
        assert nodes_of(s)[view["node"]]["processes"] == 1, nodes_of(s)
        assert sum(n["processes"] for n in nodes_of(s).values()) == 1, nodes_of(s)
        seen.add(view["node"] == at)
        if i >= 15 and len(seen) == 2:
            break
    assert seen == {True, False}, seen


def ask_quietly(s, to):
    try:
        s.ask("POST", f"{P}/m/migrate", json.dumps({"node": to}))
    except OSError:
        pass


def test_nodes_restart(s):
    """Controllers on all nodes are found again, and count where they are."""
    make_app(s)
    before = {n: create(s, f"on-{n}", node=n) for n in ("x", "y")}
    s.kill()
    s.start()
    for n, view in before.items():
        s.await_state("a", f"on-{n}", "ACTIVE")
        after = s.json("GET", f"{P}/on-{n}", expect=200)
        assert (after["node"], after["os_pid"], after["epoch"]) == (n, view["os_pid"], 1), after
    assert {n: v["processes"] for n, v in nodes_of(s).items()} == {"x": 1, "y": 1}
    got, _, answer = s.ask("POST", f"{APP}/invoke/echo", "x", {"Praas-Pid": "on-y"})
    assert (got, answer) == (200, b"x"), (got, answer)


def test_nodes_pressure(s):
    """A node that is nearly full swaps out what has waited for longest, as soon as it counts as idle."""
    make_app(s, memory=60 * MIB)
    for i in range(3):
        create(s, f"p{i}", node="x")
        time.sleep(0.3)
    s.await_state("a", "p0", "SWAPPED")  # 180 of 200 MiB is the limit of 90 percent, 120 of 85
    time.sleep(1.5)
    assert [s.state("a", f"p{i}") for i in (1, 2)] == ["IDLE", "IDLE"]
    assert nodes_of(s)["x"]["memory_used_bytes"] == 120 * MIB


def test_nodes_few_calls(s):
    """Who has next to nothing to do is swapped out though it is called now and then; who works is not."""
    make_app(s)
    create(s, "slow", node="x")
    create(s, "busy", node="x")
    over = threading.Event()

    def work():
        while not over.is_set():
            s.ask("POST", f"{APP}/invoke/echo", "x", {"Praas-Pid": "busy"})
            time.sleep(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    end, view = time.monotonic() + 30, {"epoch": 1, "state": "ACTIVE"}
    while view["epoch"] == 1 and view["state"] != "SWAPPED" and time.monotonic() < end:
        s.ask("POST", f"{APP}/invoke/echo", "x", {"Praas-Pid": "slow"})
        time.sleep(0.7)  # 3 calls in 2 s; the limit is 5
        view = s.json("GET", f"{P}/slow", expect=200)
    over.set()
    worker.join()
    assert view["epoch"] > 1 or view["state"] == "SWAPPED", view
    assert s.json("GET", f"{P}/busy", expect=200)["epoch"] == 1


def test_nodes_shared_memory(s):
    """Shared memory is told of on its own node alone; clients elsewhere come by the network."""
    make_app(s)
    x, y = create(s, "on-x", node="x"), create(s, "on-y", node="y")
    assert schemes(x) == schemes(y) == {"tls"}, (x["endpoints"], y["endpoints"])
    for host, pid, transport in (("x", "on-x", "shm"), ("x", "on-y", "tls"), ("y", "on-y", "shm"), ("y", "on-x", "tls")):
        command = HOSTS[host].command(PRAAS, "invoke", "a", "echo", "-p", pid, "-d", "hello", "--timing", "--json",
                                      "--url", s.url, "--token", s.token)
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, (command, done.stderr)
        asked = HOSTS[host].run("curl", "-s", "-H", f"Authorization: Bearer {s.token}", f"{s.url}{P}/{pid}")
        assert (transport == "shm") == ("shm" in schemes(json.loads(asked))), (host, pid, asked)
        forced = subprocess.run([*command, "--transport", "shm"], capture_output=True, text=True, timeout=30, check=False)
        assert (forced.returncode == 0) == (transport == "shm"), (host, pid, forced.stderr)


def test_nodes_command(s):
    """The same by the command line, with its exit codes."""
    def praas(*words, code=0):
        done = subprocess.run([PRAAS, *words, "--url", s.url, "--token", s.token], capture_output=True, text=True,
                              timeout=30, check=False)
        assert done.returncode == code, (words, done.returncode, done.stderr)
        return done.stdout + done.stderr

    make_app(s)
    praas("process", "create", "a", "--pid", "one", "--node", "y")
    assert [(p["pid"], p["node"]) for p in json.loads(praas("ps", "a", "--json"))] == [("one", "y")]
    assert " y " in praas("ps", "a").splitlines()[1]
    assert "no node" in praas("process", "create", "a", "--node", "z", code=4)
    assert "DRAINED" in praas("node", "drain", "x")
    praas("process", "create", "a", "--node", "x", code=1)
    rows = praas("node", "ls").splitlines()
    assert [row.split()[:4] for row in rows[1:]] == [["x", "DRAINED", HOSTS["x"].address, "0"],
                                                     ["y", "READY", HOSTS["y"].address, "1"]], rows
    praas("node", "drain", "z", code=4)
    assert "READY" in praas("node", "resume", "x")
    for pid in ("2", "3", "4"):
        praas("process", "create", "a", "--pid", pid, "--node", "x")
    assert "no room" in praas("process", "create", "a", "--node", "x", code=6)


def test_nodes_messages(s):
    """From node to node as on one: in order, once, also to who rests and wakes on another; and calls."""
    p = Processes(s, [], "worker", **SMALL)
    for name, n in (("a", "x"), ("b", "y"), ("c", "y")):
        p.numbers[name] = create(s, name, node=n)["number"]
    p.send("a", "b", 1, 500)
    p.send("c", "b", 1, 100)
    p.await_log("b", "a", numbers(1, 500))
    p.await_log("b", "c", numbers(1, 100))
    p.rest("b")
    p.send("a", "b", 501, 500)
    assert create(s, "b", 200, node="x")["node"] == "x"
    p.send("c", "b", 101, 100)
    p.await_log("b", "a", numbers(1, 1000))
    p.await_log("b", "c", numbers(1, 200))
    assert calls(p, "a", "c", 16, "echo", "over") == 16 * [("0", "over")]


def trouble_between(s, trouble, heal):
    """Messages and calls from x to y under trouble: each message once and in order, each call with an answer."""
    p = Processes(s, [], "worker", **SMALL)
    for name, n in (("a", "x"), ("b", "y"), ("c", "x")):
        p.numbers[name] = create(s, name, node=n)["number"]
    answers = []

    def messages():
        for first in range(1, 601, 20):
            p.send("a", "b", first, 20)
            time.sleep(0.05)

    def call():
        for _ in range(6):
            began = time.monotonic()
            got, _, _ = s.ask("POST", f"{APP}/invoke/calls", f"{p.numbers['b']} 1 echo x",
                              {"Praas-Pid": "c", "Praas-Deadline-Ms": "3000"})
            answers.append((got, time.monotonic() - began))

    beside(trouble, messages, call)
    heal()
    p.await_log("b", "a", numbers(1, 600))
    assert all(got in (200, 504, 422, 502) and took < 6 for got, took in answers), answers
    assert calls(p, "c", "b", 1, "echo", "after") == [("0", "after")]


def test_nodes_stages(s):
    """Pipelines from node to node while connections break, and after their second process woke on the first one's node:
    each runs once, and its caller is told."""
    p = Processes(s, [], "worker", **SMALL)
    for name, n in (("a", "x"), ("b", "y")):
        p.numbers[name] = create(s, name, node=n)["number"]
    answers = []

    def caller():
        for _ in range(60):
            got, _, answer = s.ask("POST", f"{APP}/invoke/to_count", "x", {"Praas-Pid": "a", "Praas-Deadline-Ms": "100000"})
            assert got == 200, (got, answer)
            answers.append(int.from_bytes(answer, "little"))
            time.sleep(0.02)

    def trouble():
        HOSTS["y"].reset(200, HOSTS["x"])
        time.sleep(0.05)
        HOSTS["y"].heal()
        time.sleep(0.25)

    beside(trouble, caller, caller)
    HOSTS["y"].heal()
    assert sorted(answers) == list(range(1, 121)), (len(answers), len(set(answers)))
    p.rest("b")
    assert create(s, "b", 200, node="x")["node"] == "x"
    caller()
    assert sorted(answers) == list(range(1, 181)), (len(answers), len(set(answers)))


def test_nodes_loss(s):
    """Five of a hundred packets are lost."""
    def trouble():
        HOSTS["y"].lose(5, HOSTS["x"])
        time.sleep(0.2)

    trouble_between(s, trouble, HOSTS["y"].heal)


def test_nodes_partition(s):
    """Now nothing passes, now nothing in one direction, now all."""
    turns = [(True, True), (True, False), (False, True)]

    def trouble():
        to, back = turns[0]
        turns.append(turns.pop(0))
        HOSTS["y"].cut(HOSTS["x"], to, back)
        time.sleep(0.7)
        HOSTS["y"].heal()
        time.sleep(0.5)

    trouble_between(s, trouble, HOSTS["y"].heal)


def test_nodes_reset(s):
    """Connections are reset again and again."""
    def trouble():
        HOSTS["y"].reset(200, HOSTS["x"])
        time.sleep(0.05)
        HOSTS["y"].heal()
        time.sleep(0.25)

    trouble_between(s, trouble, HOSTS["y"].heal)


def test_nodes_slow(s):
    """A thin line, and a receiver that is stopped meanwhile."""
    def trouble():
        HOSTS["x"].slow(256)
        pid = s.json("GET", f"{P}/b", expect=200).get("os_pid")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.3)

    trouble_between(s, trouble, HOSTS["x"].heal)


def test_nodes_gone(s):
    """A host vanishes, without a word, under calls that have no deadline: they end within 20 s, and say why."""
    make_app(s, isolation="worker")
    callers = {}
    for function, count in (("echo", "10000000"), ("hang", "2")):  # the next one goes to nobody; it has arrived
        create(s, function, node="x")
        callers[function] = subprocess.Popen([PRAAS, "invoke", "a", function, "-p", function, "-d", "x", "-n", count, "--url",
                                              s.url, "--token", s.token], stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    HOSTS["x"].cut()
    began = time.monotonic()
    try:
        for function, caller in callers.items():
            _, why = caller.communicate(timeout=40)
            took = time.monotonic() - began
            assert caller.returncode == 1 and "timed out" in why, (function, caller.returncode, why)
            assert 15 < took < 25, (function, took)
    finally:
        for caller in callers.values():
            caller.kill()
        HOSTS["x"].heal()


def test_nodes_unknown_netns(s):
    """A service whose node is not there says so and does not begin; a node that is said wrongly is wrong usage."""
    for words, code, why in ((["--node", "x,netns=/proc/1/cmdline,listen=10.77.0.1"], 1, "network namespace"),
                             (["--node", "x,netns=no-such,listen=10.77.0.1"], 1, "network namespace"),
                             (["--node", "x,memory=0"], 2, "without memory"),
                             (["--node", "x", "--node", "x"], 2, "of that name"),
                             (["--placement", "best"], 2, "neighbours, spread or consolidate")):
        data = os.path.join(s.dir, "other")
        done = subprocess.run([s.program, "--data", data, "--controller", s.controller, *words], capture_output=True,
                              text=True, timeout=20, check=False)
        assert done.returncode == code and why in done.stderr, (words, done.returncode, done.stderr)


CHAOS = [test_nodes_loss, test_nodes_partition, test_nodes_reset, test_nodes_slow]
PLAIN = [test_nodes_where, test_nodes_full, test_nodes_drained, test_nodes_restart, test_nodes_move, test_nodes_move_restart,
         test_nodes_shared_memory, test_nodes_command, test_nodes_messages, test_nodes_stages, test_nodes_unknown_netns, *CHAOS, test_nodes_gone]

if __name__ == "__main__":
    try:
        HOSTS = net.network(["x", "y"])
    except net.Unavailable as e:
        print("SKIPPED:", e)
        sys.exit(77)
    both = service(node("x", memory="200M"), node("y", memory="400M"))
    failed = run(PLAIN, *both, ends=False)
    failed += run([test_nodes_pressure], *both, "--pressure", "85", "--idle-seconds", "1", ends=False)
    failed += run([test_nodes_few_calls], *both, "--idle-swap-seconds", "2", "--idle-calls", "5", ends=False)
    sys.exit(1 if failed else 0)
