# SPDX-License-Identifier: Apache-2.0
"""What each function did, as an application and /metrics tell it: exact for calls by every way, through swaps, a worker
that is killed, and a restart of the service."""
import os
import re
import subprocess
import sys
import time

from service import await_gone, run

FUNCTIONS, PRAAS = os.path.abspath(sys.argv[3]), sys.argv[4]
NUMBERS = ("calls", "errors", "bytes_in", "bytes_out")


def make_app(s, name, isolation):
    s.json("POST", "/v1/apps", {"name": name, "code": FUNCTIONS, "isolation": isolation,
                                "allow_weak_sandbox": True}, 201)
    s.json("POST", f"/v1/apps/{name}/processes", {"pid": "x"}, 201)


def told(s, app):
    functions = s.json("GET", f"/v1/apps/{app}", expect=200).get("functions", [])
    return {f["function"]: tuple(f[n] for n in NUMBERS) for f in functions}


def await_told(s, app, wanted, seconds=30):
    """They grow to that, and at no time beyond."""
    end = time.monotonic() + seconds
    while (got := told(s, app)) != wanted:
        assert time.monotonic() < end, (app, got, wanted)
        for function, numbers in got.items():
            assert all(a <= b for a, b in zip(numbers, wanted[function])), (app, got, wanted)
        time.sleep(0.05)


def by_command(s, app, n, data, transport):
    subprocess.run([PRAAS, "invoke", app, "echo", "-p", "x", "-d", data, "-n", str(n), "--transport", transport,
                    "--url", s.url, "--token", s.token], check=True, stdout=subprocess.DEVNULL, timeout=60)


def by_rest(s, app, function, data, wanted=200):
    status, _, answer = s.ask("POST", f"/v1/apps/{app}/invoke/{function}", data, {"Praas-Pid": "x"})
    assert status == wanted, (status, answer)
    return answer


def metric(s, name, app, function):
    text = s.ask("GET", "/metrics")[2].decode()
    found = re.findall(rf'^praas_function_{name}{{tenant="default",app="{app}",function="{function}"}} (\S+)$', text, re.M)
    assert len(found) <= 1, found
    return float(found[0]) if found else 0.0


def every_way(s, isolation):
    app = isolation[0]
    make_app(s, app, isolation)
    assert told(s, app) == {}
    by_command(s, app, 100, "abc", "shm")  # in workers: past the controller, but for the first ones
    by_command(s, app, 50, "defgh", "tcp")
    for _ in range(7):
        by_rest(s, app, "echo", b"0123456789")
    texts = [len(by_rest(s, app, "takes", b"", 422)) for _ in range(3)]
    assert texts
    wanted = {"echo": (157, 0, 100 * 3 + 50 * 5 + 7 * 10, 100 * 3 + 50 * 5 + 7 * 10)}
    end = time.monotonic() + 30
    while (now := told(s, app)).get("takes", (0,))[0] != 3:
        assert time.monotonic() < end, now
        time.sleep(0.05)
    assert now["takes"][1] == 3, now
    wanted["takes"] = now["takes"]
    await_told(s, app, wanted)
    return app, wanted


def test_functions_by_every_way(s):
    """Direct, shared memory, TCP and REST; then a swap and a wake: the next epoch counts from nothing, and goes on here."""
    for isolation in ("inline", "worker"):
        app, wanted = every_way(s, isolation)
        assert metric(s, "calls_total", app, "echo") == 157 and metric(s, "errors_total", app, "takes") == 3
        assert metric(s, "in_bytes_total", app, "echo") == metric(s, "out_bytes_total", app, "echo") == 620
        run_s = metric(s, "run_seconds_total", app, "echo")
        assert 0 < run_s < 60
        path = f"/v1/apps/{app}/processes/x"
        os_pid = s.json("GET", path, expect=200)["os_pid"]
        by_rest(s, app, "echo", b"12345")  # told with the swap-out, not by the second
        s.json("POST", path + "/swap-out", expect=200)
        await_gone(os_pid)
        wanted["echo"] = (158, 0, 625, 625)
        assert told(s, app) == wanted, (told(s, app), wanted)
        by_command(s, app, 20, "xy", "shm")  # wakes it
        wanted["echo"] = (178, 0, 665, 665)
        await_told(s, app, wanted)
        assert metric(s, "run_seconds_total", app, "echo") >= run_s
        assert metric(s, "calls_total", app, "echo") == 178


def test_functions_of_a_killed_worker(s):
    """Who dies has told what it did; the call that it died in is one, and an error."""
    make_app(s, "w", "worker")
    by_command(s, "w", 100, "abc", "shm")
    await_told(s, "w", {"echo": (100, 0, 300, 300)})
    by_rest(s, "w", "exits", b"", 502)
    result = subprocess.run([PRAAS, "invoke", "w", "exits", "-p", "x", "-d", "x", "--transport", "shm", "--url", s.url,
                             "--token", s.token], capture_output=True, timeout=60)
    assert result.returncode != 0
    end = time.monotonic() + 30
    while (got := told(s, "w")).get("exits", (0,))[0] != 2:
        assert time.monotonic() < end, got
        time.sleep(0.05)
    assert got["exits"][1] == 2 and got["echo"] == (100, 0, 300, 300), got
    by_command(s, "w", 100, "abc", "shm")
    end = time.monotonic() + 30
    while (got := told(s, "w"))["echo"] != (200, 0, 600, 600):
        assert time.monotonic() < end and got["echo"][0] <= 200, got
        time.sleep(0.05)
    assert got["exits"][:2] == (2, 2), got


def test_functions_after_the_service(s):
    """The next service counts from nothing: what was told to the one before does not count again."""
    make_app(s, "i", "inline")
    by_command(s, "i", 30, "abc", "shm")
    await_told(s, "i", {"echo": (30, 0, 90, 90)})
    s.kill()
    s.start()
    s.await_state("i", "x", "ACTIVE")
    by_command(s, "i", 12, "abc", "shm")
    await_told(s, "i", {"echo": (12, 0, 36, 36)})


run([test_functions_by_every_way, test_functions_of_a_killed_worker, test_functions_after_the_service])
