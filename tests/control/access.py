# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every route of the table times every kind of key, and the limits of tenants."""
import json
import os
import random
import string
import subprocess
import sys
import threading
import time

from service import run

ROUTES = json.loads(subprocess.run([sys.argv[3]], check=True, capture_output=True).stdout)
SCOPES = ["admin", "deploy", "invoke", "read"]


def key(s, token=None, **members):
    """Makes a key with the key `token` (the administrator's if not said); all scopes unless said."""
    made = s.json("POST", "/v1/tokens", {"scopes": SCOPES, **members}, 201, token=token)
    return made["token"]


def fill(route, app="a", pid="x", id_="nothing"):
    path = route["pattern"]
    for name, value in (("{app}", app), ("{pid}", pid), ("{fn}", "echo"), ("{key}", "k"),
                        ("{id}", id_)):
        path = path.replace(name, value)
    return path


def body_of(route, s):
    members = {"createApp": {"name": "new", "code": s.code}, "createToken": {"scopes": ["admin"]},
               "createTenant": {"name": "three"}, "setTenant": {"limits": {"apps": 7}},
               "createSnapshot": {"name": "s"}, "rollback": {"snapshot": "s"}}
    if route["body"] == "json":
        return json.dumps(members.get(route["id"], {}))
    return b"1" if route["body"] == "raw" else None


def ask(s, route, path, token):
    """(status, error code or None, bytes of the answer); of a stream only that it begins"""
    if "event-stream" in route["gives"]:
        c = s.connect()
        c.request(route["method"], path,
                  headers={"Authorization": "Bearer " + token} if token else {})
        r = c.getresponse()
        data = b"" if r.status == 200 else r.read()
        c.close()
        return r.status, json.loads(data)["error"]["code"] if data else None, data
    status, _, data = s.ask(route["method"], path, body_of(route, s), token=token)
    code = json.loads(data)["error"]["code"] if status >= 400 else None
    return status, code, data


def closed():
    return [r for r in ROUTES if r["scope"]]


def make_world(s):
    """Tenants one and two, an application of the same name in each, process x of the first alone."""
    world = {}
    for tenant in ("one", "two"):
        s.json("POST", "/v1/tenants", {"name": tenant}, 201)
        world[tenant] = key(s, tenant=tenant)
        s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201, token=world[tenant])
    s.json("POST", "/v1/apps", {"name": "only", "code": s.code}, 201, token=world["one"])
    for app in ("a", "only"):
        s.json("POST", f"/v1/apps/{app}/processes", {"pid": "x"}, 201, token=world["one"])
    return world


def snapshot(s, token):
    """What a tenant has."""
    return (s.json("GET", "/v1/apps", token=token), s.json("GET", "/v1/tokens", token=token),
            [(p["pid"], p["state"], p["epoch"]) for a in ("a", "only") for p in
             s.json("GET", f"/v1/apps/{a}/processes", token=token)["processes"]])


def test_matrix_no_key(s):
    """Nobody, keys that never were, that were, and that were long enough: 401, and nothing more."""
    world = make_world(s)
    good = world["one"]
    expired = key(s, tenant="one", ttl_s=1)
    revoked = s.json("POST", "/v1/tokens", {"scopes": SCOPES, "tenant": "one"}, 201)
    s.json("DELETE", "/v1/tokens/" + revoked["id"], expect=204)
    before = snapshot(s, good)
    time.sleep(1.1)
    wrong = ["", "x", good[:-1], good + "0", good.upper(), "praas_" + "0" * 16 + good[22:],
             good[:23] + world["two"][23:], expired, revoked["token"], "x" * 1024, "x" * 2000]
    for route in ROUTES:
        for token in wrong:
            got = ask(s, route, fill(route), token)
            if route["scope"]:
                assert got[:2] == (401, "unauthorized"), (route, token, got)
            else:
                assert got[0] == 200, (route, got)
    assert snapshot(s, good) == before


def test_matrix_scopes(s):
    """A key with all scopes but the route's is told so; with the route's alone it passes."""
    world = make_world(s)
    without = {c: key(s, tenant="one", scopes=[x for x in SCOPES if x != c]) for c in SCOPES}
    alone = {c: key(s, tenant="one", scopes=[c]) for c in SCOPES}
    before = snapshot(s, world["one"])
    for route in closed():
        scope = route["scope"]
        for token in [world["one"]] if scope == "operator" else [without[scope]]:
            got = ask(s, route, fill(route), token)
            assert got[:2] == (403, "denied"), (route, got)
        for c in SCOPES:
            if c != scope:
                got = ask(s, route, fill(route), alone[c])
                assert got[:2] == (403, "denied"), (route, c, got)
    assert snapshot(s, world["one"]) == before
    for route in sorted(closed(), key=lambda r: r["method"] == "DELETE"):
        token = s.token if route["scope"] == "operator" else alone[route["scope"]]
        status, code, data = ask(s, route, fill(route), token)
        assert status not in (401, 403) and code != "no_route", (route, status, data)


def test_matrix_other_tenant(s):
    """What is another's is answered to the byte as what is not there."""
    world = make_world(s)
    other = world["two"]
    before = snapshot(s, world["one"])
    foreign_id = before[1]["tokens"][0]["id"]
    compared = 0
    for route in closed():
        if route["scope"] == "operator":
            continue
        pairs = []
        if "{app}" in route["pattern"]:
            pairs.append((fill(route, app="only"), fill(route, app="nowhere")))
        if "{pid}" in route["pattern"]:
            pairs.append((fill(route, pid="x"), fill(route, pid="y")))
        if route["pattern"] == "/v1/tokens/{id}":
            pairs.append((fill(route, id_=foreign_id), fill(route, id_="0" * 16)))
        for theirs, nothing in pairs:
            got, missing = ask(s, route, theirs, other), ask(s, route, nothing, other)
            assert got[0] == 404 and got == missing, (route, theirs, got, missing)
            compared += 1
    assert compared > 20, compared
    for path in ("/v1/tokens?tenant=one", "/v1/tokens?tenant=nowhere"):
        s.refused("GET", path, None, 404, "not_found", token=other)
    s.refused("POST", "/v1/tokens", '{"scopes":["read"],"tenant":"one"}', 404, "not_found",
              token=other)
    assert [a["name"] for a in s.json("GET", "/v1/apps", token=other)["apps"]] == ["a"]
    assert len(s.json("GET", "/v1/tokens", token=other)["tokens"]) == 1
    assert snapshot(s, world["one"]) == before


def test_matrix_one_application(s):
    """A key for one application: others do not exist, and what is for all is denied."""
    world = make_world(s)
    mine = key(s, token=world["one"], scopes=["deploy", "invoke", "read"], app="a")
    before = snapshot(s, world["one"])
    for route in closed():
        if route["scope"] in ("operator", "admin"):
            assert ask(s, route, fill(route), mine)[:2] == (403, "denied"), route
        elif "{app}" not in route["pattern"]:
            assert ask(s, route, fill(route), mine)[:2] == (403, "denied"), route
        else:
            got = ask(s, route, fill(route, app="only"), mine)
            assert got[0] == 404 and got == ask(s, route, fill(route, app="nowhere"), mine), got
    assert snapshot(s, world["one"]) == before
    for route in sorted(closed(), key=lambda r: r["method"] == "DELETE"):
        if "{app}" in route["pattern"]:
            assert ask(s, route, fill(route), mine)[0] not in (401, 403), route


def test_audit_log(s):
    """A line for each request that changes something, or wanted to: who, what, what came of it."""
    world = make_world(s)
    weak = key(s, tenant="one", scopes=["read"], label="weak")
    trace = "0af7651916cd43dd8448eb211c80319c"
    s.json("GET", "/v1/apps", token=weak, expect=200)
    s.refused("DELETE", "/v1/apps/a", None, 403, "denied", token=weak,
              headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    s.refused("DELETE", "/v1/apps/a", None, 401, "unauthorized", token="wrong")
    s.ask("PUT", "/v1/apps/a/processes/x/state/canary-key", b"canary-value", token=world["one"])
    s.ask("POST", "/v1/apps/a/invoke/echo?canary-query=1", b"canary-value", {"Praas-Pid": "x"},
          token=world["one"])
    s.ask("POST", "/v1/apps/a/invoke/echo", b"canary-value", {"Praas-Pid": "x"},
          token=world["one"])
    with open(os.path.join(s.data, "log", "audit.jsonl"), encoding="ascii") as f:
        text = f.read()
    lines = [json.loads(line) for line in text.splitlines()]
    assert not any(line["method"] == "GET" and line["route"] == "/v1/apps" for line in lines)
    made = lines[0]
    assert (made["key"], made["tenant"], made["method"], made["route"], made["id"],
            made["status"], made["from"]) == ("admin", "default", "POST", "/v1/tenants", "one",
                                              201, "127.0.0.1"), made
    denied, wrong, put, _, invoke = lines[-5:]
    assert (denied["key"], denied["tenant"], denied["code"], denied["trace"]) == (
        weak[6:22], "one", "denied", trace), denied
    assert "key" not in wrong and (wrong["status"], wrong["code"]) == (401, "unauthorized")
    assert (put["app"], put["pid"], put["status"]) == ("a", "x", 204), put
    assert (invoke["route"], invoke["pid"], invoke["status"]) == (
        "/v1/apps/{app}/invoke/{fn}", "x", 200), invoke
    assert len({line["trace"] for line in lines}) == len(lines)
    assert "canary" not in text


def test_secrets_are_nowhere(s):
    """Keys, session keys and root key are in no file but those that are made for them."""
    world = make_world(s)
    t = s.json("POST", "/v1/apps/a/processes/x/tickets", token=world["one"], expect=200)
    s.refused("GET", "/v1/apps", None, 401, "unauthorized", token=world["one"] + "x")
    s.json("POST", "/v1/apps/a/processes/x/swap-out", token=world["one"], expect=200)
    with open(os.path.join(s.data, "root.key"), "rb") as f:
        root = f.read()
    secrets = [root, root.hex().encode(), s.token.encode(), t["session_key"].encode(),
               bytes.fromhex(t["session_key"])]
    for token in world.values():
        secrets += [token.encode(), token[23:].encode(), bytes.fromhex(token[23:])]
    looked = 0
    for folder, _, names in os.walk(s.dir):
        for name in names:
            if name in ("root.key", "admin.token"):
                continue
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            looked += 1
            for secret in secrets:
                assert secret not in data, (path, secret)
    assert looked >= 4, looked


def test_keys_give_no_more_than_they_have(s):
    world = make_world(s)
    weak = key(s, token=world["one"], scopes=["admin", "read"])
    s.refused("POST", "/v1/tokens", '{"scopes":["deploy"]}', 403, "denied", token=weak)
    assert key(s, token=weak, scopes=["read"])
    for bad in ('{}', '{"scopes":[]}', '{"scopes":["fly"]}', '{"scopes":["operator"]}',
                '{"scopes":"read"}', '{"scopes":[1]}', '{"scopes":["read"],"ttl_s":0}',
                '{"scopes":["read"],"label":"a b"}', '{"scopes":["read"],"x":1}',
                '{"scopes":["admin"],"app":"a"}', '{"scopes":["read"],"ttl_s":315360001}'):
        s.refused("POST", "/v1/tokens", bad, 400, "invalid", token=world["one"])
    s.refused("DELETE", "/v1/tokens/" + "0" * 16, None, 404, "not_found")


def test_keys_survive_a_restart_and_are_not_told(s):
    """What is stored is not the secret; what was revoked stays so."""
    world = make_world(s)
    gone = s.json("POST", "/v1/tokens", {"scopes": ["read"], "label": "ci"}, 201)
    assert gone["token"].startswith("praas_" + gone["id"] + "_")
    listed = s.json("GET", "/v1/tokens", expect=200)["tokens"]
    assert [t["label"] for t in listed] == ["ci"] and "token" not in listed[0]
    s.json("DELETE", "/v1/tokens/" + gone["id"], expect=204)
    s.kill()
    s.start()
    assert s.json("GET", "/v1/apps", token=world["one"], expect=200)["apps"]
    s.refused("GET", "/v1/apps", None, 401, "unauthorized", token=gone["token"])
    assert s.json("GET", "/v1/tenants/one", expect=200)["used"]["apps"] == 2


def test_forged_keys_over_http(s):
    """2,000 keys with a bit, a character or a piece of another changed."""
    world = make_world(s)
    rnd = random.Random(1)
    c = s.connect()
    good = world["one"]
    for i in range(2000):
        at = rnd.randrange(len(good))
        if i % 3 == 0:
            forged = good[:at] + rnd.choice(string.hexdigits) + good[at + 1:]
        elif i % 3 == 1:
            forged = good[:at] + chr(ord(good[at]) ^ 1 << rnd.randrange(7)) + good[at + 1:]
        else:
            forged = good[:at] + world["two"][at:]
        if forged in (good, world["two"]) or not forged.isprintable():
            continue
        status, _, data = s.ask("GET", "/v1/apps", token=forged, connection=c)
        assert status in (400, 401), (forged, status, data)
    c.close()


def test_tenants(s):
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"apps": 1}}, 201)
    s.refused("POST", "/v1/tenants", '{"name":"t"}', 409, "exists")
    for bad in ('{}', '{"name":"a/b"}', '{"name":"u","limits":{"apps":-1}}',
                '{"name":"u","limits":{"apps":10001}}', '{"name":"u","limits":{"x":1}}',
                '{"name":"u","limits":[]}', '{"name":"u","y":1}'):
        s.refused("POST", "/v1/tenants", bad, 400, "invalid")
    t = s.json("PUT", "/v1/tenants/t", {"limits": {"apps": 2}}, 200)
    assert t["limits"]["apps"] == 2 and t["limits"]["processes"] == 1000, t
    assert [x["name"] for x in s.json("GET", "/v1/tenants")["tenants"]] == ["default", "t"]
    token = key(s, tenant="t")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201, token=token)
    s.refused("DELETE", "/v1/tenants/t", None, 409, "not_empty")
    s.refused("DELETE", "/v1/tenants/default", None, 409, "not_empty")
    s.refused("PUT", "/v1/tenants/none", '{}', 404, "not_found")
    s.json("DELETE", "/v1/apps/a", expect=204, token=token)
    s.json("DELETE", "/v1/tenants/t", expect=204)
    s.refused("GET", "/v1/apps", None, 401, "unauthorized", token=token)
    s.refused("GET", "/v1/tenants/t", None, 404, "not_found")
    assert s.json("PUT", "/v1/tenants/default", {"limits": {"apps": 3}}, 200)
    s.kill()
    s.start()
    assert s.json("GET", "/v1/tenants/default")["limits"]["apps"] == 3


def test_quota_apps_and_rate(s):
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"apps": 1, "requests_per_s": 20}}, 201)
    token = key(s, tenant="t")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201, token=token)
    e = s.refused("POST", "/v1/apps", json.dumps({"name": "b", "code": s.code}), 403,
                  "quota_apps", token=token)
    assert "limit of apps is 1" in e["message"], e
    s.json("DELETE", "/v1/apps/a", expect=204, token=token)
    s.json("POST", "/v1/apps", {"name": "b", "code": s.code}, 201, token=token)
    c = s.connect()
    seen = [s.ask("GET", "/v1/limits", token=token, connection=c) for _ in range(60)]
    refused = [r for r in seen if r[0] == 429]
    assert 30 <= len(refused) <= 59, len(refused)
    assert json.loads(refused[0][2])["error"]["code"] == "quota_rate"
    assert refused[0][1]["Retry-After"] == "1"
    time.sleep(0.2)
    used = s.json("GET", "/v1/limits", expect=200, token=token)
    assert used["used"]["apps"] == 1 and used["limits"]["requests_per_s"] == 20
    c.close()


def test_quota_processes_and_memory(s):
    """Processes count while they exist, their memory while they run; a limit that was lowered ends
    nothing."""
    mib = 1 << 20
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"processes": 3,
                                                           "memory_bytes": 64 * mib}}, 201)
    t = key(s, tenant="t")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code,
                                "resources": {"memory_bytes": 32 * mib}}, 201, token=t)

    def used(name):
        return s.json("GET", "/v1/limits", token=t)["used"][name]

    p = "/v1/apps/a/processes"
    for pid in ("x", "y"):
        s.json("POST", p, {"pid": pid}, 201, token=t)
    assert used("processes") == 2 and used("memory_bytes") == 64 * mib
    e = s.refused("POST", p, '{"pid":"z"}', 403, "quota_memory", token=t)
    assert str(64 * mib) in e["message"], e
    assert used("processes") == 2
    s.json("POST", p + "/x/swap-out", expect=200, token=t)
    assert used("memory_bytes") == 32 * mib
    s.json("POST", p, {"pid": "z"}, 201, token=t)
    for _ in range(2):  # a refused wake leaves it as it was
        s.refused("POST", p + "/x/swap-in", None, 403, "quota_memory", token=t)
        s.refused("POST", "/v1/apps/a/invoke/echo", b"1", 403, "quota_memory", token=t,
                  headers={"Praas-Pid": "x"})
    assert s.json("GET", p + "/x", token=t)["state"] == "SWAPPED"
    s.refused("POST", p, '{"pid":"four"}', 403, "quota_processes", token=t)
    s.json("POST", p + "/y/kill", expect=200, token=t)
    assert s.json("POST", p, {"pid": "x"}, 200, token=t)["state"] == "ACTIVE"  # it exists
    s.json("DELETE", p + "/y", expect=204, token=t)
    s.json("DELETE", p + "/z", expect=204, token=t)
    assert used("processes") == 1 and used("memory_bytes") == 32 * mib
    s.refused("POST", p, '{"pid":"refuse"}', 502, "start_failed", token=t)
    assert used("processes") == 1 and used("memory_bytes") == 32 * mib
    s.json("PUT", "/v1/tenants/t", {"limits": {"memory_bytes": 0, "processes": 0}}, 200)
    assert s.json("GET", p + "/x", token=t)["state"] == "ACTIVE"
    s.kill()
    s.start()
    s.json("POST", p + "/x/tickets", expect=200, token=t)  # it was adopted, and is charged
    assert used("processes") == 1 and used("memory_bytes") == 32 * mib
    s.json("DELETE", p + "/x", expect=204, token=t)
    assert used("processes") == 0 and used("memory_bytes") == 0


def test_quota_state(s):
    """State is what controllers tell (the double tells 10 bytes); over its limit nothing grows."""
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"state_bytes": 15}}, 201)
    t = key(s, tenant="t")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201, token=t)
    p = "/v1/apps/a/processes"

    def await_used(bytes_):
        end = time.monotonic() + 20
        while s.json("GET", "/v1/limits", token=t)["used"]["state_bytes"] != bytes_:
            assert time.monotonic() < end, s.json("GET", "/v1/limits", token=t)
            time.sleep(0.01)

    s.json("POST", p, {"pid": "x"}, 201, token=t)
    await_used(10)
    assert s.ask("PUT", p + "/x/state/k", b"v", token=t)[0] == 204
    s.json("POST", p, {"pid": "y"}, 201, token=t)
    await_used(20)
    for method, path in (("PUT", p + "/x/state/k"), ("POST", p + "/x/messages/k"),
                         ("POST", "/v1/apps/a/invoke/echo")):
        s.refused(method, path, b"v", 403, "quota_state", token=t)
    assert s.ask("GET", p + "/x/state/k", token=t)[0] == 200
    assert s.ask("DELETE", p + "/x/state/k", token=t)[0] == 204
    assert s.stop() == 0
    s.start()
    assert s.json("GET", "/v1/limits", token=t)["used"]["state_bytes"] == 20  # swapped, it counts
    s.json("POST", p + "/y/tickets", expect=200, token=t)
    s.json("DELETE", p + "/x", expect=204, token=t)
    await_used(10)
    assert s.ask("POST", "/v1/apps/a/invoke/echo", b"e", {"Praas-Pid": "y"}, token=t)[0] == 200


def test_quota_calls(s):
    """As many requests under way as the limit says; the others are told to wait."""
    s.json("POST", "/v1/tenants", {"name": "t", "limits": {"calls": 2}}, 201)
    t = key(s, tenant="t")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201, token=t)
    answers = []

    def create():
        answers.append(s.ask("POST", "/v1/apps/a/processes", '{"pid":"hang"}', token=t)[0])

    threads = [threading.Thread(target=create) for _ in range(2)]
    for th in threads:
        th.start()
    end = time.monotonic() + 20
    while s.json("GET", "/v1/tenants/t", expect=200)["used"]["calls"] < 2:
        assert time.monotonic() < end
    status, headers, data = s.ask("GET", "/v1/apps", token=t)
    assert status == 429 and headers["Retry-After"] == "1", status
    assert json.loads(data)["error"]["code"] == "quota_calls"
    s.json("PUT", "/v1/tenants/t", {"limits": {"calls": 3}}, 200)
    while s.ask("GET", "/v1/apps/a/processes/hang", token=t)[0] != 200:
        assert time.monotonic() < end  # under way, but not in the records yet
    s.json("DELETE", "/v1/apps/a/processes/hang", expect=204, token=t)
    for th in threads:
        th.join()
    assert s.json("GET", "/v1/tenants/t")["used"]["calls"] == 0


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
