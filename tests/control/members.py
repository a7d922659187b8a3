# SPDX-License-Identifier: Apache-2.0
"""Who belongs to an application, as its controllers are told (docs/control-link.md). The test is the controllers."""
import functools
import os
import select
import signal
import sqlite3
import sys
import time

from puppet import APP, P, Asked, app, rest, serving, wake
from service import alive, run

PATIENCE = 30


class Members:
    """What a controller makes of what it is told."""

    def __init__(self, puppet, after=0):
        self.p, self.version, self.list, self.lines = puppet, after, {}, 0
        self.ask(after)

    def ask(self, after):
        self.p.say({"t": "members", "after": after})

    def take(self, known=True):
        """One telling, of as many lines as it takes."""
        at, more = 0, True
        while more:
            m, _ = self.p.hear()
            assert m["t"] == "members" and m["at"] == at, m
            assert not known or m["from"] in (0, self.version), (m["from"], self.version)
            if at == 0:
                new = {} if m["from"] == 0 else dict(self.list)
                self.whole = m["from"] == 0
            for one in m["members"]:
                if "state" in one:
                    assert set(one) == {"pid", "name", "state", "epoch", "local"} and one["local"], one
                    new[one["pid"]] = (one["name"], one["state"], one["epoch"])
                else:
                    assert set(one) == {"pid"}, one
                    new.pop(one["pid"], None)
            at, more, self.lines = at + len(m["members"]), m["more"], self.lines + 1
        assert m["version"] >= self.version, (m["version"], self.version)
        self.version, self.list = m["version"], new
        return self

    def until(self, wanted):
        """wanted: {name: state}"""
        end = time.monotonic() + PATIENCE
        while self.states() != wanted:
            assert time.monotonic() < end, (self.states(), wanted)
            self.take()
        return self

    def states(self):
        return {name: state for name, state, _ in self.list.values()}

    def quiet(self, seconds=0.2):
        assert not self.p.have and not select.select([self.p.socket], [], [], seconds)[0], self.p.hear()


def test_members_nobody_asked(s):
    """Who has not asked is told nothing, of whatever."""
    app(s)
    a = serving(s, "puppet-a")
    for i in range(5):
        s.json("POST", P, {"pid": f"p{i}"}, 201)
        s.json("POST", f"{P}/p{i}/swap-out", {}, 200)
    s.json("DELETE", f"{P}/p0", expect=204)
    Members.quiet(type("M", (), {"p": a}))


def test_members_life(s):
    """Creation, swap, wake, kill, deletion, the same name again: each is told, to all who asked alike."""
    app(s)
    app(s, "other")
    a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
    one = Members(a).take()
    assert one.whole and one.states() == {"puppet-a": "ACTIVE", "puppet-b": "ACTIVE"}, one.list
    assert {e for _, _, e in one.list.values()} == {1}
    all_active = one.states()
    s.json("POST", "/v1/apps/other/processes", {"pid": "stranger"}, 201)
    one.quiet()
    c = s.json("POST", P, {"pid": "c"}, 201)
    one.until({**all_active, "c": "ACTIVE"})
    assert one.list[c["number"]] == ("c", "ACTIVE", 1) and not one.whole
    two = Members(b).take()
    assert (two.list, two.version) == (one.list, one.version)
    s.json("POST", f"{P}/c/swap-out", {}, 200)
    one.until({**all_active, "c": "SWAPPED"})
    s.json("POST", f"{P}/c/swap-in", {}, 200)
    one.until({**all_active, "c": "ACTIVE"})
    assert one.list[c["number"]][2] == 2
    s.json("POST", f"{P}/c/kill", {}, 200)
    one.until({**all_active, "c": "KILLED"})
    s.json("DELETE", f"{P}/c", expect=204)
    one.until(all_active)
    again = s.json("POST", P, {"pid": "c"}, 201)
    one.until({**all_active, "c": "ACTIVE"})
    assert again["number"] != c["number"] and again["number"] in one.list and c["number"] not in one.list
    while two.version < one.version:
        two.take()
    assert (two.list, two.version) == (one.list, one.version)
    os.kill(again["os_pid"], signal.SIGKILL)
    one.until({**all_active, "c": "LOST"})
    b.deaf_to = ("members",)
    rest(s, b)
    one.until({"puppet-a": "ACTIVE", "puppet-b": "SWAPPED", "c": "LOST"})
    # its next epoch asks anew
    b, waiting = wake(s, "puppet-b", 2)
    assert not b.join()
    waiting.done()
    one.until({**all_active, "c": "LOST"})
    three = Members(b).take()
    assert (three.list, three.version) == (one.list, one.version) and three.whole, (three.list, one.list)


def test_members_together(s):
    """What happens in quick succession is told together; whoever asks again gets what he has not."""
    app(s)
    a = serving(s, "puppet-a")
    m = Members(a).take()
    began, lines = time.monotonic(), m.lines
    for _ in range(10):
        s.json("POST", P, {"pid": "c"}, 201)
        s.json("DELETE", f"{P}/c", expect=204)
    took = time.monotonic() - began
    last = s.json("POST", P, {"pid": "last"}, 201)["number"]
    m.until({"puppet-a": "ACTIVE", "last": "ACTIVE"})
    assert m.lines - lines <= took / 0.02 + 5, (m.lines - lines, took)
    version = m.version
    s.json("POST", f"{P}/last/swap-out", {}, 200)
    m.until({"puppet-a": "ACTIVE", "last": "SWAPPED"})
    m.quiet()
    m.version = version
    m.ask(version)
    m.take()
    assert not m.whole and m.list[last][1] == "SWAPPED"
    for unknown in (1, version + 10**9):  # another service's
        m.ask(unknown)
        assert m.take().whole
    m.ask(m.version)
    m.quiet()  # there is nothing new


def test_members_link_breaks(s):
    """A controller that connects again goes on where it was."""
    app(s)
    a = serving(s, "puppet-a")
    m = Members(a).take()
    a.close()
    s.json("POST", P, {"pid": "c"}, 201)
    a.connect()
    a.join()
    m.quiet()  # it has not asked on this connection
    m.ask(m.version)
    m.until({"puppet-a": "ACTIVE", "c": "ACTIVE"})
    assert not m.whole or m.lines <= 3


def test_members_service_restarts(s):
    """Another service knows other versions, which are above: all is told once, then changes."""
    app(s)
    a = serving(s, "puppet-a")
    s.json("POST", P, {"pid": "c"}, 201)
    s.json("POST", f"{P}/c/swap-out", {}, 200)
    m = Members(a).take()
    m.until({"puppet-a": "ACTIVE", "c": "SWAPPED"})
    before = m.version
    a.close()
    s.kill()
    s.start()
    a.connect()
    a.join()
    m.ask(m.version)
    m.take()
    assert m.whole and m.version > before and m.states() == {"puppet-a": "ACTIVE", "c": "SWAPPED"}, m.list
    s.json("DELETE", f"{P}/c", expect=204)
    m.until({"puppet-a": "ACTIVE"})


def test_members_bad_words(s):
    app(s)
    a = serving(s, "puppet-a")
    for bad in ({"after": -1}, {"after": "x"}, {"after": 1 << 54}, {"after": 1.5}):
        a.say({"t": "members", **bad})
        a.ended()
        a.connect()
        a.join()
    a.say({"t": "members"})  # from the beginning
    m, _ = a.hear()
    assert m["from"] == 0 and len(m["members"]) == 1


def multiply(s, count):
    """So many processes that rest beside one that does."""
    s.kill()
    db = sqlite3.connect(os.path.join(s.data, "records.db"), isolation_level=None)
    columns = [row[1] for row in db.execute("PRAGMA table_info(processes)") if row[1] not in ("number", "name")]
    text, marks = ",".join(columns), ",".join("?" * len(columns))
    row = db.execute(f"SELECT {text} FROM processes WHERE name = 'puppet-b'").fetchone()
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO processes (name,{text}) VALUES (?,{marks})",
                   [(f"many-{i:05}", *row) for i in range(count)])
    db.execute("COMMIT")
    db.close()
    s.start()


def test_members_many(s):
    """A thousand come in a few lines; who reads slowly holds up nobody, and gets all in the end."""
    app(s)
    a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
    rest(s, b)
    a.close()
    multiply(s, 1000)
    a.connect()
    a.join()
    m = Members(a).take()
    assert len(m.list) == 1002 and m.lines == 3, (len(m.list), m.lines)
    b, waiting = wake(s, "puppet-b", 2)
    assert not b.join()
    waiting.done()
    other = Members(b)  # reads nothing of it
    for turn in range(40):
        other.ask(1)
        name = f"q{turn}"
        s.json("POST", P, {"pid": name}, 201)
        while name not in m.states():
            m.take()
    end = time.monotonic() + PATIENCE
    while other.list != m.list:
        assert time.monotonic() < end
        other.take(known=False)


def test_members_too_many(s):
    """More than a list may have: said so, until there are fewer."""
    app(s)
    a, b = serving(s, "puppet-a"), serving(s, "puppet-b")
    rest(s, b)
    a.close()
    multiply(s, 8191)
    a.connect()
    a.join()
    a.say({"t": "members", "after": 0})
    m, _ = a.hear()
    assert m == {"t": "members", "from": 0, "version": m["version"], "too_many": True, "members": []}, m
    s.json("DELETE", f"{P}/many-00000", expect=204)
    whole = Members.__new__(Members)
    whole.p, whole.version, whole.lines = a, 0, 0
    whole.take()
    assert len(whole.list) == 8192 and whole.whole


def test_members_of_a_deleted_application(s):
    """The last of an application that goes takes the list along; another of that name has another."""
    app(s)
    a = serving(s, "puppet-a")
    m = Members(a).take()
    gone = Asked(s, f"{P}/puppet-a/kill")
    request, _ = a.hear()
    while request["t"] != "kill":
        request, _ = a.hear()
    a.say({"t": "done", "id": request["id"], "ok": True})
    for _, _, pid in s.starts("puppet-a"):
        os.kill(pid, signal.SIGKILL)
    gone.done()
    a.close()
    s.json("DELETE", f"{P}/puppet-a", expect=204)
    s.json("DELETE", APP, expect=204)
    app(s)
    again = Members(serving(s, "puppet-a")).take()
    assert list(again.states()) == ["puppet-a"] and set(again.list) != set(m.list)


def ending(test):
    """Nobody answers for the puppets any more when the service stops."""
    @functools.wraps(test)
    def both(s):
        test(s)
        for _, _, pid in s.starts("puppet-a") + s.starts("puppet-b"):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
    return both


if __name__ == "__main__":
    wanted = sys.argv[3:]
    run([ending(f) for name, f in list(globals().items())
         if name.startswith("test_") and (not wanted or name in wanted)])
