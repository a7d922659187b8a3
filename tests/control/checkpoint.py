# SPDX-License-Identifier: Apache-2.0
"""Processes of an application with "durability": "checkpoint:T" are saved while they serve, without being asked; a crash
leaves what was at most T ago.

usage: checkpoint.py CONTROL CONTROLLER EXAMPLES
"""
import os
import re
import signal
import sys
import time

from service import run

EXAMPLES = os.path.abspath(sys.argv[3])
APP = "/v1/apps/a"
P = APP + "/processes"


def make(s, durability, isolation="inline", expect=201):
    return s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(EXAMPLES, "counter"), "isolation": isolation,
                                       "allow_weak_sandbox": True, "durability": durability}, expect)


def add(s, n):
    status, _, data = s.ask("POST", APP + "/invoke/add", str(n).encode(), {"Praas-Pid": "x"})
    assert status == 200, (status, data)
    return int(data)


def checkpoints(s):
    text = s.ask("GET", "/metrics")[2].decode()
    return int(float(re.search(r"^praas_checkpoints_total (\S+)$", text, re.M)[1]))


def await_more(s, than, seconds=20):
    end = time.monotonic() + seconds
    while (n := checkpoints(s)) <= than:
        assert time.monotonic() < end, n
        time.sleep(0.05)
    return n


def await_rest(s, quiet=3.5):
    """Until none was made for a while."""
    end, n, since = time.monotonic() + 30, checkpoints(s), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < end, "it never rests"
        time.sleep(0.1)
        if (now := checkpoints(s)) != n:
            n, since = now, time.monotonic()
    return n


def crash(s):
    os.kill(s.json("GET", P + "/x")["os_pid"], signal.SIGKILL)
    s.await_state("a", "x", "LOST")


def saved(s, isolation):
    assert make(s, "checkpoint:500ms", isolation)["durability"] == "checkpoint:500ms"
    s.json("POST", P, {"pid": "x"}, 201)
    assert add(s, 5) == 5
    n = await_rest(s)
    assert n >= 1, n
    crash(s)
    assert add(s, 1) == 6, "a crash lost what was saved"
    await_more(s, n)
    # One that never rests is saved too.
    end, n, value = time.monotonic() + 4, checkpoints(s), 6
    while time.monotonic() < end:
        value = add(s, 1)
    assert checkpoints(s) - n >= 2, (n, checkpoints(s))
    n = await_rest(s)
    crash(s)
    assert add(s, 1) == value + 1


def test_saved_inline(s):
    saved(s, "inline")


def test_saved_worker(s):
    saved(s, "worker")


def test_swap_is_default(s):
    assert make(s, "swap")["durability"] == "swap"
    s.json("POST", P, {"pid": "x"}, 201)
    for _ in range(5):
        add(s, 1)
        time.sleep(0.5)
    assert checkpoints(s) == 0


def test_another_service_goes_on(s):
    make(s, "checkpoint:500ms")
    s.json("POST", P, {"pid": "x"}, 201)
    add(s, 5)
    s.kill()
    s.start()
    assert s.json("GET", APP)["durability"] == "checkpoint:500ms"
    add(s, 1)
    await_more(s, 0)
    await_rest(s)
    crash(s)
    assert add(s, 1) == 7


def test_deployed_anew(s):
    make(s, "swap")
    s.json("POST", P, {"pid": "x"}, 201)
    add(s, 5)
    assert s.json("PUT", APP, {"durability": "checkpoint:1s"}, 200)["app"]["durability"] == "checkpoint:1s"
    add(s, 1)
    await_more(s, 0)
    assert s.json("PUT", APP, {"allow_weak_sandbox": True}, 200)["app"]["durability"] == "checkpoint:1s"


def test_refused(s):
    for wrong in ("", "checkpoint", "checkpoint:", "checkpoint:99ms", "checkpoint:25h", "checkpoint:-1s", "journals", 5, None):
        error = make(s, wrong, expect=400)["error"]
        assert "durability" in error["message"], error


run([test_saved_inline, test_saved_worker, test_swap_is_default, test_another_service_goes_on, test_deployed_anew,
     test_refused])
