# SPDX-License-Identifier: Apache-2.0
"""Messages between processes with the real programs: functions send, others take what came; receivers rest, are
woken, saved and killed meanwhile. And who they are: the members of the application."""
import functools
import os
import random
import signal
import sys
import threading
import time

from service import await_gone, run

APP, P = "/v1/apps/a", "/v1/apps/a/processes"
FUNCTIONS = os.path.abspath(sys.argv[3])
PATIENCE = 60
CALL_SECONDS = 120  # that a call may take where no test is about it: others use the machine, too


class Processes:
    def __init__(self, s, names, isolation, **app):
        self.s, self.numbers = s, {}
        s.patience = 3 * CALL_SECONDS
        s.json("POST", "/v1/apps", {"name": "a", "code": FUNCTIONS, "isolation": isolation,
                                    "allow_weak_sandbox": True, **app}, 201)
        for name in names:
            self.numbers[name] = s.json("POST", P, {"pid": name}, 201)["number"]

    def call(self, name, fn, text="", status=200):
        got, _, answer = self.s.ask("POST", f"{APP}/invoke/{fn}", text, {
            "Praas-Pid": name, "Praas-Deadline-Ms": str(1000 * CALL_SECONDS)})
        assert got == status, (name, fn, got, answer)
        return answer.decode()

    def send(self, name, to, first, count):
        while count > 0:
            sent = int(self.call(name, "send_many", f"{self.numbers[to]} {first} {count}"))
            first, count = first + sent, count - sent
            if count:
                time.sleep(0.002)  # no room

    def log(self, name, source=None, wait_ms=0):
        """What came, of one sender."""
        lines = [line.split(" ", 1) for line in self.call(name, "drain", str(wait_ms)).splitlines()]
        return [text for who, text in lines if source is None or int(who) == self.numbers[source]]

    def await_log(self, name, source, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            got = self.log(name, source)
            if len(got) >= len(wanted) or time.monotonic() > end:
                break
            time.sleep(0.01)
        assert got == wanted, (len(got), len(wanted), got[:5], got[-5:])

    def await_messages(self, name, source, *rows):
        """As await_log, of several senders in one process: each one's in order, and no others."""
        end = time.monotonic() + PATIENCE
        got = []
        while len(got) < sum(map(len, rows)) and time.monotonic() < end:
            got = self.log(name, source)
        each = [[t for t in got if t in wanted] for wanted in map(set, rows)]
        assert each == [*rows] and len(got) == sum(map(len, rows)), (len(got), got[:5], got[-5:])

    def rest(self, name):
        pid = self.s.json("GET", f"{P}/{name}", expect=200)["os_pid"]
        self.s.json("POST", f"{P}/{name}/swap-out", {}, 200)
        await_gone(pid)


def beside(trouble, *work):
    """Trouble without a pause as long as the others work."""
    over, failed = threading.Event(), []

    def one(what):
        try:
            what()
        except Exception as e:
            failed.append(e)

    def again():
        while not over.is_set():
            trouble()

    threads = [threading.Thread(target=one, args=(what,)) for what in (*work, again)]
    for t in threads:
        t.start()
    for t in threads[:-1]:
        t.join()
    over.set()
    threads[-1].join()
    assert not failed, failed


def numbers(first, count):
    return [str(n) for n in range(first, first + count)]


def delivered(s, isolation):
    """In order, once, also while the receiver comes and goes; a resting one is not woken, its queue waits."""
    p = Processes(s, ["a", "b"], isolation)
    p.send("a", "b", 1, 500)
    p.await_log("b", "a", numbers(1, 500))
    p.rest("b")
    p.send("a", "b", 501, 500)
    time.sleep(0.1)
    assert s.state("a", "b") == "SWAPPED"
    p.rest("a")  # what it has not sent goes along, or is in the queue
    p.await_log("b", "a", numbers(1, 1000))
    p.send("a", "b", 1001, 10)  # another epoch of the sender
    p.await_log("b", "a", numbers(1, 1010))
    p.send("b", "b", 1, 3)
    p.await_log("b", "b", numbers(1, 3))


def test_peers_inline(s):
    delivered(s, "inline")


def test_peers_worker(s):
    delivered(s, "worker")


def test_peers_large(s):
    """Larger than what a queue takes: the receiver is woken for it."""
    p = Processes(s, ["a", "b"], "worker", resources={"memory_bytes": 256 << 20})
    for size in (1000, 1 << 20, 5 << 20):
        p.call("a", "send_large", f"{p.numbers['b']} {size}")
    p.await_log("b", "a", ["#1000", f"#{1 << 20}", f"#{5 << 20}"])
    p.rest("b")
    p.call("a", "send_large", f"{p.numbers['b']} {5 << 20}")
    s.await_state("a", "b", "ACTIVE")
    p.await_log("b", "a", ["#1000", f"#{1 << 20}"] + 2 * [f"#{5 << 20}"])


def test_peers_nobody(s):
    """A process that was deleted is told apart from one that rests."""
    p = Processes(s, ["a", "b"], "inline")
    p.send("a", "b", 1, 1)
    p.await_log("b", "a", ["1"])
    s.json("DELETE", f"{P}/b", expect=204)
    end = time.monotonic() + PATIENCE
    while True:  # it is told with the next question
        got, _, answer = s.ask("POST", f"{APP}/invoke/send_many", f"{p.numbers['b']} 2 1", {"Praas-Pid": "a"})
        if got != 200 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert got == 422 or b"No such file" in answer, (got, answer)


def test_peers_under_way(s):
    """Three senders, a receiver that rests and is woken and saved without a pause: each one's messages once and in
    order."""
    count, step = 1500, 50
    p = Processes(s, ["b", "x", "y", "z"], "worker")
    chance = random.Random(5)

    def sender(name):
        for first in range(1, count, step):
            p.send(name, "b", first, step)

    def trouble():
        what = chance.choice(["swap-out", "swap-out", "checkpoint", "drain"])
        if what == "drain":
            p.call("b", "drain")
        else:
            s.ask("POST", f"{P}/b/{what}", "{}")
        time.sleep(chance.random() * 0.02)

    beside(trouble, *(functools.partial(sender, name) for name in "xyz"))
    for name in "xyz":
        p.await_log("b", name, numbers(1, count))


def test_peers_killed_receiver(s):
    """What was acknowledged from memory goes with the epoch that is killed, in one piece from its end; all else
    comes, in order, once."""
    p = Processes(s, ["a", "b"], "inline")
    p.send("a", "b", 1, 100)
    p.await_log("b", "a", numbers(1, 100))
    s.json("POST", f"{P}/b/checkpoint", {}, 200)
    p.send("a", "b", 101, 50)
    p.await_log("b", "a", numbers(1, 150))
    os.kill(s.json("GET", f"{P}/b", expect=200)["os_pid"], signal.SIGKILL)
    s.await_state("a", "b", "LOST")
    p.send("a", "b", 151, 50)
    p.await_log("b", "a", numbers(1, 100) + numbers(151, 50))


def test_peers_swapped_sender(s):
    """What nobody has acknowledged goes on under its places across a planned swap of its sender: it is there once."""
    p = Processes(s, ["a", "b"], "inline")
    p.send("a", "b", 0, 1)
    p.await_log("b", "a", numbers(0, 1))
    pid = s.json("GET", f"{P}/b", expect=200)["os_pid"]
    os.kill(pid, signal.SIGSTOP)  # what comes meanwhile lies before it, and is not answered
    try:
        p.send("a", "b", 1, 20)
        p.rest("a")
        p.call("a", "drain", "0")  # awake again, it sends again what it does not know to be there
        time.sleep(0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    p.send("a", "b", 21, 1)
    p.await_log("b", "a", numbers(0, 22))
    time.sleep(0.3)
    p.await_log("b", "a", numbers(0, 22))


def test_peers_rollback(s):
    """A receiver that goes back in time forgets what it took since; its senders go on where they were, and so
    does it as a sender."""
    p = Processes(s, ["a", "b"], "worker")
    p.send("a", "b", 1, 10)
    p.await_log("b", "a", numbers(1, 10))
    s.json("POST", f"{P}/b/snapshots", {"name": "ten"}, 201)
    p.rest("b")
    p.send("a", "b", 11, 10)  # by its queue
    p.await_log("b", "a", numbers(1, 20))
    p.send("b", "a", 1, 5)
    p.await_log("a", "b", numbers(1, 5))
    for _ in range(2):
        s.json("POST", f"{P}/b/rollback", {"snapshot": "ten"}, 200)
    p.send("a", "b", 21, 10)
    p.await_log("b", "a", numbers(1, 10) + numbers(21, 10))
    p.send("b", "a", 6, 5)
    p.await_log("a", "b", numbers(1, 10))


def calls(p, name, to, count, fn, payload="", status=200):
    """(status, result) of functions that one process has run in another."""
    text = p.call(name, "calls", f"{p.numbers[to]} {count} {fn} {payload}", status)
    return [tuple(line.split(" ", 1)) for line in text.splitlines()]


def test_peers_calls(s):
    """Functions call functions of other processes, also of one that rests, many at a time; what fails there says so."""
    p = Processes(s, ["a", "b", "c"], "worker")
    assert calls(p, "a", "b", 1, "echo", "hello") == [("0", "hello")]
    assert calls(p, "a", "b", 32, "echo", "x") == 32 * [("0", "x")]
    p.rest("b")
    assert calls(p, "a", "b", 2, "echo", "awake") == 2 * [("0", "awake")]
    assert s.state("a", "b") == "ACTIVE"
    (status, why), = calls(p, "a", "b", 1, "crash")
    assert status == "-1001" and "SIGSEGV" in why, (status, why)
    assert calls(p, "a", "b", 1, "echo", "again") == [("0", "again")]
    # it calls back: a waits, b runs it in c
    p.call("b", "calls", f"{p.numbers['c']} 1 echo deep")
    p.rest("a")
    assert calls(p, "a", "b", 1, "echo", "next epoch") == [("0", "next epoch")]
    s.json("DELETE", f"{P}/c", expect=204)
    (status, why), = calls(p, "a", "c", 1, "echo", "nobody")
    assert status == "-1016", (status, why)


def test_peers_calls_under_way(s):
    """A process that is swapped out and saved while others call it runs each call once."""
    p = Processes(s, ["a", "b", "c"], "worker")
    results, chance = [], random.Random(7)

    def caller(name):
        for _ in range(25):
            results.extend(calls(p, name, "b", 16, "count"))

    def trouble():
        s.ask("POST", f"{P}/b/{chance.choice(['swap-out', 'checkpoint'])}", "{}")
        time.sleep(0.05 + chance.random() * 0.1)  # who calls must get in at all, slow as he may be

    beside(trouble, *(functools.partial(caller, name) for name in "ac"))
    assert {status for status, _ in results} == {"0"}, {status for status, _ in results}
    assert sorted(int(n) for _, n in results) == list(range(1, 2 * 25 * 16 + 1))


def test_peers_call_of_the_killed(s):
    """Whether it ran is not known when its process is killed, on request too; the next one runs in its next epoch."""
    p = Processes(s, ["a", "b"], "worker")
    assert calls(p, "a", "b", 1, "echo", "hello") == [("0", "hello")]
    for kill in (lambda: os.kill(s.json("GET", f"{P}/b", expect=200)["os_pid"], signal.SIGKILL),
                 lambda: s.json("POST", f"{P}/b/kill", {}, 200)):
        got = []
        t = threading.Thread(target=lambda got=got: got.append(calls(p, "a", "b", 1, "hang")))
        t.start()
        time.sleep(0.3)
        kill()
        t.join()
        assert got[0][0][0] == "-1011", got
        assert calls(p, "a", "b", 1, "echo", "alive") == [("0", "alive")]


def test_peers_call_deadline(s):
    """The caller's deadline goes along, and ends the function there."""
    p = Processes(s, ["a", "b"], "worker")
    began = time.monotonic()
    got, _, answer = s.ask("POST", f"{APP}/invoke/calls", f"{p.numbers['b']} 1 hang ", {"Praas-Pid": "a",
                           "Praas-Deadline-Ms": "700"})
    # Both controllers end it at the same time: the caller is ended, or is told in time that its call was.
    assert got == 504 or (got, answer) == (200, b"-1002 \n"), (got, answer)
    assert 0.6 < time.monotonic() - began < 10, (got, answer)
    assert calls(p, "a", "b", 1, "echo", "free again") == [("0", "free again")]


def members_of(p, name):
    """(version, {name: (number, state, epoch)})"""
    lines = p.call(name, "members").splitlines()
    rows = [line.split(" ") for line in lines[1:]]
    assert [int(r[0]) for r in rows] == sorted(int(r[0]) for r in rows), rows
    return int(lines[0]), {r[1]: (int(r[0]), int(r[2]), int(r[3])) for r in rows}


def await_members(p, name, wanted):
    """wanted: {name: state}. Waits for each list to be another."""
    version, got = members_of(p, name)
    while {n: state for n, (_, state, _) in got.items()} != wanted:
        rc, _ = p.call(name, "other_members", f"{version} {PATIENCE * 1000}").split()
        assert rc == "0", (got, wanted)
        version, got = members_of(p, name)
    return version, got


ACTIVE, SWAPPED, LOST = 2, 4, 5


def test_peers_members(s):
    """A function sees who belongs to its application, and what becomes of them; the versions of all agree."""
    p = Processes(s, ["a", "b"], "worker")
    version, got = await_members(p, "a", {"a": ACTIVE, "b": ACTIVE})
    assert {n: number for n, (number, _, _) in got.items()} == p.numbers
    assert members_of(p, "b") == (version, got)
    assert p.call("a", "knows", "b") == str(p.numbers["b"]) and p.call("a", "knows", "c") == "-2"
    assert p.call("a", "other_members", f"{version} 50").split() == ["-11", str(version)]
    results = []
    waiting = threading.Thread(target=lambda: results.append(p.call("a", "other_members", f"{version} 60000")))
    waiting.start()
    time.sleep(0.1)
    c = s.json("POST", P, {"pid": "c"}, 201)["number"]
    waiting.join()
    assert results[0].split()[0] == "0" and int(results[0].split()[1]) > version, results
    await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": ACTIVE})
    assert p.call("a", "knows", "c") == str(c)
    p.numbers["c"] = c
    p.rest("c")
    assert await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": SWAPPED})[1]["c"] == (c, SWAPPED, 1)
    s.json("POST", f"{P}/c/swap-in", {}, 200)
    assert await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": ACTIVE})[1]["c"] == (c, ACTIVE, 2)
    os.kill(s.json("GET", f"{P}/c", expect=200)["os_pid"], signal.SIGKILL)
    await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": LOST})
    s.json("DELETE", f"{P}/c", expect=204)
    await_members(p, "a", {"a": ACTIVE, "b": ACTIVE})
    again = s.json("POST", P, {"pid": "c"}, 201)["number"]
    assert await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": ACTIVE})[1]["c"][0] == again != c
    await_members(p, "b", {"a": ACTIVE, "b": ACTIVE, "c": ACTIVE})
    p.rest("a")  # its next epoch asks anew
    version, _ = await_members(p, "a", {"a": ACTIVE, "b": ACTIVE, "c": ACTIVE})
    s.kill()
    s.start()
    s.json("DELETE", f"{P}/c", expect=204)
    assert await_members(p, "a", {"a": ACTIVE, "b": ACTIVE})[0] > version


def test_peers_members_inline(s):
    """A function inside of a controller is told to come again until the list is there."""
    p = Processes(s, ["a", "b"], "inline")
    end = time.monotonic() + PATIENCE
    got = p.call("a", "knows", "b")
    while got == "-11":
        assert time.monotonic() < end
        time.sleep(0.01)
        got = p.call("a", "knows", "b")
    assert got == str(p.numbers["b"])
    version, _ = members_of(p, "a")
    assert p.call("a", "other_members", f"{version} 60000") == f"-11 {version}"  # it does not wait


def test_peers_allreduce(s):
    """The example: members that serve and that rest sum up what each of them has."""
    names = [f"p{i}" for i in range(7)]
    p = Processes(s, names, "worker", code=os.path.abspath(sys.argv[4]), resources={"memory_bytes": 32 << 20})
    for i, name in enumerate(names):
        p.call(name, "set", str(10 ** i))
    for turn in range(4):
        for name in names[turn::3]:
            p.rest(name)
        assert p.call(names[turn], "sum") == "1111111 of 7 members\n"
    s.json("DELETE", f"{P}/p3", expect=204)
    end = time.monotonic() + PATIENCE
    while True:  # who has not heard of it yet is told that one could not take part
        status, _, answer = s.ask("POST", f"{APP}/invoke/sum", "", {"Praas-Pid": "p6"})
        if status == 200 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert answer == b"1110111 of 6 members\n", answer


def test_peers_slow_receiver(s):
    """One that takes nothing slows who sends to it, and nobody else; a deadline ends the waiting."""
    p = Processes(s, ["a", "b", "c"], "worker", resources={"concurrency": 2})
    p.send("a", "b", 1, 1)
    p.await_log("b", "a", ["1"])
    os_pid = s.json("GET", f"{P}/b", expect=200)["os_pid"]
    os.kill(os_pid, signal.SIGSTOP)
    try:
        sent, more = [], 5000
        # Waits as long as a busy machine takes for all of this.
        slow = threading.Thread(target=lambda: sent.append(s.ask(
            "POST", f"{APP}/invoke/send_many", f"{p.numbers['b']} 2 999",
            {"Praas-Pid": "a", "Praas-Deadline-Ms": str(2000 * CALL_SECONDS)})))
        slow.start()
        p.send("a", "c", 1, 1000)
        p.await_log("c", "a", numbers(1, 1000))
        assert slow.is_alive() and not sent, sent
        end = time.monotonic() + CALL_SECONDS
        while True:  # until the other has filled all the room there is
            got, _, answer = s.ask("POST", f"{APP}/invoke/send_many", f"{p.numbers['b']} {more} 1",
                                   {"Praas-Pid": "a", "Praas-Deadline-Ms": "500"})
            if got != 200 or time.monotonic() > end:
                break
            more += 1
        assert got == 504 or b"timed out" in answer, (got, answer)  # behind those that wait already
    finally:
        os.kill(os_pid, signal.SIGCONT)
    slow.join()
    assert [(status, text) for status, _, text in sent] == [(200, b"999")], sent
    p.await_messages("b", "a", numbers(1, 1000), numbers(5000, more - 5000))


def test_peers_full_mailbox(s):
    """More waits in the queue than the mailbox has room for: the process serves, and gets it as there is room."""
    p = Processes(s, ["a", "b"], "worker", resources={"memory_bytes": 32 << 20})
    p.rest("b")
    sizes = [900000 + i for i in range(24)]
    for size in sizes:
        p.call("a", "send_large", f"{p.numbers['b']} {size}")
    assert p.call("b", "echo", "there?") == "there?"
    assert s.state("a", "b") == "ACTIVE"
    first = p.log("b", "a")
    assert first, "nothing was taken"
    p.call("a", "send_large", f"{p.numbers['b']} 900050")
    p.await_log("b", "a", [f"#{n}" for n in [*sizes, 900050]])


if __name__ == "__main__":
    run([test_peers_inline, test_peers_worker, test_peers_large, test_peers_nobody, test_peers_under_way,
         test_peers_killed_receiver, test_peers_swapped_sender, test_peers_rollback, test_peers_calls, test_peers_calls_under_way,
         test_peers_call_of_the_killed,
         test_peers_call_deadline, test_peers_members, test_peers_members_inline, test_peers_allreduce,
         test_peers_slow_receiver, test_peers_full_mailbox])
