# SPDX-License-Identifier: Apache-2.0
"""Several control services with one data folder and one Redis, the real programs: one is active, the others pass requests
on and take over when it is killed, stands still, or is told to end, under a load of requests and of calls over the data
plane. No request fails that a retry with its key does not complete, and no call fails at all."""
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

from replica_group import APP, LEASE_S, P, Group, Load, Replica, controllers

FENCED = 3


def epochs(group, pids):
    return [json.loads(group.ask("GET", f"{P}/{pid}")[1])["epoch"] for pid in pids]


def slow_and_gone(standby, large):
    """One who takes his time has all of it; those who go in the midst leave nothing behind."""
    head = f"GET {P}/x/state/large HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {standby.token}\r\n\r\n".encode()
    with socket.create_connection(standby.host.split(":")) as c:
        c.sendall(head)
        time.sleep(0.5)
        got = bytearray()
        while len(got) < len(large) or len(got) < len(large) + got.index(b"\r\n\r\n") + 4:
            got += c.recv(1 << 20)
            time.sleep(0.002)
        assert got.partition(b"\r\n\r\n")[2] == large
    for i in range(20):
        with socket.create_connection(standby.host.split(":")) as c:
            c.sendall(head)
            if i % 2:
                c.recv(1000)
    end = time.monotonic() + 20
    while b"\npraas_passes_open 0\n" not in standby.ask("GET", "/metrics")[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_any_service_answers(g):
    """All that REST has, asked of one who stands by: answers are those of the active one."""
    active = g.active()
    standby = g.standbys()[0]
    assert active.role() == "active" and standby.role() == "standby"
    g.make("x")
    for method, path in (("GET", "/v1/apps"), ("GET", P), ("HEAD", P), ("GET", "/v1/nothing"), ("OPTIONS", "/v1/apps"),
                         ("PATCH", "/v1/apps"), ("GET", APP + "?wrong=1"), ("GET", "/v1/apps/" + "n" * 70),
                         ("GET", "/v1/limits"), ("DELETE", P + "/none"), ("POST", APP + "/invoke/get")):
        one, other = active.ask(method, path), standby.ask(method, path)
        for name in ("Date", "Content-Length", "Praas-Pid", "traceparent"):
            del one[1][name], other[1][name]
        same = (one[0], sorted(one[1].items())) == (other[0], sorted(other[1].items()))
        assert same, (method, path, one[0], one[1].items(), other[0], other[1].items())
        assert method == "POST" or one[2] == other[2], (method, path, one[2], other[2])
    for token, status in (("", 401), ("wrong" * 8, 401)):
        assert standby.ask("GET", "/v1/apps", token=token)[0] == status
    key = standby.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)["token"]
    assert standby.ask("GET", "/v1/apps", token=key)[0] == 200
    assert standby.ask("POST", "/v1/apps", "{}", token=key)[0] == 403
    large = os.urandom(20_000_000)
    status, _, data = standby.ask("POST", APP + "/invoke/nothing", large)
    assert status == 404, (status, data)
    assert standby.ask("PUT", P + "/x/state/large", large)[0] == 204
    status, headers, data = standby.ask("GET", P + "/x/state/large")
    assert status == 200 and data == large and headers["Praas-Version"]
    slow_and_gone(standby, large)
    with socket.create_connection(standby.host.split(":")) as c:
        c.sendall(f"PUT {P}/x/state/large HTTP/1.1\r\nHost: h\r\nContent-Length: {(64 << 20) + 1}\r\n\r\n".encode())
        assert b" 413 " in c.recv(100)
    # In chunks, with 100-continue, with a header that is empty.
    c = standby.connect()
    c.request("PUT", P + "/x/state/chunks", iter([b"a" * 1000, b"b" * 1000]), encode_chunked=True,
              headers={"Authorization": "Bearer " + standby.token, "Transfer-Encoding": "chunked", "X-Empty": ""})
    assert c.getresponse().status == 204
    c.close()
    assert active.ask("GET", P + "/x/state/chunks")[2] == b"a" * 1000 + b"b" * 1000
    # An answer of before, told again by the other one.
    again = {"Idempotency-Key": "once"}
    one = standby.ask("POST", APP + "/invoke/add", b"5", again)
    other = active.ask("POST", APP + "/invoke/add", b"5", again)
    assert (one[0], one[2]) == (other[0], other[2]) == (200, b"5"), (one, other)
    # A message is received once, and gone.
    assert standby.ask("POST", P + "/x/messages/m", b"hello")[0] == 204
    assert standby.ask("GET", P + "/x/messages/m?wait_ms=2000")[2] == b"hello"
    assert standby.ask("GET", P + "/x/messages/m")[0] == 404 or active.ask("GET", P + "/x/messages/m")[2] != b"hello"
    # Who asked is in the audit log by his own address, whoever says what.
    assert standby.ask("DELETE", P + "/none", headers={"Praas-From": "1.2.3.4"})[0] == 404
    assert active.ask("DELETE", P + "/none", headers={"Praas-From": "1.2.3.4"})[0] == 404
    with open(os.path.join(g.data, "log", "audit.jsonl")) as f:
        lines = [json.loads(line) for line in f]
    assert {line["from"] for line in lines} == {"127.0.0.1"}, lines[-2:]


def test_about_itself(g):
    """Health, readiness and metrics are each service's own."""
    active, (one, two) = g.active(), g.standbys()
    assert one.json("GET", "/healthz", expect=200) == {"status": "ok", "role": "standby"}
    assert one.json("GET", "/readyz", expect=200) == {"status": "ready", "role": "standby"}
    assert active.json("GET", "/readyz", expect=200) == {"status": "ready", "durable": True, "role": "active"}
    g.make()
    one.ask("GET", "/v1/apps")
    text = one.ask("GET", "/metrics")[2].decode()
    assert "\npraas_active 0\n" in text and "\npraas_active_term 0\n" in text, text
    assert int(text.split("\npraas_passed_total ")[1].split()[0]) >= 1
    text = active.ask("GET", "/metrics")[2].decode()
    assert "\npraas_active 1\n" in text and "\npraas_active_term 1\n" in text, text
    assert one.ask("GET", "/metrics", token="")[0] == 401
    key = active.json("POST", "/v1/tokens", {"scopes": ["admin"]}, 201)["token"]
    assert active.ask("GET", "/metrics", token=key)[0] == 200
    assert one.ask("GET", "/metrics", token=key)[0] == 401  # it knows the administrator's alone
    # Nobody is active: the others say so, until the lease has run out.
    active.stand_still()
    two.stand_still()
    os.unlink(os.path.join(g.data, "run", "rest.sock"))
    error = one.refused("GET", "/v1/apps", None, 503, "no_active")
    assert one.ask("GET", "/v1/apps")[1]["Retry-After"] == "1", error
    one.refused("GET", "/readyz", None, 503, "not_ready")
    assert one.role() == "standby"


def test_killed_under_load(g):
    """kill -9 of the active one, three times in turn, each time started again as one who stands by."""
    pids = [f"p{i}" for i in range(3)]
    g.make(*pids)
    load = Load(g, pids)
    took = []
    for _ in range(3):
        load.run(1)
        active = g.active()
        active.kill()
        began = time.monotonic()
        g.active()
        took.append(time.monotonic() - began)
        load.run(0.5)
        active.start()
        assert active.role() == "standby"
    load.run(1)
    load.end()
    assert epochs(g, pids) == [1, 1, 1]  # nobody was restarted
    assert max(took) < LEASE_S, took  # known to have ended: nobody waited for its lease
    print(f"  {load.calls} calls, longest {load.longest * 1000:.0f} ms; {load.added} changes, {load.retried} of them tried "
          f"again, {load.unknown} unknown; taken over in {', '.join(f'{t:.2f}' for t in took)} s", flush=True)


def test_standby_killed_under_load(g):
    """One who stands by may go at any time."""
    g.make("x", "y")
    load = Load(g, ["x", "y"])
    load.run(0.5)
    active = g.active()
    for r in g.standbys():
        r.kill()
        load.run(0.5)
    assert g.active() is active
    load.end()
    assert epochs(g, ["x", "y"]) == [1, 1]


def test_clean_stop_hands_over(g):
    """SIGTERM of the active one: the next has its place at once, processes go on. The last one swaps them out."""
    g.make("x", "y")
    load = Load(g, ["x", "y"])
    for _ in range(2):
        load.run(0.5)
        active = g.active()
        began = time.monotonic()
        assert active.stop() == 0
        g.active()
        took = time.monotonic() - began
        assert "another control service takes them over" in active.says()
        load.run(0.5)
        print(f"  handed over in {took:.2f} s", flush=True)
    assert load.end().unknown == 0  # what was under way was answered
    assert epochs(g, ["x", "y"]) == [1, 1]
    last = g.active()
    assert len(controllers(g)) > 0
    assert last.stop() == 0
    assert not controllers(g)
    last.start()
    assert last.role() == "active" and last.state("a", "x") == "SWAPPED"


def test_all_told_to_end(g):
    """As when the machine goes down: nothing is left to nobody."""
    g.make("x")
    living = g.living()
    for r in living:
        r.process.send_signal(signal.SIGTERM)
    assert [r.ends() for r in living] == [0, 0, 0]
    assert not controllers(g)
    g.all[0].start()
    assert g.all[0].state("a", "x") == "SWAPPED"


def test_stood_still(g):
    """The active one stands still (SIGSTOP) until its lease has run out; when it goes on it has nothing to say any more."""
    g.make("x", "y")
    g.ask("PUT", P + "/x/state/before", b"1", "before")
    load = Load(g, ["x", "y"])
    load.run(0.5)
    old = g.active()
    term = int(g.redis.ask("HGET", "{praas}:meta", "term"))
    began = time.monotonic()
    old.stand_still()
    # A change that it has not looked at yet, and must not make when it goes on.
    late = socket.create_connection(old.host.split(":"))
    late.sendall(f"PUT {P}/x/state/late HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {old.token}\r\n"
                 "Content-Length: 4\r\n\r\nlate".encode())
    new = g.active()
    took = time.monotonic() - began
    assert new is not old and took > LEASE_S / 2, took
    assert int(g.redis.ask("HGET", "{praas}:meta", "term")) == term + 1
    # Its controllers have come over: what needs them is done.
    status, data, _ = g.ask("POST", P + "/x/checkpoint", None, "check", new)
    assert status == 200, data
    load.run(1)
    changes = int(g.redis.ask("HGET", "{praas}:meta", "changes"))
    owner = g.redis.ask("HGET", "{praas}:meta", "owner")
    old.process.send_signal(signal.SIGCONT)
    assert old.ends() == FENCED
    assert "another control service has taken these records" in old.says()
    assert "not the active one any more" in old.says()
    late.settimeout(10)
    try:
        answer = late.recv(1000)
    except ConnectionResetError:
        answer = b""
    assert answer == b"" or b" 503 " in answer.split(b"\r\n")[0], answer
    assert g.ask("GET", P + "/x/state/late")[0] == 404
    assert g.redis.ask("HGET", "{praas}:meta", "owner") == owner
    assert int(g.redis.ask("HGET", "{praas}:meta", "changes")) >= changes
    load.run(0.5)
    load.end()
    assert g.active() is new and epochs(g, ["x", "y"]) == [1, 1]
    assert os.path.exists(os.path.join(g.data, "run", "link.sock"))  # the old one took nothing along
    old.start()
    assert old.role() == "standby"
    assert old.ask("GET", P + "/x/state/before")[2] == b"1"
    print(f"  taken over after {took:.1f} s; {load.calls} calls, longest {load.longest * 1000:.0f} ms", flush=True)


def test_passed_to_one_that_stood_still(g):
    """What was on its way to one that stood still is answered when another is active: not known whether it was done."""
    g.make("x")
    old, standby = g.active(), g.standbys()[0]
    old.stand_still()
    # As many as may be passed on at once, and one more.
    began, many = time.monotonic(), []
    head = f"GET {P} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {standby.token}\r\n\r\n".encode()
    for _ in range(1024):
        c = socket.create_connection(standby.host.split(":"))
        c.sendall(head)
        many.append(c)
    refused = None
    while refused is None and time.monotonic() < began + LEASE_S:
        status, _, data = one_of(standby, head)
        refused = json.loads(data)["error"] if status == 503 else None
    assert refused and refused["code"] == "limit_passes", refused
    seen = set()
    for c in many:
        c.settimeout(30)
        seen.add(int(c.recv(4096).split()[1]))
        c.close()
    assert seen <= {502, 503, 200} and 502 in seen, seen
    assert g.active() is not old
    assert g.ask("GET", P)[0] == 200


def one_of(r, head):
    """Another request beside many that wait: (status, headers, body); of one that waits, too: 0."""
    with socket.create_connection(r.host.split(":")) as c:
        c.sendall(head)
        c.settimeout(0.2)
        try:
            text = c.recv(4096)
        except socket.timeout:
            return 0, None, b""
        top, _, data = text.partition(b"\r\n\r\n")
        return int(top.split()[1]), top, data


def watch(r, after=None):
    c = r.connect()
    h = {"Authorization": "Bearer " + r.token}
    if after:
        h["Last-Event-ID"] = after
    c.request("GET", APP + "/watch", headers=h)
    answer = c.getresponse()
    assert answer.status == 200 and answer.headers.get_content_type() == "text/event-stream", answer.status
    return c, answer


def next_event(answer):
    event = {}
    while True:
        line = answer.readline().decode()
        if not line:
            return None
        line = line.rstrip("\n")
        if not line and event:
            return event
        if ": " in line:
            event.update([line.split(": ", 1)])


def test_watched_through_another(g):
    """Events come as they happen through one who stands by; when the active one goes the stream ends, and who watches on
    is told that he has missed some."""
    g.make("x")
    active, (standby, _) = g.active(), g.standbys()
    c, answer = watch(standby)
    g.ask("POST", P + "/x/swap-out", None, "out")
    events = []
    while not events or "SWAPPED" not in events[-1].get("data", ""):
        events.append(next_event(answer))
        assert events[-1], events
    active.kill()
    while next_event(answer):
        pass
    c.close()
    g.active()
    standby = g.standbys()[0]
    c, answer = watch(standby)
    assert standby.stop() == 0  # whoever watches through it
    while next_event(answer):
        pass
    c.close()
    standby = g.active()
    c, answer = watch(standby, events[-1].get("id"))
    assert next_event(answer)["event"] == "gap"
    c.close()


def test_redis_restarted(g):
    """Redis is killed and started again under load: the active one stays so, or another takes over; nothing is lost."""
    g.make("x", "y")
    load = Load(g, ["x", "y"])
    load.run(0.5)
    g.redis.kill()
    time.sleep(1)
    g.redis.start()
    g.active(40)
    load.run(1)
    # Longer than the lease: it is in doubt who is active, until Redis says so. Calls go on.
    calls = load.calls
    g.redis.kill()
    time.sleep(LEASE_S + 1)
    assert load.calls > calls
    for r in g.living():
        assert r.ask("GET", "/v1/apps")[0] == 503, r.name
        assert r.ask("GET", "/readyz")[0] in (200 if r.role() == "standby" else 503, 503)
    g.redis.start()
    g.active(40)
    load.run(1)
    load.end()
    assert epochs(g, ["x", "y"]) == [1, 1]


def test_redis_emptied(g):
    """Nobody takes over what is not there any more."""
    g.make("x")
    standbys = g.standbys()
    g.redis.say("FLUSHALL")
    for r in standbys:
        assert r.ends() == 1
        assert "are gone" in r.says()
    assert g.redis.ask("EXISTS", "{praas}:meta") == 0


def test_refused(g):
    """What cannot be meant, and who does not belong to the others."""
    def run(*options, data=None):
        return subprocess.run([sys.argv[1], "--data", data or os.path.join(g.dir, "other"), "--controller", sys.argv[2],
                               *options], capture_output=True, text=True, timeout=60)

    redis = ("--records", g.redis.url)
    for options, text in ((("--replica",), "records in a Redis"), (("--replica", "--records", "memory:"), "memory:"),
                          (("--replica", *redis, "--lease-seconds", "1"), "at least 2"),
                          (("--replica", *redis, "--lease-seconds", "301"), "too large"),
                          (("--lease-seconds", "5", *redis), "--replica")):
        said = run(*options)
        assert said.returncode == 2 and text in said.stderr, said
    said = run("--replica", *redis)
    assert said.returncode == 1 and "data folder" in said.stderr, said
    said = run(*redis, data=g.data)
    assert said.returncode == 1 and "another control service uses" in said.stderr, said
    said = run("--replica", "--records", "redis://127.0.0.1:1")
    assert said.returncode == 1 and "Connection refused" in said.stderr, said
    for r in g.living():
        r.kill()
    alone = Replica(g, "alone")
    alone.options = redis
    said = run("--replica", *redis)  # of another folder: until the lease has run out
    assert said.returncode == 1, said
    time.sleep(LEASE_S + 0.5)
    alone.start()
    said = run("--replica", *redis, data=g.data)
    assert said.returncode == 1 and "another control service uses" in said.stderr, said
    alone.kill()
    g.all[0].start()  # at once: that one had the folder alone
    assert g.all[0].role() == "active"


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, cwd=folder)
    return os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")


def tls_group():
    folder = tempfile.mkdtemp(prefix="praas-rep-tls-")
    cert, key = certificate(folder)
    return Group(2, ("--tls-cert", cert, "--tls-key", key), ssl.create_default_context(cafile=cert))


def test_over_tls(g):
    """Each with TLS towards its clients; between them it is a socket of the folder."""
    active, (standby,) = g.active(), g.standbys()
    assert standby.url.startswith("https://")
    g.make("x")
    large = os.urandom(1_000_000)
    assert standby.ask("PUT", P + "/x/state/large", large)[0] == 204
    assert standby.ask("GET", P + "/x/state/large")[2] == large
    assert standby.ask("GET", P, token="wrong" * 8)[0] == 401
    active.kill()
    assert g.active() is standby
    assert standby.ask("GET", P + "/x/state/large")[2] == large


def run():
    failed = 0
    only = sys.argv[6:]
    for name, test in sorted(globals().items()):
        if not name.startswith("test_") or (only and name not in only):
            continue
        began, group = time.monotonic(), None
        try:
            group = tls_group() if test is test_over_tls else Group()
            test(group)
            print(f"ok {name} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next test runs anyway
            failed += 1
            traceback.print_exc()
            print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
            for r in group.all if group else []:
                print(f"--- {r.name}\n{r.says()}", flush=True)
        finally:
            if group:
                group.cleanup()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run()
