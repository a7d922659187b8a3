# SPDX-License-Identifier: Apache-2.0
"""What is stored is sealed: nobody sees it, nothing that was changed is believed, keys change, and what was stored in
clear is read until it is sealed, too.

usage: sealed.py CONTROL CONTROLLER EXAMPLES PRAAS
"""
import glob
import json
import os
import random
import subprocess
import sys
import time

from service import run

EXAMPLES, PRAAS = sys.argv[3:5]
P = "/v1/apps/a/processes"
CANARY = b"canary-that-nobody-is-to-see-"
KEYS = ["%064x" % (i + 1) for i in range(3)]


def blob(seed, size):
    return CANARY + random.Random(seed).randbytes(size)


def key_file(s, *keys):
    path = os.path.join(s.dir, "keys")
    with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("# the first one seals\n" + "\n".join(keys) + "\n")
    return path


def start(s, *keys, clear=None):
    s.options = ["--store-key", "file:" + key_file(s, *keys)] if keys else []
    s.options += ["--store-clear", clear] if clear else []
    s.start()


def make(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(EXAMPLES), "counter"),
                                "isolation": "inline", "allow_weak_sandbox": True}, 201)
    s.json("POST", P, {"pid": "x"}, 201)


def put(s, key, value, pid="x"):
    assert s.ask("PUT", f"{P}/{pid}/state/{key}", value)[0] == 204


def get(s, key, pid="x"):
    status, _, data = s.ask("GET", f"{P}/{pid}/state/{key}")
    return data if status == 200 else (status, data)


def swap(s, pid="x"):
    s.json("POST", f"{P}/{pid}/swap-out", expect=200)


def files(s, part=""):
    found = glob.glob(os.path.join(s.data, "store", "**", part + "*"), recursive=True)
    return sorted(f for f in found if os.path.isfile(f))


def in_clear(s):
    """Files that show what is in them, or that are not sealed."""
    return [f for f in files(s) if CANARY in (data := open(f, "rb").read()) or not data.startswith(b"PRASSEAL")]


def doctor(s, expect, *keys):
    more = ["--store-key", "file:" + key_file(s, *keys)] if keys else []
    out = subprocess.run([PRAAS, "doctor", "--store", f"file://{s.data}/store", "--json", *more], capture_output=True,
                         text=True, timeout=60)
    assert out.returncode == expect, (expect, out)
    return json.loads(out.stdout)


def refused(s, words, code="start_failed"):
    status, answer = get(s, "v")
    assert status >= 500 and words in answer.decode(), (status, answer)


def test_life(s):
    """Saved, restarted, named, forked, rolled back, deleted: as ever, and nothing of it can be seen."""
    start(s, KEYS[0])
    make(s)
    put(s, "v", blob(1, 200_000))
    put(s, "small", CANARY + b"one")
    put(s, "large", blob(2, 9_000_000))
    swap(s)
    assert files(s, "0") and not in_clear(s), in_clear(s)
    assert get(s, "v") == blob(1, 200_000) and get(s, "small") == CANARY + b"one"
    chunks = [f for f in files(s) if "/chunk/" in f]
    put(s, "small", CANARY + b"two")
    s.json("POST", f"{P}/x/snapshots", {"name": "one"}, 201)
    assert [f for f in files(s) if "/chunk/" in f] == chunks, "what has not changed is not written again"
    put(s, "v", b"later")
    s.json("POST", f"{P}/x/fork", {"pid": "y", "snapshot": "one"}, 201)
    assert get(s, "v", "y") == blob(1, 200_000) and get(s, "large", "y") == blob(2, 9_000_000)
    s.json("POST", f"{P}/x/rollback", {"snapshot": "one"}, 200)
    assert get(s, "v") == blob(1, 200_000) and get(s, "large") == blob(2, 9_000_000)
    swap(s)
    swap(s, "y")
    assert not in_clear(s), in_clear(s)
    s.kill()
    start(s, KEYS[0])
    assert get(s, "v", "y") == blob(1, 200_000)
    assert s.ask("DELETE", f"{P}/y")[0] in (200, 204)
    for pid in map(str, os.listdir("/proc")):
        try:
            with open(f"/proc/{int(pid)}/cmdline", "rb") as f:
                assert KEYS[0].encode() not in f.read()
        except (OSError, ValueError):
            pass


def test_keys(s):
    """Without its key, or with another one, it is closed and not lost; old keys open, the first one seals."""
    start(s, KEYS[0])
    make(s)
    put(s, "v", blob(1, 200_000))
    swap(s)
    assert s.stop() == 0
    before = files(s)
    start(s, KEYS[1])
    refused(s, "not among the keys")
    assert s.stop() == 0
    start(s)
    status, answer = get(s, "v")
    assert status >= 500, (status, answer)
    assert s.stop() == 0
    assert set(before) <= set(files(s))
    assert doctor(s, 1, KEYS[1])["failed"] == 1
    assert doctor(s, 0, KEYS[0])["whole"]
    start(s, KEYS[1], KEYS[0])
    assert get(s, "v") == blob(1, 200_000)
    for i in range(3):
        put(s, "v", blob(10 + i, 200_000))
        swap(s)
    assert s.stop() == 0
    start(s, KEYS[1])
    assert get(s, "v") == blob(12, 200_000)


def test_clear(s):
    """What was stored before there were keys is read, and sealed with the next snapshots; then clear is refused."""
    start(s)
    make(s)
    put(s, "v", blob(1, 200_000))
    put(s, "large", blob(2, 9_000_000))
    swap(s)
    assert s.stop() == 0 and len(in_clear(s)) == len(files(s))
    start(s, KEYS[0], clear="refuse")
    refused(s, "in clear")
    assert s.stop() == 0
    start(s, KEYS[0])
    assert get(s, "v") == blob(1, 200_000) and get(s, "large") == blob(2, 9_000_000)
    for i in range(3):
        put(s, "w", blob(10 + i, 1000))
        s.json("POST", f"{P}/x/checkpoint", expect=200)
    time.sleep(2)  # until what is not needed was swept
    swap(s)
    assert not [f for f in in_clear(s) if "/log/" not in f], in_clear(s)
    assert s.stop() == 0
    for f in [f for f in in_clear(s)]:  # old entries of the log: collected in an hour
        os.unlink(f)
    start(s, KEYS[0], clear="refuse")
    assert get(s, "v") == blob(1, 200_000) and get(s, "large") == blob(2, 9_000_000)


def test_tampered(s):
    """What somebody changes in the store is found out: said, and never served."""
    start(s, KEYS[0])
    make(s)
    put(s, "v", blob(1, 200_000))
    swap(s)
    put(s, "v", blob(2, 200_000))
    swap(s)
    assert s.stop() == 0
    log = [f for f in files(s) if "/log/" in f]
    kept = {f: open(f, "rb").read() for f in files(s)}

    def restore():
        for name, data in kept.items():
            with open(name, "wb") as f:
                f.write(data)

    def expect_refusal():
        start(s, KEYS[0])
        status, answer = get(s, "v")
        assert status >= 500, (status, answer[:200])
        assert s.stop() == 0
        restore()
        for extra in set(files(s)) - set(kept):
            os.unlink(extra)

    rels = [f for f in log if len(kept[f]) > 400]
    with open(rels[-1], "wb") as f:  # an older snapshot in place of the last one
        f.write(kept[rels[0]])
    expect_refusal()
    with open(rels[-1], "wb") as f:
        f.write(kept[rels[-1]][:-1])
    expect_refusal()
    chunks = [f for f in files(s) if "/chunk/" in f]
    for name in chunks:
        with open(name, "r+b") as f:
            f.seek(5000)
            f.write(b"?")
    expect_refusal()
    start(s, KEYS[0])
    assert get(s, "v") == blob(2, 200_000)


if __name__ == "__main__":
    run([test_life, test_keys, test_clear, test_tampered], starts=False)
