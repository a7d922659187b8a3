# SPDX-License-Identifier: Apache-2.0
"""The real service and controllers with their snapshots in S3: what comes back, what is left, who sees the keys.

usage: with moto -- e2e.py CONTROL CONTROLLER EXAMPLES {url}
"""
import glob
import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from service import Service, alive, run  # noqa: E402

CONTROL, CONTROLLER, EXAMPLES, URL = sys.argv[1:5]
APP, P = "/v1/apps/a", "/v1/apps/a/processes"
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]
KEYS = {n: os.environ[n] for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def blob(seed, size):
    return random.Random(seed).randbytes(size)


def objects(s):
    """Names of all objects of a service, as another client lists them."""
    bucket, prefix, endpoint, region = re.match(r"s3://([^/]+)/([^?]+)\?endpoint=([^&]+)&region=([^&]+)",
                                                s.options[1]).groups()
    text = subprocess.run(
        ["curl", "-sf", "--aws-sigv4", f"aws:amz:{region}:s3", "--user", f"{KEYS['AWS_ACCESS_KEY_ID']}:{SECRET}", "-H",
         "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         f"{endpoint}/{bucket}?list-type=2&prefix={prefix.replace('/', '%2F')}"], check=True, capture_output=True,
        text=True).stdout
    return re.findall(r"<Key>([^<]+)</Key>", text)


def service(*options, url=URL):
    return Service(CONTROL, CONTROLLER, "--snapshots", url, *options)


def make(s, isolation="inline"):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(os.path.abspath(EXAMPLES), "counter"),
                                "isolation": isolation, "allow_weak_sandbox": True}, 201)
    s.json("POST", P, {"pid": "x"}, 201)


def put(s, key, value, pid="x"):
    assert s.ask("PUT", f"{P}/{pid}/state/{key}", value)[0] == 204


def get(s, key, pid="x"):
    status, _, data = s.ask("GET", f"{P}/{pid}/state/{key}")
    return data if status == 200 else None


def ours():
    """Everything that runs below us."""
    tree = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                tree.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(pid))
        except OSError:
            pass
    found, look = [], [os.getpid()]
    while look:
        for child in tree.get(look.pop(), []):
            found.append(child)
            look.append(child)
    return found


def no_secret(s, control):
    """Not in arguments, nor in the environment of anybody but the service, which was given it there."""
    seen = 0
    for pid in ours():
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    text = f.read()
            except OSError:
                continue
            seen += b"praas-controller" in text and name == "cmdline"
            if name == "cmdline" or pid != control:
                assert SECRET.encode() not in text, (pid, name)
    assert seen, "no controller was looked at"
    for folder, _, files in os.walk(s.data):
        for name in files:
            if not os.path.isfile(os.path.join(folder, name)):
                continue
            with open(os.path.join(folder, name), "rb") as f:
                assert SECRET.encode() not in f.read(), (folder, name)


def test_life(s):
    """Swapped out and in, killed, restarted: what was saved comes back, from the bucket alone."""
    s.start(**KEYS)
    make(s)
    large = blob(1, 12 << 20)
    put(s, "large", large)
    put(s, "small", b"one")
    no_secret(s, s.process.pid)
    s.json("POST", f"{P}/x/swap-out", expect=200)
    names = objects(s)
    assert any("/log/" in n for n in names) and any("/chunk/" in n for n in names), names
    assert not os.listdir(os.path.join(s.data, "store"))
    assert get(s, "small") == b"one" and get(s, "large") == large
    put(s, "small", b"two")
    s.json("POST", f"{P}/x/checkpoint", expect=200)
    put(s, "small", b"lost")
    s.json("POST", f"{P}/x/kill", expect=200)
    assert get(s, "small") == b"two" and get(s, "large") == large
    s.kill()
    s.start(**KEYS)
    assert get(s, "small") == b"two"
    assert s.ask("GET", "/readyz")[0] == 200
    asked = re.search(rb"praas_s3_requests_total (\d+)", s.ask("GET", "/metrics")[2])
    assert asked and int(asked[1]) > 5


def test_snapshots(s):
    """Named, forked, rolled back; deleted: nothing of it is left."""
    s.start(**KEYS)
    make(s, "worker")
    put(s, "v", blob(2, 300_000))
    s.json("POST", f"{P}/x/snapshots", {"name": "one"}, 201)
    put(s, "v", b"later")
    s.json("POST", f"{P}/x/fork", {"pid": "y", "snapshot": "one"}, 201)
    assert get(s, "v", "y") == blob(2, 300_000)
    s.json("POST", f"{P}/x/rollback", {"snapshot": "one"}, 200)
    assert get(s, "v") == blob(2, 300_000)
    for pid in "xy":
        assert s.ask("DELETE", f"{P}/{pid}")[0] in (200, 204)
    end = time.monotonic() + 20
    while objects(s) and time.monotonic() < end:
        time.sleep(0.1)
    assert not objects(s), objects(s)


def words(s, pid="x"):
    """What its controllers have written."""
    return "".join(open(f, errors="replace").read() for f in glob.glob(os.path.join(s.data, "log", "*.log")))


def test_lazy(s):
    """Large state comes after the first answer: its parts are right when they are asked for before, and all of it
    comes by itself; what was not read stays in the bucket and is not written again; a part that is damaged there
    costs that part alone."""
    s.start(**KEYS)
    make(s)
    parts = {f"part{i}": blob(100 + i, 2 << 20) for i in range(24)}
    for key, value in parts.items():
        put(s, key, value)
    put(s, "small", b"here")
    s.json("POST", f"{P}/x/swap-out", expect=200)
    chunks = [n for n in objects(s) if "/chunk/" in n]
    assert len(chunks) == 1
    began = time.monotonic()
    assert get(s, "small") == b"here"
    first = time.monotonic() - began
    assert "all of the state is in memory" not in words(s), "nothing was late"
    for key in ("part23", "part0", "part11"):
        assert get(s, key) == parts[key]
    s.json("POST", f"{P}/x/swap-out", expect=200)  # most of it never came
    assert [n for n in objects(s) if "/chunk/" in n] == chunks
    assert get(s, "small") == b"here"
    end = time.monotonic() + 60
    while "all of the state is in memory" not in words(s):
        assert time.monotonic() < end, words(s)
        time.sleep(0.05)
    whole = time.monotonic() - began
    for key, value in parts.items():
        assert get(s, key) == value
    print(f"first answer {first * 1000:.0f} ms, all of 48 MiB after {whole * 1000:.0f} ms at most", flush=True)
    s.json("POST", f"{P}/x/swap-out", expect=200)
    assert s.stop() == 0
    damage(chunks[0], 5 << 20)
    s.start(**KEYS)
    assert get(s, "small") == b"here", (s.ask("GET", f"{P}/x/state/small"), words(s))
    good = [key for key in parts if s.ask("GET", f"{P}/x/state/{key}")[2] == parts[key]]
    assert len(good) == len(parts) - 1, good


def damage(name, at):
    """A bit of an object in the bucket is another one, whatever the server's own sums say."""
    from urllib.parse import quote
    bucket, endpoint, region = re.match(r"s3://([^/]+)/[^?]+\?endpoint=([^&]+)&region=([^&]+)", URL).groups()

    def curl(*more, body=b""):
        return subprocess.run(
            ["curl", "-sf", "--aws-sigv4", f"aws:amz:{region}:s3", "--user",
             f"{KEYS['AWS_ACCESS_KEY_ID']}:{SECRET}", "-H",
             f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}", *more,
             f"{endpoint}/{bucket}/{quote(name)}"], input=body, check=True, capture_output=True).stdout

    data = bytearray(curl())
    data[at] ^= 1
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        curl("-T", f.name, body=bytes(data))


def refuses(url, words, env):
    s = service(url=url)
    try:
        out = subprocess.run([CONTROL, "--data", s.data, "--controller", CONTROLLER, "--snapshots", url],
                             env={**{k: v for k, v in os.environ.items() if not k.startswith("AWS_")}, **env},
                             capture_output=True, text=True, timeout=60)
        assert out.returncode == 1 and re.search(words, out.stderr), (url, out.returncode, out.stderr)
        assert SECRET not in out.stderr
    finally:
        s.cleanup()


def test_refusals(_):
    """A store that cannot be used ends the service at once, in words."""
    none = {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"}
    refuses(URL, "no credentials", none)
    refuses(URL, "403", {**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"})
    refuses(URL + "&secret=x", "no such parameter", KEYS)
    refuses("gs://bucket/x", "neither", KEYS)
    refuses(URL.replace("praas-test", "no-such-bucket"), "NoSuchBucket", KEYS)
    refuses("s3://bucket?endpoint=http://127.0.0.1:1&timeout=1", "onnect|time", KEYS)


def run_one(test):
    return run([test], "--snapshots", URL.replace("?", f"/{test.__name__}?"), ends=False, starts=False)


if __name__ == "__main__":
    failed = [run_one(t) for t in (test_life, test_snapshots, test_lazy, test_refusals)]
    left = [p for p in ours() if alive(p)]
    assert not left, left
    sys.exit(any(failed))
