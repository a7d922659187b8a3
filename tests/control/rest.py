# SPDX-License-Identifier: Apache-2.0
"""Every route of the control service, with right and wrong input, over HTTP."""
import json
import os
import socket
import struct
import threading
import time

from service import run

APP = "/v1/apps/a"
P = APP + "/processes"


def make_app(s, **more):
    return s.json("POST", "/v1/apps", {"name": "a", "code": s.code, **more}, 201)


def test_system_routes(s):
    assert s.json("GET", "/healthz", expect=200, token="") == {"status": "ok"}
    assert s.json("GET", "/readyz", expect=200, token="") == {
        "status": "ready", "durable": True}
    status, headers, text = s.ask("GET", "/metrics")
    assert status == 200 and b"praas_requests_total" in text, text
    assert headers["Content-Type"].startswith("text/plain")
    s.refused("GET", "/metrics", None, 401, "unauthorized", token="")


def test_apps(s):
    app = make_app(s, resources={"memory_bytes": 1 << 26, "concurrency": 4, "vcpu_milli": 500},
                   isolation="inline", wait="block", allow_weak_sandbox=True)
    assert app["resources"] == {"memory_bytes": 1 << 26, "bytes_max": 1 << 26, "concurrency": 4,
                                "vcpu_milli": 500, "tasks_max": 0, "state_bytes": 0}, app
    assert app["isolation"] == "inline" and app["wait"] == "block"
    assert s.json("GET", APP, expect=200) == app
    s.json("POST", "/v1/apps", {"name": "b", "code": s.code}, 201)
    assert [x["name"] for x in s.json("GET", "/v1/apps", expect=200)["apps"]] == ["a", "b"]
    assert [x["name"] for x in s.json("GET", "/v1/apps?after=a")["apps"]] == ["b"]
    s.refused("POST", "/v1/apps", json.dumps({"name": "a", "code": s.code}), 409, "exists")
    s.json("POST", P, {"pid": "x"}, 201)
    s.refused("DELETE", APP, None, 409, "not_empty")
    s.json("DELETE", P + "/x", expect=204)
    s.json("DELETE", APP, expect=204)
    s.refused("GET", APP, None, 404, "not_found")
    s.refused("DELETE", APP, None, 404, "not_found")


def test_app_input(s):
    good = {"name": "a", "code": s.code}
    bad = [
        (b"", "invalid"), (b"{", "invalid_json"), (b"[]", "invalid_json"),
        (b'{"name":"a","name":"b"}', "invalid_json"), (b"\xff\xfe", "invalid_json"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "invalid_json"), (b'{"name":"a"} x', "invalid_json"),
        (json.dumps({**good, "name": 1}), "invalid"),
        (json.dumps({**good, "name": ".."}), "invalid"),
        (json.dumps({**good, "name": "a/b"}), "invalid"),
        (json.dumps({**good, "name": "x" * 65}), "invalid"),
        (json.dumps({**good, "name": "a\n"}), "invalid"),
        (json.dumps({**good, "colour": 1}), "invalid"),
        (json.dumps({**good, "triggers": {}}), "invalid"),
        (json.dumps({**good, "isolation": "none"}), "invalid"),
        (json.dumps({**good, "wait": 3}), "invalid"),
        (json.dumps({**good, "allow_weak_sandbox": "yes"}), "invalid"),
        (json.dumps({**good, "resources": []}), "invalid"),
        (json.dumps({**good, "resources": {"memory_bytes": 1}}), "invalid"),
        (json.dumps({**good, "resources": {"memory_bytes": 1 << 63}}), "invalid_json"),
        (json.dumps({**good, "resources": {"concurrency": 0}}), "invalid"),
        (json.dumps({**good, "resources": {"concurrency": 33}}), "invalid"),
        # Each has its share of the memory: 16 MiB at least.
        (json.dumps({**good, "resources": {"concurrency": 17}}), "invalid"),
        (json.dumps({**good, "resources": {"concurrency": 2, "memory_bytes": (32 << 20) - 1}}), "invalid"),
        (json.dumps({**good, "resources": {"concurrency": 1.5}}), "invalid"),
        (json.dumps({**good, "resources": {"cpu": 1}}), "invalid"),
        (json.dumps({**good, "code": "relative"}), "invalid_code"),
        (json.dumps({**good, "code": "/nowhere"}), "invalid_code"),
        (json.dumps({**good, "code": "/" + "x" * 2000}), "invalid"),
    ]
    for body, code in bad:
        s.refused("POST", "/v1/apps", body, 400, code)
    s.refused("POST", "/v1/apps", b" " * 65537, 413, "too_large")
    os.remove(s.code + "/libecho.so")
    error = s.refused("POST", "/v1/apps", json.dumps(good), 400, "invalid_code")
    assert "libecho.so: No such file" in error["message"], error
    manifest = s.code + "/praas.json"
    for data, words in ((b'{"functions": {}}', "names no functions"), (b"", "expected"),
                        (b"\x7fELF\x98\0\xff", "praas.json"), (b"[1]", "names no functions"),
                        (b" " * (1 << 20) + b"{", "larger than 1 MiB")):
        with open(manifest, "wb") as f:
            f.write(data)
        error = s.refused("POST", "/v1/apps", json.dumps(good), 400, "invalid_code")
        assert words in error["message"], (data[:20], error)
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path),
                 lambda path: os.symlink(path, path)):
        if os.path.isdir(manifest):
            os.rmdir(manifest)
        else:
            os.remove(manifest)
        make(manifest)  # a pipe must not hold the service up
        s.refused("POST", "/v1/apps", json.dumps(good), 400, "invalid_code")
    assert s.json("GET", "/v1/apps") == {"apps": []}


def test_processes(s):
    make_app(s)
    p = s.json("POST", P, {"pid": "x"}, 201)
    assert (p["pid"], p["epoch"], p["state"], p["number"]) == ("x", 1, "ACTIVE", 1), p
    assert p["endpoints"] == ["shm:///nowhere/fake.sock", "tcp://127.0.0.1:9"]
    t = p["ticket"]
    assert len(t["ticket"]) == 304 and len(t["session_key"]) == 64
    assert (t["app"], t["pid"], t["number"], t["epoch"]) == ("a", "x", 1, 1)
    again = s.json("POST", P, {"pid": "x"}, 200)
    assert again["epoch"] == 1 and len(s.starts()) == 1
    made_up = s.json("POST", P, b"", 201)
    assert made_up["pid"].startswith("p") and made_up["number"] == 2
    later = s.json("POST", P, {"pid": "later", "wait": False}, 202)
    assert later["state"] in ("ACTIVATING", "ACTIVE") and "ticket" not in later
    s.await_state("a", "later", "ACTIVE")
    names = [x["pid"] for x in s.json("GET", P, expect=200)["processes"]]
    assert names == sorted(["x", made_up["pid"], "later"]), names
    members = s.json("GET", APP + "/members", expect=200)["members"]
    assert {m["state"] for m in members} == {"ACTIVE"} and len(members) == 3
    shown = s.json("GET", P + "/x", expect=200)
    assert shown["state"] == "ACTIVE" and shown["connected"] and shown["os_pid"] > 1
    s.json("DELETE", P + "/x", expect=204)
    s.refused("GET", P + "/x", None, 404, "not_found")
    s.refused("DELETE", P + "/x", None, 404, "not_found")
    assert s.json("POST", P, {"pid": "x"}, 201)["number"] == 4  # never the number again


def test_pages(s):
    """Every listing, in pages of one and two, is the listing whole; wrong cursors are refused."""
    make_app(s)
    for name in ("b", "c", "d", "e"):
        s.json("POST", "/v1/apps", {"name": name, "code": s.code}, 201)
    for i in range(5):
        s.json("POST", P, {"pid": f"p{i}"}, 201)
    for path, name, key in (("/v1/apps", "apps", "name"), (P, "processes", "pid"),
                            (APP + "/members", "members", "pid")):
        whole = [x[key] for x in s.json("GET", path, expect=200)[name]]
        assert len(whole) == 5 and whole == sorted(whole)
        for limit in (1, 2, 4, 5, 6, 1000):
            got, after, pages = [], "", 0
            while True:
                page = s.json("GET", f"{path}?limit={limit}{after}", expect=200)
                got += [x[key] for x in page[name]]
                pages += 1
                assert len(page[name]) <= limit
                if "next" not in page:
                    break
                after = "&after=" + page["next"]
            assert got == whole and pages == (5 + limit - 1) // limit, (path, limit, got)
        for query in ("limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "after=", "after=a%2Fb",
                      "after=" + "x" * 65, "limit=1&limit=2", "page=2"):
            s.refused("GET", f"{path}?{query}", None, 400, "invalid_query")
    state = P + "/p0/state"
    for i in range(5):
        assert s.ask("PUT", f"{state}/k{i}", b"v")[0] == 204
    got, after = [], ""
    while True:
        page = s.json("GET", f"{state}?limit=2{after}", expect=200)
        got += [x["key"] for x in page["state"]]
        if not page["more"]:
            break
        after = "&after=" + got[-1]
    assert got == [f"k{i}" for i in range(5)], got
    s.refused("GET", state + "?limit=0", None, 400, "invalid_query")


def test_process_input(s):
    make_app(s)
    s.refused("POST", P, '{"pid":"a b"}', 400, "invalid_name")
    s.refused("POST", P, '{"pid":7}', 400, "invalid")
    s.refused("POST", P, '{"wait":1}', 400, "invalid")
    s.refused("POST", P, '{"pid":"x","node":1}', 400, "invalid")
    s.refused("POST", "/v1/apps/none/processes", "{}", 404, "not_found")
    for action in ("swap-out", "swap-in", "checkpoint", "migrate", "kill", "tickets"):
        s.refused("POST", f"{P}/none/{action}", None, 404, "not_found")
        s.refused("POST", f"{P}/none/{action}", '{"x":1}', 400, "invalid")
        s.refused("POST", f"{P}/a%2Fb/{action}", None, 400, "invalid_name")
        s.refused("POST", f"{P}/../{action}", None, 400, "invalid_name")
        s.refused("POST", f"{P}/%zz/{action}", None, 400, "invalid_name")
        s.refused("POST", f"{P}/{'n' * 65}/{action}", None, 400, "invalid_name")
    s.refused("POST", P + "/x/migrate-all", None, 404, "no_route")
    s.refused("GET", P + "/x/", None, 404, "no_route")
    s.refused("GET", "/", None, 404, "no_route")
    s.refused("GET", "/v1//apps", None, 404, "no_route")
    s.refused("GET", "/" + "x" * 1100, None, 414, "limit_uri")
    s.refused("PUT", P, None, 405, "method_not_allowed")
    status, headers, _ = s.ask("PATCH", P)
    assert status == 405 and headers["Allow"] == "GET, POST, HEAD, OPTIONS", headers["Allow"]


def test_life(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert s.json("POST", P + "/x/checkpoint", expect=200)["state"] == "ACTIVE"
    out = s.json("POST", P + "/x/swap-out", expect=200)
    assert out["state"] == "SWAPPED" and out["endpoints"] == [] and not out["connected"]
    assert s.json("POST", P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    s.refused("POST", P + "/x/checkpoint", None, 409, "not_active")
    woken = s.json("POST", P + "/x/swap-in", expect=200)
    assert (woken["state"], woken["epoch"]) == ("ACTIVE", 2) and woken["ticket"]["epoch"] == 2
    assert woken["lost_epoch"] == 0
    killed = s.json("POST", P + "/x/kill", expect=200)
    assert (killed["state"], killed["lost_epoch"]) == ("KILLED", 2)
    s.refused("POST", P + "/x/swap-out", None, 409, "not_active")
    t = s.json("POST", P + "/x/tickets", {"rights": ["invoke"], "ttl_s": 5}, 200)
    assert (t["epoch"], t["lost_epoch"]) == (3, 2)  # its clients are told
    s.refused("POST", P + "/x/tickets", '{"rights":[]}', 400, "invalid")
    s.refused("POST", P + "/x/tickets", '{"rights":["fly"]}', 400, "invalid")
    s.refused("POST", P + "/x/tickets", '{"ttl_s":86401}', 400, "invalid")
    s.json("POST", P + "/x/swap-out", expect=200)
    assert s.json("POST", P, {"pid": "x"}, 200)["epoch"] == 4  # create wakes
    s.json("POST", P + "/x/swap-out", expect=200)
    s.json("DELETE", P + "/x", expect=204)


def test_invoke(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    for payload in (b"", b"hello", bytes(range(256)) * 4096):
        status, headers, data = s.ask("POST", APP + "/invoke/echo", payload,
                                      {"Praas-Pid": "x"})
        assert (status, data) == (200, payload), (status, data[:80])
        assert headers["Praas-Status"] == "0" and headers["Praas-Pid"] == "x"
    status, headers, data = s.ask("POST", APP + "/invoke/fail", b"", {"Praas-Pid": "x"})
    assert status == 422 and headers["Praas-Status"] == "7", (status, data)
    assert json.loads(data)["error"]["message"] == "it failed"
    s.refused("POST", APP + "/invoke/crash", b"", 502, "crashed", headers={"Praas-Pid": "x"})
    s.refused("POST", APP + "/invoke/none", b"", 404, "no_function", headers={"Praas-Pid": "x"})
    s.refused("POST", APP + "/invoke/slow", b"", 504, "deadline",
              headers={"Praas-Pid": "x", "Praas-Deadline-Ms": "50"})
    _, _, data = s.ask("POST", APP + "/invoke/key", b"",
                       {"Praas-Pid": "x", "Praas-Key": "k%20%2f"})
    assert data == b"k /", data
    s.json("POST", P + "/x/swap-out", expect=200)
    _, _, data = s.ask("POST", APP + "/invoke/epoch", b"", {"Praas-Pid": "x"})
    assert data == b"2", data  # it was woken
    status, _, data = s.ask("POST", APP + "/invoke/drain", b"again", {"Praas-Pid": "x"})
    assert (status, data) == (200, b"again")  # a refusal that did not run it is retried
    s.refused("POST", APP + "/invoke/echo", b"", 404, "not_found", headers={"Praas-Pid": "no"})
    # The connection broke: sent again with its id, once, unless nobody would know the id.
    status, _, data = s.ask("POST", APP + "/invoke/cut", b"first", {"Praas-Pid": "x"})
    assert (status, data) == (200, b"again")
    losses = int(s.ask("POST", APP + "/invoke/losses", b"", {"Praas-Pid": "x"})[2])
    for fn, times in (("lost", 2), ("past", 1)):
        s.refused("POST", f"{APP}/invoke/{fn}", b"", 502, "unknown", headers={"Praas-Pid": "x"})
        losses += times
        assert int(s.ask("POST", APP + "/invoke/losses", b"", {"Praas-Pid": "x"})[2]) == losses, fn
    assert "Praas-Timing" not in headers
    _, headers, data = s.ask("POST", APP + "/invoke/echo", b"1", {"Praas-Pid": "x", "Praas-Timing": "1"})
    assert data == b"1"
    assert headers["Praas-Timing"] == "call=15, client=1, wire=2, queue=3, run=4, state=5", headers
    _, headers, _ = s.ask("POST", APP + "/invoke/echo", b"1", {"Praas-Pid": "x", "Praas-Timing": "0"})
    assert "Praas-Timing" not in headers
    for name, value in (("Praas-Timing", "2"), ("Praas-Timing", "yes"), ("Praas-Pid", "a/b"), ("Praas-Pid", ""), ("Praas-Deadline-Ms", "0"),
                        ("Praas-Deadline-Ms", "-1"), ("Praas-Deadline-Ms", "1e3"),
                        ("Praas-Deadline-Ms", "3600001"), ("Praas-Key", "%00"),
                        ("Praas-Key", "k" * 256)):
        status, _, data = s.ask("POST", APP + "/invoke/echo", b"", {name: value})
        assert status == 400, (name, value, status, data)


def test_invoke_with_a_ticket(s):
    """Who asks for it is told with the answer how to reach the process that ran it: as by POST …/tickets."""
    make_app(s)
    status, headers, data = s.ask("POST", APP + "/invoke/echo", b"1", {"Praas-Ticket": "1"})
    assert (status, data) == (200, b"1")
    told, pid = json.loads(headers["Praas-Ticket"]), headers["Praas-Pid"]
    other = s.json("POST", f"{P}/{pid}/tickets", expect=200)
    assert set(told) == set(other) and len(told["ticket"]) == 304 and len(told["session_key"]) == 64, told
    for name in ("app", "pid", "number", "epoch", "endpoints"):
        assert told[name] == other[name], (told, other)
    assert told["ticket"] != other["ticket"] and told["pid"] == pid
    # A function that says no has run, too; what did not run tells none.
    _, headers, _ = s.ask("POST", APP + "/invoke/fail", b"", {"Praas-Pid": pid, "Praas-Ticket": "1"})
    assert json.loads(headers["Praas-Ticket"])["pid"] == pid
    for fn, more in (("none", {"Praas-Ticket": "1"}), ("crash", {"Praas-Ticket": "1"}), ("echo", {"Praas-Ticket": "0"}), ("echo", {})):
        _, headers, _ = s.ask("POST", f"{APP}/invoke/{fn}", b"", {"Praas-Pid": pid, **more})
        assert "Praas-Ticket" not in headers, (fn, more)
    for value in ("2", "yes", ""):
        s.refused("POST", APP + "/invoke/echo", b"", 400, "invalid", headers={"Praas-Ticket": value})
    # Told once, and never stored.
    key = {"Praas-Pid": pid, "Praas-Ticket": "1", "Idempotency-Key": "k"}
    _, first, _ = s.ask("POST", APP + "/invoke/echo", b"1", key)
    _, again, _ = s.ask("POST", APP + "/invoke/echo", b"1", key)
    assert "Praas-Ticket" in first and again["Praas-Replayed"] == "true" and "Praas-Ticket" not in again
    secret = json.loads(first["Praas-Ticket"])["session_key"].encode()
    for name in ("records.db", "records.db-wal", "log/audit.jsonl"):
        with open(os.path.join(s.data, name), "rb") as f:
            assert secret not in f.read(), name


def test_invoke_quick_then_slow(s):
    """A function that was quick is called without a thread of its own; one that then takes long, says
    no or finds its process gone is answered as ever, and does not hold up the others."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    head = {"Praas-Pid": "x"}
    for i in range(20):
        assert s.ask("POST", APP + "/invoke/echo", b"%d" % i, head)[2] == b"%d" % i
    slow = [threading.Thread(target=s.refused, args=("POST", APP + "/invoke/slow", b"", 504, "deadline"),
                             kwargs={"headers": {**head, "Praas-Deadline-Ms": "1500"}}) for _ in range(8)]
    for t in slow:
        t.start()
    began = time.monotonic()
    for i in range(50):
        assert s.ask("POST", APP + "/invoke/echo", b"%d" % i, head)[2] == b"%d" % i
    assert time.monotonic() - began < 1.2
    for t in slow:
        t.join()
    for i in range(3):
        assert s.ask("POST", APP + "/invoke/echo", b"", head)[0] == 200
        status, headers, _ = s.ask("POST", APP + "/invoke/fail", b"", head)
        assert (status, headers["Praas-Status"]) == (422, "7")
        s.refused("POST", APP + "/invoke/none", b"", 404, "no_function", headers=head)
    assert s.ask("POST", APP + "/invoke/drain", b"again", head)[2] == b"again"
    assert s.ask("POST", APP + "/invoke/echo", b"", head)[0] == 200
    s.json("POST", P + "/x/swap-out", expect=200)
    assert s.ask("POST", APP + "/invoke/epoch", b"", head)[2] == b"2"


def read_answer(sock):
    """(status, headers, body) of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    while len(body) < int(headers["Content-Length"]):
        body += sock.recv(65536)
    return int(lines[0].split()[1]), headers, body


def open_requests(s):
    text = s.ask("GET", "/metrics")[2].decode()
    return int(next(line for line in text.splitlines() if line.startswith("praas_requests_open ")).split()[1])


def test_invoke_burst(s):
    """Invocations that come together get each its own answer, when it is in the audit log; what takes
    longer than the others does not hold them up for ever, and clients that go meanwhile harm nobody."""
    make_app(s)
    for pid in ("x", "y"):
        s.json("POST", P, {"pid": pid}, 201)
        assert s.ask("POST", APP + "/invoke/echo", b"warm", {"Praas-Pid": pid})[0] == 200
    log = os.path.join(s.data, "log", "audit.jsonl")
    lines = sum(b"/invoke/" in line for line in open(log, "rb"))
    kinds = ["echo"] * 6 + ["fail", "nap", "key", "crash", "none", "slow"]

    def connect():
        c = socket.create_connection((s.host.split(":")[0], int(s.host.split(":")[1])), s.patience)
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return c

    conns = [connect() for _ in range(2 * len(kinds))]
    def leave(c):
        """With a reset, whatever is being done for it."""
        if c.fileno() >= 0:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()

    for turn in range(60):
        gone = {(turn + 5 * i) % len(conns) for i in range(4)}
        for i, c in enumerate(conns):
            body = b"%d-%d" % (turn, i)
            c.sendall(b"POST %s/invoke/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nPraas-Pid: %s\r\n"
                      b"Praas-Key: k%d\r\nPraas-Deadline-Ms: %d\r\nContent-Length: %d\r\n\r\n%s"
                      % (APP.encode(), kinds[i % len(kinds)].encode(), s.token.encode(),
                         b"xy"[i % 2:i % 2 + 1], i, 20 if kinds[i % len(kinds)] == "slow" else 60000,
                         len(body), body))
            if i in gone and turn % 3 == 0:
                leave(c)
            if i - 1 in gone and turn % 3 == 1:
                leave(conns[i - 1])
        for i in gone:
            leave(conns[i])
        for i, c in enumerate(conns):
            if i in gone:
                conns[i] = connect()
                continue
            status, headers, body = read_answer(c)
            kind = kinds[i % len(kinds)]
            wanted = {"fail": 422, "crash": 502, "none": 404, "slow": 504}.get(kind, 200)
            assert status == wanted, (turn, i, kind, status, body)
            if kind in ("echo", "nap"):
                assert body == b"%d-%d" % (turn, i), (turn, i, body)
            elif kind == "key":
                assert body == b"k%d" % i, (turn, i, body)
            assert headers["Praas-Pid"] == "xy"[i % 2]
        lines += len(conns) - len(gone)
        assert sum(b"/invoke/" in line for line in open(log, "rb")) >= lines, turn
    for c in conns:
        c.close()
    while open_requests(s) > 1:  # that which asks
        time.sleep(0.01)
    for pid in ("x", "y"):
        s.json("POST", P + "/" + pid + "/swap-out", expect=200)


def test_invoke_readers(s):
    """A result is where the body was until it has left: for one who reads late, and one who goes before the end."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    body = os.urandom(1 << 20) * 8  # more than a socket holds
    head = (f"POST {APP}/invoke/echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n"
            f"Praas-Pid: x\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    host, port = s.host.split(":")
    late, gone = socket.socket(), socket.socket()
    for sock in (late, gone):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(30)
        sock.connect((host, int(port)))
        sock.sendall(head + body)
        assert sock.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # with RST
    for size in (0, 1, 1023, 1024, 1025, 65536, 1 << 20):  # memory of others meanwhile
        status, _, data = s.ask("POST", APP + "/invoke/echo", b"\xff" * size, {"Praas-Pid": "x"})
        assert (status, data) == (200, b"\xff" * size), (size, status)
    late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    status, _, data = read_answer(late)
    assert status == 200 and data == body, (status, len(data))
    late.close()


def test_invoke_places(s):
    make_app(s)
    status, headers, data = s.ask("POST", APP + "/invoke/echo", b"one")
    assert (status, data) == (200, b"one") and headers["Praas-Pid"].startswith("p")
    first = headers["Praas-Pid"]
    _, headers, _ = s.ask("POST", APP + "/invoke/echo", b"two")
    assert headers["Praas-Pid"] == first and len(s.starts()) == 1


def test_state_and_messages(s):
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    state = P + "/x/state"
    assert s.ask("PUT", state + "/k", b"v1")[0] == 204
    assert s.ask("PUT", state + "/a%2Fb", bytes(1000))[0] == 204
    status, headers, data = s.ask("GET", state + "/k")
    assert (status, data) == (200, b"v1") and int(headers["Praas-Version"]) > 0
    keys = s.json("GET", state, expect=200)
    assert [k["key"] for k in keys["state"]] == ["k", "a/b"] and keys["more"] is False
    assert [k["key"] for k in s.json("GET", state + "?prefix=a%2F")["state"]] == ["a/b"]
    assert s.ask("DELETE", state + "/k")[0] == 204
    s.refused("GET", state + "/k", None, 404, "not_found")
    s.refused("DELETE", state + "/k", None, 404, "not_found")
    s.refused("GET", state + "/" + "k" * 256, None, 400, "invalid_name")
    s.refused("GET", state + "/%00", None, 400, "invalid_name")
    box = P + "/x/messages"
    assert s.ask("POST", box + "/m", b"first")[0] == 204
    assert s.ask("POST", box + "/m", b"second")[0] == 204
    assert s.ask("GET", box + "/m")[2] == b"first"
    assert s.ask("GET", box + "/m?wait_ms=10")[2] == b"second"
    s.refused("GET", box + "/m", None, 404, "no_message")
    s.refused("GET", box + "/m?wait_ms=x", None, 400, "invalid")


def test_tokens(s):
    make_app(s)
    routes = [("GET", "/v1/apps"), ("POST", "/v1/apps"), ("GET", APP), ("DELETE", APP),
              ("GET", APP + "/members"), ("POST", APP + "/invoke/echo"), ("POST", P),
              ("GET", P), ("GET", P + "/x"), ("DELETE", P + "/x"), ("POST", P + "/x/swap-out"),
              ("POST", P + "/x/swap-in"), ("POST", P + "/x/checkpoint"), ("POST", P + "/x/migrate"),
              ("POST", P + "/x/kill"), ("POST", P + "/x/tickets"), ("GET", P + "/x/state"),
              ("GET", P + "/x/state/k"), ("PUT", P + "/x/state/k"),
              ("DELETE", P + "/x/state/k"), ("POST", P + "/x/messages/k"),
              ("GET", P + "/x/messages/k"), ("GET", "/metrics"), ("GET", "/no/such")]
    for method, path in routes:
        for token in ("", "wrong", s.token[:-1], s.token + "0", "x" * 2000):
            s.refused(method, path, None, 401, "unauthorized", token=token)
    s.refused("GET", "/v1/apps", None, 401, "unauthorized",
              headers={"Authorization": "Basic " + s.token})
    assert s.json("GET", "/v1/apps", headers={"Authorization": "bearer " + s.token})


def raw(s, data, answer=True):
    """Sends bytes; returns the beginning of the answer."""
    host, port = s.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as c:
        c.sendall(data)
        return c.recv(65536) if answer else b""


def test_usage_query(s):
    """What is asked is checked; each tenant is told of its own, an operator of whom he names."""
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", "/v1/apps/a/processes", {"pid": "p"}, 201)
    end = time.monotonic() + 10
    while (lines := s.json("GET", "/v1/usage", expect=200))["usage"][0]["calls"] != 3:
        assert time.monotonic() < end, lines
        time.sleep(0.02)
    assert lines["by"] == "app" and lines["since_s"] == 0, lines
    assert set(lines["usage"][0]) == {
        "tenant", "app", "cpu_ns", "wall_ns", "calls", "bytes_in", "bytes_out", "resident_byte_s",
        "swapped_byte_s"}
    for bad in ("by=pid", "by=", "since_s=-1", "since_s=x", "since_s=9000000001", "until_s=1.5",
                "since_s=5&until_s=4", "since_s=9000000000", "limit=0", "limit=1001", "x=1",
                "by=app&by=app", "application=a/b", "application=", "process=p", "tenant=..",
                "after=default", "after=default/a/1", "after=%2f", "after=a/b/c",
                "by=process&after=default/a", "by=process&after=default/a/-1",
                "by=process&after=default/a/1/2", "by=tenant&after=default/a",
                "after=" + "a" * 65 + "/b", "after=" + "a" * 300):
        s.refused("GET", "/v1/usage?" + bad, None, 400, "invalid_query")
    s.refused("POST", "/v1/usage", None, 405, "method_not_allowed")
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    t = s.json("POST", "/v1/tokens", {"scopes": ["read"], "tenant": "t"}, 201)["token"]
    other = s.json("POST", "/v1/tokens", {"scopes": ["invoke"], "tenant": "t"}, 201)["token"]
    for by in ("app", "process", "tenant"):
        assert s.json("GET", "/v1/usage?by=" + by, expect=200, token=t)["usage"] == []
        s.refused("GET", f"/v1/usage?by={by}&tenant=default", None, 404, "not_found", token=t)
        assert len(s.json("GET", f"/v1/usage?by={by}&tenant=default", expect=200)["usage"]) == 1
        assert s.json("GET", f"/v1/usage?by={by}&tenant=t", expect=200)["usage"] == []
        s.refused("GET", "/v1/usage?by=" + by, None, 403, "denied", token=other)
        s.refused("GET", "/v1/usage?by=" + by, None, 401, "unauthorized", token="")


def test_usage_while_it_changes(s):
    """Whoever asks while processes come and go never hears less than before, nor more than there was."""
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    over, told = threading.Event(), []

    def swaps(pid):
        s.json("POST", "/v1/apps/a/processes", {"pid": pid}, 201)
        for action in 10 * ["swap-out", "swap-in"] + ["swap-out"]:
            s.json("POST", f"/v1/apps/a/processes/{pid}/{action}", expect=200)

    def asks():
        while not over.is_set():
            told.append(s.json("GET", "/v1/usage", expect=200)["usage"])

    workers = [threading.Thread(target=swaps, args=(pid,)) for pid in "xyz"]
    reader = threading.Thread(target=asks)
    for t in workers + [reader]:
        t.start()
    for t in workers:
        t.join()
    over.set()
    reader.join()
    calls = [lines[0]["calls"] for lines in told if lines]
    assert calls == sorted(calls), calls
    got = s.json("GET", "/v1/usage", expect=200)["usage"][0]["calls"]
    assert got == 99 and calls[-1] <= 99, (got, calls[-1])  # three of each of 33 controllers


def test_hostile_http(s):
    head = f"POST /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n".encode()
    twice = raw(s, head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x")
    assert b" 400 " in twice.split(b"\r\n")[0], twice
    both = raw(s, head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 400 " in both.split(b"\r\n")[0], both
    big = raw(s, head + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 413 " in big.split(b"\r\n")[0], big
    chunked = raw(s, head + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" +
                  b" " * 65536 + b"\r\n5\r\n     \r\n0\r\n\r\n")
    assert b" 413 " in chunked, chunked[:200]
    for junk in (b"", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", head + b"X: " + b"y" * 70000):
        raw(s, junk, answer=False)
    assert s.json("GET", "/healthz", expect=200)


def test_keep_alive(s):
    c = s.connect()
    for _ in range(20):
        assert s.ask("GET", "/v1/apps", connection=c)[0] == 200
        assert c.sock is not None  # still the same connection
    c.close()


def test_herd_starts_one_controller(s):
    """50 requests create one process, then wake it: one controller each time."""
    make_app(s)
    for method, path, body in (("POST", P, '{"pid":"x"}'), ("POST", P + "/x/swap-in", None),
                               ("POST", APP + "/invoke/echo", b"z")):
        answers = []

        def one():
            answers.append(s.ask(method, path, body, {"Praas-Pid": "x"})[0])

        before = len(s.starts())
        threads = [threading.Thread(target=one) for _ in range(50)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert set(answers) <= {200, 201} and len(answers) == 50, answers
        assert len(s.starts()) == before + 1, s.starts()
        s.json("POST", P + "/x/swap-out", expect=200)


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
