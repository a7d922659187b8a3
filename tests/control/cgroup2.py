# SPDX-License-Identifier: Apache-2.0
"""Limits by control groups of version 2: what is written where, what they do, and that nothing of them stays.

usage: cgroup2.py CONTROL CONTROLLER FUNCTIONS
Needs /sys/fs/cgroup of version 2 with its controllers: tests/control/cgroup2 brings it in a machine of its own.
"""
import glob
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from service import Service, alive  # noqa: E402

ROOT = "/sys/fs/cgroup"
MEMORY = 256 << 20


def text(path):
    with open(path) as f:
        return f.read().strip()


def group_of(os_pid):
    return ROOT + text(f"/proc/{os_pid}/cgroup").split("::", 1)[1]


def groups(s):
    """Groups of controllers below the service's own, at any depth."""
    return [g for g in glob.glob(ROOT + "/**/", recursive=True) if "praas" in g]


def invoke(s, fn, body=b"", pid="x", deadline_ms=20000):
    return s.ask("POST", f"/v1/apps/a/invoke/{fn}", body,
                 {"Praas-Pid": pid, "Praas-Deadline-Ms": str(deadline_ms)})


def create(s, functions):
    s.json("POST", "/v1/apps", {"name": "a", "code": functions, "isolation": "worker", "allow_weak_sandbox": True,
                                "resources": {"vcpu_milli": 300, "memory_bytes": MEMORY}}, 201)
    return s.json("POST", "/v1/apps/a/processes", {"pid": "x"}, 201)


def test_limits_are_written(s, process):
    """Controller in a leaf, workers in leaves beside it, limits of all above them."""
    leaf = group_of(process["os_pid"])
    top = os.path.dirname(leaf)
    quota, period = map(int, text(top + "/cpu.max").split())
    assert quota * 1000 == 300 * period, (quota, period)
    assert 0 < int(text(top + "/pids.max")) < 100000
    assert {"cpu", "memory", "pids"} <= set(text(top + "/cgroup.subtree_control").split())
    workers = [g for g in glob.glob(top + "/*/") if os.path.realpath(g) != leaf and text(g + "cgroup.procs")]
    assert workers, os.listdir(top)
    shown = s.json("GET", "/v1/apps/a", expect=200)["resources"]["tasks_max"]
    for w in workers:
        assert int(text(w + "pids.max")) == shown > 0, (w, shown)
        assert int(text(w + "memory.max")) <= MEMORY, text(w + "memory.max")
        assert text(w + "memory.swap.max" if os.path.exists(w + "memory.swap.max") else w + "memory.max") != "max"
    return top


def test_cpu_is_a_limit(s, top):
    """0.3 vCPU, however much a function wants."""
    before, began = usage(top), time.monotonic()
    status, _, data = invoke(s, "hang", deadline_ms=6000)
    assert status == 504, (status, data)
    took = time.monotonic() - began
    share = (usage(top) - before) / 1e6 / took
    assert 0.01 < share < 0.5, share  # the machine below may be busy, too
    assert int(dict(x.split() for x in text(top + "/cpu.stat").splitlines())["nr_throttled"]) > 0


def usage(top):
    return int(dict(x.split() for x in text(top + "/cpu.stat").splitlines())["usage_usec"])


def test_memory_is_a_limit(s):
    """A function that takes too much ends alone, and it is said."""
    status, headers, data = invoke(s, "oom", deadline_ms=60000)
    assert status >= 500 and b"memory" in data.lower(), (status, data)
    status, _, data = invoke(s, "echo", b"still there", deadline_ms=60000)
    assert (status, data) == (200, b"still there"), (status, data)


def test_nothing_stays(s, process, top):
    """Not after a controller that was killed, nor after a deletion, nor after the service."""
    os.kill(process["os_pid"], signal.SIGKILL)
    while alive(process["os_pid"]):
        time.sleep(0.2)
    time.sleep(2)  # its workers are gone too
    status, _, data = invoke(s, "echo", b"again", deadline_ms=60000)
    assert (status, data) == (200, b"again"), (status, data)
    assert not os.path.exists(top), os.listdir(top)  # at the latest with the next one's start
    now = s.json("GET", "/v1/apps/a/processes/x")["os_pid"]
    top = os.path.dirname(group_of(now))
    s.json("DELETE", "/v1/apps/a/processes/x", None, 204)
    limit = time.monotonic() + 60
    while (os.path.exists(top) or alive(now)) and time.monotonic() < limit:
        time.sleep(0.2)
    assert not os.path.exists(top)
    assert s.stop() == 0
    assert not groups(s), groups(s)


def main():
    if "cpu" not in text(ROOT + "/cgroup.controllers").split():
        print("SKIPPED: no control groups of version 2 with a CPU controller")
        sys.exit(77)
    control, controller, functions = map(os.path.abspath, sys.argv[1:4])
    s = Service(control, controller).start()
    try:
        process = create(s, functions)
        top = test_limits_are_written(s, process)
        print("ok limits are written", flush=True)
        test_cpu_is_a_limit(s, top)
        print("ok cpu is a limit", flush=True)
        test_memory_is_a_limit(s)
        print("ok memory is a limit", flush=True)
        test_nothing_stays(s, process, top)
        print("ok nothing stays", flush=True)
    finally:
        s.cleanup()


if __name__ == "__main__":
    main()
