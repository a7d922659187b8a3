# SPDX-License-Identifier: Apache-2.0
"""The disk of the control service is full: at every size of what is left, everything that changes something is
tried. Nothing that was acknowledged is lost, what was refused left nothing, serving processes go on, and when
there is room again all works, also after a kill -9.

usage: full.py CONTROL CONTROLLER EXAMPLES
"""
import errno
import json
import os
import shutil
import subprocess
import sys
import time

if os.environ.get("PRAAS_TEST_MOUNTS") is None:  # a mount namespace of our own
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        print("SKIPPED: needs root and mount namespaces")
        sys.exit(77)
    os.environ["PRAAS_TEST_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])
from service import run  # noqa: E402

EXAMPLES = os.path.abspath(sys.argv[3])
P = "/v1/apps/a/processes"
DISK_KIB = 48 << 10
LEFT_KIB = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096)


def add(s, pid="x"):
    """(status, count)"""
    status, _, data = s.ask("POST", "/v1/apps/a/invoke/add", b"1",
                            headers={"Praas-Pid": pid, "Praas-Key": "k"})
    return status, int(data) if status == 200 else data


def leave(s, kib):
    """Fills the disk up to so many KiB."""
    path = os.path.join(s.data, "ballast")
    if os.path.exists(path):
        os.unlink(path)
    with open(path, "wb") as f:
        for _ in range(100):  # the service may write meanwhile
            st = os.statvfs(s.data)
            size = st.f_bavail * st.f_frsize - (kib << 10)
            try:
                if size > 0:
                    os.posix_fallocate(f.fileno(), 0, size)
                return
            except OSError as e:
                assert e.errno == errno.ENOSPC, e
                f.truncate(0)
    raise AssertionError("the disk cannot be filled")


def room(s):
    os.unlink(os.path.join(s.data, "ballast"))


def begin(s):
    """The service, on a small disk."""
    s.stop()
    shutil.rmtree(s.data)
    os.mkdir(s.data, 0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k,mode=700", "praas-test", s.data], check=True)
    s.start()
    code = os.path.join(EXAMPLES, "counter")
    s.json("POST", "/v1/apps", {"name": "a", "code": code, "isolation": "worker", "allow_weak_sandbox": True,
                                "resources": {"memory_bytes": 64 << 20}}, 201)
    s.json("POST", P, {"pid": "x"}, 201)


REFUSALS = ((500, "store_failed"), (500, "swap_failed"), (500, "checkpoint_failed"), (409, "deploy_failed"),
            (409, "not_active"))


class Known:
    """What was acknowledged."""

    def __init__(self):
        self.count = 0  # of x
        self.processes = {"x"}
        self.gone, self.going = set(), set()
        self.apps = {"a"}
        self.objects = {}
        self.refusals = {}
        self.done = {}

    def note(self, what, status, data):
        if status >= 400:
            error = json.loads(data)["error"]
            # Why, and whose disk it is; or what follows from a refusal before.
            assert (status, error["code"]) in REFUSALS, (what, status, error)
            assert status == 409 or " full?" in error["hint"] or "No space" in error["message"], (what, status, error)
            self.refusals.setdefault(what, set()).add(error["code"])
        else:
            self.done[what] = self.done.get(what, 0) + 1
        return status < 400


def try_all(s, k, n):
    """Everything that writes, once, on the disk as it is."""
    status, count = add(s)
    if status == 200:
        assert count == k.count + 1, (count, k.count)
        k.count = count
    else:
        k.note("invoke", status, count)
    value = os.urandom(200 << 10)
    status, _, data = s.ask("PUT", P + f"/x/state/o{n}", value)
    if k.note("state", status, data):
        k.objects[f"o{n}"] = value
    for what in ("checkpoint", "swap-out", "swap-in", "checkpoint"):
        status, _, data = s.ask("POST", P + f"/x/{what}")
        k.note(what, status, data)
    status, _, data = s.ask("POST", P, json.dumps({"pid": f"p{n}"}), headers={"Idempotency-Key": f"p{n}"})
    if k.note("create", status, data):
        status, _, data = s.ask("DELETE", P + f"/p{n}")
        # A deletion that is half done goes on by itself, or when it is asked for again.
        (k.gone if k.note("delete", status, data) else k.going).add(f"p{n}")
    else:
        k.gone.add(f"p{n}")
    # One that stays: its first record in the store may find no room after it has been answered.
    status, _, data = s.ask("POST", P, json.dumps({"pid": f"q{n}"}))
    (k.processes if k.note("create", status, data) else k.gone).add(f"q{n}")
    status, _, data = s.ask("POST", "/v1/apps", json.dumps({"name": f"b{n}", "code": os.path.join(EXAMPLES, "hello")}))
    if k.note("app", status, data):
        k.apps.add(f"b{n}")
    status, _, data = s.ask("PUT", "/v1/apps/a", json.dumps({"code": os.path.join(EXAMPLES, "counter"),
                                                             "resources": {"memory_bytes": (64 + n % 2) << 20}}))
    k.note("deploy", status, data)
    status, _, data = s.ask("POST", P + "/x/snapshots", json.dumps({"name": f"s{n}"}))
    if k.note("snapshot", status, data):
        status, _, data = s.ask("DELETE", P + f"/x/snapshots/s{n}")
        k.note("forget", status, data)
    status, _, data = s.ask("POST", "/v1/tokens", json.dumps({"scopes": ["read"], "label": f"t{n}"}))
    k.note("token", status, data)
    assert s.ask("GET", "/healthz")[0] == 200
    assert s.ask("GET", P)[0] == 200


def check(s, k):
    """All that was acknowledged is there, nothing that was refused is, and all works."""
    listed = {p["pid"] for p in s.json("GET", P, expect=200)["processes"]}
    assert listed >= k.processes, k.processes - listed
    assert not listed & k.gone, listed & k.gone
    assert {a["name"] for a in s.json("GET", "/v1/apps", expect=200)["apps"]} == k.apps
    s.json("POST", P + "/x/swap-in", expect=200)
    for pid in k.processes - {"x"}:
        s.json("POST", P + f"/{pid}/swap-in", expect=200)
        status, count = add(s, pid)
        assert (status, count) == (200, 1), (pid, status, count)
    for pid in (k.processes | k.going) - {"x"}:
        end = time.monotonic() + 20
        while (status := s.ask("DELETE", P + f"/{pid}")[0]) == 409 and time.monotonic() < end:
            time.sleep(0.02)
        assert status == 204 or (status == 404 and pid in k.going), (pid, status)
        k.gone.add(pid)
    k.processes, k.going = {"x"}, set()
    for name, value in k.objects.items():
        assert s.ask("GET", P + f"/x/state/{name}")[2] == value, name
    status, count = add(s)
    assert (status, count) == (200, k.count + 1), (status, count, k.count)
    k.count = count
    s.json("POST", P + "/x/swap-out", expect=200)
    s.json("POST", P + "/x/swap-in", expect=200)
    status, count = add(s)
    assert (status, count) == (200, k.count + 1), (status, count, k.count)
    k.count = count
    for name in list(k.objects):
        assert s.ask("DELETE", P + f"/x/state/{name}")[0] == 204
        del k.objects[name]


def test_everything_on_a_full_disk(s):
    begin(s)
    try:
        walk(s)
        assert s.stop() == 0
    finally:
        subprocess.run(["umount", "-l", s.data], check=False)


def walk(s):
    k = Known()
    for n, kib in enumerate(LEFT_KIB):
        leave(s, kib)
        assert s.refused("GET", "/readyz", None, 503, "not_ready")
        try_all(s, k, n)
        if n % 4 == 3:
            s.kill()
        room(s)
        if not s.process:
            s.start()
        check(s, k)
    assert s.ask("GET", "/readyz")[0] == 200
    for what in ("create", "swap-out", "checkpoint", "deploy", "app"):
        assert k.refusals.get(what) and k.done.get(what), (what, k.refusals, k.done)  # both were seen


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
