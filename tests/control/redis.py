# SPDX-License-Identifier: Apache-2.0
"""The real service with its records in a real Redis: what control.e2e tells of lives and restarts, and a Redis that is
killed, or not safe, under a service that runs."""
import glob
import os
import re
import signal
import subprocess
import sys
import time

import e2e
from redis_server import Redis
from service import Service


def test_life(s, redis):
    e2e.life(s, "inline")


def test_restart_of_everything(s, redis):
    e2e.test_restart_of_everything(s)


def test_messages_wait(s, redis):
    """What is sent to a process that does not serve waits in Redis, over the end of all programs."""
    e2e.make_app(s, "worker")
    s.json("POST", e2e.P, {"pid": "x"}, 201)
    for i in range(20):
        assert s.ask("POST", e2e.P + "/x/messages/k", b"m%d" % i)[0] == 204
    s.json("POST", e2e.P + "/x/swap-out", expect=200)
    assert s.stop() == 0
    redis.kill()
    redis.start()
    s.start()
    for i in range(20):
        assert s.ask("GET", e2e.P + "/x/messages/k?wait_ms=5000")[2] == b"m%d" % i


def test_redis_killed(s, redis):
    """Processes go on without Redis; what needs a record is refused, and goes on with it."""
    e2e.make_app(s, "inline")
    s.json("POST", e2e.P, {"pid": "x"}, 201)
    assert int(e2e.call(s, "add", b"5")) == 5
    redis.kill()
    assert int(e2e.call(s, "add", b"5")) == 10
    status, _, text = s.ask("POST", e2e.P, b'{"pid": "y"}')
    assert status in (500, 503), (status, text)
    assert s.ask("GET", "/readyz")[0] == 503
    assert int(e2e.call(s, "add", b"5")) == 15
    redis.start()
    end = time.monotonic() + 30
    while s.ask("GET", "/readyz")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert s.json("POST", e2e.P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    assert int(e2e.call(s, "add", b"1")) == 16
    s.json("POST", e2e.P, {"pid": "z"}, 201)
    assert int(e2e.call(s, "add", b"2", "z")) == 2


def test_redis_killed_while_it_works(s, redis):
    """Killed in the midst of creations and swaps: what was answered with success is there."""
    e2e.make_app(s, "inline")
    made = []
    for i in range(12):
        if i in (4, 8):
            redis.kill()
            redis.start()
        status, _, text = s.ask("POST", e2e.P, b'{"pid": "p%d"}' % i)
        if status == 201:
            made.append(f"p{i}")
            assert int(e2e.call(s, "add", b"3", f"p{i}")) == 3
    assert len(made) >= 6, made  # a busy machine may be too slow for one that is begun meanwhile
    s.kill()
    s.start()
    for pid in made:
        assert int(e2e.call(s, "add", b"4", pid)) == 7


def test_drain_answer_lost(s, redis):
    """What was not answered in time, and was done after all, is no reason to refuse it for ever."""
    for action in ("drain", "resume"):  # Redis knows the scripts then
        s.json("POST", f"/v1/nodes/local/{action}", {"swap_out": True} if action == "drain" else {}, 200)
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        assert s.ask("POST", "/v1/nodes/local/drain", b'{"swap_out": true}')[0] in (500, 503)
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
    end = time.monotonic() + 30
    while s.ask("GET", "/readyz")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert redis.ask("HEXISTS", "{praas}:item:3", "local") == 1
    assert s.json("GET", "/v1/nodes", expect=200)["nodes"][0]["state"] == "READY"
    assert s.json("POST", "/v1/nodes/local/drain", {"swap_out": True}, 200)["state"] == "DRAINED"
    s.kill()
    s.start()
    assert s.json("GET", "/v1/nodes", expect=200)["nodes"][0]["drain"]["swap_out"]
    assert s.json("POST", "/v1/nodes/local/resume", {}, 200)["state"] == "READY"


def test_one_service_has_the_records(s, redis):
    """Another service is refused while one has the records, and may have them when it has ended."""
    other = Service(s.program, s.controller, "--records", redis.url)
    said = subprocess.run([s.program, "--data", other.data, "--controller", s.controller,
                           "--records", redis.url], capture_output=True, text=True, timeout=60)
    assert said.returncode == 1 and "another control service" in said.stderr, said
    e2e.make_app(s, "inline")
    assert s.stop() == 0
    try:
        other.start()
        assert other.json("GET", "/v1/apps/a", expect=200)["name"] == "a"
        assert other.stop() == 0
    finally:
        other.cleanup()
    s.start()


def test_not_durable(s, redis):
    """What Redis would lose is told of; a Redis that throws records away is refused."""
    assert s.json("GET", "/readyz", expect=200) == {"status": "ready", "durable": True}
    assert s.stop() == 0
    redis.say("CONFIG SET appendfsync everysec")
    s.start()
    assert s.json("GET", "/readyz", expect=200) == {"status": "ready", "durable": False}
    assert b"\npraas_records_durable 0\n" in s.ask("GET", "/metrics")[2]
    assert s.stop() == 0
    redis.say("CONFIG SET maxmemory-policy allkeys-lru")
    said = subprocess.run([s.program, "--data", s.data, "--controller", s.controller,
                           "--records", redis.url], capture_output=True, text=True, timeout=60)
    assert said.returncode == 1 and "noeviction" in said.stderr, said


def test_snapshots_too(s, redis):
    """Records and snapshots in one Redis: swapped out and in over the end of all programs, forked, rolled back, deleted;
    no password in any line of the process table, and nothing outside of the prefix."""
    assert s.stop() == 0
    password = os.path.join(s.dir, "password")
    with open(password, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
        f.write("open-sesame\n")
    redis.say("ACL SETUSER st on >open-sesame ~{praas}:store:* resetchannels +@all -@dangerous +info +config|get")
    s.options = (*s.options, "--snapshots", f"{redis.url}?user=st&password-file={password}")
    s.start()
    e2e.make_app(s, "inline")
    s.json("POST", e2e.P, {"pid": "x"}, 201)
    assert int(e2e.call(s, "add", b"5")) == 5
    assert s.ask("PUT", e2e.P + "/x/state/big", bytes(3_000_000))[0] == 204
    for args in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(args, "rb") as f:
                assert b"sesame" not in f.read()
        except OSError:
            pass  # it just ended
    assert s.json("POST", e2e.P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    s.json("POST", e2e.P + "/x/snapshots", {"name": "kept"}, 201)
    assert s.stop() == 0
    redis.kill()
    redis.start()
    redis.say("ACL SETUSER st on >open-sesame ~{praas}:store:* resetchannels +@all -@dangerous +info +config|get")
    s.start()
    assert int(e2e.call(s, "add", b"1")) == 6
    status, _, data = s.ask("GET", e2e.P + "/x/state/big")
    assert status == 200 and data == bytes(3_000_000)
    s.kill()
    s.start()
    s.json("POST", e2e.P + "/x/rollback", {"snapshot": "kept"}, 200)
    assert int(e2e.call(s, "add", b"0")) == 5
    assert s.json("GET", "/readyz", expect=200)["durable"] is True
    redis.say("CONFIG SET maxmemory 1")
    error = s.json("POST", e2e.P + "/x/swap-out")["error"]
    assert "OOM" in error["message"] or "full" in error["message"], error
    redis.say("CONFIG SET maxmemory 0")
    asked = re.search(rb"praas_redis_store_requests_total (\d+)", s.ask("GET", "/metrics")[2])
    assert int(asked[1]) > 3, asked
    assert int(e2e.call(s, "add", b"2")) == 7
    assert all(k.startswith(b"{praas}:") for k in redis.ask("KEYS", "*"))
    assert s.ask("DELETE", e2e.P + "/x")[0] in (200, 204)


def test_snapshots_refused(s, redis):
    """A Redis that may throw snapshots away is refused when the service starts, and one that may lose them told of."""
    assert s.stop() == 0
    for words, code in (("CONFIG SET maxmemory-policy allkeys-lru", 1), ("CONFIG SET maxmemory-policy noeviction", None)):
        redis.say(words)
        if code:
            said = subprocess.run([s.program, "--data", s.data, "--controller", s.controller, "--snapshots", redis.url],
                                  capture_output=True, text=True, timeout=60)
            assert said.returncode == code and "noeviction" in said.stderr, said
    redis.say("CONFIG SET appendfsync everysec")
    s.options = ("--snapshots", redis.url)
    s.start()
    assert s.json("GET", "/readyz", expect=200) == {"status": "ready", "durable": False}


def run():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        redis = Redis(sys.argv[4]).start()
        service = Service(sys.argv[1], sys.argv[2], "--records", redis.url)
        began = time.monotonic()
        try:
            service.start()
            test(service, redis)
            if service.process:
                code = service.stop()
                assert code == 0, f"exit code {code}"
            print(f"ok {name} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next test runs anyway
            failed += 1
            print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
        finally:
            service.cleanup()
            redis.cleanup()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run()
