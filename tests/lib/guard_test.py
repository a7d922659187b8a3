# SPDX-License-Identifier: Apache-2.0
"""Of tests that fail, hang, are killed, and of one that leaves a daemon behind, nothing is left running.

usage: guard_test.py CONTROL CONTROLLER
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GUARD = [sys.executable, os.path.join(HERE, "guard.py")]
DAEMON = "setsid sh -c 'echo $$ >>pids; exec sleep 600' </dev/null & while [ ! -s pids ]; do sleep 0.01; done; "
# A test as those of tests/control are; what becomes of it is the last line.
SERVICE = """
import os, signal, sys, time
sys.path.insert(0, {control!r})
from service import Service, run
def test_it(s):
    s.json("POST", "/v1/apps", {{"name": "a", "code": s.code}}, 201)
    s.json("POST", "/v1/apps/a/processes", {{"pid": "x"}}, 201)
    with open("pids", "w") as f:
        f.write(f"{{s.process.pid}} {{s.starts()[0][2]}} {{os.getpid()}}")
    if {kill!r}:
        s.kill()
    {then}
run([test_it])
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Run:
    """One command under the guard, in a folder of its own."""

    def __init__(self, command):
        self.dir = tempfile.TemporaryDirectory(prefix="praas-guard-")
        environment = {k: v for k, v in os.environ.items() if k != "PRAAS_TEST_GUARD"}
        self.p = subprocess.Popen(command, cwd=self.dir.name, env=environment, start_new_session=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")

    def pids(self):
        path = os.path.join(self.dir.name, "pids")
        end = time.monotonic() + 30
        while not os.path.exists(path) or not os.path.getsize(path):
            assert time.monotonic() < end and self.p.poll() is None, self.p.communicate()[0]
            time.sleep(0.01)
        with open(path) as f:
            return [int(p) for p in f.read().split()]

    def ended(self, code, pids):
        try:
            out = self.p.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            for p in [self.p.pid, *pids]:
                if alive(p):
                    os.kill(p, signal.SIGKILL)
            raise
        assert self.p.returncode == code, (self.p.returncode, code, out)
        end = time.monotonic() + 15
        while (left := [p for p in pids if alive(p)]) and time.monotonic() < end:
            time.sleep(0.01)
        for p in left:
            os.kill(p, signal.SIGKILL)
        assert not left, (left, out)
        self.dir.cleanup()
        return out


def shell(script):
    r = Run([*GUARD, "sh", "-c", DAEMON + script])
    return r, r.pids()


def service(then, kill=False):
    text = SERVICE.format(control=os.path.join(HERE, "..", "control"), then=then, kill=kill)
    r = Run([sys.executable, write(text), *sys.argv[1:3]])
    return r, r.pids()


def write(text):
    with tempfile.NamedTemporaryFile("w", prefix="praas-guard-", suffix=".py", delete=False) as f:
        f.write(text)
    SCRIPTS.append(f.name)
    return f.name


SCRIPTS = []


def test_exit_code_is_the_command_s():
    r, pids = shell("exit 3")
    r.ended(3, pids)
    r, pids = shell("kill -9 $$")
    r.ended(137, pids)
    Run([*GUARD, "/nowhere/nothing"]).ended(127, [])


def test_what_it_leaves_is_a_failure():
    r, pids = shell("exit 0")
    assert "left running" in r.ended(1, pids)
    r, pids = shell("kill $(cat pids); exit 0")
    r.ended(0, pids)


def test_terminated():
    r, pids = shell("sleep 600")
    os.kill(r.p.pid, signal.SIGTERM)
    r.ended(143, pids)
    r, pids = shell("trap '' TERM; sleep 600; sleep 600")
    os.kill(r.p.pid, signal.SIGTERM)
    r.ended(143, pids)


def test_of_a_service_that_fails():
    for kill in (False, True):
        r, pids = service("assert False, 'so it is'", kill)
        assert "FAILED test_it: AssertionError: so it is" in r.ended(1, pids)


def test_of_a_service_that_is_killed():
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        r, pids = service("time.sleep(600)")
        os.kill(r.p.pid, number)
        r.ended(code, pids)
    r, pids = service("time.sleep(600)", kill=True)
    os.kill(pids[2], signal.SIGKILL)
    r.ended(137, pids)
    r, pids = service("time.sleep(600)")
    r.p.kill()
    r.ended(-9, pids)


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            print("ok", name, flush=True)
        except Exception as e:  # the next one runs anyway
            failed += 1
            print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
    for path in SCRIPTS:
        os.unlink(path)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
