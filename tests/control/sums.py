# SPDX-License-Identifier: Apache-2.0
"""What a tenant is held to use is what a recount finds, whatever was done, refused, failed, killed or cut off."""
import json
import random
import threading
import time
import uuid

from service import run

MIB = 1 << 20
# The fake controller acts by the name of the process.
PIDS = ("x", "y", "refuse", "fail", "die", "token", "full", "linger", "fenced", "z")
LIMITS = {"apps": 3, "processes": 8, "memory_bytes": 300 * MIB, "requests_per_s": 1000000, "calls": 64}


class Wanderer(threading.Thread):
    """Asks for anything, in any order; an answer of any kind will do, but it is one."""

    def __init__(self, s, token, seed, seconds):
        super().__init__()
        self.s, self.token, self.random = s, token, random.Random(seed)
        self.end = time.monotonic() + seconds
        self.done, self.answers, self.wrong = 0, {}, None

    def step(self):
        r = self.random
        app, pid = f"/v1/apps/a{r.randrange(4)}", r.choice(PIDS)
        process = f"{app}/processes/{pid}"
        memory = {"memory_bytes": r.choice((16, 32, 64, 128, 512)) * MIB}
        method, path, body = r.choice((
            ("POST", "/v1/apps", {"name": app[9:], "code": self.s.code, "resources": memory}),
            ("POST", "/v1/apps", {"name": app[9:], "code": self.s.code, "resources": memory}),
            ("DELETE", app, None),
            ("POST", app + "/processes", {"pid": pid}),
            ("POST", app + "/processes", {"pid": pid, "wait": False}),
            ("POST", app + "/processes", {"pid": pid}),
            ("POST", process + "/swap-in", None),
            ("POST", process + "/swap-out", None),
            ("POST", process + "/checkpoint", None),
            ("POST", process + "/kill", None),
            ("DELETE", process, None),
            ("GET", app + "/processes", None),
        ))
        headers = {"Idempotency-Key": r.choice((uuid.uuid4().hex, "again"))} if r.random() < 0.2 else {}
        status, _, data = self.s.ask(method, path, json.dumps(body) if body else None, headers, self.token)
        code = json.loads(data)["error"]["code"] if status >= 400 else "good"
        self.answers[code] = self.answers.get(code, 0) + 1
        assert code not in ("internal", "store_failed"), (method, path, status, data)

    def run(self):
        try:
            while time.monotonic() < self.end:
                self.step()
                self.done += 1
        except Exception as e:  # told by who waits for it
            self.wrong = e


def wander(s, token, seed, seconds):
    threads = [Wanderer(s, token, seed + i, seconds) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not any(t.wrong for t in threads), [t.wrong for t in threads]
    answers = {}
    for t in threads:
        for code, n in t.answers.items():
            answers[code] = answers.get(code, 0) + n
    return answers


def recount(s, token):
    """Of what the lists tell; None while something is under way."""
    apps = s.json("GET", "/v1/apps", expect=200, token=token)["apps"]
    count = memory = 0
    for app in apps:
        for p in s.json("GET", f"/v1/apps/{app['name']}/processes", expect=200, token=token)["processes"]:
            if p["state"] in ("ACTIVATING", "DRAINING", "DELETING"):
                return None
            count += 1
            memory += app["resources"]["memory_bytes"] if p["state"] in ("ACTIVE", "IDLE") else 0
    return {"apps": len(apps), "processes": count, "memory_bytes": memory, "calls": 1}


def used(s, token):
    return s.json("GET", "/v1/limits", expect=200, token=token)["used"]


def same(s, token):
    """The sums, when they are those of a recount."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        wanted, got = recount(s, token), used(s, token)
        if wanted and all(got[k] == v for k, v in wanted.items()):
            return got
        time.sleep(0.05)
    raise AssertionError(f"recount {wanted}, held to use {got}")


def test_sums(s):
    s.json("POST", "/v1/tenants", {"name": "t", "limits": LIMITS}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["read", "deploy"], "tenant": "t"}, 201)["token"]
    answers = {}
    for turn in range(3):
        for code, n in wander(s, token, 100 * turn, 5).items():
            answers[code] = answers.get(code, 0) + n
        before = same(s, token)
        if turn == 1:
            s.kill()
        else:
            assert s.stop() == 0
        s.start()
        after = same(s, token)
        if turn != 1:  # all that ran told how large its state is before it ended
            assert after["state_bytes"] == before["state_bytes"], (before, after)
            assert after["memory_bytes"] == 0, after
    for refused in ("quota_processes", "quota_memory", "start_failed", "not_found", "good"):
        assert answers.get(refused, 0) > 0, answers

    for app in s.json("GET", "/v1/apps", token=token)["apps"]:  # nothing is left of nothing
        path = f"/v1/apps/{app['name']}"
        for p in s.json("GET", path + "/processes", token=token)["processes"]:
            s.json("DELETE", f"{path}/processes/{p['pid']}", expect=204, token=token)
        s.json("DELETE", path, expect=204, token=token)
    assert {k: v for k, v in used(s, token).items() if v} == {"calls": 1}, used(s, token)


run([f for n, f in sorted(globals().items()) if n.startswith("test_")], "--rejoin-seconds", "2", "--stop-seconds", "2")
