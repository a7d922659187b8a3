# SPDX-License-Identifier: Apache-2.0
"""The control service is killed before each call that changes something, in each operation, and
started again: what was acknowledged is so, what was not is done or undone whole, nothing is lost.

usage: crash.py CONTROL CONTROLLER PRELOAD [EXAMPLES]; with EXAMPLES on the real programs.
"""
import http.client
import json
import os
import signal
import sys
import time

from service import Service, alive

PRELOAD = sys.argv[3]
EXAMPLES = os.path.abspath(sys.argv[4]) if len(sys.argv) > 4 else None
APP = "/v1/apps/a"
P = APP + "/processes"
# Every step on the doubles; on the real programs as many as fit in the time of a test.
STEP = int(os.environ.get("PRAAS_CRASH_STEP", 3 if EXAMPLES else 1))
REJOIN_S = "3" if EXAMPLES else "1"  # a real controller tries again after 2 s at the latest
STEPS_MAX = 400


def add(s, pid, amount):
    """What the counter of a process is now; None: there is no such process."""
    end = time.monotonic() + 30
    while True:
        status, _, data = s.ask("POST", APP + "/invoke/add", str(amount).encode(),
                                {"Praas-Pid": pid})
        if status == 404:
            return None
        if status == 200:
            return int(data)
        # A process that comes back after the restart may be between two epochs.
        assert status in (409, 502, 503, 504) and time.monotonic() < end, (status, data)
        time.sleep(0.05)


def prepare(s):
    code = os.path.join(EXAMPLES, "counter") if EXAMPLES else s.code
    s.json("POST", "/v1/apps", {"name": "a", "code": code, "isolation": "inline",
                                "allow_weak_sandbox": True}, 201)
    s.json("POST", P, {"pid": "x"}, 201)
    if EXAMPLES:
        assert add(s, "x", 5) == 5


def store_folders(s):
    root = os.path.join(s.data, "store")
    return [os.path.join(a, b) for a in os.listdir(root) for b in os.listdir(os.path.join(root, a))]


def whole(s, pid, value):
    """The process works, with all that it had."""
    if EXAMPLES:
        assert add(s, pid, 1) == value + 1, pid
    else:
        assert s.json("POST", f"{P}/{pid}/swap-in", expect=200)["state"] == "ACTIVE"


def await_gone_or_whole(s, pid):
    """False: it is gone."""
    end = time.monotonic() + 30
    while True:
        status, _, data = s.ask("GET", f"{P}/{pid}")
        if status == 404 or json.loads(data)["state"] != "DELETING":
            return status != 404
        assert time.monotonic() < end, data
        time.sleep(0.02)


def after_create(s, status):
    whole(s, "x", 5)
    if status in (200, 201):
        assert s.ask("GET", P + "/y")[0] == 200
    exists = await_gone_or_whole(s, "y")
    s.json("POST", P, {"pid": "y"}, 200 if exists else 201)
    whole(s, "y", 0)


def after_delete(s, status):
    exists = await_gone_or_whole(s, "x")
    assert not (status == 204 and exists), "it was acknowledged"
    if exists:
        whole(s, "x", 5)
        s.json("DELETE", P + "/x", expect=204)
    assert store_folders(s) == [], store_folders(s)
    s.json("POST", P, {"pid": "x"}, 201)
    whole(s, "x", 0)  # nothing of the one before


def after_swap(s, status):
    whole(s, "x", 5)
    assert s.json("POST", P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    if EXAMPLES:
        assert add(s, "x", 1) == 7


def named(s):
    return [x["name"] for x in s.json("GET", P + "/x/snapshots", expect=200)["snapshots"]]


def after_name(s, status):
    assert status != 201 or named(s) == ["s"], "it was acknowledged"
    if not named(s):
        s.json("POST", P + "/x/snapshots", {"name": "s"}, 201)
    s.json("DELETE", P + "/x/snapshots/s", expect=204)
    after_swap(s, status)


def after_unname(s, status):
    assert status != 204 or named(s) == [], "it was acknowledged"
    there = named(s) != []
    assert s.ask("DELETE", P + "/x/snapshots/s")[0] == (204 if there else 404)
    assert s.json("GET", "/v1/limits", expect=200)["used"]["state_bytes"] == (256 if EXAMPLES else 10)  # the state's
    after_swap(s, status)


def after_back(s, status):
    """Either what it was then, or what it is: nothing between."""
    if EXAMPLES:
        value = add(s, "x", 1)
        assert value == 6 or (value == 16 and status != 200), (value, status)
    s.json("POST", P + "/x/rollback", {"snapshot": "s"}, 200)
    whole(s, "x", 5)


def after_fork(s, status):
    """It is there whole, or nothing of it is."""
    whole(s, "x", 5)
    exists = await_gone_or_whole(s, "y")
    assert exists or status != 201, "it was acknowledged"
    if exists:
        whole(s, "y", 5)
    assert len(store_folders(s)) == 1 + exists, store_folders(s)
    if not exists:
        s.json("POST", P + "/x/fork", {"pid": "y", "snapshot": "s"}, 201)
        whole(s, "y", 5)


def more_first(s):
    s.json("POST", P + "/x/snapshots", {"name": "s"}, 201)
    if EXAMPLES:
        assert add(s, "x", 10) == 15


def more_first_and_out(s):
    more_first(s)
    s.json("POST", P + "/x/swap-out", expect=200)


def name_first(s):
    s.json("POST", P + "/x/snapshots", {"name": "s"}, 201)
    s.json("POST", P + "/x/swap-out", expect=200)


def swap_out_first(s):
    s.json("POST", P + "/x/swap-out", expect=200)


OPERATIONS = {
    "create": (None, "POST", P, '{"pid":"y"}', after_create),
    "swap-out": (None, "POST", P + "/x/swap-out", None, after_swap),
    "checkpoint": (None, "POST", P + "/x/checkpoint", None, after_swap),
    "swap-in": (swap_out_first, "POST", P + "/x/swap-in", None, after_swap),
    "name": (None, "POST", P + "/x/snapshots", '{"name":"s"}', after_name),
    "unname": (name_first, "DELETE", P + "/x/snapshots/s", None, after_unname),
    "rollback": (more_first, "POST", P + "/x/rollback", '{"snapshot":"s"}', after_back),
    "rollback of a swapped one": (more_first_and_out, "POST", P + "/x/rollback", '{"snapshot":"s"}', after_back),
    "fork": (name_first, "POST", P + "/x/fork", '{"pid":"y","snapshot":"s"}', after_fork),
    "delete": (None, "DELETE", P + "/x", None, after_delete),
    "delete a swapped one": (swap_out_first, "DELETE", P + "/x", None, after_delete),
}


def controllers():
    """OS processes that run the controller of this build."""
    found = set()
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.argv[2]):
                found.add(int(pid))
        except OSError:
            pass
    return found


def await_none(s, before):
    """No controller is left but those that were there before. One that was started just before the
    death, and met no service since, goes on trying; the next service refuses it, and it ends."""
    for again in range(3):
        end = time.monotonic() + 1
        while left := {pid for pid in controllers() - before if alive(pid)}:
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        if not left:
            return
        s.start()
        time.sleep(0.2 if again == 0 else 2.5)
        assert s.stop() == 0
    raise AssertionError(f"controllers left: {left}")


def one_round(name, at):
    """True: the service died in the operation, and all was well afterwards."""
    first, method, path, body, after = OPERATIONS[name]
    before = controllers()
    s = Service(sys.argv[1], sys.argv[2], "--stop-seconds", "20", "--rejoin-seconds", REJOIN_S)
    try:
        s.start(LD_PRELOAD=PRELOAD, PRAAS_CRASH_AT=str(at))
        prepare(s)
        if first:
            first(s)
        s.process.send_signal(signal.SIGUSR1)
        try:
            status = s.ask(method, path, body)[0]
        except (OSError, http.client.HTTPException):
            status = None
        for _ in range(100):  # what is written after the answer
            if s.process.poll() is not None:
                break
            time.sleep(0.01)
        died = s.process.poll() is not None
        if died:
            assert s.process.returncode == -signal.SIGKILL, s.process.returncode
            s.kill()
            s.start()
            after(s, status)
            assert s.stop() == 0
            await_none(s, before)
        return died
    finally:
        s.cleanup()
        for pid in controllers() - before:
            os.kill(pid, signal.SIGKILL)


def main():
    failed = 0
    for name in OPERATIONS:
        began, at, rounds = time.monotonic(), 1, 0
        try:
            while at < STEPS_MAX and one_round(name, at):
                at += STEP
                rounds += 1
            assert rounds >= 3, f"only {rounds} steps were found"
            print(f"ok {name}: killed at {rounds} steps, {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next operation is tried anyway
            failed += 1
            print(f"FAILED {name}, killed at step {at}: {type(e).__name__}: {e}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
