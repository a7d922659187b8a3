# SPDX-License-Identifier: Apache-2.0
"""Named snapshots of real processes: what they keep, what goes with them, what they count."""
import json
import os
import random
import sys
import threading

from service import run

APP = "/v1/apps/a"
P = APP + "/processes"
EXAMPLES = os.path.abspath(sys.argv[3])
LARGE = 300_000  # a value that lies in a chunk


def make(s, app=APP, token=None):
    s.json("POST", "/v1/apps", {"name": app.rsplit("/", 1)[1], "code": os.path.join(EXAMPLES, "counter"),
                                "isolation": "inline", "allow_weak_sandbox": True}, 201, token=token)
    s.json("POST", app + "/processes", {"pid": "x"}, 201, token=token)


def put(s, key, value, pid="x"):
    assert s.ask("PUT", f"{P}/{pid}/state/{key}", value)[0] == 204


def get(s, key, pid="x"):
    status, _, data = s.ask("GET", f"{P}/{pid}/state/{key}")
    return data if status == 200 else None


def blob(seed):
    return random.Random(seed).randbytes(LARGE)


def name(s, snapshot, pid="x"):
    return s.json("POST", f"{P}/{pid}/snapshots", {"name": snapshot}, 201)


def names(s, pid="x"):
    return [x["name"] for x in s.json("GET", f"{P}/{pid}/snapshots", expect=200)["snapshots"]]


def chunks(s):
    return {f for folder, _, files in os.walk(os.path.join(s.data, "store"))
            if folder.endswith("/chunk") for f in files}


def swap_round(s, value, pid="x"):
    put(s, "v", value, pid)
    s.json("POST", f"{P}/{pid}/swap-out", expect=200)


def test_names(s):
    make(s)
    assert names(s) == []
    put(s, "v", blob(1))
    first = name(s, "one")  # of a live process: saved, and named
    assert first["epoch"] == 1 and first["bytes"] >= LARGE and first["records"] == 1
    s.refused("POST", P + "/x/snapshots", '{"name":"one"}', 409, "exists")
    s.json("POST", P + "/x/swap-out", expect=200)
    second = name(s, "two")  # of a swapped one: its last, and it is not woken
    assert s.state("a", "x") == "SWAPPED" and second["slot"] > first["slot"]
    page = s.json("GET", P + "/x/snapshots?limit=1", expect=200)
    assert [x["name"] for x in page["snapshots"]] == ["one"] and page["next"] == "one"
    page = s.json("GET", P + "/x/snapshots?after=one", expect=200)
    assert [x["name"] for x in page["snapshots"]] == ["two"] and "next" not in page
    assert s.json("GET", P + "/x/snapshots/one", expect=200) == first
    s.refused("GET", P + "/x/snapshots/three", None, 404, "not_found")
    s.refused("GET", P + "/y/snapshots", None, 404, "not_found")
    s.json("DELETE", P + "/x/snapshots/one", expect=204)
    s.refused("DELETE", P + "/x/snapshots/one", None, 404, "not_found")
    assert names(s) == ["two"]
    s.json("DELETE", P + "/x", expect=204)
    assert not chunks(s)


def test_nothing_to_name(s):
    make(s)
    s.json("POST", P + "/x/kill", expect=200)
    s.refused("POST", P + "/x/snapshots", '{"name":"one"}', 409, "no_snapshot")


def test_kept_and_gone(s):
    """What a name stands for outlives any number of swaps; with the name its chunks go at once."""
    make(s)
    put(s, "v", blob(1))
    name(s, "one")
    kept = chunks(s)
    for i in range(2, 6):
        swap_round(s, blob(i))
        s.json("POST", P + "/x/swap-in", expect=200)
    end = 100
    while len(chunks(s) - kept) > 2 and end:  # a second after it serves the rest is swept
        end -= 1
        threading.Event().wait(0.1)
    assert end and kept <= chunks(s)
    s.json("DELETE", P + "/x/snapshots/one", expect=204)
    assert not kept & chunks(s)
    assert get(s, "v") == blob(5)


def back(s, snapshot, pid="x"):
    return s.json("POST", f"{P}/{pid}/rollback", {"snapshot": snapshot}, 200)


def test_rollback(s):
    """State and mailbox are what they were; epochs go on; clients are told; forward is as well possible."""
    make(s)
    put(s, "v", blob(1))
    put(s, "old", b"o")
    assert s.ask("POST", P + "/x/messages/box", b"waits")[0] == 204
    name(s, "one")
    assert s.ask("GET", P + "/x/messages/box")[2] == b"waits"
    put(s, "v", blob(2))
    assert s.ask("POST", P + "/x/messages/box", b"later")[0] == 204
    assert s.ask("DELETE", P + "/x/state/old")[0] == 204
    name(s, "two")
    before = s.json("GET", P + "/x")
    told = back(s, "one")  # it serves: it is swapped out first
    assert told["state"] == "SWAPPED" and told["epoch"] == before["epoch"] + 1, told
    assert told["lost_epoch"] == before["epoch"], told
    assert get(s, "v") == blob(1) and get(s, "old") == b"o"
    assert s.ask("GET", P + "/x/messages/box")[2] == b"waits"
    assert s.ask("GET", P + "/x/messages/box?wait_ms=50")[0] == 404
    put(s, "v", blob(3))
    s.json("POST", P + "/x/swap-out", expect=200)
    assert back(s, "two")["state"] == "SWAPPED"  # it rests
    name(s, "again")
    assert get(s, "v") == blob(2) and get(s, "old") is None
    assert s.ask("GET", P + "/x/messages/box")[2] == b"later"
    back(s, "one")
    back(s, "again")
    assert get(s, "v") == blob(2)
    s.json("POST", P + "/x/kill", expect=200)
    assert get(s, "v") == blob(2)  # without having been saved since
    s.refused("POST", P + "/x/rollback", '{"snapshot":"none"}', 404, "not_found")
    s.refused("POST", P + "/y/rollback", '{"snapshot":"one"}', 404, "not_found")
    s.json("POST", P + "/x/kill", expect=200)
    back(s, "one")
    assert get(s, "v") == blob(1)


def test_rollback_of_what_cannot_be_loaded(s):
    """The last snapshot is damaged: the process does not wake, and comes back as it was before."""
    make(s)
    put(s, "v", blob(1))
    name(s, "good")
    first = chunks(s)
    swap_round(s, blob(2))
    (damaged,) = chunks(s) - first
    for folder, _, files in os.walk(os.path.join(s.data, "store")):
        if damaged in files:
            os.truncate(os.path.join(folder, damaged), 100)
    s.refused("POST", P + "/x/swap-in", None, 502, "start_failed")
    s.refused("POST", P + "/x/snapshots", '{"name":"bad"}', 500, "snapshot_damaged")
    back(s, "good")
    assert get(s, "v") == blob(1)


def test_rollback_under_calls(s):
    """Whoever calls meanwhile is served before or after, never in between."""
    make(s)
    put(s, "v", blob(1))
    name(s, "one")
    over = threading.Event()
    wrong = []

    def call():
        while not over.is_set():
            status, _, data = s.ask("GET", P + "/x/state/v")
            if status == 200 and data not in (blob(1), blob(2)):
                wrong.append(data[:10])

    callers = [threading.Thread(target=call) for _ in range(3)]
    for c in callers:
        c.start()
    for _ in range(6):
        put(s, "v", blob(2))
        epoch = back(s, "one")["epoch"]
        assert get(s, "v") == blob(1)
    over.set()
    for c in callers:
        c.join()
    assert not wrong and epoch >= 6


def test_fork(s):
    """It begins with what the other had, and each goes its own way; neither needs the other's store."""
    make(s)
    put(s, "v", blob(1))
    assert s.ask("POST", P + "/x/messages/box", b"waits")[0] == 204
    name(s, "one")
    put(s, "v", blob(2))
    now = s.json("POST", P + "/x/fork", {"pid": "now"}, 201)
    then = s.json("POST", P + "/x/fork", {"pid": "then", "snapshot": "one"}, 201)
    other = s.json("POST", P + "/x/fork", {}, 201)
    assert {p["state"] for p in (now, then, other)} == {"SWAPPED"} and now["epoch"] == 1
    assert len({p["number"] for p in (now, then, other)}) == 3 and s.state("a", "x") == "ACTIVE"
    inodes = {os.stat(os.path.join(folder, f)).st_ino for folder, _, files in
              os.walk(os.path.join(s.data, "store")) if folder.endswith("/chunk") for f in files}
    assert len(inodes) == len(chunks(s))  # chunks are not copied
    assert get(s, "v", "now") == blob(2) and get(s, "v", "then") == blob(1)
    for pid in ("x", "then"):
        assert s.ask("GET", f"{P}/{pid}/messages/box")[2] == b"waits"
    assert names(s, "then") == []
    put(s, "v", blob(3), "then")
    s.json("POST", P + "/then/swap-out", expect=200)
    assert get(s, "v") == blob(2) and get(s, "v", "now") == blob(2)
    s.json("DELETE", P + "/x", expect=204)
    assert get(s, "v", "then") == blob(3) and get(s, "v", "now") == blob(2)
    s.json("POST", P + "/now/kill", expect=200)
    assert get(s, "v", "now") == blob(2)  # of its own store
    s.refused("POST", P + "/now/fork", '{"pid":"then"}', 409, "exists")
    s.refused("POST", P + "/now/fork", '{"snapshot":"none"}', 404, "not_found")
    s.refused("POST", P + "/y/fork", "{}", 404, "not_found")
    s.refused("POST", P + "/now/fork", '{"pid":"."}', 400, "invalid_name")
    for p in s.json("GET", P, expect=200)["processes"]:
        s.json("DELETE", P + "/" + p["pid"], expect=204)
    assert not chunks(s)


def test_fork_of_nothing(s):
    make(s)
    s.json("POST", P + "/x/kill", expect=200)
    s.refused("POST", P + "/x/fork", '{"pid":"f"}', 409, "no_snapshot")
    assert [p["pid"] for p in s.json("GET", P, expect=200)["processes"]] == ["x"]


def test_fork_counts(s):
    """A fork is a process of its tenant, and has its own state."""
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"processes": 2}}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["deploy", "invoke", "read"], "tenant": "t"}, 201)["token"]
    make(s, token=token)
    assert s.ask("PUT", P + "/x/state/v", blob(1), token=token)[0] == 204
    s.json("POST", P + "/x/fork", {"pid": "f"}, 201, token=token)
    s.refused("POST", P + "/x/fork", '{"pid":"g"}', 403, "quota_processes", token=token)
    used = s.json("GET", "/v1/limits", token=token)["used"]
    assert used["processes"] == 2 and used["state_bytes"] >= LARGE, used
    s.json("DELETE", P + "/f", expect=204, token=token)
    assert s.json("GET", "/v1/limits", token=token)["used"]["processes"] == 1


def test_many_forks_at_once(s):
    """Of a process that is saved and swept all the time: each is whole."""
    make(s)
    put(s, "v", blob(0))
    over = threading.Event()
    made = []

    def churn():
        i = 0
        while not over.is_set():
            i += 1
            s.ask("PUT", P + "/x/state/v", blob(i))
            s.ask("POST", f"{P}/x/{'checkpoint' if i % 3 else 'swap-out'}", "{}")

    def give():
        for _ in range(4):
            status, _, data = s.ask("POST", P + "/x/fork", "{}")
            assert status in (201, 409), (status, data)
            if status == 201:
                made.append(json.loads(data)["pid"])

    busy = threading.Thread(target=churn)
    busy.start()
    givers = [threading.Thread(target=give) for _ in range(3)]
    for g in givers:
        g.start()
    for g in givers:
        g.join()
    over.set()
    busy.join()
    assert len(made) >= 8, made
    for pid in made:
        assert len(get(s, "v", pid)) == LARGE
        s.json("POST", f"{P}/{pid}/swap-out", expect=200)


def test_limit(s):
    make(s)
    s.json("POST", P + "/x/swap-out", expect=200)
    for i in range(64):
        name(s, f"n{i:02}")
    s.refused("POST", P + "/x/snapshots", '{"name":"more"}', 409, "limit_snapshots")
    s.json("DELETE", P + "/x/snapshots/n00", expect=204)
    name(s, "more")
    assert len(names(s)) == 64


def test_counts_as_state(s):
    """Named bytes count for the tenant beside the state, also after a restart; over the limit nothing is named."""
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"state_bytes": 3 * LARGE}}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["deploy", "invoke", "read"], "tenant": "t"}, 201)["token"]
    make(s, token=token)
    assert s.ask("PUT", P + "/x/state/v", blob(1), token=token)[0] == 204
    for snapshot in ("one", "two"):
        s.json("POST", P + "/x/snapshots", {"name": snapshot}, 201, token=token)
    s.refused("POST", P + "/x/snapshots", '{"name":"three"}', 403, "quota_state", token=token)
    assert s.stop() == 0
    s.start()
    used = s.json("GET", "/v1/limits", token=token)["used"]["state_bytes"]
    assert used >= 2 * LARGE, used
    for snapshot in ("one", "two"):
        s.json("DELETE", P + "/x/snapshots/" + snapshot, expect=204, token=token)
    assert s.json("GET", "/v1/limits", token=token)["used"]["state_bytes"] == used - 2 * LARGE


def test_many_at_once(s):
    """Names are given while the process is saved, swept and woken all the time: each stands for a whole
    snapshot."""
    make(s)
    put(s, "v", blob(0))
    over = threading.Event()
    got = []

    def churn():
        i = 0
        while not over.is_set():
            i += 1
            s.ask("PUT", P + "/x/state/v", blob(i))
            s.ask("POST", f"{P}/x/{'checkpoint' if i % 3 else 'swap-out'}", "{}")

    def give(k):
        for i in range(8):
            status, _, data = s.ask("POST", P + "/x/snapshots", json.dumps({"name": f"n{k}-{i}"}))
            assert status in (201, 409), (status, data)
            if status == 201:
                got.append(f"n{k}-{i}")

    busy = threading.Thread(target=churn)
    busy.start()
    givers = [threading.Thread(target=give, args=(k,)) for k in range(3)]
    for g in givers:
        g.start()
    for g in givers:
        g.join()
    over.set()
    busy.join()
    assert sorted(got) == names(s) and len(got) >= 12, (got, names(s))
    s.json("POST", P + "/x/swap-out", expect=200)


if __name__ == "__main__":
    run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
