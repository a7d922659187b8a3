# SPDX-License-Identifier: Apache-2.0
"""Every allocation, file, socket and spawn call of control service and controllers fails once, in turn, while
one control service goes on serving. Each run of a scenario ends in time, in success or in an error that says
why; what was acknowledged is there; the same works again afterwards; nothing leaks and nothing is left.

usage: torture.py CONTROL CONTROLLER WORKER EXAMPLES CLI [--full] [--only SCENARIO,…[/PROGRAM[/KIND[/N]]]]
CONTROL and CONTROLLER have tests/lib/fault_shim.c in them.
"""
import argparse
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
import scenarios  # noqa: E402
from block import Block, KINDS, PROGRAMS  # noqa: E402
from service import Service, alive  # noqa: E402

IN_TIME = 15.0  # seconds that one run may take: below every time-out of the programs
GIVE_UP = 4  # failures of a scenario: the rest of it would say nothing new
SAMPLES, SAMPLES_SLOW = 24, 9  # of the calls of one kind, without --full


def options():
    p = argparse.ArgumentParser()
    for name in ("control", "controller", "worker", "examples", "cli"):
        p.add_argument(name, type=os.path.abspath)
    p.add_argument("--full", action="store_true", help="every call, not some of many")
    p.add_argument("--only", default="", help="SCENARIO[/PROGRAM[/KIND[/N or FROM-TO]]]")
    return p.parse_args()


def begin(s):
    """Starts the service. None, or its last words when it did not begin."""
    saved, at = os.dup(2), os.path.getsize(s.log) if os.path.exists(s.log) else 0
    with open(s.log, "a") as f:
        os.dup2(f.fileno(), 2)
    try:
        s.start()
        return None
    except RuntimeError:
        with open(s.log, errors="replace") as f:
            f.seek(at)
            return f.read()
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def start(o):
    s = Service(o.control, o.controller, "--worker", o.worker, "--stop-seconds", "20")
    s.cli = o.cli
    s.patience = 2 * IN_TIME
    s.block = Block(os.path.join(s.dir, "block"), {"control": o.control, "controller": o.controller})
    os.environ["PRAAS_FAULT_BLOCK"] = s.block.path
    logs = os.path.join(s.dir, "san")
    os.environ["ASAN_OPTIONS"] = (os.environ.get("ASAN_OPTIONS", "detect_leaks=1") +
                                  f":log_path={logs}:exitcode=99:allocator_may_return_null=1")
    os.environ["UBSAN_OPTIONS"] = os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1") + f":log_path={logs}"
    s.log = os.path.join(s.dir, "stderr")
    s.begin = lambda: begin(s)
    error = s.begin()
    if error is not None:
        raise SystemExit(error)
    for isolation in ("inline", "worker"):
        s.json("POST", "/v1/apps", {"name": isolation, "code": os.path.join(o.examples, "counter"),
                                    "isolation": isolation, "allow_weak_sandbox": True}, 201)
        s.json("POST", f"/v1/apps/{isolation}/processes", {"pid": "x"}, 201)
    return s


def reports(s):
    """What a sanitizer wrote, of any program."""
    text = ""
    for name in sorted(os.listdir(s.dir)):
        if name.startswith("san."):
            with open(os.path.join(s.dir, name), errors="replace") as f:
                text += f.read()
    return text


def chosen(count, slow, full):
    """Which of the calls fail: all, or the first few and an even choice of the others."""
    room = SAMPLES_SLOW if slow else SAMPLES
    if full or count <= room:
        return list(range(1, count + 1))
    first = room // 3
    step = (count - first) / (room - first)
    return list(range(1, first + 1)) + [first + int(step * (i + 1)) for i in range(room - first)]


def some(text):
    """N or FROM-TO."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def one(s, scenario, program, kind, n):
    """True when the call failed, that is, when there was an n-th one."""
    scenario.before()
    fired = s.block.arm(program, kind, n)
    began = time.monotonic()
    try:
        done = scenario.act()
        if s.block.fired() == fired:
            time.sleep(0.005)  # what is done after the answer
    finally:
        s.block.disarm()
    took = time.monotonic() - began
    scenarios.expect(took < IN_TIME, f"took {took:.1f} s")
    scenarios.expect(s.process.poll() is None, "the control service is gone")
    scenarios.expect(s.ask("GET", "/healthz", token="")[0] == 200, "not healthy")
    if s.block.fired() == fired and not done:
        raise scenarios.Wrong(f"an error though nothing failed: {scenario.error}")
    scenario.after(done)
    text = reports(s)
    scenarios.expect(not text, text)
    return s.block.fired() != fired


def count(s, scenario, only):
    """How many calls of each kind a run makes."""
    try:
        scenario.before()
    except scenarios.Wrong:
        if getattr(scenario, "error", ("", ""))[1] != "unknown":
            raise
        scenario.before()  # who is first to use a connection that the last fault has broken is told so
    had = {(p, k): s.block.calls(p, k) for p in PROGRAMS for k in KINDS}
    done = scenario.act()
    time.sleep(0.02)
    made = {key: s.block.calls(*key) - before for key, before in had.items()}
    scenarios.expect(done, "does not work", getattr(scenario, "error", ""))
    scenario.after(done)
    return {key: n for key, n in made.items() if all(b == "" or a == b for a, b in zip(key, only))}


def torture(s, cls, o, only):
    runs = failed = 0
    began = time.monotonic()
    scenario = cls(s)
    for (program, kind), calls in count(s, scenario, only).items():
        for n in some(only[2]) if only[2] else chosen(calls, cls.slow, o.full):
            runs += 1
            try:
                if not one(s, scenario, program, kind, n):
                    break
            except Exception as e:
                failed += 1
                s.block.disarm()
                print(f"FAILED {cls.__name__}/{program}/{kind}/{n}: {type(e).__name__}: {e}\n"
                      f"    {s.block.where(program)}", flush=True)
                if failed == GIVE_UP:
                    raise SystemExit(f"{cls.__name__}: given up after {failed} failures")
                if s.process.poll() is not None or reports(s):
                    raise SystemExit(f"{reports(s)}\nthe control service is {s.process.poll()}")
    print(f"{'FAILED' if failed else 'ok'} {cls.__name__}: {runs} runs, {time.monotonic() - began:.1f} s", flush=True)
    return runs, failed


def descendants(s):
    """OS processes that have the service's folder among their arguments or descriptors."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if s.block.path.encode() in f.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return [p for p in found if alive(p)]


def end(s):
    """It stops as it should, and leaves nothing."""
    s.block.disarm()
    code = s.stop()
    assert code == 0, f"exit code {code}"
    text = reports(s)
    assert not text, text
    limit = time.monotonic() + 10
    while descendants(s) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not descendants(s), descendants(s)
    left = [f for f in os.listdir(os.path.join(s.data, "run")) if f.endswith(".sock")]
    assert not left, left


def main():
    o = options()
    parts = (o.only.split("/") + [""] * 4)[:4]
    s = start(o)
    runs = failed = 0
    good = False
    try:
        for cls in scenarios.ALL:
            if not parts[0] or cls.__name__ in parts[0].split(","):
                a, b = torture(s, cls, o, parts[1:])
                runs, failed = runs + a, failed + b
        end(s)
        good = failed == 0
    finally:
        if not good:
            with open(s.log, errors="replace") as f:
                print(f.read()[-4000:])
        s.cleanup()
    print(f"{runs} runs, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
