# SPDX-License-Identifier: Apache-2.0
"""Messages between processes, as the control service sees them (docs/control-link.md). The test is the
controllers: it says on their links what they would say."""
import functools
import os
import random
import signal
import sys
import threading
import time

from puppet import (P, Asked, Puppet, app, begin, drain, end, payloads, records_held, rest, serving, two,
                    wake)
from service import alive, run

BATCH, MESSAGE, QUEUE_BYTES = 64, 1 << 20, 64 << 20


def test_mail_to_who_serves(s):
    """The way to it, with a ticket of the sender's; nothing is queued."""
    app(s)
    a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
    for answer in (a.way(b.pid), a.append(b.pid, (1, 1, b"k", b"x", None)), a.way(b.pid, wake=True)):
        assert answer["rc"] == "MOVED" and answer["epoch"] == 1 and answer["local"] is True, answer
        assert answer["endpoints"] == ["tcp://127.0.0.1:9"], answer
        ticket = bytes.fromhex(answer["ticket"])
        assert len(ticket) == 152 and len(answer["session_key"]) == 64
        # docs/tickets.md: the receiver, its epoch, who speaks, what he may
        assert b.pid.to_bytes(8, "little") in ticket and a.pid.to_bytes(8, "little") in ticket
        assert bytes.fromhex(b.config["controller_id"]) in ticket
    assert b.read(0) == ([], False)


def test_mail_order_and_content(s):
    """What is queued comes in its order, whole, with its source, to the next epoch."""
    a, b = two(s)
    trace = "ab" * 32
    assert a.way(b.pid) == {"t": "way", "id": a.ids, "rc": "QUEUED"}
    sent = [(1, n, b"key%d" % n, os.urandom(n * 97), trace if n % 2 else None) for n in range(1, 200)]
    for at in range(0, len(sent), BATCH):
        answer = a.append(b.pid, *sent[at:at + BATCH])
        assert (answer["rc"], answer["number"]) == ("QUEUED", sent[at:at + BATCH][-1][1]), answer
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0) is True
    got = b.read_all(0)
    assert got == [(i + 1, a.pid, *m) for i, m in enumerate(sent)]
    assert s.state("a", "puppet-b") == "ACTIVATING" and waiting.is_alive()
    assert b.serve(len(sent)) == "OK"
    waiting.done()
    assert s.state("a", "puppet-b") == "ACTIVE"
    assert a.way(b.pid)["rc"] == "MOVED"


def test_mail_pipelined(s):
    """Requests that are under way together are worked off in their order."""
    a, b = two(s)
    ids = [a.append_later(b.pid, [(1, n, b"", b"%d" % n, None)]) for n in range(1, 41)]
    for n, number in enumerate(ids, 1):
        answer, _ = a.hear()
        assert (answer["id"], answer["rc"], answer["number"]) == (number, "QUEUED", n), answer
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert payloads(b.read_all(0)) == [b"%d" % n for n in range(1, 41)]
    assert b.serve(40) == "OK"
    waiting.done()


def test_mail_tail_is_looked_at(s):
    """Something comes between the end of reading and serving: more; after eight rounds senders wait."""
    a, b = two(s)
    a.put(b.pid, 1)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    for n in range(2, 9):
        a.put(b.pid, n)
        assert b.serve(n - 1) == "MORE"
    answer = a.append(b.pid, (1, 9, b"k", b"x", None))
    assert answer["rc"] == "BUSY", answer
    assert a.way(b.pid)["rc"] == "BUSY"
    assert b.serve(8) == "OK"
    waiting.done()
    assert a.append(b.pid, (1, 9, b"k", b"x", None))["rc"] == "MOVED"
    assert b.serve(8) == "OK"  # said again


def test_mail_answer_lost(s):
    """What is there already counts as queued, and is not stored twice."""
    a, b = two(s)
    a.put(b.pid, 1)
    a.put(b.pid, 2)
    assert a.append(b.pid, *[(1, n, b"k", b"y", None) for n in (1, 2, 3)])["number"] == 3
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert [m[3] for m in b.read_all(0)] == [1, 2, 3]
    assert b.serve(3) == "OK"
    waiting.done()


def test_mail_crash_while_it_catches_up(s):
    """The queue stays, whatever was read of it, until a snapshot has it."""
    a, b = two(s)
    for n in range(1, 4):
        a.put(b.pid, n, b"%d" % n)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert payloads(b.read_all(0)) == [b"1", b"2", b"3"]
    end(s, b, signal.SIGTERM)  # who waits for it is told that it failed
    waiting.done(502)
    assert s.state("a", "puppet-b") == "SWAPPED"
    b, waiting = wake(s, "puppet-b", 3)
    assert b.join(seen=0)
    assert payloads(b.read_all(0)) == [b"1", b"2", b"3"]
    assert b.serve(3) == "OK"
    waiting.done()
    end(s, b)  # without a snapshot: they come again
    s.await_state("a", "puppet-b", "LOST")
    b, waiting = wake(s, "puppet-b", 4)
    assert b.join(seen=0)
    assert payloads(b.read_all(0)) == [b"1", b"2", b"3"]
    b.serve(3)
    waiting.done()


def test_mail_swapped_while_it_catches_up(s):
    """SIGTERM from somebody: its snapshot counts, and who waits for it gets the next epoch."""
    a, b = two(s)
    for n in range(1, 4):
        a.put(b.pid, n, b"%d" % n)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert len(b.read_all(0)) == 3
    b.swapped(cut=2)
    b = Puppet(s, "puppet-b", 3)
    assert b.join(seen=2)
    assert payloads(b.read_all(0)) == [b"3"]
    assert b.serve(3) == "OK"
    waiting.done()
    assert s.json("GET", P + "/puppet-b").get("lost_epoch", 0) == 0


def test_mail_trimmed_by_a_cut(s):
    """Only what a committed snapshot has goes; positions go on; nobody reads what is gone in part."""
    a, b = two(s)
    for n in range(1, 5):
        a.put(b.pid, n, b"%d" % n)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert b.serve(4) == "OK"
    waiting.done()
    t = Asked(s, P + "/puppet-b/checkpoint")
    request, _ = b.hear()
    b.say({"t": "done", "id": request["id"], "ok": False, "code": "X", "message": "m", "cut": 3})
    t.done(500)
    assert payloads(b.read_all(0)) == [b"1", b"2", b"3", b"4"]  # it was not committed
    t = Asked(s, P + "/puppet-b/checkpoint")
    request, _ = b.hear()
    b.say({"t": "done", "id": request["id"], "ok": True, "slot": 3, "cut": 2})
    t.done()
    assert payloads(b.read_all(2)) == [b"3", b"4"]
    assert payloads(b.read_all(0)) == [b"3", b"4"]
    assert b.read(1) == ("STALE", None)
    rest(s, b, cut=4)
    a.put(b.pid, 5, b"5")
    b, waiting = wake(s, "puppet-b", 3)
    assert b.join(seen=4) is True
    assert b.read_all(4) == [(5, a.pid, 1, 5, b"k", b"5", None)]
    assert b.serve(5) == "OK"
    waiting.done()
    b.swapped(cut=5)
    s.await_state("a", "puppet-b", "SWAPPED")
    end(s, b)
    b, waiting = wake(s, "puppet-b", 4)
    assert b.join(seen=5) is False  # nothing is left: it is active at once
    waiting.done()


def failed(p, number):
    p.say({"t": "done", "id": number, "ok": False, "code": "ENOSPC", "message": "full"})


def test_mail_drain_called_off(s):
    """While it drains messages are queued. Called off, it is active again at once, or when it has them."""
    app(s)
    a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
    t, number = drain(s, b)
    failed(b, number)
    t.done(500)
    assert s.state("a", "puppet-b") == "ACTIVE"
    assert a.way(b.pid)["rc"] == "MOVED"
    t, number = drain(s, b)
    a.put(b.pid, 1)
    assert b.serve(1) == "BUSY"  # its gate is closed
    failed(b, number)
    t.done(500)
    assert b.hear()[0] == {"t": "more"}
    assert s.state("a", "puppet-b") == "DRAINING"
    a.put(b.pid, 2)
    assert len(b.read_all(0)) == 2
    assert b.serve(1) == "MORE"
    assert b.serve(2) == "OK"
    assert s.state("a", "puppet-b") == "ACTIVE"
    assert a.way(b.pid)["rc"] == "MOVED"
    # Asked to swap out while it catches up: it does.
    t, number = drain(s, b)
    a.put(b.pid, 3)
    failed(b, number)
    t.done(500)
    assert b.hear()[0] == {"t": "more"}
    rest(s, b, cut=2)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=2)
    assert [m[3] for m in b.read_all(2)] == [3]
    assert b.serve(3) == "OK"
    waiting.done()


def test_mail_joins_again(s):
    """A link that breaks changes nothing; who is behind is told so again."""
    a, b = two(s)
    a.put(b.pid, 1)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    b.close()
    b.connect()
    assert b.join(seen=0)
    assert waiting.is_alive()
    b.close()
    b.connect()
    assert b.join(seen=1) is False
    waiting.done()
    assert s.state("a", "puppet-b") == "ACTIVE"


def test_mail_wake(s):
    """Who rests is started for it, and the answer is the way there, when there is one."""
    a, b = two(s)
    a.put(b.pid, 1)
    number = a.ask({"t": "append", "to": b.pid, "wake": True})
    b = Puppet(s, "puppet-b", 2)
    a.put(b.pid, 2)  # nobody waits for the wake
    assert b.join(seen=0)
    assert len(b.read_all(0)) == 2 and b.serve(2) == "OK"
    answer, _ = a.hear()
    assert (answer["id"], answer["rc"], answer["epoch"]) == (number, "MOVED", 2), answer
    rest(s, b, cut=2)
    number = a.ask({"t": "append", "to": b.pid, "wake": True})
    b = Puppet(s, "puppet-b", 3)
    for _, epoch, pid in s.starts("puppet-b"):
        if epoch >= 3:
            os.kill(pid, signal.SIGTERM)  # it leaves without a join
    answer, _ = a.hear()
    assert (answer["id"], answer["rc"]) == (number, "BUSY"), answer


def test_mail_of_nobody(s):
    """Other applications, other tenants, what never was and what is deleted: all the same. Its queue goes along."""
    a, b = two(s)
    app(s, "other")
    c = serving(s, "puppet-c", "other")
    assert a.way(c.pid)["rc"] == "GONE"
    assert a.append(c.pid, (1, 1, b"", b"x", None))["rc"] == "GONE"
    assert c.way(a.pid)["rc"] == "GONE"
    assert c.way(b.pid, wake=True)["rc"] == "GONE"
    assert a.way(10**6)["rc"] == "GONE"
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    token = s.json("POST", "/v1/tokens", {"scopes": ["read", "deploy"], "tenant": "t"}, 201)["token"]
    app(s, token=token)  # of the same name
    d = begin(s, "puppet-d", token=token)
    assert d.join() is False
    assert a.way(d.pid)["rc"] == "GONE" and d.way(a.pid)["rc"] == "GONE"
    a.put(b.pid, 1)
    s.json("DELETE", P + "/puppet-b", expect=204)
    assert a.append(b.pid, (1, 2, b"", b"x", None))["rc"] == "GONE"
    assert a.way(b.pid, wake=True)["rc"] == "GONE"
    again = serving(s, "puppet-b")  # the name, not the process
    assert again.pid != b.pid
    assert a.way(b.pid)["rc"] == "GONE"
    assert again.read(0) == ([], False)


def test_mail_deleted_meanwhile(s):
    """A message that is being stored while its receiver is deleted goes with it, and its sender hears of it."""
    a, b = two(s)
    with records_held(s):
        number = a.append_later(b.pid, [(1, 1, b"", b"x", None)])
        time.sleep(0.1)
        deletion = threading.Thread(target=s.json, args=("DELETE", P + "/puppet-b"), kwargs={"expect": 204})
        deletion.start()
        time.sleep(0.1)
    answer, _ = a.hear()
    assert answer["id"] == number and answer["rc"] in ("QUEUED", "GONE"), answer
    deletion.join()
    assert a.way(b.pid)["rc"] == "GONE"


def test_mail_queue_full(s):
    """By bytes: what fits is taken, then FULL; read and trimmed there is room again."""
    a, b = two(s)
    big = os.urandom(MESSAGE)
    fits = QUEUE_BYTES // (MESSAGE + 1)
    for n in range(1, fits + 1):
        a.put(b.pid, n, big)
    small = QUEUE_BYTES - fits * (MESSAGE + 1) - 100
    answer = a.append(b.pid, (1, fits + 1, b"k", bytes(small), None), (1, fits + 2, b"k", bytes(200), None))
    assert (answer["rc"], answer["number"]) == ("QUEUED", fits + 1), answer
    assert a.append(b.pid, (1, fits + 2, b"k", bytes(200), None))["rc"] == "FULL"
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert payloads(b.read_all(0)) == [big] * fits + [bytes(small)]
    assert b.serve(fits + 1) == "OK"
    waiting.done()
    rest(s, b, cut=fits + 1)
    late = time.monotonic() + 60  # it is trimmed a moment later
    while (answer := a.append(b.pid, (1, fits + 2, b"k", big, None)))["rc"] == "FULL":
        assert time.monotonic() < late
    assert (answer["rc"], answer["number"]) == ("QUEUED", fits + 2), answer


def test_mail_formats_refused(s):
    """What no controller says ends its connection, and nothing of it is queued; it may come again."""
    a, b = two(s)
    one = {"epoch": 1, "number": 1, "key_bytes": 1, "bytes": 1}
    many = [{**one, "number": n + 1, "key_bytes": 0, "bytes": 0} for n in range(BATCH + 1)]
    bad = [
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "bytes": 2}]}, b"ab"),  # more than there is
        ({"to": b.pid, "bytes": 3, "messages": [one]}, b"abc"),  # less
        ({"to": b.pid, "messages": [one]}, b""),
        ({"to": b.pid, "bytes": 4, "messages": [one, one]}, b"abcd"),  # the same place
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "epoch": 2}]}, b"ab"),  # not its epoch yet
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "epoch": 0}]}, b"ab"),
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "number": -1}]}, b"ab"),
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "trace": "ab"}]}, b"ab"),
        ({"to": b.pid, "bytes": 2, "messages": [{**one, "trace": 7}]}, b"ab"),
        ({"to": b.pid, "bytes": 2, "messages": [one], "wake": True}, b"ab"),
        ({"to": b.pid, "bytes": 0, "messages": many}, b""),
        ({"to": b.pid, "bytes": 2, "messages": {"0": one}}, b"ab"),
        ({"to": b.pid, "bytes": 2, "messages": [7]}, b"ab"),
        ({"to": "puppet-b"}, b""),
        ({"to": b.pid, "bytes": MESSAGE + 1, "messages": [{**one, "bytes": MESSAGE + 1, "key_bytes": 0}]},
         bytes(MESSAGE + 1)),
        ({"to": b.pid, "bytes": 10**9}, b""),
    ]
    for message, raw in bad:
        a.ask({"t": "append", **message}, raw)
        a.ended()
        a.connect()
        assert a.join() is False, message
    for message in ({"t": "queue-read", "after": -1}, {"t": "queue-read", "after": "x"},
                    {"t": "serve", "seen": 2**53 + 1}):
        a.ask(message)
        a.ended()
        a.connect()
        assert a.join() is False, message
    a.put(b.pid, 1)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert [m[3] for m in b.read_all(0)] == [1]
    assert b.serve(1) == "OK"
    waiting.done()


def test_mail_of_who_has_not_joined(s):
    """Nobody speaks for a process before he has proved who he is."""
    a, b = two(s)
    a.close()
    a.connect()
    a.ask({"t": "append", "to": b.pid})
    a.ended()
    assert b"praas_joins_refused_total 1" in s.ask("GET", "/metrics")[2]


def test_mail_service_killed(s):
    """What was answered is there after the service was killed; so are positions, and who is behind."""
    a, b = two(s)
    for n in range(1, 4):
        a.put(b.pid, n, b"%d" % n)
    s.kill()
    s.start()
    a.close()
    a.connect()
    assert a.join() is False
    a.put(b.pid, 4, b"4")
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    got = b.read_all(0)
    assert [m[0] for m in got] == [1, 2, 3, 4]
    assert payloads(got) == [b"1", b"2", b"3", b"4"]
    s.kill()  # while it catches up
    waiting.join()
    s.start()
    b.close()
    b.connect()
    assert b.join(seen=4) is False
    s.await_state("a", "puppet-b", "ACTIVE")
    t, number = drain(s, b)
    a.close()
    a.connect()
    a.join()
    a.put(b.pid, 5, b"5")
    s.kill()  # the swap-out is called off while nobody is there
    s.start()
    t.join()
    b.close()
    b.connect()
    assert b.join(seen=4) is True  # it serves, and is behind
    assert payloads(b.read_all(4)) == [b"5"]
    assert b.serve(5) == "OK"
    s.await_state("a", "puppet-b", "ACTIVE")


def test_mail_service_killed_in_a_drain(s):
    """A swap-out that an earlier service asked for fails: the process is active, or has to catch up."""
    a, b = two(s)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0) is False
    waiting.done()
    for queued in (0, 1):
        asked, number = drain(s, b)
        s.kill()
        s.start()
        asked.join()
        b.close()
        b.connect()
        assert b.join(seen=0, state="DRAINING") is False
        a.close()
        a.connect()
        assert a.join() is False
        assert s.state("a", "puppet-b") == "DRAINING"
        if queued:
            a.put(b.pid, 1)
        failed(b, number)
        if queued:
            assert b.hear()[0] == {"t": "more"}
            assert len(b.read_all(0)) == 1 and b.serve(1) == "OK"
        s.await_state("a", "puppet-b", "ACTIVE")


def test_mail_records_of_a_while_ago(s):
    """Their positions are behind what the process has seen: what waits gets new ones, and nothing is lost."""
    a, b = two(s)
    a.put(b.pid, 1, b"1")
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=50) is True
    while b.serve(50) == "MORE":
        got = b.read_all(50)
        if got:
            break
    assert got == [(51, a.pid, 1, 1, b"k", b"1", None)]
    assert b.serve(51) == "OK"
    waiting.done()
    rest(s, b, cut=51)
    a.put(b.pid, 2, b"2")
    b, waiting = wake(s, "puppet-b", 3)
    assert b.join(seen=51)
    assert [m[0] for m in b.read_all(51)] == [52]
    b.serve(52)
    waiting.done()


def test_mail_under_way_counts(s):
    """A message that is being stored is one that has come: nobody has seen the end of the queue."""
    a, b = two(s)
    a.put(b.pid, 1)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert len(b.read_all(0)) == 1
    with records_held(s):
        number = a.append_later(b.pid, [(1, 2, b"", b"x", None)])
        time.sleep(0.2)  # to be decided about
        served = b.serve(1)
    answer, _ = a.hear()
    assert answer["id"] == number
    assert (served, answer["rc"]) in (("MORE", "QUEUED"), ("OK", "MOVED")), (served, answer)
    if served == "MORE":
        assert len(b.read_all(1)) == 1
        assert b.serve(2) == "OK"
    waiting.done()
    rest(s, b, cut=2)
    # The same of a join.
    b, waiting = wake(s, "puppet-b", 3)
    s.await_state("a", "puppet-b", "ACTIVATING")
    with records_held(s):
        number = a.append_later(b.pid, [(1, 3, b"", b"x", None)])
        time.sleep(0.2)
        more = b.join(seen=2)
    answer, _ = a.hear()
    assert (more, answer["rc"]) in ((True, "QUEUED"), (False, "MOVED")), (more, answer)
    if more:
        assert b.serve(3) == "OK"
    waiting.done()


def test_mail_too_many_waiting(s):
    """A controller that asks without end is told to wait, at once; what was taken is answered."""
    a, b = two(s)
    with records_held(s):
        ids = [a.append_later(b.pid, [(1, n, b"", b"x", None)]) for n in range(1, 301)]
        # One is worked off, 64 wait.
        answers = [a.hear()[0] for _ in range(300 - 65)]
        assert {x["rc"] for x in answers} == {"BUSY"}
    answers += [a.hear()[0] for _ in range(65)]
    assert sorted(x["id"] for x in answers) == ids
    rcs = [x["rc"] for x in answers]
    assert set(rcs) == {"QUEUED", "BUSY"} and rcs.count("QUEUED") in (64, 65), rcs
    big = os.urandom(MESSAGE)
    with records_held(s):  # of 64 MiB with their keys that is one too many
        for n in range(301, 365):
            a.append_later(b.pid, [(1, n, b"k", big, None)])
        first, _ = a.hear()
        assert (first["id"], first["rc"]) == (a.ids, "BUSY"), first
    rcs = [a.hear()[0]["rc"] for _ in range(63)]
    assert rcs == ["QUEUED"] * 63, rcs


def test_mail_side_by_side(s):
    """Several senders, and a receiver that comes and goes: each sender's messages count once, in order."""
    app(s)
    senders = [serving(s, f"puppet-{i}") for i in range(3)]
    b = serving(s, "puppet-b")
    rest(s, b)
    rng = random.Random(5)
    over = threading.Event()
    sent = [0] * len(senders)
    wrong = []

    def send(i):
        p = senders[i]
        try:
            while not over.is_set():
                n = [sent[i] + k + 1 for k in range(rng.randint(1, 5))]
                answer = p.append(b.pid, *[(1, k, b"k", b"%d" % k, None) for k in n])
                if answer["rc"] == "QUEUED":
                    sent[i] = answer["number"]
                else:
                    time.sleep(0.002)
        except Exception as e:
            wrong.append(e)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(len(senders))]
    for t in threads:
        t.start()
    applied, position = [0] * len(senders), 0
    by_pid = {p.pid: i for i, p in enumerate(senders)}

    def take(messages):
        nonlocal position
        for m in messages:
            assert m[0] == position + 1, m
            position = m[0]
            i = by_pid[m[1]]
            assert m[3] == applied[i] + 1, (m, applied)
            applied[i] = m[3]

    for epoch in range(2, 6):
        b, waiting = wake(s, "puppet-b", epoch)
        more = b.join(seen=position)
        while more:
            take(b.read_all(position))
            more = b.serve(position) != "OK"
        waiting.done()
        time.sleep(0.01)
        if epoch == 5:
            over.set()
        rest(s, b, cut=position)
    for t in threads:
        t.join()
    assert not wrong, wrong
    b, waiting = wake(s, "puppet-b", 6)
    if b.join(seen=position):
        take(b.read_all(position))
        assert b.serve(position) == "OK"
    waiting.done()
    assert applied == sent, (applied, sent)


def ending(test):
    """Nobody answers for the puppets any more when the service stops."""
    @functools.wraps(test)
    def both(s):
        test(s)
        for _, _, pid in s.starts():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
    return both


if __name__ == "__main__":
    wanted = sys.argv[3:]
    run([ending(f) for name, f in list(globals().items())
         if name.startswith("test_") and (not wanted or name in wanted)])
