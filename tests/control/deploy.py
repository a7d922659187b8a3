# SPDX-License-Identifier: Apache-2.0
"""Another revision of an application: copied, looked at, tried by one process, rolled, or not at all."""
import json
import os
import threading
import time

from service import run, write_library

APP, P = "/v1/apps/a", "/v1/apps/a/processes"


def library(folder, name, text=b""):
    write_library(os.path.join(folder, name), text)


def folder(s, name, text=b"1", functions=None):
    path = os.path.join(s.dir, name)
    os.mkdir(path)
    with open(os.path.join(path, "praas.json"), "w") as f:
        json.dump({"functions": functions or {"echo": {"library": "libecho.so", "symbol": "echo"}}}, f)
    library(path, "libecho.so", text)
    return path


def make(s):
    library(s.code, "libecho.so")
    return s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)


def deploy(s, expect=200, **body):
    return s.json("PUT", APP, body, expect)


def revisions(s, app):
    path = os.path.join(s.data, "code", app["id"])
    return sorted(os.listdir(path), key=int) if os.path.isdir(path) else []


def process(s, pid):
    return s.json("GET", f"{P}/{pid}", expect=200)


def test_revisions(s):
    """What is the same changes nothing; what differs is a revision, by content or by configuration."""
    app = make(s)
    assert app["revision"] == 0 and "digest" not in app
    got = deploy(s)
    assert got["changed"] and got["rolled"] == 0 and got["app"]["revision"] == 1
    first = got["app"]
    assert s.json("GET", APP) == first and first["code"] == s.code
    assert not deploy(s)["changed"] and not deploy(s, code=s.code, roll=False)["changed"]
    library(s.code, "libecho.so", b"other")
    assert s.json("GET", APP) == first  # what is copied does not follow the folder
    second = deploy(s)["app"]
    assert second["revision"] == 2 and second["digest"] != first["digest"]
    third = deploy(s, resources={"memory_bytes": 1 << 26}, isolation="inline")["app"]
    assert third["revision"] == 3 and third["digest"] == second["digest"]
    assert third["resources"]["memory_bytes"] == 1 << 26 and third["isolation"] == "inline"
    assert third["resources"]["concurrency"] == first["resources"]["concurrency"]
    assert revisions(s, app) == ["2", "3"]
    os.remove(s.code + "/libecho.so")
    library(s.code, "libecho.so")
    back = deploy(s)["app"]
    assert back["revision"] == 4 and back["digest"] == first["digest"]
    s.stop()
    s.start()
    assert s.json("GET", APP) == back
    s.json("DELETE", APP, expect=204)
    assert not os.path.exists(os.path.join(s.data, "code", app["id"]))


def test_input(s):
    app = make(s)
    s.refused("PUT", "/v1/apps/none", b"{}", 404, "not_found")
    for body in ({"name": "b"}, {"colour": 1}, {"roll": 1}, {"resources": {"memory_bytes": 1}}, {"code": 1},
                 {"isolation": "none"}, {"triggers": {}}, {"resources": {"memory_bytes": 32 << 20, "concurrency": 3}}):
        s.refused("PUT", APP, json.dumps(body), 400, "invalid")
    good = folder(s, "good")
    cases = {"relative": "relative", "nowhere": "/nowhere"}
    for name in ("missing", "empty", "text", "pipe", "json", "none"):
        cases[name] = folder(s, name)
    os.remove(cases["missing"] + "/libecho.so")
    open(cases["empty"] + "/libecho.so", "w").close()
    with open(cases["text"] + "/libecho.so", "w") as f:
        f.write("#!/bin/sh\n" * 100)
    os.mkfifo(cases["pipe"] + "/fifo")
    with open(cases["json"] + "/praas.json", "w") as f:
        f.write("{")
    with open(cases["none"] + "/praas.json", "w") as f:
        f.write('{"functions":{}}')
    for name, link in (("out", "/etc/passwd"), ("up", "../good/libecho.so"), ("loop", "loop"), ("dir", ".")):
        cases[name] = folder(s, name + "-link")
        os.symlink(link, os.path.join(cases[name], "loop" if name == "loop" else "link"))
    deep = cases["deep"] = folder(s, "deep")
    for _ in range(9):
        deep = os.path.join(deep, "d")
        os.mkdir(deep)
    many = cases["many"] = folder(s, "many")
    for i in range(1025):
        open(os.path.join(many, f"f{i}"), "w").close()
    big = cases["big"] = folder(s, "big")
    with open(os.path.join(big, "sparse"), "w") as f:
        f.truncate((1 << 30) + 1)
    for name, code in cases.items():
        error = s.refused("PUT", APP, json.dumps({"code": code}), 400, "invalid_code")
        assert error["message"], name
    assert s.json("GET", APP) == app and revisions(s, app) == []
    os.symlink("libecho.so", good + "/libecho.so.1")
    os.mkdir(good + "/sub")
    with open(good + "/sub/data", "w") as f:
        f.write("x")
    assert deploy(s, code=good)["app"]["revision"] == 1
    copied = os.path.join(s.data, "code", app["id"], "1")
    assert not os.path.islink(copied + "/libecho.so.1") and os.path.getsize(copied + "/libecho.so.1") > 0
    with open(copied + "/sub/data") as f:
        assert f.read() == "x"


def test_rolled(s):
    """Those that serve follow, the others at their next start; without roll nobody is disturbed."""
    app = make(s)
    for pid in ("x", "y", "z"):
        s.json("POST", P, {"pid": pid}, 201)
    s.json("POST", P + "/z/swap-out", expect=200)
    got = deploy(s)
    assert got["rolled"] == 2, got
    for pid, epoch, revision in (("x", 2, 1), ("y", 2, 1), ("z", 1, 0)):
        p = process(s, pid)
        assert (p["epoch"], p["revision"]) == (epoch, revision), p
    s.json("POST", P + "/z/swap-in", expect=200)
    assert process(s, "z")["revision"] == 1
    library(s.code, "libecho.so", b"2")
    got = deploy(s, roll=False)
    assert got["changed"] and got["rolled"] == 0 and process(s, "x")["revision"] == 1
    library(s.code, "libecho.so", b"3")
    deploy(s, roll=False)
    assert revisions(s, app) == ["1", "2", "3"]  # 1 is what they run with
    s.json("POST", P + "/x/kill", expect=200)
    s.json("POST", P + "/x/swap-in", expect=200)
    assert process(s, "x")["revision"] == 3
    got = deploy(s)  # nothing new, but some have not followed yet
    assert not got["changed"] and got["rolled"] == 2, got
    assert [process(s, pid)["revision"] for pid in "xyz"] == [3, 3, 3]
    assert revisions(s, app) == ["2", "3"]


def test_back(s):
    """One that does not start with it: the revision before is back, for it and for those before it."""
    app = make(s)
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    before = deploy(s)["app"]
    for pid in ("a", "b"):
        s.json("POST", P, {"pid": pid}, 201)
    s.json("PUT", "/v1/tenants/default", {"limits": {"memory_bytes": 2 * before["resources"]["memory_bytes"]}}, 200)
    # One of them may grow by what the limit leaves: none.
    error = s.refused("PUT", APP, json.dumps({"resources": {"memory_bytes": 1 << 32}}), 409, "deploy_failed")
    assert "memory" in error["message"], error
    assert s.json("GET", APP) == before and revisions(s, app) == ["1"]
    for pid in ("a", "b"):
        p = process(s, pid)
        assert (p["state"], p["revision"]) == ("ACTIVE", 1), p
    # The first fits, the second does not: the first goes back too.
    s.json("PUT", "/v1/tenants/default", {"limits": {"memory_bytes": 5 << 28}}, 200)
    s.refused("PUT", APP, json.dumps({"resources": {"memory_bytes": 3 << 28}}), 409, "deploy_failed")
    assert s.json("GET", APP) == before and revisions(s, app) == ["1"]
    for pid in ("a", "b"):
        p = process(s, pid)
        assert (p["state"], p["revision"]) == ("ACTIVE", 1), p
    assert s.json("GET", "/v1/limits")["used"]["memory_bytes"] == 2 * before["resources"]["memory_bytes"]


def test_once_at_a_time(s):
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    answers = []

    def put(i):
        answers.append(s.ask("PUT", APP, json.dumps({"resources": {"memory_bytes": (17 + i) << 20}}))[0])
    threads = [threading.Thread(target=put, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(answers) <= {200, 409} and 200 in answers, answers
    assert s.json("GET", APP)["revision"] == answers.count(200)
    assert deploy(s)["app"]["revision"] == answers.count(200)


def test_killed_in_between(s):
    """Whenever the service is killed: the application is the one or the other, whole, and asking again
    brings all to it."""
    app = make(s)
    for pid in ("x", "y", "z"):
        s.json("POST", P, {"pid": pid}, 201)
    seen = set()
    turn = -1
    while turn < 12 or (len(seen) < 2 and turn < 100):
        turn += 1
        library(s.code, "libecho.so", b"turn %d" % turn)
        before = s.json("GET", APP)["revision"]
        thread = threading.Thread(target=lambda: broken(s))
        thread.start()
        time.sleep(0.005 * (turn % 13) * (1 + turn // 13))  # longer where a deployment takes longer
        s.kill()
        thread.join()
        s.start()
        now = s.json("GET", APP, expect=200)["revision"]
        assert now == before or now > before, (before, now)
        seen.add(now > before)
        assert now == 0 or str(now) in revisions(s, app), (now, revisions(s, app))
        got = deploy(s)
        assert got["app"]["revision"] >= now
        for pid in ("x", "y", "z"):
            s.json("POST", f"{P}/{pid}/swap-in", expect=200)
            assert process(s, pid)["revision"] == got["app"]["revision"], process(s, pid)
    assert seen == {True, False}, seen
    assert len(revisions(s, app)) <= 2, revisions(s, app)


def broken(s):
    try:
        s.ask("PUT", APP, b"{}")
    except (OSError, ValueError, AttributeError):
        pass
    except Exception as e:  # the connection ended in the middle
        assert type(e).__module__ == "http.client", e


run([f for n, f in sorted(globals().items()) if n.startswith("test_")], "--rejoin-seconds", "2")
