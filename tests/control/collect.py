# SPDX-License-Identifier: Apache-2.0
"""What nobody needs in the stores goes, and what is needed stays; praas doctor --store says what is wrong.

usage: collect.py CONTROL CONTROLLER EXAMPLES PRAAS [URL | redis SERVER]      URL: s3://… (tests/s3/with), else a folder
"""
import glob
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time

from redis_server import Redis
from service import run

EXAMPLES, PRAAS = sys.argv[3:5]
URL = sys.argv[5] if len(sys.argv) == 6 else None
REDIS = Redis(sys.argv[6]) if len(sys.argv) > 6 else None
KEYS = {n: os.environ[n] for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if URL else {}
P = "/v1/apps/a/processes"
GRACE = 10
ORPHAN = "chunk/" + "0" * 32 + "-" + "1" * 16


def blob(seed, size):
    return random.Random(seed).randbytes(size)


def s3(method, path, body=b"", query=""):
    endpoint, region = re.search(r"endpoint=([^&]+)&region=([^&]+)", URL).groups()
    return subprocess.run(
        ["curl", "-sf", "-X", method, "--aws-sigv4", f"aws:amz:{region}:s3", "--user", ":".join(KEYS.values()), "-H",
         f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}", "--data-binary" if body else "-s",
         *(["@-"] if body else []), f"{endpoint}/{path}{query}"], input=body, check=True, capture_output=True).stdout


class Store:
    """What is in the store, seen past the service."""

    def __init__(self, s):
        self.s = s
        self.url = REDIS.url if REDIS else URL or f"file://{s.data}/store"

    def names(self):
        if REDIS:
            return REDIS.names()
        if not URL:
            root = os.path.join(self.s.data, "store")
            return [os.path.relpath(f, root) for f in glob.glob(root + "/**", recursive=True) if os.path.isfile(f)]
        bucket, prefix = re.match(r"s3://([^/]+)/([^?]+)", URL).groups()
        text = s3("GET", bucket, query=f"?list-type=2&prefix={prefix.replace('/', '%2F')}%2F").decode()
        return [n[len(prefix) + 1:] for n in re.findall(r"<Key>([^<]+)</Key>", text)]

    def put(self, name, data):
        if REDIS:
            home, part, name = name.rsplit("/", 2)
            REDIS.put(home, f"{part}/{name}", data)
            return
        if URL:
            bucket, prefix = re.match(r"s3://([^/]+)/([^?]+)", URL).groups()
            s3("PUT", f"{bucket}/{prefix}/{name}", data)
            return
        path = os.path.join(self.s.data, "store", name)
        with open(path, "wb") as f:
            f.write(data)

    def doctor(self, expect, url=None):
        out = subprocess.run([PRAAS, "doctor", "--store", url or self.url, "--json"], capture_output=True, text=True,
                             timeout=120)
        assert out.returncode == expect, (expect, out)
        return json.loads(out.stdout) if out.stdout else None

    def of_process(self):
        return {n.rsplit("/", 2)[0] for n in self.names() if "/log/" in n}


def start(s):
    s.start(**KEYS)


def make(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(EXAMPLES), "counter"),
                                "isolation": "inline", "allow_weak_sandbox": True}, 201)


def put(s, key, value, pid="x"):
    assert s.ask("PUT", f"{P}/{pid}/state/{key}", value)[0] == 204


def get(s, key, pid="x"):
    status, _, data = s.ask("GET", f"{P}/{pid}/state/{key}")
    return data if status == 200 else None


def swap(s, pid="x"):
    s.json("POST", f"{P}/{pid}/swap-out", expect=200)


def wait(what, true, seconds=5 * GRACE):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def number(s, name):
    return int(re.search(rf"praas_{name} (\d+)".encode(), s.ask("GET", "/metrics")[2])[1])


def test_collected(s):
    """Old entries and chunks that nobody refers to go from a resting process, a named snapshot keeps its own, and
    nothing that is needed is missing afterwards."""
    store = Store(s)
    start(s)
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    for i in range(6):
        put(s, "v", blob(i, 300_000))
        swap(s)
    s.json("POST", f"{P}/x/snapshots", {"name": "kept"}, 201)
    for i in range(6, 9):
        put(s, "v", blob(i, 300_000))
        swap(s)
    home = store.of_process().pop()
    store.put(f"{home}/{ORPHAN}", b"left over")
    found = store.doctor(0)
    assert found["whole"] and found["stores"] == 1 and found["unneeded"] >= 1, found
    assert any(f["object"] == ORPHAN and f["kind"] == "unneeded" for f in found["findings"]), found
    before = len([n for n in store.names() if "/log/" in n])
    wait("the orphan stays", lambda: f"{home}/{ORPHAN}" not in store.names())
    wait("the log stays", lambda: f"{home}/log/{0:020}" not in store.names())
    assert len([n for n in store.names() if "/log/" in n]) < before
    found = store.doctor(0)
    assert found["whole"] and found["unneeded"] == 0 and found["snapshots"] == 3, found
    assert number(s, "store_collected_objects_total") >= 1
    assert number(s, "store_collected_entries_total") >= 1
    assert get(s, "v") == blob(8, 300_000)
    s.json("POST", f"{P}/x/rollback", {"snapshot": "kept"}, 200)
    assert get(s, "v") == blob(5, 300_000)
    s.kill()
    start(s)
    assert get(s, "v") == blob(5, 300_000)
    assert store.doctor(0)["whole"]


def test_active(s):
    """A process that serves and takes snapshots all the time loses nothing to it."""
    store = Store(s)
    start(s)
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    home, end, i = None, time.monotonic() + 3 * GRACE, 0
    while time.monotonic() < end:
        put(s, "v", blob(i, 200_000))
        put(s, f"k{i % 7}", blob(i + 1000, 100_000))
        s.json("POST", f"{P}/x/checkpoint", expect=200)
        if home is None:
            home = store.of_process().pop()
            store.put(f"{home}/{ORPHAN}", b"left over")
        time.sleep(0.3)
        i += 1
    assert f"{home}/log/{0:020}" not in store.names()
    assert f"{home}/{ORPHAN}" not in store.names()
    assert store.doctor(0)["whole"]
    s.json("POST", f"{P}/x/kill", expect=200)
    assert get(s, "v") == blob(i - 1, 200_000)


def test_deleted(s):
    """What a deletion has left goes, tombstone and all."""
    store = Store(s)
    start(s)
    make(s)
    for pid in "xy":
        s.json("POST", P, {"pid": pid}, 201)
        put(s, "v", blob(1, 300_000), pid)
        swap(s, pid)
    homes = store.of_process()
    assert s.ask("DELETE", f"{P}/y")[0] in (200, 204)
    wait("it is deleted", lambda: len(store.of_process()) == 1, 20)
    assert get(s, "v") == blob(1, 300_000)
    assert len(homes) == 2 and store.doctor(0)["stores"] == 1


def damage(store, name, at):
    path = os.path.join(store.s.data, "store", name)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def test_doctor(s):
    """Each kind of damage is found, named, and an exit code of its own."""
    store = Store(s)
    assert Store(s).doctor(2, "nonsense:/x") is None
    assert Store(s).doctor(4, f"file://{s.dir}/none") is None
    start(s)
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    put(s, "a", blob(1, 300_000))
    put(s, "b", blob(2, 6_000_000))
    swap(s)
    assert s.stop() == 0
    home = store.of_process().pop()
    found = store.doctor(0)
    assert found["whole"] and found["values"] == 2 and found["bytes"] == 6_300_000, found
    assert store.doctor(0, f"{store.url}/{home}")["values"] == 2
    chunk = [n for n in store.names() if "/chunk/" in n][0]
    size = os.path.getsize(os.path.join(s.data, "store", chunk))
    damage(store, chunk, size - 100)
    found = store.doctor(1)
    assert found["corrupt"] == 1 and '"b"' in found["findings"][0]["why"], found
    damage(store, chunk, size - 100)
    assert store.doctor(0)["whole"]
    path = os.path.join(s.data, "store", chunk)
    with open(path, "r+b") as f:
        f.truncate(1000)
    assert store.doctor(1)["corrupt"] == 1
    os.rename(path, path + "x")
    found = store.doctor(1)
    assert found["missing"] == 1 and found["findings"][0]["object"] in path, found
    os.rename(path + "x", path)
    for name in sorted(n for n in store.names() if "/log/" in n):
        damage(store, name, 60)
        found = store.doctor(1)
        assert found["unreadable"] + found["failed"] >= 1, found
        damage(store, name, 60)
    words = subprocess.run([PRAAS, "doctor", "--store", store.url], capture_output=True, text=True, timeout=60)
    assert words.returncode == 1 and "too short" in words.stdout, words


def run_one(test):
    """In a part of the bucket, or a Redis, of its own."""
    global URL
    options = ["--collect-seconds", str(GRACE)]
    if REDIS:
        REDIS.ask("FLUSHALL")
        options += ["--snapshots", REDIS.url]
    if URL:
        URL = sys.argv[5].replace("?", f"/{test.__name__}?")
        options += ["--snapshots", URL]
    return run([test], *options, ends=False, starts=False)


if __name__ == "__main__":
    if REDIS:
        REDIS.start()
    try:
        code = any([run_one(t) for t in (test_collected, test_active, test_deleted) +
                    (() if URL or REDIS else (test_doctor,))])
    finally:
        if REDIS:
            REDIS.cleanup()
    sys.exit(code)
