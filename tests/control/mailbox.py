# SPDX-License-Identifier: Apache-2.0
"""A process whose mailbox is full while messages wait in its queue (docs/protocols.md). The test is the controllers."""
import os
import signal

from puppet import rest, two, wake
from service import alive, run


def test_mailbox_full(s):
    """Who cannot take more of his queue is served all the same, and messages are queued until he has taken it."""
    a, b = two(s)
    for n in range(1, 6):
        a.put(b.pid, n)
    b, waiting = wake(s, "puppet-b", 2)
    assert b.join(seen=0)
    assert b.serve(0) == "MORE"
    assert b.serve(2, full=True) == "OK"
    waiting.done()
    assert s.state("a", "puppet-b") == "ACTIVE"
    a.put(b.pid, 6)  # behind those that wait
    assert a.way(b.pid)["rc"] == "QUEUED"
    assert a.way(b.pid, wake=True)["rc"] == "MOVED"  # a call
    for _ in range(8):
        assert b.serve(3) == "MORE"
    assert a.append(b.pid, (1, 7, b"k", b"x", None))["rc"] == "BUSY"
    assert b.serve(3, full=True) == "OK"  # it is full again: who sends does not wait for that
    a.put(b.pid, 7)
    assert [m[3] for m in b.read_all(3)] == [4, 5, 6, 7]
    assert b.serve(7) == "OK"
    assert b.serve(7, full=True) == "OK"  # said too late
    assert a.way(b.pid)["rc"] == "MOVED"
    # The link breaks, and it swaps out, while it is behind.
    rest(s, b, cut=7)
    a.put(b.pid, 8)
    a.put(b.pid, 9)
    b, waiting = wake(s, "puppet-b", 3)
    assert b.join(seen=7)
    assert b.serve(7, full=True) == "OK"
    waiting.done()
    b.close()
    b.connect()
    assert b.join(seen=8)
    assert a.way(b.pid)["rc"] == "QUEUED"
    assert b.serve(8, full=True) == "OK"
    assert s.state("a", "puppet-b") == "ACTIVE"
    rest(s, b, cut=8)
    b, waiting = wake(s, "puppet-b", 4)
    assert b.join(seen=8)
    assert [m[3] for m in b.read_all(8)] == [9]
    assert b.serve(9) == "OK"
    waiting.done()


def ending(s):
    """Nobody answers for the puppets any more when the service stops."""
    test_mailbox_full(s)
    for _, _, pid in s.starts():
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    run([ending])
