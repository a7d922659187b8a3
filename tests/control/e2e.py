# SPDX-License-Identifier: Apache-2.0
"""The real control service, controller, worker and an example: state that lives through swaps and
crashes, over REST."""
import contextlib
import glob
import http.client
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

from service import Service, alive, await_gone, run

APP = "/v1/apps/a"
P = APP + "/processes"
EXAMPLES = os.path.abspath(sys.argv[3])


def make_app(s, isolation):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(EXAMPLES, "counter"),
                                "isolation": isolation, "allow_weak_sandbox": True,
                                "resources": {"concurrency": 2}}, 201)


def call(s, fn, data=b"", pid="x"):
    status, headers, answer = s.ask("POST", APP + "/invoke/" + fn, data,
                                    {"Praas-Pid": pid} if pid else {})
    assert status == 200, (fn, status, headers["Praas-Status"], answer)
    return answer


def life(s, isolation):
    make_app(s, isolation)
    p = s.json("POST", P, {"pid": "x"}, 201)
    assert {e.split(":")[0] for e in p["endpoints"]} == {"shm", "tcp"}, p["endpoints"]
    assert int(call(s, "add", b"5")) == 5
    assert int(call(s, "add", b"7")) == 12
    keys = s.json("GET", P + "/x/state", expect=200)["state"]
    assert len(keys) >= 1, keys
    assert s.ask("PUT", P + "/x/state/mine", b"m")[0] == 204
    assert s.ask("POST", P + "/x/messages/box", b"waits")[0] == 204
    assert s.json("POST", P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    await_gone(p["os_pid"])
    assert int(call(s, "add", b"1")) == 13  # the call woke it
    assert s.ask("GET", P + "/x/state/mine")[2] == b"m"
    assert s.ask("GET", P + "/x/messages/box")[2] == b"waits"
    s.json("POST", P + "/x/checkpoint", expect=200)
    assert int(call(s, "add", b"100")) == 113
    os.kill(s.json("GET", P + "/x")["os_pid"], signal.SIGKILL)
    s.await_state("a", "x", "LOST")
    assert int(call(s, "add", b"1")) == 14  # what the checkpoint had
    assert s.json("POST", P + "/x/tickets", expect=200)["lost_epoch"] == 2  # clients are told
    s.json("DELETE", P + "/x", expect=204)
    for folder, _, files in os.walk(os.path.join(s.data, "store")):
        assert not files, (folder, files)
    assert s.json("POST", P, {"pid": "x"}, 201)["number"] == 2
    assert int(call(s, "add", b"2")) == 2  # nothing of the other came back


def test_life_inline(s):
    life(s, "inline")


def test_life_worker(s):
    life(s, "worker")


def test_restart_of_everything(s):
    """All is swapped out on SIGTERM, and there after the next start."""
    make_app(s, "inline")
    for pid in ("x", "y"):
        s.json("POST", P, {"pid": pid}, 201)
        call(s, "add", b"3", pid)
    assert s.stop() == 0
    s.start()
    assert s.state("a", "x") == "SWAPPED" and s.state("a", "y") == "SWAPPED"
    assert int(call(s, "add", b"1", "x")) == 4
    os_pid = s.json("GET", P + "/x")["os_pid"]
    s.kill()
    s.start()
    assert int(call(s, "add", b"1", "x")) == 5  # the same controller, adopted
    assert s.json("GET", P + "/x")["os_pid"] == os_pid


def test_data_planes_in_tls(s):
    def kinds(*options):
        other = Service(s.program, s.controller, *options).start()
        try:
            make_app(other, "inline")
            ticket = other.json("POST", P, {"pid": "x"}, 201)["ticket"]
            assert int(call(other, "add", b"3")) == 3
            return {e.split(":")[0] for e in ticket["endpoints"]}
        finally:
            assert other.stop() == 0
            other.cleanup()

    assert kinds("--data-tls", "on") == {"shm", "tls"}
    assert kinds("--data-host", "::1", "--data-tls", "on") == {"shm", "tls"}
    assert kinds("--data-host", "0.0.0.0") == {"shm", "tls"}
    assert kinds("--data-host", "0.0.0.0", "--data-tls", "off") == {"shm", "tcp"}
    for options in (("--data-tls", "maybe"), ("--data-host", "nowhere"), ("--data-listen", "place"),
                    ("--data-listen", "tcp://127.0.0.1:0,"),
                    ("--data-listen", ",".join(["tcp://127.0.0.1:0"] * 7)),
                    ("--data-listen", ",".join(["tcp://127.0.0.1:0"] * 5 + ["auto"])),
                    ("--data-listen", "auto,"), ("--data-listen", "automatic")):
        bad = subprocess.run([s.program, "--data", s.data + "2", "--controller", s.controller,
                              *options], capture_output=True, text=True, timeout=60)
        assert bad.returncode in (1, 2) and options[0] in bad.stderr and options[1] in bad.stderr, bad


def start_saying(service, log):
    """What it says on stderr goes to the file log."""
    with open(log, "w") as f:
        saved = os.dup(2)
        os.dup2(f.fileno(), 2)
        service.start()
        os.dup2(saved, 2)


def test_more_addresses(s):
    """A process listens at what --data-listen adds; what its controller does not know is told, and
    a wire in clear at the start."""
    log = os.path.join(s.dir, "stderr")
    other = Service(s.program, s.controller, "--data-listen",
                    "tcp://[::1]:0,tcp://127.0.0.2:0").start()
    try:
        make_app(other, "inline")
        ticket = other.json("POST", P, {"pid": "x"}, 201)["ticket"]
        hosts = [e.rsplit(":", 1)[0] for e in ticket["endpoints"] if e.startswith("tcp")]
        assert hosts == ["tcp://127.0.0.1", "tcp://[::1]", "tcp://127.0.0.2"]
        assert int(call(other, "add", b"3")) == 3
    finally:
        assert other.stop() == 0
        other.cleanup()
    # What may be left out is, where it cannot be opened, and that is told in the log.
    other = Service(s.program, s.controller, "--data-listen",
                    "pigeon://loft?,tcp://127.0.0.2:0?,auto").start()
    try:
        make_app(other, "inline")
        ticket = other.json("POST", P, {"pid": "x"}, 201)["ticket"]
        hosts = [e.rsplit(":", 1)[0] for e in ticket["endpoints"] if not e.startswith("shm")]
        assert hosts == ["tcp://127.0.0.1", "tcp://127.0.0.2"], hosts
        said = "".join(open(f).read() for f in glob.glob(os.path.join(other.data, "log", "*.log")))
        assert said.count("goes without: ") == 3 and "pigeon://loft" in said, said
        assert "verbs://127.0.0.1:0" in said and "ofi://efa@127.0.0.1:0" in said, said
    finally:
        assert other.stop() == 0
        other.cleanup()
    # With TLS what does not encrypt is made to, and needs no warning.
    other = Service(s.program, s.controller, "--data-listen", "ofi://net@127.0.0.1:0,auto", "--data-tls", "on")
    start_saying(other, log)
    try:
        assert "neither encrypted" not in open(log).read()
        make_app(other, "inline")
        ticket = other.json("POST", P, {"pid": "x"}, 201)["ticket"]
        kinds = [e.split("://")[0] for e in ticket["endpoints"] if not e.startswith("shm")]
        assert kinds in (["tls", "ofi+sealed"], ["tls"]), kinds
        time.sleep(1)  # the log comes behind
        said = "".join(open(f).read() for f in glob.glob(os.path.join(other.data, "log", "*.log")))
        assert "verbs+sealed://127.0.0.1:0" in said and "ofi+sealed://efa@127.0.0.1:0" in said, said
    finally:
        assert other.stop() == 0
        other.cleanup()
    other = Service(s.program, s.controller, "--data-listen", "pigeon://loft,ofi://net@127.0.0.1:0")
    start_saying(other, log)
    try:
        with open(log) as f:
            said = f.read()
        assert "ofi://net@127.0.0.1:0 is neither encrypted" in said and "pigeon" not in said, said
        make_app(other, "inline")
        status, _, answer = other.ask("POST", P, json.dumps({"pid": "x"}).encode())
        assert status >= 500 and b"pigeon://loft" in answer, (status, answer)
    finally:
        assert other.stop() == 0
        other.cleanup()


def back_up(s, to):
    return subprocess.run([s.program, "--data", s.data, "--backup", to], capture_output=True,
                          text=True, timeout=60)


def test_backup_and_restore(s):
    """Records of a while ago, behind the store: what was swapped since is found where the slot log
    says, what was made since is not mixed up with what is made now, what was deleted stays so."""
    make_app(s, "inline")
    for pid in ("old", "swapped", "deleted"):
        s.json("POST", P, {"pid": pid}, 201)
        call(s, "add", b"5", pid)
        s.json("POST", f"{P}/{pid}/swap-out", expect=200)
    key = s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)["token"]
    saved = os.path.join(s.dir, "saved")
    done = back_up(s, saved)  # while it serves
    assert done.returncode == 0 and json.loads(done.stdout) == {"backup": saved}, done
    assert sorted(os.listdir(saved)) == ["admin.token", "records.db", "root.key"]
    assert all(os.stat(os.path.join(saved, f)).st_mode & 0o77 == 0 for f in os.listdir(saved))
    again = back_up(s, saved)
    assert again.returncode == 1 and "must be empty" in again.stderr, again
    for _ in range(3):  # three epochs that the back-up knows nothing of
        call(s, "add", b"1", "swapped")
        s.json("POST", P + "/swapped/swap-out", expect=200)
    s.json("DELETE", P + "/deleted", expect=204)
    s.json("POST", P, {"pid": "later"}, 201)
    call(s, "add", b"100", "later")
    assert s.stop() == 0
    for name in ("records.db", "records.db-wal", "records.db-shm"):
        if os.path.exists(os.path.join(s.data, name)):
            os.remove(os.path.join(s.data, name))
    shutil.copy(os.path.join(saved, "records.db"), s.data)
    # A back-up of a service that runs skips numbers; one of a service at rest gives that of "later" again.
    with contextlib.closing(sqlite3.connect(os.path.join(s.data, "records.db"))) as db:
        db.execute("UPDATE sqlite_sequence SET seq=3 WHERE name='processes'")
        db.commit()
    s.start()
    assert s.json("GET", "/v1/apps", expect=200, token=key)["apps"][0]["name"] == "a"
    assert int(call(s, "add", b"1", "old")) == 6
    assert int(call(s, "add", b"1", "swapped")) == 9  # epoch 1 of the record, 4 of the log
    assert s.json("GET", P + "/swapped")["epoch"] > 4
    s.refused("POST", P + "/deleted/swap-in", None, 500, "store_failed")
    assert s.json("GET", P + "/deleted")["state"] != "ACTIVE"
    s.json("DELETE", P + "/deleted", expect=204)
    new = s.json("POST", P, {"pid": "new"}, 201)
    assert new["number"] == 4  # that of "later", which these records never knew
    assert int(call(s, "add", b"1", "new")) == 1
    s.json("POST", P + "/new/swap-out", expect=200)
    assert int(call(s, "add", b"1", "new")) == 2
    s.refused("GET", P + "/later", None, 404, "not_found")


def test_backup_refuses(s):
    for data, to, words in ((s.dir + "/none", s.dir + "/b", "no records"),
                            (s.data, "/proc/b", "/proc/b"), (s.data, s.dir, "must be empty")):
        p = subprocess.run([s.program, "--data", data, "--backup", to], capture_output=True,
                           text=True, timeout=60)
        assert p.returncode == 1 and words in p.stderr, p
    assert not os.path.exists(s.dir + "/b")


def test_backup_under_load(s):
    """A copy that is taken while records change is one of some moment: all in it is whole."""
    make_app(s, "inline")
    stop = threading.Event()

    def churn(n):
        i = 0
        while not stop.is_set():
            i += 1
            s.json("POST", P, {"pid": f"p{n}-{i}"}, 201)
            s.json("DELETE", f"{P}/p{n}-{i}", expect=204)

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    for i in range(5):
        assert back_up(s, os.path.join(s.dir, f"saved{i}")).returncode == 0
        db = sqlite3.connect(os.path.join(s.dir, f"saved{i}", "records.db"))
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.close()
    stop.set()
    for t in threads:
        t.join()


def test_herd_on_a_swapped_process(s):
    make_app(s, "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    s.json("POST", P + "/x/swap-out", expect=200)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(int(call(s, "add", b"1"))))
               for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(answers) == list(range(1, 31)), sorted(answers)
    assert s.json("GET", P + "/x")["epoch"] == 2


def test_idle_policy(s):
    """One that works is never swapped out for want of work; IDLE is told apart. (control.connect: over the data plane
    alone, where the controller has the last word.)"""
    s.stop()
    s.options += ("--idle-seconds", "1", "--idle-swap-seconds", "2")
    s.start()
    make_app(s, "inline")
    for pid in ("busy", "lazy"):
        s.json("POST", P, {"pid": pid}, 201)
        assert int(call(s, "add", b"1", pid)) == 1
    seen = set()
    end = time.monotonic() + 20
    n = 1
    while s.state("a", "lazy") != "SWAPPED":
        assert time.monotonic() < end
        seen.add(s.state("a", "lazy"))
        n += 1
        assert int(call(s, "add", b"1", "busy")) == n
        time.sleep(0.1)
    assert "IDLE" in seen, seen
    assert s.json("GET", P + "/busy")["epoch"] == 1
    assert int(call(s, "add", b"1", "lazy")) == 2
    assert s.json("GET", P + "/lazy")["epoch"] == 2


def test_drain_called_off(s):
    """A process that is needed while it is swapped out for want of work goes on, in its epoch and with all that it had."""
    s.stop()
    s.options += ("--idle-seconds", "1", "--idle-swap-seconds", "1")
    s.start()
    make_app(s, "worker")
    s.json("POST", P, {"pid": "x"}, 201)
    n = 0
    for _ in range(10):
        big = os.urandom(48 << 20)  # takes a while to be written
        assert s.ask("PUT", P + "/x/state/big", big)[0] == 204
        n += 1
        assert int(call(s, "add", b"1")) == n
        epoch, end = s.json("GET", P + "/x")["epoch"], time.monotonic() + 20
        while s.state("a", "x") != "DRAINING":
            assert time.monotonic() < end
        n += 1
        assert int(call(s, "add", b"1")) == n  # called off, or woken again
        if s.json("GET", P + "/x")["epoch"] == epoch:
            assert s.ask("GET", P + "/x/state/big")[2] == big
            return
    raise AssertionError("no swap-out was called off in time")


def test_without_a_pid(s):
    make_app(s, "inline")
    status, headers, data = s.ask("POST", APP + "/invoke/add", b"4")
    assert (status, data.strip()) == (200, b"4"), (status, data)
    assert headers["Praas-Pid"]


def metric(s, name):
    for line in s.ask("GET", "/metrics")[2].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def children(pid):
    """Controllers that were started by that process and are not gone: {os pid: arguments}."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            # Anybody's name and arguments, which need not be UTF-8.
            with open(f"/proc/{entry}/stat", errors="replace") as f:
                state, parent = f.read().rsplit(")", 1)[1].split()[:2]
            with open(f"/proc/{entry}/cmdline", errors="replace") as f:
                arguments = f.read().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found[int(entry)] = arguments
    return found


def await_ready(s, wanted):
    end = time.monotonic() + 20
    while metric(s, "praas_controllers_ready") != wanted:
        assert time.monotonic() < end, metric(s, "praas_controllers_ready")
        time.sleep(0.01)


def prewarmed(s, isolation):
    """Controllers that stand ready: each is used for one process, which begins empty; they are made
    again; if they die a start does without them; they end with the service."""
    s.stop()
    s.options += ("--prewarm", "3")
    s.start()
    await_ready(s, 3)
    make_app(s, isolation)
    s.json("POST", P, {"pid": "x"}, 201)
    assert metric(s, 'praas_starts_total{ready="loaded"}') == 1
    assert int(call(s, "add", b"5")) == 5
    await_ready(s, 3)
    os_pids = set()
    for i in range(5):
        time.sleep(0.1)
        await_ready(s, 3)
        p = s.json("POST", P, {"pid": f"y{i}"}, 201)
        os_pids.add(p["os_pid"])
        assert int(call(s, "add", b"2", f"y{i}")) == 2  # nothing of another is there
        assert int(call(s, "add", b"1", "x")) == 6 + i
    assert len(os_pids) == 5
    assert metric(s, 'praas_starts_total{ready="prepared"}') == 5
    assert metric(s, 'praas_start_seconds_count{ready="prepared"}') == 5
    s.json("POST", P + "/y0/swap-out", expect=200)
    time.sleep(0.1)
    await_ready(s, 3)
    assert int(call(s, "add", b"2", "y0")) == 4  # wakes in one that stood ready
    assert metric(s, 'praas_starts_total{ready="prepared"}') == 6
    number = s.json("GET", P + "/y0")["number"]
    with open(os.path.join(s.data, "log", f"{number}.log")) as f:
        assert "serves at" in f.read()
    time.sleep(0.1)
    await_ready(s, 3)
    serving = {s.json("GET", f"{P}/{n}")["os_pid"] for n in ["x"] + [f"y{i}" for i in range(5)]}
    for os_pid in set(children(s.process.pid)) - serving:
        with contextlib.suppress(ProcessLookupError):  # one that was swapped out may be about to end
            os.kill(os_pid, signal.SIGKILL)
        await_gone(os_pid)
    s.json("POST", P, {"pid": "z"}, 201)
    assert metric(s, 'praas_starts_total{ready="cold"}') == 1
    all_of_them = children(s.process.pid)
    assert s.stop() == 0
    assert not any(alive(os_pid) for os_pid in all_of_them)
    s.start()


def test_killed_while_a_controller_begins(s):
    """What the control service was about to start has its descriptors: they do not keep its data folder."""
    if not shutil.which("strace") or os.geteuid() != 0:
        print("SKIPPED: a kill between fork and exec needs root and strace")
        return
    s.stop()
    plain = s.program
    s.program = os.path.join(s.dir, "slow-exec")
    with open(s.program, "w") as f:
        f.write(f'#!/bin/sh\nexec strace -f -qq -o /dev/null -e trace=execve -e inject=execve:delay_enter=2000000 '
                f'{plain} "$@"\n')
    os.chmod(s.program, 0o755)
    s.start()
    s.program = plain
    s.json("POST", "/v1/apps", {"name": "b", "code": os.path.join(EXAMPLES, "counter"),
                                "allow_weak_sandbox": True}, 201)
    service, tracer = list(children(s.process.pid))[0], s.process
    stranger = subprocess.Popen([b"\xff", b"60"], executable="/bin/sleep")  # beside it on the same machine

    def create():
        try:
            s.ask("POST", "/v1/apps/b/processes", '{"pid": "x"}')
        except (OSError, http.client.HTTPException):
            pass  # it is killed meanwhile

    threading.Thread(target=create).start()
    while not children(service):
        time.sleep(0.01)
    begun = children(service)
    stranger.kill()
    stranger.wait()
    os.kill(service, signal.SIGKILL)
    await_gone(service)
    assert all(alive(pid) for pid in begun), "too late"
    s.start()
    tracer.wait(timeout=30)


def core_limit(pid):
    with open(f"/proc/{pid}/limits") as f:
        return [line.split()[4:6] for line in f if line.startswith("Max core file size")][0]


def test_no_core_dumps(s):
    """None of the programs leaves a core, though it may: keys, payloads and state would be in it."""
    s.stop()
    was = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (was[1], was[1]))
    try:
        s.start()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, was)
    make_app(s, "worker")
    controller = s.json("POST", P, {"pid": "x"}, 201)["os_pid"]
    assert int(call(s, "add", b"1")) == 1
    workers = list(children(controller))
    assert len(workers) == 2, workers
    for pid in [s.process.pid, controller, *workers]:
        assert core_limit(pid) == ["0", "0"], (pid, core_limit(pid))
    # As an assertion ends them, which no sanitizer handles. A worker is the first of its own processes: it takes SIGKILL alone.
    for pid in (controller, s.process.pid):
        os.kill(pid, signal.SIGABRT)
        await_gone(pid)
    status = s.process.wait(timeout=20)
    s.process.stdout.close()
    assert status == -signal.SIGABRT, status
    s.start()
    with open("/proc/sys/kernel/core_pattern") as f:
        assert f.read().startswith(("|", "/")) or not glob.glob("core*"), glob.glob("core*")


def test_prewarmed_inline(s):
    prewarmed(s, "inline")


def test_prewarmed_worker(s):
    prewarmed(s, "worker")


def cpu_group(pid):
    with open(f"/proc/{pid}/cgroup") as f:
        return next(line.rstrip().split(":")[2] for line in f if "cpu" in line.split(":")[1].split(","))


def test_vcpu_is_a_limit(s):
    """A worker of 0.2 vCPU gets about that, however much it wants; one of 1 vCPU several times as
    much, unless others want the processors: then it is tried again, and 0.2 is the limit all the same."""
    if not os.path.exists("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or os.geteuid() != 0:  # version 2: cgroup2.py
        print("SKIPPED: no CPU limits of control groups v1 for us here; control.cgroup2 has those of v2")
        return
    code = os.path.join(s.dir, "burns")
    os.mkdir(code)
    shutil.copy(os.path.join(EXAMPLES, "../tests/code/testfns.so"), code)
    with open(os.path.join(code, "praas.json"), "w") as f:
        json.dump({"functions": {"burn": {"library": "testfns.so", "symbol": "burn"}}}, f)
    shares = {}
    for name, vcpu in (("fifth", 200), ("whole", 1000)):
        s.json("POST", "/v1/apps", {"name": name, "code": code, "isolation": "worker",
                                    "allow_weak_sandbox": True, "resources": {"vcpu_milli": vcpu}}, 201)
        os_pid = s.json("POST", f"/v1/apps/{name}/processes", {"pid": "x"}, 201)["os_pid"]
        # One group for all of the process: who yields to another one in another group waits for it.
        groups = {cpu_group(pid) for pid in children(os_pid)} | {cpu_group(os_pid)}
        assert len(groups) == 1, groups
        with open(f"/sys/fs/cgroup/cpu{groups.pop()}/cpu.cfs_quota_us") as f:
            assert int(f.read()) == 100 * vcpu
    for _ in range(8):
        for name in ("fifth", "whole"):
            status, _, data = s.ask("POST", f"/v1/apps/{name}/invoke/burn", b"", {"Praas-Pid": "x"})
            assert status == 200, data
            shares[name] = int.from_bytes(data, "little") / 2e9
        assert shares["fifth"] < 0.3, shares
        if shares["fifth"] > 0.05 and shares["whole"] > 1.5 * shares["fifth"]:
            return
    raise AssertionError(shares)


def test_tasks_are_a_limit_that_is_shown(s):
    """What an application says of its workers' tasks is what the kernel holds them to."""
    if not os.path.exists("/sys/fs/cgroup/pids") or os.geteuid() != 0:  # version 2: cgroup2.py
        print("SKIPPED: no limits of tasks by control groups v1 for us here; control.cgroup2 has those of v2")
        return
    make_app(s, "worker")
    shown = s.json("GET", APP, expect=200)["resources"]["tasks_max"]
    os_pid = s.json("POST", P, {"pid": "x"}, 201)["os_pid"]
    workers = children(os_pid)
    assert len(workers) == 2, workers
    for pid in workers:
        with open(f"/proc/{pid}/cgroup") as f:
            group = next(line.rstrip().split(":")[2] for line in f if line.split(":")[1] == "pids")
        with open(f"/sys/fs/cgroup/pids{group}/pids.max") as f:
            assert int(f.read()) == shown > 0, (group, shown)
        assert cpu_group(pid) == cpu_group(os_pid)  # without a limit too


def silent(s, path):
    """No answer within a second."""
    try:
        s.ask("GET", path, connection=http.client.HTTPConnection(s.host, timeout=1))
        return False
    except TimeoutError:
        return True


def test_stops_with_a_function_that_hangs(s):
    """What cannot be swapped out in time is killed, and it is said."""
    code = os.path.join(s.dir, "hangs")
    os.mkdir(code)
    shutil.copy(os.path.join(EXAMPLES, "../tests/code/testfns.so"), code)
    with open(os.path.join(code, "praas.json"), "w") as f:
        json.dump({"functions": {"hang": {"library": "testfns.so", "symbol": "hang"}}}, f)
    s.stop()
    s.options += ("--stop-seconds", "2")
    log = os.path.join(s.dir, "stderr")
    start_saying(s, log)
    for isolation in ("inline", "worker"):
        s.json("POST", "/v1/apps", {"name": isolation, "code": code, "isolation": isolation,
                                    "allow_weak_sandbox": True}, 201)
    pids = [s.json("POST", f"/v1/apps/{i}/processes", {"pid": "x"}, 201)["os_pid"]
            for i in ("inline", "worker")]

    def hang(isolation):
        try:
            s.ask("POST", f"/v1/apps/{isolation}/invoke/hang", b"", {"Praas-Pid": "x"})
        except OSError:
            pass  # the service ends before the function does

    threads = [threading.Thread(target=hang, args=(i,)) for i in ("inline", "worker")]
    for t in threads:
        t.start()
    while not silent(s, "/v1/apps/inline/processes/x/state"):
        time.sleep(0.01)
    assert s.stop() == 0
    for t in threads:
        t.join()
    assert not any(alive(pid) for pid in pids)
    with open(log) as f:
        text = f.read()
    assert "was not swapped out in time and is killed" in text, text


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
