# SPDX-License-Identifier: Apache-2.0
"""What processes used, as /v1/usage tells it: with real controllers, through swaps and kills."""
import os
import signal
import sqlite3
import sys
import threading
import time

from service import Service, await_gone, run

APP = "/v1/apps/a"
P = APP + "/processes"
EXAMPLES = os.path.abspath(sys.argv[3])
TOLD_S = 1.5  # a controller tells once a second while something changes
DAY_NS = 86400 * 10**9


def make_app(s, name="a", isolation="inline"):
    s.json("POST", "/v1/apps", {"name": name, "code": os.path.join(EXAMPLES, "counter"),
                                "isolation": isolation, "allow_weak_sandbox": True}, 201)


def call(s, n=1, pid="x", app="a"):
    for _ in range(n):
        status, _, answer = s.ask("POST", f"/v1/apps/{app}/invoke/add", b"1", {"Praas-Pid": pid})
        assert status == 200, answer


def usage(s, query="by=process", **kw):
    return s.json("GET", "/v1/usage?" + query, expect=200, **kw)["usage"]


def one(s, query="by=process", **kw):
    lines = usage(s, query, **kw)
    assert len(lines) == 1, lines
    return lines[0]


def await_calls(s, wanted, query="by=process", seconds=10):
    end = time.monotonic() + seconds
    while (got := one(s, query))["calls"] != wanted:
        assert time.monotonic() < end, (got, wanted)
        assert got["calls"] < wanted, "counted twice"
        time.sleep(0.05)
    return got


def rows(s, what="count(*)"):
    with sqlite3.connect(f"file:{s.data}/records.db?mode=ro", uri=True) as db:
        return db.execute(f"SELECT {what} FROM usage").fetchone()[0]


def test_usage_of_a_process(s):
    """Told while it runs, in a row when it is swapped out; what it holds counts where it lies; what it
    used outlives it."""
    for isolation in ("inline", "worker"):
        app = "a" if isolation == "inline" else "b"
        make_app(s, app, isolation)
        q = "by=process&application=" + app
        path = f"/v1/apps/{app}/processes"
        s.json("POST", path, {"pid": "x"}, 201)
        call(s, 20, app=app)
        assert s.ask("PUT", path + "/x/state/big", bytes(1000000))[0] == 204
        time.sleep(2 * TOLD_S)
        assert s.ask("PUT", path + "/x/state/small", b"1")[0] == 204  # so that it tells again
        time.sleep(TOLD_S)
        before = await_calls(s, 20, q)
        assert (before["tenant"], before["app"], before["pid"]) == ("default", app, "x")
        assert before["bytes_in"] >= 1000021 and before["bytes_out"] >= 20, before
        assert before["wall_ns"] > 10**9 and before["cpu_ns"] > 0, before
        assert before["resident_byte_s"] > 10**5 and before["swapped_byte_s"] == 0, before
        s.json("POST", path + "/x/swap-out", expect=200)
        swapped = one(s, q)
        assert swapped["calls"] == 20, swapped
        time.sleep(1)
        later = one(s, q)
        assert later["resident_byte_s"] == swapped["resident_byte_s"], (swapped, later)
        grown = later["swapped_byte_s"] - swapped["swapped_byte_s"]
        assert 0.9e6 < grown < 3e6, (swapped, later)  # a megabyte for about a second
        call(s, 1, app=app)
        s.json("DELETE", path + "/x", expect=204)
        gone = one(s, q)
        assert gone["calls"] in (20, 21), gone  # it is killed: at most a second is not told
        assert gone["swapped_byte_s"] >= later["swapped_byte_s"], gone
        s.json("DELETE", "/v1/apps/" + app, expect=204)
        assert one(s, q) == gone


def test_usage_lines(s):
    """By process, application and tenant the same is summed up; pages have all of it, once."""
    for app in ("a", "b"):
        make_app(s, app)
        for pid in ("x", "y", "z"):
            s.json("POST", f"/v1/apps/{app}/processes", {"pid": pid}, 201)
            call(s, 2, pid, app)
    for app in ("a", "b"):
        for pid in ("x", "y"):
            s.json("POST", f"/v1/apps/{app}/processes/{pid}/swap-out", expect=200)
    time.sleep(TOLD_S)
    lines = usage(s)
    assert [(u["app"], u["pid"], u["calls"]) for u in lines] == [
        (a, p, 2) for a in "ab" for p in "xyz"], lines
    assert [(u["app"], u["calls"]) for u in usage(s, "by=app")] == [("a", 6), ("b", 6)]
    assert [(u["tenant"], u["calls"]) for u in usage(s, "by=tenant")] == [("default", 12)]
    assert usage(s, "by=process&application=b&process=y")[0]["calls"] == 2
    assert set(usage(s, "by=tenant")[0]) == {
        "tenant", "cpu_ns", "wall_ns", "calls", "bytes_in", "bytes_out", "resident_byte_s",
        "swapped_byte_s"}
    for by, wanted in (("process", 6), ("app", 2)):
        for limit in (1, 2, 5):
            got, after = [], ""
            while True:
                page = s.json("GET", f"/v1/usage?by={by}&limit={limit}{after}", expect=200)
                assert len(page["usage"]) <= limit
                got += [(u["app"], u.get("pid")) for u in page["usage"]]
                if "next" not in page:
                    break
                after = "&after=" + page["next"]
            assert len(got) == len(set(got)) == wanted and got == sorted(got), got
    now = int(time.time())
    assert not usage(s, f"until_s={now - 3600}")
    assert one(s, f"by=tenant&since_s={now - 3600}")["calls"] == 12
    assert one(s, f"by=tenant&since_s={now + 1}")["calls"] == 0


def test_usage_survives_the_service(s):
    """The service is killed: what it had heard and not written is told again, and counts once."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    for wanted in (7, 14, 21):
        call(s, 7)
        await_calls(s, wanted)
        s.kill()
        s.start()
        await_calls(s, wanted, seconds=15)
    s.json("POST", P + "/x/swap-out", expect=200)
    assert one(s)["calls"] == 21
    s.kill()  # nothing is on its way: the row went with the record
    s.start()
    assert one(s)["calls"] == 21
    call(s, 1)
    await_calls(s, 22)
    assert s.stop() == 0
    s.start()
    assert one(s)["calls"] == 22


def test_usage_of_a_killed_controller(s):
    """A controller is killed: what it did in its last second may be lost, nothing else is, and nothing
    is counted twice."""
    make_app(s)
    done = told = 0
    s.json("POST", P, {"pid": "x"}, 201)
    for _ in range(3):
        call(s, 5)
        done += 5
        time.sleep(TOLD_S)
        assert told + 5 <= one(s)["calls"] <= done
        call(s, 3)  # these may be lost
        done += 3
        os.kill(s.json("GET", P + "/x")["os_pid"], signal.SIGKILL)
        s.await_state("a", "x", "LOST")
        told = one(s)["calls"]
        assert done - 9 <= told <= done, (told, done)
    call(s, 1)
    time.sleep(TOLD_S)
    assert one(s)["calls"] == told + 1


def test_usage_of_all_killed(s):
    """Service and controller are killed: what was in no row is lost, and no more."""
    make_app(s)
    os_pid = s.json("POST", P, {"pid": "x"}, 201)["os_pid"]
    call(s, 5)
    s.json("POST", P + "/x/swap-out", expect=200)
    await_gone(os_pid)
    call(s, 4)
    os_pid = s.json("GET", P + "/x")["os_pid"]
    await_calls(s, 9)
    s.kill()
    os.kill(os_pid, signal.SIGKILL)
    s.start()
    s.await_state("a", "x", "LOST")
    assert one(s)["calls"] == 5
    call(s, 2)
    await_calls(s, 7)


def test_usage_of_moves(s):
    """A process that moves counts on: nothing is lost with its source, also when that is slow to say what it used, and
    nothing counts twice."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    assert s.ask("PUT", P + "/x/state/big", bytes(8 << 20))[0] == 204  # so that it takes a while
    done = 0
    for i in range(12):
        call(s, 3)
        done += 3
        source = s.json("GET", P + "/x")["os_pid"]
        mover = threading.Thread(target=s.ask, args=("POST", P + "/x/migrate", b"{}"))
        mover.start()
        time.sleep(0.01 + 0.004 * i)
        try:
            os.kill(source, signal.SIGSTOP)
            time.sleep(0.4)  # longer than its destination waits for it
            os.kill(source, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it has moved
        mover.join()
    text = s.ask("GET", "/metrics")[2].decode()
    assert int(dict(line.split() for line in text.splitlines() if line[0] != "#")["praas_moves_total"]) > 0
    call(s, 1)
    before = await_calls(s, done + 1)
    s.json("POST", P + "/x/swap-out", expect=200)
    after = one(s)
    assert after["calls"] == done + 1 and after["bytes_in"] == before["bytes_in"], (before, after)


def test_usage_rows_are_few(s):
    """A process with calls has a row every --usage-seconds; days that are over become one row each when
    the service starts, and what is older than --usage-days goes."""
    other = Service(s.program, s.controller, "--usage-seconds", "1", "--usage-days", "30").start()
    try:
        make_app(other)
        other.json("POST", P, {"pid": "x"}, 201)
        end = time.monotonic() + 20
        while rows(other) < 2:
            call(other)
            assert time.monotonic() < end
            time.sleep(0.2)
        assert other.stop() == 0
        now = time.time_ns()
        with sqlite3.connect(other.data + "/records.db") as db:
            for day in (5, 4, 40):
                for i in range(200):
                    to = now // DAY_NS * DAY_NS - day * DAY_NS + (i + 1) * 10**9
                    db.execute("INSERT INTO usage VALUES (1,?,?,0,'default','a','x',1,1,1,1,1,1,1)",
                               (to - 10**9, to))
        before = rows(other)
        other.start()
        end = time.monotonic() + 30  # it begins after ten seconds
        while rows(other) > before - 598:
            assert time.monotonic() < end, (before, rows(other))
            time.sleep(0.1)
        week = int(now / 1e9) - 7 * 86400
        assert 400 < one(other, f"since_s={week}")["calls"] <= 400 + rows(other, "sum(calls)")
        assert rows(other, "count(*) FILTER (WHERE folded=1)") == 2
    finally:
        other.stop()
        other.cleanup()


def test_usage_in_metrics(s):
    """/metrics grow by what /v1/usage tells."""
    make_app(s)
    s.json("POST", P, {"pid": "x"}, 201)
    call(s, 9)
    time.sleep(TOLD_S)
    s.json("POST", P + "/x/swap-out", expect=200)
    used = one(s)
    text = s.ask("GET", "/metrics")[2].decode()
    metrics = dict(line.split() for line in text.splitlines() if line[0] != "#")
    assert int(metrics["praas_process_calls_total"]) == used["calls"] == 9
    assert int(metrics["praas_process_in_bytes_total"]) == used["bytes_in"]
    assert int(metrics["praas_process_out_bytes_total"]) == used["bytes_out"]
    for name, member, unit in (("cpu_seconds", "cpu_ns", 1e9), ("wall_seconds", "wall_ns", 1e9),
                               ("resident_byte_seconds", "resident_byte_s", 1)):
        value = float(metrics[f"praas_process_{name}_total"])
        assert abs(value - used[member] / unit) <= 1e-6 * value + 1, (name, value, used)


run([test_usage_of_a_process, test_usage_lines, test_usage_survives_the_service,
     test_usage_of_a_killed_controller, test_usage_of_moves, test_usage_of_all_killed, test_usage_rows_are_few,
     test_usage_in_metrics])
