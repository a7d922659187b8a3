# SPDX-License-Identifier: Apache-2.0
"""A store that is full, read-only or damaged, and programs that are killed: the real control
service, controllers, workers and command line. Nothing is lost, and each error says what is wrong.

usage: faults.py praas-control praas-controller EXAMPLES praas
"""
import http.client
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from service import alive, run  # noqa: E402

APP = "/v1/apps/a"
P = APP + "/processes"
EXAMPLES = os.path.abspath(sys.argv[3])
CLI = os.path.abspath(sys.argv[4])
with open(sys.argv[2], "rb") as program:
    SANITIZED = b"__asan_" in (whole := program.read()) or b"__tsan_" in whole


def make_app(s, isolation="inline"):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(EXAMPLES, "counter"),
                                "isolation": isolation, "allow_weak_sandbox": True,
                                "resources": {"concurrency": 1}}, 201)


def add(s, amount=b"1", pid="x"):
    status, headers, answer = s.ask("POST", APP + "/invoke/add", amount, {"Praas-Pid": pid})
    assert status == 200, (status, headers["Praas-Status"], answer)
    return int(answer)


def cli(s, *arguments):
    p = subprocess.run([CLI, *arguments], capture_output=True, text=True, timeout=60,
                       env={"PRAAS_URL": s.url, "PRAAS_TOKEN": s.token, "HOME": s.dir,
                            "PATH": os.environ["PATH"]})
    return p.returncode, p.stdout + p.stderr


def mount(s, options):
    """The store on a file system of its own; False: this is not root with mounts."""
    store = os.path.join(s.data, "store")
    os.makedirs(store, exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "praas-test", store],
                          capture_output=True).returncode == 0


def remount(s, options):
    subprocess.run(["mount", "-o", "remount," + options, os.path.join(s.data, "store")], check=True)


def unmount(s):
    subprocess.run(["umount", "-l", os.path.join(s.data, "store")], check=False)


def on_small_store(body):
    def test(s):
        if not mount(s, "size=1m,nr_inodes=200"):
            print("SKIPPED: no mounts here")
            return
        try:
            body(s)
            if s.process:
                assert s.stop() == 0
        finally:
            unmount(s)
    test.__name__ = body.__name__
    return test


def refused(s, action, words):
    """By REST and by the command line: says why; the process serves on."""
    status, _, data = s.ask("POST", f"{P}/x/{action}")
    assert status == 500 and words in data.decode(), (action, status, data)
    code, text = cli(s, "process", "swap" if action == "swap-out" else action, "a", "x")
    assert code != 0 and words in text, (action, code, text)
    assert s.state("a", "x") == "ACTIVE"


@on_small_store
def test_store_full(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert add(s) == 1
    assert s.ask("PUT", P + "/x/state/large", os.urandom(3 << 20))[0] == 204
    refused(s, "swap-out", "No space left on device")
    refused(s, "checkpoint", "No space left on device")
    assert add(s) == 2
    remount(s, "size=16m")
    s.json("POST", P + "/x/swap-out", expect=200)
    assert s.state("a", "x") == "SWAPPED"
    assert add(s) == 3
    assert len(s.ask("GET", P + "/x/state/large")[2]) == 3 << 20


@on_small_store
def test_store_read_only(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert add(s) == 1
    remount(s, "ro")
    refused(s, "swap-out", "Read-only file system")
    assert add(s) == 2
    status, _, data = s.ask("POST", P, b'{"pid":"y"}')
    assert status == 502 and "Read-only file system" in data.decode(), (status, data)
    remount(s, "rw")
    s.json("POST", P + "/x/swap-out", expect=200)
    assert add(s) == 3


def snapshot_files(s):
    found = []
    for folder, _, files in os.walk(os.path.join(s.data, "store")):
        found += [os.path.join(folder, f) for f in files]
    return sorted(found)


def wake_fails(s, why):
    status, _, data = s.ask("POST", P + "/x/swap-in")
    assert status >= 500, (why, status, data)
    assert any(w in data.decode() for w in ("snapshot", "damaged", "slot log", "SNAPSHOT")), (why, data)
    assert s.state("a", "x") != "ACTIVE", why
    return data.decode()


def test_snapshot_damaged_anywhere(s):
    """Each region of each file of a small snapshot, one at a time: refused, and whole again when the
    file is."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert add(s) == 1
    assert s.ask("PUT", P + "/x/state/value", b"v" * 600)[0] == 204
    s.json("POST", P + "/x/swap-out", expect=200)
    # The last entry holds the snapshot; older ones are only numbers.
    files = [f for f in snapshot_files(s) if "/chunk/" in f or f.endswith(max(
        os.path.basename(g) for g in snapshot_files(s) if "/log/" in g))]
    assert any("/chunk/" in f for f in files) and any("/log/" in f for f in files), files
    tried = 0
    for path in files:
        with open(path, "rb") as f:
            good = f.read()
        for at in list(range(0, len(good), max(1, len(good) // 8))) + [len(good) - 1]:
            if "/chunk/" in path and at >= 600:
                continue  # what fills the last block is nobody's
            spoiled = bytearray(good)
            spoiled[at] ^= 0x40
            os.chmod(path, 0o600)
            with open(path, "wb") as f:
                f.write(spoiled)
            wake_fails(s, (path, at))
            tried += 1
        with open(path, "wb") as f:
            f.write(good)
    assert tried >= 16, tried
    assert add(s) == 2
    assert s.ask("GET", P + "/x/state/value")[2] == b"v" * 600


def test_snapshot_chunk_missing(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert add(s) == 1
    assert s.ask("PUT", P + "/x/state/value", b"v" * 600)[0] == 204
    s.json("POST", P + "/x/swap-out", expect=200)
    chunk = [f for f in snapshot_files(s) if "/chunk/" in f][0]
    os.rename(chunk, chunk + ".away")
    wake_fails(s, "missing")
    code, text = cli(s, "process", "wake", "a", "x")
    assert code != 0 and ("snapshot" in text or "damaged" in text), (code, text)
    os.rename(chunk + ".away", chunk)
    assert add(s) == 2


def test_controller_killed_while_called(s):
    """The last snapshot comes back; who waited is told."""
    make_app(s, "worker")
    os_pid = s.json("POST", P, {"pid": "x"}, 201)["os_pid"]
    assert add(s, b"5") == 5
    s.json("POST", P + "/x/checkpoint", expect=200)
    assert add(s, b"5") == 10
    os.kill(os_pid, signal.SIGKILL)
    s.await_state("a", "x", "LOST")
    assert add(s) == 6
    assert s.json("GET", P + "/x")["lost_epoch"] == 1


def attached(p, os_pid):
    """All threads of the process are traced by now."""
    tasks = f"/proc/{os_pid}/task"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        states = [open(f"{tasks}/{t}/status").read() for t in os.listdir(tasks)]
        if not any("TracerPid:\t0" in text for text in states):
            return p
        time.sleep(0.005)
    raise AssertionError("strace does not attach")


EFFECTS = ("openat", "pwrite64", "io_uring_enter", "fsync", "linkat", "sendto", "unlink")


def killer(os_pid, call, nth):
    """Kills the process when a thread of it is about to make that system call for the nth time."""
    p = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
                          "-e", f"inject={call}:signal=KILL:when={nth}", "-p", str(os_pid)])
    return attached(p, os_pid)


def swap_killed_at(s, call, nth, saved):
    """(the swap-out was answered, what the state is now)"""
    count = add(s)
    assert s.ask("PUT", P + "/x/state/value", b"%d" % count * 300)[0] == 204
    p = killer(s.json("GET", P + "/x")["os_pid"], call, nth)
    status = s.ask("POST", P + "/x/swap-out")[0]
    p.wait(timeout=20)
    while s.state("a", "x") not in ("LOST", "SWAPPED"):
        time.sleep(0.005)
    now = add(s) - 1
    assert now == count or (now == saved and status != 200), (call, nth, status, saved, count, now)
    assert s.ask("GET", P + "/x/state/value")[2] == b"%d" % now * 300, (call, nth, now)
    return status == 200, now == count


def test_killed_at_every_step_of_a_swap(s):
    """The controller dies before each call of a swap-out that has an effect outside, one after the other:
    the old snapshot or the new one is there, whole, and what was answered as swapped is."""
    if SANITIZED or os.geteuid() or subprocess.run(["strace", "-V"], capture_output=True).returncode:
        print("SKIPPED: steps of a swap: needs root, strace and a build without sanitizers")
        return
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    old = new = 0
    for call in EFFECTS:
        for nth in range(1, 100):
            saved = add(s)
            assert s.ask("PUT", P + "/x/state/value", b"%d" % saved * 300)[0] == 204
            s.json("POST", P + "/x/checkpoint", expect=200)
            answered, is_new = swap_killed_at(s, call, nth, saved)
            old += not is_new
            new += is_new
            if answered:
                break  # it makes that call less often
    # A release that the controller could not tell is found in the slot log, and answered.
    assert old >= 8 and new >= len(EFFECTS), (old, new)


def test_control_killed_and_back(s):
    """Controllers serve on without it, and are the same afterwards."""
    make_app(s, "worker")
    os_pid = s.json("POST", P, {"pid": "x"}, 201)["os_pid"]
    assert add(s) == 1
    s.kill()
    assert alive(os_pid)
    s.start()
    assert add(s) == 2
    assert s.json("GET", P + "/x")["os_pid"] == os_pid


def controllers_of(os_pid):
    found = []
    for task in os.listdir(f"/proc/{os_pid}/task"):
        with open(f"/proc/{os_pid}/task/{task}/children") as f:
            found += [int(pid) for pid in f.read().split()]
    return found


def test_control_terminated_while_it_creates(s):
    """A controller whose record is on its way to the disk is waited for, and ended, like the others."""
    if SANITIZED or os.geteuid() or subprocess.run(["strace", "-V"], capture_output=True).returncode:
        print("SKIPPED: a slow disk: needs root, strace and a build without sanitizers")
        return
    make_app(s)
    slow = attached(subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
                                      "-e", "inject=fdatasync,fsync:delay_enter=400000", "-p",
                                      str(s.process.pid)]), s.process.pid)

    def ask():
        try:
            s.ask("POST", P, b'{"pid":"x"}')
        except (OSError, http.client.HTTPException):
            pass  # it has gone before it could answer

    asked = threading.Thread(target=ask)
    asked.start()
    started, end = [], time.monotonic() + 20
    while not started and time.monotonic() < end:
        started = controllers_of(s.process.pid)
    assert started
    assert s.stop() == 0
    asked.join()
    assert not [pid for pid in started if alive(pid)], started
    slow.wait(timeout=20)
    s.start()
    assert add(s) == 1


def test_control_terminated_leaves_nothing(s):
    make_app(s, "worker")
    pids = [s.json("POST", P, {"pid": p}, 201)["os_pid"] for p in ("x", "y")]
    workers = []
    for pid in pids:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            workers += [int(w) for w in f.read().split()]
    assert add(s, b"1", "x") == 1 and add(s, b"2", "y") == 2
    assert s.stop() == 0
    end = time.monotonic() + 10
    while any(alive(p) for p in pids + workers) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [p for p in pids + workers if alive(p)]
    left = os.listdir(os.path.join(s.data, "run")) if os.path.isdir(
        os.path.join(s.data, "run")) else []
    assert not [f for f in left if f.endswith(".sock")], left
    s.start()
    assert s.state("a", "x") == "SWAPPED" and s.state("a", "y") == "SWAPPED"
    assert add(s, b"1", "x") == 2 and add(s, b"1", "y") == 3


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
