# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: what is asked twice is done once and answered twice alike."""
import json
import os
import re
import subprocess
import sys
import threading
import time

from service import run, write_library

ROUTES = json.loads(subprocess.run([sys.argv[3]], check=True, capture_output=True).stdout)
APP, P = "/v1/apps/a", "/v1/apps/a/processes"


def make(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", P, {"pid": "p"}, 201)


def ask(s, method, path, body=None, key="k", **headers):
    if isinstance(body, dict):
        body = json.dumps(body)
    h = {"Idempotency-Key": key, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return s.ask(method, path, body, h)


def refused(s, got, status, code):
    error = json.loads(got[2])["error"]
    assert (got[0], error["code"]) == (status, code), got[::2]


def same(first, again):
    assert first[0] == again[0] and again[1]["Praas-Replayed"] == "true", (first, again)
    assert "Praas-Replayed" not in first[1]
    for name in ("Praas-Pid", "Praas-Status", "Praas-Source", "Content-Type"):
        assert first[1][name] == again[1][name], name


def test_every_mutating_route(s):
    """Each is asked three times with a key of its own; the second and third are told what the first
    was, and another body, path or header with the same key is refused."""
    make(s)
    for key in ("k", "k2"):
        assert s.ask("PUT", f"{P}/p/state/{key}", b"v")[0] == 204
    for text in (b"m1", b"m2"):
        assert s.ask("POST", P + "/p/messages/k", text)[0] == 204
    s.json("POST", "/v1/apps", {"name": "gone", "code": s.code}, 201)
    s.json("POST", P, {"pid": "q"}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)["id"]
    s.json("POST", "/v1/tenants", {"name": "gone"}, 201)
    write_library(os.path.join(s.code, "libecho.so"))
    asked = {
        "createApp": ("/v1/apps", {"name": "b", "code": s.code}), "deleteApp": ("/v1/apps/gone", None),
        "deployApp": ("/v1/apps/b", {"roll": False}),
        "invoke": (APP + "/invoke/echo", b"x"), "createProcess": (P, {}), "deleteProcess": (P + "/q", None),
        "createSnapshot": (P + "/p/snapshots", {"name": "s"}),
        "checkpoint": (P + "/p/checkpoint", {}), "migrate": (P + "/p/migrate", {}), "swapOut": (P + "/p/swap-out", {}),
        "fork": (P + "/p/fork", {"pid": "f"}), "rollback": (P + "/p/rollback", {"snapshot": "s"}), "deleteSnapshot": (P + "/p/snapshots/s", None),
        "swapIn": (P + "/p/swap-in", {}), "kill": (P + "/p/kill", {}),
        "putState": (P + "/p/state/n", b"new"), "deleteState": (P + "/p/state/k", None),
        "sendMessage": (P + "/p/messages/n", b"m"), "receiveMessage": (P + "/p/messages/k", None),
        "createToken": ("/v1/tokens", {"scopes": ["read"]}), "deleteToken": ("/v1/tokens/" + token, None),
        "createTenant": ("/v1/tenants", {"name": "t"}), "setTenant": ("/v1/tenants/t", {"limits": {"apps": 2}}),
        "deleteTenant": ("/v1/tenants/gone", None),
        "drainNode": ("/v1/nodes/local/drain", {"swap_out": True}), "resumeNode": ("/v1/nodes/local/resume", {})}
    mutating = [r for r in ROUTES if r["effect"] != "reads"]
    assert {r["id"] for r in mutating} == set(asked), {r["id"] for r in mutating} ^ set(asked)
    order = list(asked)
    for r in sorted(mutating, key=lambda r: order.index(r["id"])):
        path, body = asked[r["id"]]
        first = ask(s, r["method"], path, body, r["id"])
        assert first[0] < 300, (r["id"], first)
        for _ in range(2):
            again = ask(s, r["method"], path, body, r["id"])
            same(first, again)
            if r["id"] in ("createProcess", "swapIn", "createToken"):
                told, once = json.loads(again[2]), json.loads(first[2])
                secret = "token" if r["id"] == "createToken" else "ticket"
                assert once.pop(secret) and told == once, r["id"]
            else:
                assert first[2] == again[2], r["id"]
        other = b"another" if r["body"] == "raw" else {"x": 1} if r["body"] == "json" else None
        if other:
            refused(s, ask(s, r["method"], path, other, r["id"]), 422, "key_reused")
        refused(s, ask(s, "PUT", P + "/p/state/elsewhere", b"", r["id"]), 422, "key_reused")
    assert [a["name"] for a in s.json("GET", "/v1/apps")["apps"]] == ["a", "b"]
    assert len(s.json("GET", P)["processes"]) == 3  # p, its fork, and the one without a name
    assert s.ask("GET", P + "/p/messages/k")[2] == b"m2"  # the second was not taken
    assert s.ask("GET", P + "/p/messages/n")[2] == b"m"
    s.refused("GET", P + "/p/messages/n", None, 404, "no_message")
    assert len(s.json("GET", "/v1/tokens")["tokens"]) == 1
    data = open(s.data + "/records.db", "rb").read() + open(s.data + "/records.db-wal", "rb").read()
    assert b"session_key" not in data and b'"token"' not in data, "a secret was stored"


def test_key_rules(s):
    make(s)
    for key in ("", " ", "a b", "k\u00e9".encode().decode("latin-1"), "k" * 256):
        refused(s, ask(s, "PUT", P + "/p/state/k", b"v", key), 400, "invalid_header")
    assert ask(s, "PUT", P + "/p/state/k", b"v", "k" * 255)[0] == 204
    assert ask(s, "GET", P + "/p", key="a b")[0] == 200  # means nothing where nothing changes
    # Headers that make a difference are part of what was asked for.
    assert ask(s, "POST", APP + "/invoke/key", b"", "h", Praas_Pid="p", Praas_Key="one")[2] == b"one"
    refused(s, ask(s, "POST", APP + "/invoke/key", b"", "h", Praas_Pid="p", Praas_Key="two"), 422, "key_reused")


def test_tenants_apart(s):
    make(s)
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["deploy", "read"], "tenant": "t"}, 201)["token"]
    body = json.dumps({"name": "b", "code": s.code})
    for who in (s.token, token):
        assert s.ask("POST", "/v1/apps", body, {"Idempotency-Key": "k"}, token=who)[0] == 201
    assert len(s.json("GET", "/v1/apps", token=token)["apps"]) == 1


def test_what_is_not_kept(s):
    """A refusal leaves the key as new: what was wrong can be put right. What a function said is kept."""
    make(s)
    refused(s, ask(s, "POST", "/v1/apps", {"name": "b", "code": "/nowhere"}), 400, "invalid_code")
    assert ask(s, "POST", "/v1/apps", {"name": "b", "code": s.code})[0] == 201
    refused(s, ask(s, "POST", APP + "/invoke/echo", b"", "i", Praas_Pid="later"), 404, "not_found")
    s.json("POST", P, {"pid": "later"}, 201)
    assert ask(s, "POST", APP + "/invoke/echo", b"", "i", Praas_Pid="later")[0] == 200
    first = ask(s, "POST", APP + "/invoke/fail", b"", "f", Praas_Pid="p")
    again = ask(s, "POST", APP + "/invoke/fail", b"", "f", Praas_Pid="p")
    assert first[0] == 422 and first[2] == again[2]
    same(first, again)


def test_large_answers(s):
    """An answer up to 64 KiB is told again; of a larger one only that it was given."""
    make(s)
    small, large = bytes(60000), bytes(70000)
    for key, body in (("s", small), ("l", large)):
        got = ask(s, "POST", APP + "/invoke/echo", body, key, Praas_Pid="p")
        assert got[0] == 200 and got[2] == body
    again = ask(s, "POST", APP + "/invoke/echo", small, "s", Praas_Pid="p")
    assert again[0] == 200 and again[2] == small and again[1]["Praas-Replayed"] == "true"
    refused(s, ask(s, "POST", APP + "/invoke/echo", large, "l", Praas_Pid="p"), 409, "outcome_not_kept")


def test_at_once(s):
    """Of twenty at the same time one does it; the others are told to wait, or what it was."""
    make(s)
    for round_ in range(5):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            ask(s, "POST", P + "/p/messages/n", b"m", f"r{round_}"))) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        statuses = [a[0] for a in answers]
        assert set(statuses) <= {204, 409}, statuses
        for a in answers:
            if a[0] == 409:
                refused(s, a, 409, "in_progress")
        assert sum("Praas-Replayed" not in a[1] for a in answers if a[0] == 204) == 1
        assert s.ask("GET", P + "/p/messages/n")[2] == b"m"
        s.refused("GET", P + "/p/messages/n", None, 404, "no_message")


def test_restart(s):
    """What was answered is told again after a kill -9. Of what was under way then, what may be repeated
    is, and of the rest nobody claims to know."""
    make(s)
    assert ask(s, "PUT", P + "/p/state/k", b"v", "done")[0] == 204
    begun = [("POST", APP + "/invoke/slow", b"", f"slow{i}", 409) for i in range(2)]
    threads = [threading.Thread(target=quiet, args=(s, *x[:4])) for x in begun]
    for t in threads:
        t.start()
    time.sleep(0.7)
    refused(s, ask(s, "POST", APP + "/invoke/slow", b"", "slow0", Praas_Pid="p"), 409, "in_progress")
    s.kill()
    for t in threads:
        t.join()
    s.start()
    same_answer = ask(s, "PUT", P + "/p/state/k", b"v", "done")
    assert same_answer[0] == 204 and same_answer[1]["Praas-Replayed"] == "true"
    for method, path, body, key, status in begun:
        for _ in range(2):
            refused(s, ask(s, method, path, body, key, Praas_Pid="p"), status, "outcome_unknown")
    assert s.stop() == 0
    s.start()
    assert ask(s, "PUT", P + "/p/state/k", b"v", "done")[1]["Praas-Replayed"] == "true"


def quiet(s, *request):
    try:
        ask(s, *request, Praas_Pid="p")
    except OSError:
        pass  # the service was killed meanwhile
    except Exception as e:
        assert re.search("Remote|Incomplete|BadStatus", type(e).__name__), e


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
