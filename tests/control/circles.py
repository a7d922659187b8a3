# SPDX-License-Identifier: Apache-2.0
"""Functions of several processes that wait for one another in a circle, with the real programs, by shared memory and by
tcp: one of them is told so, at once and by name, and the others go on. What only looks like a circle runs to its end.

usage: circles.py CONTROL CONTROLLER FUNCTIONS shm|tcp
"""
import json
import re
import sys
import threading
import time

from peers import APP, P, Processes
from service import run

WAY = sys.argv[4]
SOON = 30  # seconds; a deadline is far beyond it
RETURNED = 35  # EDEADLK


def begin(s, names, isolation="worker"):
    """Each on a node of its own where they are to talk by tcp."""
    p = Processes(s, [], isolation)
    for i, name in enumerate(names):
        node = {"node": f"n{i}"} if WAY == "tcp" else {}
        p.numbers[name] = s.json("POST", P, {"pid": name, **node}, 201)["number"]
    return p


def ask(p, name, fn, words):
    """Words: names of processes are numbers."""
    text = " ".join(str(p.numbers.get(w, w)) for w in words.split())
    began = time.monotonic()
    got, headers, answer = p.s.ask("POST", f"{APP}/invoke/{fn}", text, {
        "Praas-Pid": name, "Praas-Key": "k", "Praas-Deadline-Ms": "100000"})
    took = time.monotonic() - began
    assert took < SOON, (took, got, answer)
    return got, answer.decode()


def circle(p, *steps):
    return "it would wait for itself: " + " -> ".join(f"{fn} (pid {p.numbers[name]})" for fn, name in steps)


def refused(p, answer, *steps):
    got, text = answer
    error = json.loads(text)["error"]
    assert got == 422 and circle(p, *steps) in error["message"], (answer, circle(p, *steps))


def counted(s, circles):
    end = time.monotonic() + SOON
    while (got := re.search(rb"\npraas_circles_total (\d+)", s.ask("GET", "/metrics")[2])) is None or int(got[1]) < circles:
        assert time.monotonic() < end, got
        time.sleep(0.1)
    assert int(got[1]) == circles, got


def works(p, *names):
    for name in names:
        for fn in ("ring", "ring2", "free", "keyed"):
            assert ask(p, name, fn, "") == (200, "end")


def test_circles_back(s):
    """A calls B, which calls A; and through a third one, and a function that is not serial."""
    p = begin(s, "abc")
    refused(p, ask(p, "a", "ring", "b ring a ring"), ("ring", "a"), ("ring", "b"), ("ring", "a"))
    refused(p, ask(p, "a", "ring", "b free a ring"), ("ring", "a"), ("free", "b"), ("ring", "a"))
    refused(p, ask(p, "a", "ring", "b ring2 c free a ring"),
            ("ring", "a"), ("ring2", "b"), ("free", "c"), ("ring", "a"))
    # it is in the middle: the first one only waits for it
    refused(p, ask(p, "a", "free", "b ring c ring2 b ring"), ("ring", "b"), ("ring2", "c"), ("ring", "b"))
    works(p, *"abc")
    counted(s, 4)
    s.kill()
    s.start()
    p.s.await_state("a", "c", "ACTIVE")
    refused(p, ask(p, "a", "ring", "b ring a ring"), ("ring", "a"), ("ring", "b"), ("ring", "a"))
    counted(s, 1)  # what was told before is another service's


def test_circles_within(s):
    """The same within a process, or with a part of the way in it, under a deadline."""
    p = begin(s, "ab")
    refused(p, ask(p, "a", "ring", "a ring"), ("ring", "a"), ("ring", "a"))
    refused(p, ask(p, "a", "ring", "a ring2 a ring"), ("ring", "a"), ("ring2", "a"), ("ring", "a"))
    counted(s, 2)
    refused(p, ask(p, "a", "ring", "a ring2 b free a ring"),
            ("ring", "a"), ("ring2", "a"), ("free", "b"), ("ring", "a"))
    works(p, *"ab")


def test_circles_keyed(s):
    """Serial per key: the same key is a circle, another one is none."""
    p = begin(s, "ab")
    refused(p, ask(p, "a", "keyed", "b keyed/k a keyed/k"), ("keyed", "a"), ("keyed", "b"), ("keyed", "a"))
    assert ask(p, "a", "keyed", "b keyed/k a keyed/other") == (200, "end")
    works(p, *"ab")


def test_circles_none(s):
    """Who can go on is left alone: other functions, others' callers in the way, who does not wait yet."""
    p = begin(s, "abc")
    assert ask(p, "a", "free", "b free a free b free a free") == (200, "end")
    assert ask(p, "a", "ring", "b ring a ring2 b ring2") == (200, "end")
    assert ask(p, "a", "ring", "later b ring first c ring") == (200, "end")
    answers = []
    callers = [threading.Thread(target=lambda n=n: answers.append(ask(p, n, "ring", "first b ring first c ring")))
               for n in "aaab"]
    # All want the same ones, in one order.
    for t in callers[:3]:
        t.start()
    for t in callers[:3]:
        t.join()
    assert answers == 3 * [(200, "end")], answers
    works(p, *"abc")


def test_circles_crossed(s):
    """Two callers, each with what the other one wants: one is told, the other one goes on."""
    p = begin(s, "ab")
    for _ in range(3):
        answers = {}

        def one(name, other):
            answers[name] = ask(p, name, "ring", f"first {other} ring")

        callers = [threading.Thread(target=one, args=pair) for pair in ("ab", "ba")]
        for t in callers:
            t.start()
        for t in callers:
            t.join()
        told = [name for name in "ab" if answers[name][0] != 200]
        assert len(told) == 1, answers
        name, other = told[0], "ba"["ab".index(told[0])]
        refused(p, answers[name], ("ring", other), ("ring", name), ("ring", other))
        assert answers[other] == (200, "end"), answers
    works(p, *"ab")


def test_circles_later(s):
    """It becomes one only when the first one waits; the call that began last is told all the same."""
    p = begin(s, "ab")
    refused(p, ask(p, "a", "ring", "later b ring a ring"), ("ring", "a"), ("ring", "b"), ("ring", "a"))
    works(p, *"ab")


def test_circles_woken(s):
    """A process that rests is woken into the circle, and one that moves or rests meanwhile is none the worse for it."""
    p = begin(s, "ab")
    p.rest("b")
    refused(p, ask(p, "a", "ring", "b ring a ring"), ("ring", "a"), ("ring", "b"), ("ring", "a"))
    p.rest("a")
    refused(p, ask(p, "a", "ring", "b ring a ring"), ("ring", "a"), ("ring", "b"), ("ring", "a"))
    works(p, *"ab")


if __name__ == "__main__":
    nodes = [w for i in range(3) for w in ("--node", f"n{i},listen=127.0.0.{i + 1}")] if WAY == "tcp" else []
    run([test_circles_back, test_circles_within, test_circles_keyed, test_circles_none, test_circles_crossed,
         test_circles_later, test_circles_woken], *nodes)
