# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged is there after kill -9, with the real programs: "durability": "journal" and "gate".

usage: journal.py CONTROL CONTROLLER FUNCTIONS [moves]     (moves: those of processes that are moved, alone)
"""
import glob
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

MOUNTS = os.environ.get("PRAAS_TEST_MOUNTS") is not None
if not MOUNTS and os.geteuid() == 0 and not subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
    os.environ["PRAAS_TEST_MOUNTS"] = "1"  # a mount namespace of our own, for a small disk
    os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])
from service import await_gone, run  # noqa: E402

APP, P = "/v1/apps/a", "/v1/apps/a/processes"
FUNCTIONS = os.path.abspath(sys.argv[3])


def create(s, durability, isolation, status=201):
    return s.json("POST", "/v1/apps", {"name": "a", "code": FUNCTIONS, "isolation": isolation,
                                       "allow_weak_sandbox": True, "durability": durability}, status)


def kill(s, name="x"):
    """Without a word; and it is known to be gone."""
    pid = s.json("GET", f"{P}/{name}", expect=200)["os_pid"]
    os.kill(pid, signal.SIGKILL)
    await_gone(pid)
    s.await_state("a", name, "LOST")


def put(s, key, value, name="x"):
    status, _, answer = s.ask("PUT", f"{P}/{name}/state/{key}", value)
    assert status in (200, 201, 204), (status, answer)


def get(s, key, name="x"):
    status, _, answer = s.ask("GET", f"{P}/{name}/state/{key}")
    assert status in (200, 404), (status, answer)
    return answer if status == 200 else None


def invoke(s, fn, payload, name="x", headers=None):
    status, _, answer = s.ask("POST", f"{APP}/invoke/{fn}", payload, {"Praas-Pid": name, **(headers or {})})
    assert status == 200, (fn, status, answer)
    return answer.decode()


def wake(s, name="x"):
    s.json("POST", f"{P}/{name}/swap-in", {}, 200)


def comes_back(s, durability, isolation):
    """State, deletions, messages, results, over crash after crash, snapshots between them."""
    create(s, durability, isolation)
    s.json("POST", P, {"pid": "x"}, 201)
    for n in range(20):
        put(s, f"k{n}", b"v%d" % n)
    assert s.ask("DELETE", f"{P}/x/state/k3")[0] in (200, 204)
    kill(s)
    wake(s)
    assert [get(s, f"k{n}") for n in range(20)] == [None if n == 3 else b"v%d" % n for n in range(20)]
    put(s, "k4", b"again")
    s.json("POST", f"{P}/x/checkpoint", {}, 200)
    put(s, "k5", b"after the checkpoint" * 5000)
    kill(s)
    wake(s)
    assert (get(s, "k4"), get(s, "k5"), get(s, "k6")) == (b"again", b"after the checkpoint" * 5000, b"v6")
    rest(s)
    wake(s)
    put(s, "k7", b"after the swap")
    kill(s)
    wake(s)
    assert (get(s, "k6"), get(s, "k7")) == (b"v6", b"after the swap")


def test_journal_inline(s):
    comes_back(s, "journal", "inline")


def test_gate_worker(s):
    comes_back(s, "gate", "worker")


def two(s):
    """y, which will send to x; the number of x."""
    create(s, "gate", "worker")
    number = s.json("POST", P, {"pid": "x"}, 201)["number"]
    s.json("POST", P, {"pid": "y"}, 201)
    return number


def received(s):
    return [line.split(" ", 1)[1] for line in invoke(s, "drain", "0").splitlines()]


def assert_once(s, count):
    """All of them come, in order, and then no other."""
    end = time.monotonic() + 30
    while len(received(s)) < count and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)  # for one that would come again
    got = received(s)
    assert got == [str(n) for n in range(count)], (len(got), got[:5], got[-5:])
    return got


def test_gate_messages(s):
    """Messages are there once, in their order, whoever is killed, and none that was taken comes back."""
    number = two(s)
    for first in (0, 50):
        assert invoke(s, "send_many", f"{number} {first} 50", "y") == "50"
        kill(s)
        wake(s)
        kill(s, "y")
        wake(s, "y")
    got = assert_once(s, 100)
    kill(s)
    wake(s)
    again = received(s)
    assert again == got, (len(again), again[:5], again[-5:])


def test_gate_messages_once(s):
    """A sender is killed in the midst of its messages, time after time: nobody gets one twice, or misses one."""
    number = two(s)
    for first in range(0, 200, 20):
        assert invoke(s, "send_many", f"{number} {first} 20", "y") == "20"
        time.sleep(0.001 * (first % 7))
        kill(s, "y")
        wake(s, "y")
        if first % 60 == 0:
            kill(s, "y")
            wake(s, "y")
        if first == 100:
            rest(s, "y")
            wake(s, "y")
    assert_once(s, 200)


def replays(s, name="x"):
    """What each activation that has read its log has said of it."""
    status, _, text = s.ask("GET", f"{P}/{name}/logs?tail_bytes=262144")
    assert status == 200, (status, text)
    said = [line for line in text.decode().splitlines() if "turns of the log replayed" in line]
    return ["whole" if "all that anybody has seen" in line else "acknowledged" for line in said]


def test_what_a_log_has(s):
    """An epoch knows whether its log has all that anybody has seen of the one before: that had a gate, and knew it of its own."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)

    def crash():
        put(s, "a", b"1")
        kill(s)
        wake(s)

    crash()
    crash()
    assert replays(s) == ["whole"] * 2, replays(s)
    s.json("PUT", APP, {"durability": "journal"}, 200)
    rest(s)
    wake(s)
    crash()
    put(s, "a", b"1")
    kill(s)
    s.json("PUT", APP, {"durability": "gate"}, 200)
    wake(s)
    assert replays(s)[2:] == ["acknowledged"] * 2, replays(s)  # they had no gate
    crash()  # one with a gate, which had not all
    assert replays(s)[4:] == ["acknowledged"], replays(s)
    put(s, "a", b"2")
    rest(s)  # in order: now it has
    wake(s)
    crash()
    assert replays(s)[5:] == ["whole"], replays(s)


def test_gate_no_answer_is_lost(s):
    """Callers beside kills: what was answered is there, in order, once."""
    create(s, "gate", "worker")
    s.json("POST", P, {"pid": "x"}, 201)
    answered, over, failed = [], threading.Event(), []

    def caller():
        n = 0
        while not over.is_set():
            n += 1
            try:
                status, _, _ = s.ask("PUT", f"{P}/x/state/n{n:06}", b"%d" % n)
            except OSError:
                continue
            if status in (200, 201, 204):
                answered.append(n)

    thread = threading.Thread(target=caller)
    thread.start()
    try:
        for _ in range(8):
            time.sleep(0.4)
            pid = s.json("GET", f"{P}/x", expect=200).get("os_pid")  # none while it is woken
            if pid:
                os.kill(pid, signal.SIGKILL)
                await_gone(pid)
            wake_again(s)
    finally:
        over.set()
        thread.join()
    wake_again(s)
    lost = [n for n in answered if get(s, f"n{n:06}") != b"%d" % n]
    assert not failed and len(answered) > 20, (failed, len(answered))
    assert not lost, (len(answered), lost[:10])


def wake_again(s):
    end = time.monotonic() + 30
    while True:
        status, _, answer = s.ask("POST", f"{P}/x/swap-in", b"{}")
        if status == 200 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert status == 200, (status, answer)


def test_from_gate_to_swap(s):
    """An application that gives its journal up loses nothing of it."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    put(s, "a", b"1")
    kill(s)
    s.json("PUT", APP, {"durability": "swap"}, 200)
    wake(s)
    assert get(s, "a") == b"1"
    put(s, "a", b"2")
    rest(s)
    s.json("PUT", APP, {"durability": "gate"}, 200)
    wake(s)
    assert get(s, "a") == b"2"
    put(s, "a", b"3")
    kill(s)
    wake(s)
    assert get(s, "a") == b"3"


def rest(s, name="x"):
    pid = s.json("GET", f"{P}/{name}", expect=200)["os_pid"]
    s.json("POST", f"{P}/{name}/swap-out", {}, 200)
    await_gone(pid)


def test_rolled_back(s):
    """A rollback undoes what the log has from before it, and nothing of what comes after it."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    put(s, "a", b"1")
    s.json("POST", f"{P}/x/snapshots", {"name": "one"}, 201)
    put(s, "a", b"2")
    put(s, "b", b"2")
    kill(s)
    s.json("POST", f"{P}/x/rollback", {"snapshot": "one"}, 200)
    wake(s)
    assert (get(s, "a"), get(s, "b")) == (b"1", None)
    for n in range(3):  # before and after there is a snapshot of it
        put(s, f"c{n}", b"3")
        kill(s)
        wake(s)
        assert (get(s, "a"), get(s, "b"), get(s, f"c{n}")) == (b"1", None, b"3")
        time.sleep(0.6 * n)


def test_forked(s):
    """A fork has a log of its own."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    put(s, "a", b"1")
    s.json("POST", f"{P}/x/fork", {"pid": "y"}, 201)
    wake(s, "y")
    put(s, "b", b"2", "y")
    kill(s, "y")
    wake(s, "y")
    assert (get(s, "a", "y"), get(s, "b", "y"), get(s, "b")) == (b"1", b"2", None)


def test_moved_later(s):
    """Without a journal again it moves; what the log had is not there again."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    put(s, "a", b"1")
    kill(s)
    s.json("PUT", APP, {"durability": "swap"}, 200)
    wake(s)
    put(s, "a", b"2")
    s.json("POST", f"{P}/x/migrate", {}, 200)
    put(s, "a", b"3")
    for _ in range(2):
        rest(s)
        wake(s)
        assert get(s, "a") == b"3"
    s.json("PUT", APP, {"durability": "gate"}, 200)
    wake(s)
    put(s, "b", b"4")
    kill(s)
    wake(s)
    assert (get(s, "a"), get(s, "b")) == (b"3", b"4")


def migrate(s, name="x"):
    """When what was before is over."""
    end = time.monotonic() + 30
    while True:
        status, _, answer = s.ask("POST", f"{P}/{name}/migrate", b"{}")
        if status != 409 or time.monotonic() > end:
            break
        time.sleep(0.02)
    assert status == 200, (status, answer)


def moves(s, durability, isolation):
    """What was acknowledged by any epoch is there when the last one is killed before it has a snapshot of its own, and after."""
    create(s, durability, isolation)
    s.json("POST", P, {"pid": "x"}, 201)
    want = {}

    def change(key, value):
        put(s, key, value)
        want[key] = value

    for turn in range(8):
        change("same", b"%d" % turn)
        change(f"before{turn}", b"b" * (turn * 10000 + 1))
        for again in range(1 + turn % 2):  # moved twice, with nothing in the store in between
            migrate(s)
            change(f"after{turn}.{again}", b"a%d" % turn)
        if turn == 3:
            assert s.ask("DELETE", f"{P}/x/state/before2")[0] in (200, 204)
            want["before2"] = None
        if turn == 5:
            s.json("POST", f"{P}/x/checkpoint", {}, 200)
        if turn == 6:
            time.sleep(2)  # it has made one of its own
        if turn % 4 == 2:
            rest(s)
        else:
            kill(s)
        wake(s)
        assert {key: get(s, key) for key in want} == want, turn


def test_moves_gate_worker(s):
    moves(s, "gate", "worker")


def test_moves_journal_inline(s):
    moves(s, "journal", "inline")


def test_moves_messages_once(s):
    """Sender and receiver are moved and killed by turns while messages go from one to the other: each once, in order."""
    number = two(s)
    count = 160
    for turn, first in enumerate(range(0, count, 20)):
        assert invoke(s, "send_many", f"{number} {first} 20", "y") == "20"
        migrate(s, "xy"[turn % 2])
        if turn % 3 == 1:
            name = "yx"[turn // 3 % 2]
            kill(s, name)
            wake(s, name)
        if turn % 3 == 2:  # a destination, at once
            kill(s, "xy"[turn % 2])
            wake(s, "xy"[turn % 2])
    assert_once(s, count)


def test_moves_beside_writers(s):
    """Writers beside moves and kills: what was answered is there."""
    create(s, "gate", "worker")
    s.json("POST", P, {"pid": "x"}, 201)
    answered, over = [], threading.Event()

    def writer(name):
        n = 0
        while not over.is_set():
            n += 1
            try:
                status, _, _ = s.ask("PUT", f"{P}/x/state/{name}{n:05}", b"%d" % n)
            except OSError:
                continue
            if status in (200, 201, 204):
                answered.append((f"{name}{n:05}", b"%d" % n))

    threads = [threading.Thread(target=writer, args=(name,)) for name in "pq"]
    for t in threads:
        t.start()
    moved = 0
    try:
        for turn in range(8):
            time.sleep(0.2)
            moved += s.ask("POST", f"{P}/x/migrate", b"{}")[0] == 200
            if turn % 2:
                pid = s.json("GET", f"{P}/x", expect=200).get("os_pid")
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    await_gone(pid)
                wake_again(s)
    finally:
        over.set()
        for t in threads:
            t.join()
    wake_again(s)
    lost = [key for key, value in answered if get(s, key) != value]
    assert moved > 2 and len(answered) > 20 and not lost, (moved, len(answered), lost[:10])


def test_damaged(s):
    """A process is not served from half of its log."""
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    for n in range(5):
        put(s, f"k{n}", b"v%d" % n)
    kill(s)
    files = sorted(glob.glob(os.path.join(s.data, "**", "redo", "f-*"), recursive=True))
    with open(files[0], "r+b") as f:
        f.seek(200)  # in the first record, of which the others say that it was durable
        byte = f.read(1)[0]
        f.seek(200)
        f.write(bytes([byte ^ 1]))
    status, _, answer = s.ask("POST", f"{P}/x/swap-in", b"{}")
    assert status >= 500 and b"record 1" in answer, (status, answer)
    with open(files[0], "r+b") as f:
        f.seek(200)
        f.write(bytes([byte]))
    wake_again(s)
    assert [get(s, f"k{n}") for n in range(5)] == [b"v%d" % n for n in range(5)]


def test_full(s):
    """While neither log nor snapshot can be written nothing is acknowledged; then it goes on, and all is there."""
    s.stop()
    shutil.rmtree(s.data)
    os.mkdir(s.data, 0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "praas-test", s.data], check=True)
    try:
        s.start()
        create(s, "gate", "inline")
        s.json("POST", P, {"pid": "x"}, 201)
        put(s, "a", b"before")
        ballast = os.path.join(s.data, "ballast")
        with open(ballast, "wb") as f:
            left = os.statvfs(s.data)
            os.posix_fallocate(f.fileno(), 0, left.f_bavail * left.f_frsize)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(
            s.ask("PUT", f"{P}/x/state/b", b"b" * (3 << 20))))  # more than has a place in the log already
        caller.start()
        time.sleep(2)
        assert not answers, answers
        moved = []  # with a log that cannot be written it stays where it is, whatever it is told
        mover = threading.Thread(target=lambda: moved.append(s.ask("POST", f"{P}/x/migrate", b"{}")))
        mover.start()
        time.sleep(1)
        os.unlink(ballast)
        caller.join()
        mover.join()
        assert moved[0][0] in (200, 409, 500), moved
        assert answers[0][0] in (200, 201, 204), answers
        put(s, "c", b"after")
        kill(s)
        wake_again(s)
        assert (get(s, "a"), get(s, "b"), get(s, "c")) == (b"before", b"b" * (3 << 20), b"after")
        assert s.stop() == 0
        s.process = None
    finally:
        subprocess.run(["umount", "-l", s.data], check=False)


def test_refused(s):
    """What a journal is not for."""
    create(s, "gates", "inline", 400)
    create(s, "gate", "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    assert s.json("GET", APP, expect=200)["durability"] == "gate"
    assert s.ask("DELETE", f"{P}/x")[0] in (200, 202, 204)


if __name__ == "__main__":
    if sys.argv[4:] == ["moves"]:
        run([test_moves_gate_worker, test_moves_journal_inline, test_moves_messages_once, test_moves_beside_writers])
    run([test_journal_inline, test_gate_worker, test_gate_messages, test_gate_messages_once,
         test_what_a_log_has, test_gate_no_answer_is_lost, test_from_gate_to_swap,
         test_rolled_back, test_forked, test_moved_later, test_damaged, *([test_full] if MOUNTS else []), test_refused])
