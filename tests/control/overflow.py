# SPDX-License-Identifier: Apache-2.0
"""State beyond memory with the real programs: four times of what there is memory for is written and read back, the
memory holds, and it goes along with swaps, crashes, snapshots, forks and moves.

usage: overflow.py CONTROL CONTROLLER FUNCTIONS"""
import glob
import json
import os
import re
import signal
import sys
import threading
import time

from service import await_gone, run

FUNCTIONS = os.path.abspath(sys.argv[3])
APP, P = "/v1/apps/a", "/v1/apps/a/processes"
MIB = 1 << 20
BESIDE = 48 * MIB  # of a controller, beside its pool
with open(sys.argv[2], "rb") as program:
    SANITIZED = re.search(b"__[at]san_init", program.read()) is not None  # which has a shadow, and keeps what was freed


def create(s, memory, isolation, state=None, status=201, **more):
    resources = {"memory_bytes": memory, "state_bytes": 5 * memory if state is None else state}
    return s.json("POST", "/v1/apps", {"name": "a", "code": FUNCTIONS, "isolation": isolation, "allow_weak_sandbox": True,
                                       "resources": resources, **more}, status)


def begin(s, memory, isolation, **more):
    create(s, memory, isolation, **more)
    s.json("POST", P, {"pid": "x"}, 201)


def call(s, fn, payload, name="x", patience=30):
    """The answer; who is asked to come back later does."""
    end = time.monotonic() + patience
    while True:
        status, _, answer = s.ask("POST", f"{APP}/invoke/{fn}", payload.encode(), {"Praas-Pid": name})
        if status not in (429, 503) or time.monotonic() > end:
            break
        time.sleep(0.01)
    assert status == 200, (fn, payload, status, answer)
    return answer.decode()


def write(s, count, size, seed=1, first=0, at_once=1, name="x"):
    for n in range(first, first + count, at_once):
        call(s, "heap_put", f"{n} {min(at_once, first + count - n)} {size} {seed}", name)


def check(s, count, size, seed=1, first=0, at_once=2, name="x"):
    for n in range(first, first + count, at_once):
        k = min(at_once, first + count - n)
        answer = call(s, "heap_check", f"{n} {k} {size} {seed}", name)
        assert answer == f"{k} 0 0", (n, k, answer)


def metrics(s, name="x"):
    """{}: nothing was told yet."""
    return s.json("GET", f"{P}/{name}", expect=200).get("metrics", {})


def await_metrics(s, good, name="x", seconds=10):
    end = time.monotonic() + seconds
    while not (m := metrics(s, name)) or not good(m):
        assert time.monotonic() < end, m
        time.sleep(0.1)
    return m


def rss(s, name="x"):
    with open(f"/proc/{s.json('GET', f'{P}/{name}')['os_pid']}/status") as f:
        return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M)[1]) << 10


def holds(s, memory, total, name="x"):
    """What is in memory is less than that; what is not is known."""
    m = await_metrics(s, lambda m: m["state_bytes"] >= total and m["state_out_bytes"] > 0, name)
    assert m["state_bytes"] - m["state_out_bytes"] <= memory / 2, m
    assert SANITIZED or rss(s, name) <= memory + BESIDE, (rss(s, name) >> 20, memory >> 20)
    return m


def rest(s, name="x"):
    pid = s.json("GET", f"{P}/{name}", expect=200)["os_pid"]
    s.json("POST", f"{P}/{name}/swap-out", {}, 200)
    await_gone(pid)


def wake(s, name="x"):
    s.json("POST", f"{P}/{name}/swap-in", {}, 200)


def crash(s, name="x"):
    pid = s.json("GET", f"{P}/{name}", expect=200)["os_pid"]
    os.kill(pid, signal.SIGKILL)
    await_gone(pid)
    s.await_state("a", name, "LOST")


def listed(s, name="x"):
    """All keys."""
    keys, more = [], True
    while more:
        page = s.json("GET", f"{P}/{name}/state" + (f"?after={keys[-1]}" if keys else ""), expect=200)
        keys += [o["key"] for o in page["state"]]
        more = page["more"]
    return keys


def stored(s):
    """Bytes of all chunks."""
    return sum(os.path.getsize(f) for f in glob.glob(s.data + "/**/chunk/*", recursive=True))


def four_times(s, memory, isolation, size):
    begin(s, memory, isolation)
    count = 4 * memory // size
    write(s, count, size)
    await_metrics(s, lambda m: m["state_evictions"] > count / 2)
    holds(s, memory, 4 * memory)
    check(s, count, size)
    await_metrics(s, lambda m: m["state_fetches"] > count / 2)
    assert holds(s, memory, 4 * memory)["state_fetch_failures"] == 0
    # All are listed, and a client reads them as any other.
    assert listed(s) == [f"h{n:05}" for n in range(count)]
    for n in (0, count // 2, count - 1):
        status, _, data = s.ask("GET", f"{P}/x/state/h{n:05}")
        assert status == 200 and len(data) == size, (n, status)
    # Another one, and it is loaded from where the first one lies.
    before = stored(s)
    rest(s)
    assert stored(s) < before + memory, (before, stored(s))
    wake(s)
    check(s, min(count, 40), size)
    check(s, 10, size, first=count - 10)
    holds(s, memory, 4 * memory)
    # What a checkpoint has survives.
    write(s, 4, size, seed=2)
    s.json("POST", f"{P}/x/checkpoint", {}, 200)
    write(s, 2, size, seed=3, first=8)
    crash(s)
    wake(s)
    check(s, 4, size, seed=2)
    check(s, min(count, 40) - 10, size, first=10)
    check(s, 10, size, first=count - 10)


def test_four_times_inline_16(s):
    four_times(s, 16 * MIB, "inline", 32 << 10)


def test_four_times_worker_16(s):
    four_times(s, 16 * MIB, "worker", 64 << 10)


def test_four_times_worker_64(s):
    four_times(s, 64 * MIB, "worker", 1 << 20)


def test_updates_and_removals(s):
    """In place, of what is out; and what is removed need not be read."""
    begin(s, 32 * MIB, "worker")
    write(s, 256, 256 << 10)
    for n in range(0, 256, 16):
        call(s, "heap_update", f"{n} 1 0 7")
    for n in range(256):
        if n % 16 == 0:
            check(s, 1, 256 << 10, seed=7, first=n)
        elif n % 5 == 0:
            check(s, 1, 256 << 10, first=n)
    before = await_metrics(s, lambda m: m["state_keys"] == 256)
    time.sleep(1.2)
    fetched = metrics(s)["state_fetches"]
    call(s, "heap_remove", "100 100 0 0")
    m = await_metrics(s, lambda m: m["state_keys"] == 156)
    assert m["state_fetches"] == fetched and m["state_bytes"] < before["state_bytes"], (before, m)
    for n in range(200, 256):
        check(s, 1, 256 << 10, seed=7 if n % 16 == 0 else 1, first=n)
    # Room that was given back is there for others.
    write(s, 100, 256 << 10, seed=9, first=100)
    check(s, 100, 256 << 10, seed=9, first=100)


def test_clients_write_and_read(s):
    """Through REST, several at once."""
    begin(s, 32 * MIB, "inline")
    size, count, failed = 100000, 1000, []

    def value(n):
        return (b"%06d" % n) * (size // 6)

    def writer(first):
        for n in range(first, count, 4):
            end = time.monotonic() + 30
            while (status := s.ask("PUT", f"{P}/x/state/o{n}", value(n))[0]) in (429, 503) and time.monotonic() < end:
                time.sleep(0.01)
            if status not in (200, 201, 204):
                failed.append((n, status))

    def reader(first):
        for n in range(first, count, 4):
            status, _, data = s.ask("GET", f"{P}/x/state/o{n}")
            if status != 200 or data != value(n):
                failed.append((n, status, len(data)))

    for job in (writer, reader):
        threads = [threading.Thread(target=job, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed, failed[:5]
    holds(s, 32 * MIB, count * size)


def test_limit_of_all(s):
    """state_bytes is the limit then, said as ever; nothing is lost by it."""
    begin(s, 32 * MIB, "inline", state=40 * MIB)
    write(s, 38, MIB)
    status, _, answer = s.ask("POST", f"{APP}/invoke/heap_put", f"38 4 {MIB} 1".encode(), {"Praas-Pid": "x"})
    assert status in (500, 507, 413, 409, 422, 400, 503) and status != 200, (status, answer)
    assert "memory" in json.loads(answer)["error"]["message"].lower() or "no_memory" in answer.decode(), answer
    check(s, 38, MIB)


def too_much_at_once(s, isolation):
    """One call that reads more than there is memory for is told; the process and others go on."""
    begin(s, 32 * MIB, isolation)
    write(s, 256, 256 << 10)
    right, wrong, failed = map(int, call(s, "heap_check", f"0 256 {256 << 10} 1").split())
    assert 0 < right < 256 and wrong == 0 and failed == -28, (right, wrong, failed)
    check(s, 256, 256 << 10)


def test_too_much_at_once_worker(s):
    too_much_at_once(s, "worker")


def test_too_much_at_once_inline(s):
    too_much_at_once(s, "inline")


def test_store_fails(s):
    """What the store does not give is an error for who asks for it, and comes later; what is in memory is there."""
    begin(s, 32 * MIB, "worker")
    write(s, 200, 256 << 10)
    chunks = glob.glob(s.data + "/**/chunk", recursive=True)
    assert len(chunks) == 1, chunks
    os.rename(chunks[0], chunks[0] + ".away")
    with open(chunks[0], "w"):
        pass  # no folder: nothing is read from it, and nothing written
    right, wrong, failed = map(int, call(s, "heap_check", f"0 8 {256 << 10} 1").split())
    assert (right, wrong) == (0, 0) and failed in (-5, -121), (right, wrong, failed)
    status, _, answer = s.ask("GET", f"{P}/x/state/h00000")
    assert status >= 500, (status, answer)
    check(s, 1, 256 << 10, first=199)
    # Without checkpoints there is room for some, then it is refused; nothing that was there is lost.
    refused = 0
    for n in range(300, 340):
        status, _, answer = s.ask("POST", f"{APP}/invoke/heap_put", f"{n} 1 {256 << 10} 1".encode(), {"Praas-Pid": "x"})
        refused += status != 200
        if status != 200:
            break
    os.unlink(chunks[0])
    os.rename(chunks[0] + ".away", chunks[0])
    written = n - 300 + (status == 200)
    check(s, 200, 256 << 10)
    check(s, written, 256 << 10, first=300)
    write(s, 40, 256 << 10, first=340)
    check(s, 40, 256 << 10, first=340)


def test_snapshots_and_forks(s):
    """A named snapshot keeps what it has, however much follows; a fork has its own."""
    begin(s, 32 * MIB, "inline")
    size, count = 256 << 10, 200
    write(s, count, size)
    s.json("POST", f"{P}/x/snapshots", {"name": "one"}, 201)
    write(s, count, size, seed=2)
    s.json("POST", f"{P}/x/checkpoint", {}, 200)
    time.sleep(1.5)  # and swept
    check(s, count, size, seed=2)
    s.json("POST", f"{P}/x/rollback", {"snapshot": "one"}, 200)
    check(s, count, size)
    s.json("POST", f"{P}/x/fork", {"pid": "y"}, 201)
    write(s, 50, size, seed=3)
    check(s, count, size, name="y")
    check(s, 50, size, seed=3)
    check(s, count - 50, size, first=50)
    holds(s, 32 * MIB, count * size, "y")


def test_store_does_not_grow(s):
    """Some of each chunk stays out for ever: the store has no more than twice of what is alive, and what it just writes."""
    begin(s, 32 * MIB, "inline")
    size, count = 64 << 10, 600
    write(s, count, size)
    for turn in range(8):
        for n in range(count):
            if n % 10:
                write(s, 1, size, seed=turn, first=n)
    s.json("POST", f"{P}/x/checkpoint", {}, 200)
    s.json("POST", f"{P}/x/checkpoint", {}, 200)
    time.sleep(2)
    assert stored(s) < 4 * count * size, (stored(s) >> 20, count * size >> 20)
    for n in range(0, count, 10):
        check(s, 1, size, first=n)
        check(s, 9, size, seed=7, first=n + 1)


def test_checkpoints_beside_its_own(s):
    """One that is asked for while the process makes room by its own waits for that, and is taken."""
    begin(s, 32 * MIB, "inline")
    over = threading.Event()

    def writer():
        turn = 0
        while not over.is_set():
            write(s, 80, MIB, seed=(turn := turn + 1))
    t = threading.Thread(target=writer)
    t.start()
    try:
        for _ in range(30):
            s.json("POST", f"{P}/x/checkpoint", {}, 200)
    finally:
        over.set()
        t.join()


def test_moves(s):
    """What is in the store stays there; the destination has all of it."""
    begin(s, 32 * MIB, "worker")
    size, count = 256 << 10, 200
    write(s, count, size)
    for turn in range(2):
        pid = s.json("GET", f"{P}/x")["os_pid"]
        write(s, 3, size, seed=5 + turn)
        s.json("POST", f"{P}/x/migrate", {}, 200)
        await_gone(pid)
        check(s, 3, size, seed=5 + turn)
        check(s, count - 3, size, first=3)
    holds(s, 32 * MIB, count * size)
    rest(s)
    check(s, 3, size, seed=6)
    check(s, count - 3, size, first=3)


def test_with_a_gate(s):
    """What is acknowledged is there after kill -9, in the store or in the log."""
    begin(s, 32 * MIB, "worker", durability="gate")
    size, count = 256 << 10, 150
    for turn in range(3):
        write(s, count, size, seed=turn)
        crash(s)
        wake(s)
        check(s, count, size, seed=turn)


def test_refused(s):
    for resources, words in (
            ({"memory_bytes": 32 * MIB, "state_bytes": 31 * MIB}, '"state_bytes" must be at least "memory_bytes"'),
            ({"memory_bytes": 32 * MIB, "state_bytes": -1}, "state_bytes"),
            ({"memory_bytes": 32 * MIB, "state_bytes": (16 << 40) + 1}, "state_bytes"),
            ({"memory_bytes": 32 * MIB, "state_bytes": "64M"}, "state_bytes"),
            ({"memory_bytes": 32 * MIB, "state_bytes": 1.5}, "state_bytes"),
            ({"state_bytes": 1}, '"state_bytes" must be at least "memory_bytes"')):
        error = s.json("POST", "/v1/apps", {"name": "a", "code": FUNCTIONS, "resources": resources}, 400)["error"]
        assert words in error["message"], (resources, error)
    # Without it, or with 0, all is as it was; it may be given later, and taken back.
    assert create(s, 32 * MIB, "inline", state=0)["resources"]["state_bytes"] == 0
    s.json("POST", P, {"pid": "x"}, 201)
    write(s, 4, MIB)
    app = s.json("PUT", APP, {"resources": {"state_bytes": 100 * MIB}}, 200)["app"]
    assert app["resources"]["state_bytes"] == 100 * MIB
    write(s, 60, MIB, first=4)
    check(s, 64, MIB)


def test_too_little_memory(s):
    """Where processes listen at more addresses these take memory: too little is refused, not found out at the start."""
    error = create(s, 16 * MIB, "inline", status=400)["error"]
    assert error["code"] == "memory_too_small" and "at least 25165824" in error["message"], error
    create(s, 24 * MIB, "inline")
    error = s.json("PUT", APP, {"resources": {"memory_bytes": 16 * MIB}}, 400)["error"]
    assert error["code"] == "memory_too_small", error
    s.json("PUT", APP, {"resources": {"memory_bytes": 16 * MIB, "state_bytes": 0}}, 200)


failed = run([test_too_little_memory], "--data-listen", "verbs://127.0.0.1:0?", ends=False)
failed += run([test_refused, test_four_times_inline_16, test_four_times_worker_16, test_four_times_worker_64,
               test_updates_and_removals, test_clients_write_and_read, test_limit_of_all, test_too_much_at_once_worker,
               test_too_much_at_once_inline, test_store_fails, test_snapshots_and_forks, test_store_does_not_grow,
               test_checkpoints_beside_its_own, test_moves, test_with_a_gate], ends=False)
sys.exit(1 if failed else 0)
