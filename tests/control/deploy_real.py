# SPDX-License-Identifier: Apache-2.0
"""Another revision of an application with the real programs: new code, the same state; what does not load is
not deployed, and the process goes on with what it had."""
import json
import os
import shutil
import subprocess
import sys

from service import run

APP, P = "/v1/apps/a", "/v1/apps/a/processes"
EXAMPLES, CLI = os.path.abspath(sys.argv[3]), os.path.abspath(sys.argv[4])


def call(s, fn, data=b"", status=200):
    got, _, answer = s.ask("POST", APP + "/invoke/" + fn, data, {"Praas-Pid": "x", "Praas-Key": "k"})
    assert got == status, (fn, got, answer)
    return answer


def version(s, name, **functions):
    """A folder with the counter's library; functions: name → symbol."""
    path = os.path.join(s.dir, name)
    os.mkdir(path)
    shutil.copy(os.path.join(EXAMPLES, "counter", "libcounter.so"), path)
    with open(os.path.join(EXAMPLES, "counter", "praas.json")) as f:
        manifest = json.load(f)
    manifest["functions"] = {fn: {**manifest["functions"][of], "symbol": symbol or manifest["functions"][of]["symbol"]}
                             for fn, (of, symbol) in functions.items()}
    with open(os.path.join(path, "praas.json"), "w") as f:
        json.dump(manifest, f)
    return path


def deployed(s, isolation):
    one = version(s, "one", add=("add", None), get=("get", None))
    two = version(s, "two", plus=("add", None), get=("get", None))
    wrong = version(s, "wrong", add=("add", "no_such_symbol"), get=("get", None))
    short = version(s, "short", add=("add", None), get=("get", None))
    os.truncate(short + "/libcounter.so", 4096)
    s.json("POST", "/v1/apps", {"name": "a", "code": one, "isolation": isolation, "allow_weak_sandbox": True}, 201)
    s.json("POST", P, {"pid": "x"}, 201)
    assert call(s, "add", b"5") == b"5"
    assert s.json("PUT", APP, {}, 200)["rolled"] == 1
    shutil.rmtree(one)  # it runs from its copy now, also after a swap
    assert call(s, "add", b"2") == b"7"

    got = s.json("PUT", APP, {"code": two}, 200)
    assert got["rolled"] == 1 and got["app"]["revision"] == 2, got
    assert call(s, "get") == b"7"  # the state went along
    assert call(s, "plus", b"1") == b"8"
    call(s, "add", b"1", 404)
    p = s.json("GET", P + "/x", expect=200)
    assert (p["revision"], p["lost_epoch"]) == (2, 0), p

    for bad in (wrong, short):
        s.refused("PUT", APP, json.dumps({"code": bad}), 409, "deploy_failed")
        assert call(s, "plus", b"1") in (b"9", b"10") and s.json("GET", APP)["revision"] == 2
        p = s.json("GET", P + "/x", expect=200)
        assert (p["state"], p["revision"], p["lost_epoch"]) == ("ACTIVE", 2, 0), p
    s.json("POST", P + "/x/swap-out", expect=200)
    assert call(s, "get") == b"10"
    s.kill()
    s.start()
    assert call(s, "plus", b"1") == b"11"


def test_inline(s):
    deployed(s, "inline")


def test_worker(s):
    deployed(s, "worker")


def test_cli(s):
    env = {"PRAAS_URL": s.url, "PRAAS_TOKEN": s.token, "HOME": s.dir, "PATH": os.environ["PATH"]}

    def praas(*words, code=0):
        p = subprocess.run([CLI, *words], capture_output=True, text=True, timeout=60, env=env)
        assert p.returncode == code, (words, p)
        return p.stdout

    one = version(s, "one", add=("add", None))
    praas("app", "create", "a", "--code", one, "--allow-weak-sandbox", "--isolation", "inline")
    praas("process", "create", "a", "--pid", "x")
    assert praas("app", "deploy", "a") == "application a has now revision 1; 1 processes rolled\n"
    assert praas("app", "deploy", "a") == "application a has already revision 1; 0 processes rolled\n"
    got = json.loads(praas("app", "deploy", "a", "--memory", "128M", "--no-roll", "--json"))
    assert (got["changed"], got["rolled"], got["app"]["revision"]) == (True, 0, 2), got
    assert got["app"]["resources"]["memory_bytes"] == 128 << 20 and got["app"]["code"] == one
    assert json.loads(praas("app", "show", "a", "--json"))["revision"] == 2
    praas("app", "deploy", "none", code=4)
    praas("app", "deploy", "a", "--code", "/nowhere", code=1)
    praas("app", "deploy", code=2)


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
