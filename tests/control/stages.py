# SPDX-License-Identifier: Apache-2.0
"""Pipelines that go on in another process, with the real programs, by shared memory and by tcp: processes that rest, drain,
are killed and deleted meanwhile. Each call runs once, and its caller is told once, or told where it failed.

usage: stages.py CONTROL CONTROLLER FUNCTIONS shm|tcp
"""
import json
import os
import random
import signal
import struct
import sys
import threading
import time

from peers import APP, P, Processes, beside
from service import await_gone, run

WAY = sys.argv[4]
PATIENCE = 60


def begin(s, names, isolation="worker", **app):
    """Each on a node of its own where they are to talk by tcp."""
    p = Processes(s, [], isolation, **app)
    for name in names:
        node = {"node": f"n{name}"} if WAY == "tcp" else {}
        p.numbers[name] = s.json("POST", P, {"pid": name, **node}, 201)["number"]
    return p


def ask(p, name, fn, text="", **headers):
    """(status, body)"""
    got, _, answer = p.s.ask("POST", f"{APP}/invoke/{fn}", text, {"Praas-Pid": name, "Praas-Key": "k",
                                                                  "Praas-Deadline-Ms": "100000", **headers})
    return got, answer


def error(answer):
    return json.loads(answer)["error"]["message"]


def failed(p, name, fn, status, code, why, text=""):
    got, answer = ask(p, name, fn, text)
    assert got == status and json.loads(answer)["error"]["code"] == code and why in error(answer), (got, answer)


def number(answer):
    status, data = answer
    assert status == 200 and len(data) == 8, answer
    return struct.unpack("<Q", data)[0]


def later(p, *call):
    """It runs beside us; the list has its answer when it has ended."""
    answers = []
    t = threading.Thread(target=lambda: answers.append(ask(p, *call)))
    t.start()
    return t, answers


def os_pid(s, name):
    return s.json("GET", f"{P}/{name}", expect=200)["os_pid"]


def await_runs(p, name):
    """until_told() is under way there."""
    end = time.monotonic() + PATIENCE
    while (got := p.s.ask("GET", f"{P}/{name}/messages/runs?wait_ms=5000")[0]) != 200:
        assert got == 404 and time.monotonic() < end, got


def tell(p, name):
    got, _, answer = p.s.ask("POST", f"{P}/{name}/messages/ended", "x")
    assert got in (200, 201, 202, 204), (got, answer)


def counted(s):
    """What count() of b has come to."""
    got, _, data = s.ask("GET", f"{P}/b/state/k")
    assert got == 200, (got, data)
    return struct.unpack("<Q", data)[0]


def queued(s, name):
    """How many wait there. A checkpoint brings the figures."""
    s.json("POST", f"{P}/{name}/checkpoint", {}, 200)
    return s.json("GET", f"{P}/{name}", expect=200).get("metrics", {}).get("queued", 0)


def await_queued(s, name, wanted):
    end = time.monotonic() + PATIENCE
    while (got := queued(s, name)) != wanted:
        assert time.monotonic() < end, (got, wanted)
        time.sleep(0.02)


def ran_no_more(s, name):
    return s.ask("GET", f"{P}/{name}/messages/runs?wait_ms=300")[0] == 404


def there(s, isolation):
    p = begin(s, "abc", isolation)
    big = b"x" * 300000
    assert ask(p, "a", "to_echo", "hello") == (200, b"hello")
    assert ask(p, "a", "to_echo", big) == (200, big)
    assert ask(p, "a", "to_echo", "") == (200, b"")
    assert ask(p, "a", "to_far", "far") == (200, b"far")
    assert [number(ask(p, "a", "to_count")) for _ in range(3)] == [1, 2, 3]
    assert number(ask(p, "b", "count")) == 4
    assert ask(p, "b", "to_echo", "here") == (200, b"here")  # it names the process itself
    p.rest("b")
    assert ask(p, "a", "to_echo", "woken") == (200, b"woken")
    assert s.state("a", "b") == "ACTIVE"
    p.rest("a")
    assert number(ask(p, "a", "to_count")) == 5
    failed(p, "a", "to_nobody", 404, "not_found", "stage echo in process nobody: there is no such process")
    s.json("POST", P, {"pid": "nobody"}, 201)
    assert ask(p, "a", "to_nobody", "now") == (200, b"now")
    s.json("DELETE", f"{P}/c", expect=204)
    end = time.monotonic() + PATIENCE
    while True:  # b is told that c is gone by its list, or when it asks for the way
        got, answer = ask(p, "a", "to_far", "far")
        if got != 200 or time.monotonic() > end:
            break
    assert got == 404 and error(answer) == \
        "stage to_echo_c in process b: stage echo in process c: there is no such process", (got, answer)


def test_stages_worker(s):
    there(s, "worker")


def test_stages_inline(s):
    there(s, "inline")


def test_stages_crash(s):
    """What fails there says so here, with the name of the stage; the rest goes on."""
    p = begin(s, "ab")
    failed(p, "a", "to_crash", 502, "crashed", "stage crash in process b: ")
    assert ask(p, "a", "to_echo", "still") == (200, b"still")


def test_stages_first_rests(s):
    """The first process is swapped out while the second works: its pipeline goes on in its next epoch, and runs once. A
    caller whose connection ends with the process is told that it is not known (502)."""
    p = begin(s, "ab")
    assert number(ask(p, "a", "to_count")) == 1
    t, answers = later(p, "a", "to_until")
    await_runs(p, "b")
    p.rest("a")
    tell(p, "b")
    t.join()
    assert answers[0] == (200, b"") or answers[0][0] == 502, answers
    s.json("POST", f"{P}/a/swap-in", {}, 200)
    await_queued(s, "a", 0)
    assert ran_no_more(s, "b")
    # Twice, with a caller who may have gone.
    t, answers = later(p, "a", "to_until")
    await_runs(p, "b")
    for _ in range(2):
        p.rest("a")
        s.json("POST", f"{P}/a/swap-in", {}, 200)
    tell(p, "b")
    t.join()
    assert answers[0][0] in (200, 502, 503), answers
    await_queued(s, "a", 0)
    assert ran_no_more(s, "b")
    assert ask(p, "a", "to_echo", "after") == (200, b"after")


def test_stages_meet(s):
    """Inputs of several processes meet in one, which rests while they wait, and so do they: what comes of it is that of all,
    and each counts once."""
    p = begin(s, "abc")
    for resting in ("b", "a", "ab", "ba"):
        t, answers = later(p, "a", "to_gather", "of a")
        await_queued(s, "b", 1)
        await_queued(s, "a", 1)
        for name in resting:
            p.rest(name)
        assert ask(p, "c", "to_gather", "of c") == (200, b"of a")
        t.join()
        assert answers[0] == (200, b"of a") or ("a" in resting and answers[0][0] == 502), (resting, answers)
        s.json("POST", f"{P}/a/swap-in", {}, 200)
        for name in "ab":
            await_queued(s, name, 0)


def test_stages_second_killed(s):
    """Whether it ran is not known, and said; one that was deleted is no more. Who ends by request may still tell what its function
    made of that: until_told() returns 2 when nobody tells it any more."""
    p = begin(s, "ab")
    ended = (422, "stage until_told in process b: it ended with status 2")
    for by_request, kill in ((False, lambda: os.kill(os_pid(s, "b"), signal.SIGKILL)),
                             (True, lambda: s.json("POST", f"{P}/b/kill", {}, 200))):
        assert ask(p, "a", "to_echo", "alive") == (200, b"alive")
        t, answers = later(p, "a", "to_until")
        await_runs(p, "b")
        kill()
        t.join()
        got, answer = answers[0]
        lost = (502, "stage until_told in process b: its epoch is over; it may have run")
        assert (got, error(answer)) in ((lost, ended) if by_request else (lost,)), answers
    assert ask(p, "a", "to_echo", "alive") == (200, b"alive")
    t, answers = later(p, "a", "to_until")
    await_runs(p, "b")
    s.json("DELETE", f"{P}/b", expect=204)
    t.join()
    got, answer = answers[0]
    assert (got, error(answer)) in ((404, "stage until_told in process b: there is no such process"), ended), answers


def test_stages_deadline(s):
    """It goes along, and ends the function there."""
    p = begin(s, "ab", resources={"concurrency": 1})
    began = time.monotonic()
    got, answer = ask(p, "a", "to_hang", **{"Praas-Deadline-Ms": "700"})
    assert got == 504, (got, answer)
    assert 0.6 < time.monotonic() - began < 20
    assert ask(p, "b", "echo", "free again") == (200, b"free again")


def test_stages_under_way(s):
    """Both processes are swapped out and saved without a pause: each call that is answered has run once, and no other has."""
    p = begin(s, "ab")
    results, unknown, chance = [], [], random.Random(11)

    def caller():
        for _ in range(40):
            got, answer = ask(p, "a", "to_count")
            if got == 200:
                results.append(struct.unpack("<Q", answer)[0])
            elif got == 502:  # a rested under it
                unknown.append(answer)
            else:  # the first function: nothing has happened
                assert got == 503 and json.loads(answer)["error"]["code"] in ("interrupted", "draining", "moved"), answer

    def trouble():
        s.ask("POST", f"{P}/{chance.choice('ab')}/{chance.choice(['swap-out', 'checkpoint'])}", "{}")
        time.sleep(0.05 + chance.random() * 0.1)

    beside(trouble, caller, caller, caller)
    s.json("POST", f"{P}/a/swap-in", {}, 200)
    await_queued(s, "a", 0)
    assert len(set(results)) == len(results) > 30, (len(results), len(set(results)), unknown[:3])
    assert len(results) <= counted(s) <= len(results) + len(unknown), (len(results), len(unknown), counted(s))


def test_stages_circle(s):
    """a goes on in b, which calls a, which goes on in b: told, by name; and all are free again."""
    p = begin(s, "ab")
    a, b = p.numbers["a"], p.numbers["b"]
    began = time.monotonic()
    failed(p, "a", "to_ring", 422, "function_error",
           f"it would wait for itself: to_ring (pid {a}) -> ring (pid {b}) -> to_ring (pid {a})", f"{a} to_ring x")
    # one waits within a for what goes on in b, which calls the one that waits
    failed(p, "a", "ring", 422, "function_error",
           f"it would wait for itself: ring (pid {a}) -> to_ring (pid {a}) -> ring (pid {b}) -> ring (pid {a})",
           f"{a} to_ring {a} ring x")
    assert time.monotonic() - began < 30
    for name in "ab":
        assert ask(p, name, "ring", "") == (200, b"end")
    assert ask(p, "a", "to_ring", "x") == (200, b"end")


def test_stages_gate(s):
    """With a log that is waited for: a stage that was not sent when the first process was killed is sent by its next epoch."""
    p = begin(s, "ab", durability="gate")
    assert number(ask(p, "b", "count")) == 1
    stopped, first = os_pid(s, "b"), os_pid(s, "a")
    os.kill(stopped, signal.SIGSTOP)
    try:
        t, answers = later(p, "a", "to_count")
        time.sleep(1)
        os.kill(first, signal.SIGKILL)
        await_gone(first)
    finally:
        os.kill(stopped, signal.SIGCONT)
    t.join()
    s.json("POST", f"{P}/a/swap-in", {}, 200)
    got, answer = answers[0]
    assert got == 502 or number(answers[0]) == 2, answers  # lost with its process, or asked for again
    end = time.monotonic() + PATIENCE
    while (now := counted(s)) != 2:
        assert now == 1 and time.monotonic() < end, now
        time.sleep(0.1)
    time.sleep(1)
    assert counted(s) == 2


if __name__ == "__main__":
    nodes = [w for i, name in enumerate("abc", 1) for w in ("--node", f"n{name},listen=127.0.0.{i}")]
    run([test_stages_worker, test_stages_inline, test_stages_crash, test_stages_first_rests, test_stages_meet,
         test_stages_second_killed, test_stages_deadline, test_stages_under_way, test_stages_circle, test_stages_gate],
        *(nodes if WAY == "tcp" else []))
