# SPDX-License-Identifier: Apache-2.0
"""The control service is killed before each call that changes something, in each operation, and
started again: what was acknowledged is so, what was not is done or undone whole, nothing is lost.

usage: crash.py CONTROL CONTROLLER PRELOAD [EXAMPLES]; with EXAMPLES on the real programs. PRAAS_CRASH_ONLY: names
of operations, with commas between; PRAAS_CRASH_STEP: every so manieth step.
"""
import http.client
import json
import os
import shutil
import signal
import sys
import time

from service import Service, alive

PRELOAD = sys.argv[3]
# A name of its own: every controller that runs by it was started here, whatever runs beside.
CONTROLLER = f"{os.path.realpath(sys.argv[2])}.crash{os.getpid()}"
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
        return
    end = time.monotonic() + 30  # one that goes back to the code before is between two epochs
    while (got := s.json("POST", f"{P}/{pid}/swap-in", expect=200))["state"] != "ACTIVE":
        assert time.monotonic() < end, got


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


def message_first(s):
    assert s.ask("POST", P + "/x/messages/box", b"m")[0] == 204


def after_receive(s, status):
    """Who was not answered finds it there; who was has it, and may find it once more."""
    got = s.ask("GET", P + "/x/messages/box?wait_ms=5000" if status != 200 else P + "/x/messages/box")
    assert got[0] == 200 and got[2] == b"m" or status == 200 and got[0] == 404, (status, got)
    assert s.ask("GET", P + "/x/messages/box")[0] == 404
    after_swap(s, status)


def code_of(folder):
    """Name → content. (The double of the controller writes into its folder that it was started.)"""
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder) if name != "starts"}


def version(s, name, **change):
    """A folder of code that is new."""
    path = os.path.join(s.dir, name)
    shutil.copytree(os.path.join(EXAMPLES, "counter") if EXAMPLES else s.code, path, dirs_exist_ok=True)
    if not EXAMPLES:
        shutil.copy(PRELOAD, os.path.join(path, "libecho.so"))  # a small one of this machine
    with open(os.path.join(path, "praas.json"), "r+") as f:
        manifest = json.load(f)
        for function in manifest["functions"].values():
            function.update(change)
        f.seek(0)
        json.dump(manifest, f, indent=len(name))  # they differ
        f.truncate()
    return path


def deploy_first(s):
    s.json("PUT", APP, {"code": version(s, "one")}, 200)
    version(s, "two")
    version(s, "wrong", symbol="no_such_symbol")


def code_root(s):
    """Of the only application."""
    root = os.path.join(s.data, "code")
    return os.path.join(root, *os.listdir(root))


def left(s, revision):
    """Of copies of the code: the application's, the one before, and what the process runs with."""
    kept = {revision, revision - 1, s.json("GET", P + "/x", expect=200)["revision"]}
    assert {int(name) for name in os.listdir(code_root(s))} <= kept, (os.listdir(code_root(s)), kept)


def await_revision(s, revisions):
    """The process comes to run with one of them by itself, as soon as somebody needs it."""
    end = time.monotonic() + 30
    while (p := s.json("GET", P + "/x", expect=200))["revision"] not in revisions:
        assert time.monotonic() < end, p
        if p["state"] == "SWAPPED":
            s.json("POST", P + "/x/swap-in", expect=200)
        time.sleep(0.02)


def deploy_again(s):
    got = s.json("PUT", APP, {"code": os.path.join(s.dir, "two")}, 200)["app"]
    assert s.json("GET", P + "/x", expect=200)["revision"] == got["revision"], got
    root = code_root(s)
    assert code_of(os.path.join(root, str(got["revision"]))) == code_of(os.path.join(s.dir, "two"))
    assert len(os.listdir(root)) == 2, os.listdir(root)
    whole(s, "x", 6)


def after_deploy(s, status):
    """It is one of the two, whole, and nothing of another is left; what was acknowledged is the new one. Asked
    again, all have that."""
    app = s.json("GET", APP, expect=200)
    name, revision = os.path.basename(app["code"]), app["revision"]
    assert (name, revision) in (("one", 1), ("two", 2)), app
    assert name == "two" or status != 200, "it was acknowledged"
    left(s, revision)
    whole(s, "x", 5)
    await_revision(s, (1, revision))
    assert code_of(os.path.join(code_root(s), str(revision))) == code_of(app["code"])
    deploy_again(s)


def after_wrong(s, status):
    """What does not start is never the application's."""
    app = s.json("GET", APP, expect=200)
    assert status in (None, 409) and (os.path.basename(app["code"]), app["revision"]) == ("one", 1), (status, app)
    left(s, 1)
    whole(s, "x", 5)
    await_revision(s, (1,))
    deploy_again(s)


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
    "deploy": (deploy_first, "PUT", APP, '{"code":"DIR/two"}', after_deploy),
    "delete": (None, "DELETE", P + "/x", None, after_delete),
    "delete a swapped one": (swap_out_first, "DELETE", P + "/x", None, after_delete),
}
STEPS = {"deploy": (2 if EXAMPLES else 6) * STEP}  # it has many
if EXAMPLES:  # the doubles load no library, and keep messages in the service
    OPERATIONS["deploy of what does not start"] = (deploy_first, "PUT", APP, '{"code":"DIR/wrong"}', after_wrong)
    STEPS |= {"receive": 1, "deploy of what does not start": 4 * STEP}
    if STEP == 3:  # that nothing of it returns is worth every step
        STEPS |= {"delete": 1, "delete a swapped one": 1}
    OPERATIONS["receive"] = (message_first, "GET", P + "/x/messages/box", None, after_receive)
OPERATIONS = {name: o for name, o in OPERATIONS.items() if name in os.environ.get("PRAAS_CRASH_ONLY", name).split(",")}


def controllers():
    """OS processes that run the controller of this test."""
    found = set()
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and os.readlink(f"/proc/{pid}/exe") == CONTROLLER:
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
    s = Service(sys.argv[1], CONTROLLER, "--stop-seconds", "20", "--rejoin-seconds", REJOIN_S)
    try:
        armed = os.path.join(s.dir, "armed")
        s.start(LD_PRELOAD=PRELOAD, PRAAS_CRASH_AT=str(at), PRAAS_CRASH_ARMED=armed)
        prepare(s)
        if first:
            first(s)
        s.process.send_signal(signal.SIGUSR1)
        while not os.path.exists(armed):  # else its threads may be quicker than the signal
            time.sleep(0.001)
        try:
            status = s.ask(method, path, body and body.replace("DIR", s.dir))[0]
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
    os.link(os.path.realpath(sys.argv[2]), CONTROLLER)
    try:
        return operations()
    finally:
        os.unlink(CONTROLLER)


def operations():
    failed = 0
    for name in OPERATIONS:
        began, at, rounds = time.monotonic(), 1, 0
        try:
            while at < STEPS_MAX and one_round(name, at):
                at += STEPS.get(name, STEP)
                rounds += 1
            # A message on its way: to the process, whose answer may find it awake, and to who asked.
            assert rounds >= (2 if name == "receive" else 3), f"only {rounds} steps were found"
            print(f"ok {name}: killed at {rounds} steps, {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next operation is tried anyway
            failed += 1
            print(f"FAILED {name}, killed at step {at}: {type(e).__name__}: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
