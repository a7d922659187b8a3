# SPDX-License-Identifier: Apache-2.0
"""Those who watch an application: told everything once and in order, wherever they resume."""
import json
import os
import socket
import subprocess
import threading
import time

from service import run

APP, P = "/v1/apps/a", "/v1/apps/a/processes"


class Watch:
    def __init__(self, s, path=APP + "/watch", token=None, **headers):
        self.c = s.connect()
        self.c.request("GET", path, headers={"Authorization": "Bearer " + (token or s.token),
                                             **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.r = self.c.getresponse()

    def event(self, seconds=10):
        """(id, event, data); None at the end. Signs of life are left out."""
        self.c.sock.settimeout(seconds)
        fields = {}
        while True:
            line = self.r.readline().decode().rstrip("\n")
            if line.startswith(":"):
                self.r.readline()
            elif line:
                name, value = line.split(": ", 1)
                fields[name] = value
            elif fields:
                return fields["id"], fields["event"], json.loads(fields["data"])
            else:
                return None

    def states(self, count):
        return [self.state() for _ in range(count)]

    def state(self):
        _, kind, data = self.event()
        assert kind == "process", kind
        return data["pid"], data["state"]

    def close(self):
        self.r.close()
        self.c.close()


def make(s, name="a"):
    s.json("POST", "/v1/apps", {"name": name, "code": s.code}, 201)


LIFE = ["ACTIVATING", "ACTIVE", "DRAINING", "SWAPPED", "ACTIVATING", "ACTIVE", "KILLED", "DELETING", "DELETED"]


def live(s, pid):
    """The life of one process: what LIFE says."""
    s.json("POST", P, {"pid": pid}, 201)
    s.json("POST", f"{P}/{pid}/swap-out", expect=200)
    s.json("POST", f"{P}/{pid}/swap-in", expect=200)
    s.json("POST", f"{P}/{pid}/kill", expect=200)
    s.json("DELETE", f"{P}/{pid}", expect=204)


def test_life(s):
    make(s)
    make(s, "b")
    first, second, other = Watch(s), Watch(s), Watch(s, "/v1/apps/b/watch")
    assert first.r.status == 200 and first.r.headers["Content-Type"] == "text/event-stream"
    live(s, "x")
    for w in (first, second):
        assert w.states(len(LIFE)) == [("x", state) for state in LIFE]
    s.json("POST", "/v1/apps/b/processes", {"pid": "y"}, 201)
    assert other.states(2) == [("y", "ACTIVATING"), ("y", "ACTIVE")]  # and nothing of a
    for w in (first, second, other):
        w.close()


def test_resumes_everywhere(s):
    """From the id of each event on, and from the version of a list, exactly what followed is told."""
    make(s)
    version = s.json("GET", APP + "/members")["version"]
    live(s, "x")
    w = Watch(s, Last_Event_ID=version)
    events = [w.event() for _ in LIFE]
    w.close()
    assert [e[2]["state"] for e in events] == LIFE
    assert len({e[0] for e in events}) == len(events)
    epochs = [e[2]["epoch"] for e in events]
    assert epochs == sorted(epochs) and epochs[-1] == 2
    for i, (id_, _, _) in enumerate(events[:-1]):
        for how in ({"Last_Event_ID": id_}, {"path": f"{APP}/watch?after={id_}"}):
            w = Watch(s, **how)
            assert [w.event() for _ in events[i + 1:]] == events[i + 1:]
            w.close()
    for wrong in ("x", "1", "-", "zz" * 8 + "-1", "00" * 8 + "-", "00" * 8 + "-x", "00" * 8 + "-1x", "0" * 60):
        s.refused("GET", APP + "/watch", None, 400, "invalid", headers={"Last-Event-ID": wrong})
    s.refused("GET", "/v1/apps/none/watch", None, 404, "not_found")


def test_gap(s):
    """Of more than is kept, of another run, of what never was: told so, and where to go on."""
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    version = s.json("GET", APP + "/members")["version"]
    s.json("POST", P + "/x/kill", expect=200)
    c = s.connect()
    for _ in range(4096):  # each kill of one at rest is an event
        assert s.ask("POST", P + "/x/kill", connection=c)[0] == 200
    c.close()
    run_, number = version.split("-")
    for old in (version, "0" * 16 + "-1", f"{run_}-{10**15}"):
        w = Watch(s, Last_Event_ID=old)
        now, kind, data = w.event()
        assert (kind, data) == ("gap", {}), (kind, data)
        s.json("POST", P + "/x/kill", expect=200)
        assert w.state() == ("x", "KILLED")
        w.close()
    s.stop()
    s.start()
    w = Watch(s, Last_Event_ID=now)
    assert w.event()[1] == "gap"
    w.close()


def test_limit_and_end(s):
    """So many may watch; they cost no processor time; when the service stops they are told the last."""
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    watchers = [Watch(s) for _ in range(256)]
    assert all(w.r.status == 200 for w in watchers)
    s.refused("GET", APP + "/watch", None, 503, "limit_watchers")
    watchers.pop().close()
    end = time.monotonic() + 10
    while s.ask("HEAD", APP + "/watch")[0] != 200:  # the place of the one that left
        assert time.monotonic() < end
        s.json("POST", P + "/x/checkpoint", expect=200)
        s.json("POST", P + "/x/swap-out", expect=200)
        s.json("POST", P + "/x/swap-in", expect=200)
        time.sleep(0.05)
    for w in watchers:
        w.states(1)

    def ticks():
        with open(f"/proc/{s.process.pid}/stat") as f:
            return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
    before = ticks()
    time.sleep(2)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    assert used < 0.2, f"{used} s of processor time in 2 s"
    assert s.stop() == 0
    for w in watchers[:20]:
        last, got = None, w.event()
        while got:
            last, got = got, w.event()
        assert last[2]["state"] == "SWAPPED", last


def ends(w, began, seconds):
    """The stream comes to its end, after what it was told before."""
    w.c.sock.settimeout(30)
    while w.event():
        pass
    took = time.monotonic() - began
    assert took < seconds, f"{took} s"


def test_ends_with_its_key(s):
    """Revoked, expired, or its tenant removed: nothing more is told, to who waits and to who reads."""
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    key = s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)
    brief = s.json("POST", "/v1/tokens", {"scopes": ["read"], "ttl_s": 2}, 201)
    other = s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)
    born = time.monotonic()
    waits, reads, goes, stays = (Watch(s, token=t["token"]) for t in (key, key, brief, other))
    s.json("POST", P + "/x/kill", expect=200)
    for w in (waits, reads, goes, stays):
        assert w.state() == ("x", "KILLED")
    began = time.monotonic()
    s.json("DELETE", "/v1/tokens/" + key["id"], expect=204)
    s.json("POST", P + "/x/swap-in", expect=200)  # nothing of it is told any more
    for w in (waits, reads):
        assert w.event() is None
        ends(w, began, 5)
    ends(goes, born, 5)
    assert time.monotonic() - born > 1.5, "before its time"
    assert stays.states(2) == [("x", "ACTIVATING"), ("x", "ACTIVE")]
    s.refused("GET", APP + "/watch", None, 401, "unauthorized", token=key["token"])
    stays.close()

    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    admin = s.json("POST", "/v1/tokens", {"scopes": ["read", "deploy"], "tenant": "t"}, 201)["token"]
    s.json("POST", "/v1/apps", {"name": "b", "code": s.code}, 201, token=admin)
    w = Watch(s, "/v1/apps/b/watch", token=admin)
    s.json("DELETE", "/v1/apps/b", expect=204, token=admin)
    began = time.monotonic()
    s.json("DELETE", "/v1/tenants/t", expect=204)
    ends(w, began, 5)


def test_slow_watcher_is_cut(s):
    make(s)
    s.json("POST", P, {"pid": "x"}, 201)
    s.json("POST", P + "/x/kill", expect=200)
    host, port = s.host.split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.connect((host, int(port)))
    slow.sendall(f"GET {APP}/watch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n\r\n".encode())
    fast, c, began, cut = Watch(s), s.connect(), time.monotonic(), 0
    while not cut and time.monotonic() - began < 60:
        for _ in range(500):
            assert s.ask("POST", P + "/x/kill", connection=c)[0] == 200
            assert fast.state() == ("x", "KILLED")
        cut = b"praas_http_cut_total 1\n" in s.ask("GET", "/metrics", connection=c)[2]
    assert cut, "it is still there"
    slow.close()
    fast.close()
    c.close()


run([f for n, f in sorted(globals().items()) if n.startswith("test_")], "--head-seconds", "1")
