# SPDX-License-Identifier: Apache-2.0
"""Controllers that misbehave or die, and a control service that is killed and comes back."""
import http.client
import json
import os
import signal
import subprocess
import threading
import time

from service import alive, await_gone, run

APP = "/v1/apps/a"
P = APP + "/processes"


def make(s, pid, status=201):
    if not s.json("GET", "/v1/apps")["apps"]:
        s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    return s.json("POST", P, {"pid": pid}, status)


def refused_to_start(s, pid, words):
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code})
    error = s.refused("POST", P, '{"pid":"%s"}' % pid, 502, "start_failed")
    assert words in error["message"], error
    s.refused("GET", f"{P}/{pid}", None, 404, "not_found")  # it leaves nothing
    make(s, "good")


def test_refuses_its_configuration(s):
    refused_to_start(s, "refuse", "refused its configuration")


def test_says_why_it_cannot_start(s):
    refused_to_start(s, "fail", "LIBRARY: libnothing.so: not found")


def test_dies_while_joining(s):
    refused_to_start(s, "die", "signal 6")


def test_joins_with_a_wrong_token(s):
    refused_to_start(s, "token", "left with code 1")
    assert b"praas_joins_refused_total 1" in s.ask("GET", "/metrics")[2]


def test_is_behind_the_slot_log(s):
    """Fenced by epochs that the records do not know: tried again with higher ones, not for ever."""
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    error = s.refused("POST", P, '{"pid":"fenced"}', 502, "start_failed")
    assert "fenced" in error["message"]
    assert [e for _, e, _ in s.starts("fenced")] == [1, 2, 3, 4]
    assert s.json("POST", P + "/fenced/swap-in", expect=200)["epoch"] == 5


def test_killed_while_starting(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", P, {"pid": "hang", "wait": False}, 202)
    while not s.starts("hang"):
        time.sleep(0.01)
    assert s.state("a", "hang") == "ACTIVATING"
    s.json("DELETE", P + "/hang", expect=204)
    s.refused("GET", P + "/hang", None, 404, "not_found")


def test_controller_killed(s):
    """LOST, and the next call brings it back in a new epoch."""
    os_pid = make(s, "x")["os_pid"]
    os.kill(os_pid, signal.SIGKILL)
    s.await_state("a", "x", "LOST")
    assert s.json("GET", P + "/x")["lost_epoch"] == 1
    assert s.json("GET", P + "/x")["last_exit"] == "ended by signal 9"
    status, _, data = s.ask("POST", APP + "/invoke/epoch", b"", {"Praas-Pid": "x"})
    assert (status, data) == (200, b"2"), (status, data)
    assert s.state("a", "x") == "ACTIVE"


def test_controller_killed_after_its_release(s):
    """What the slot log says counts, not what a controller had time to tell."""
    make(s, "silent")
    s.json("POST", P + "/silent/swap-out", expect=200)
    view = s.json("GET", P + "/silent")
    assert (view["state"], view.get("lost_epoch", 0)) == ("SWAPPED", 0), view


def test_controller_terminated(s):
    """SIGTERM from somebody else is a swap-out."""
    os.kill(make(s, "x")["os_pid"], signal.SIGTERM)
    s.await_state("a", "x", "SWAPPED")
    assert s.json("GET", P + "/x")["last_exit"] == "swapped out"


def test_moves(s):
    """A process goes on in a second controller, which is believed by its predecessor's token; the first one, or the
    second, may not want to."""
    first = make(s, "x")
    p = s.json("POST", P + "/x/migrate", {}, 200)
    assert (p["state"], p["epoch"], p.get("lost_epoch", 0)) == ("ACTIVE", 2, 0), p
    assert p["os_pid"] != first["os_pid"]
    assert [epoch for _, epoch, _ in s.starts("x")] == [1, 2]
    s.json("POST", P + "/x/checkpoint", expect=200)
    s.json("POST", P + "/x/migrate", {}, 200)
    s.json("POST", P + "/x/swap-out", expect=200)
    for name, words in (("stays", "the store is full"), ("gone", "the store is full")):
        first = make(s, name)
        assert words in s.refused("POST", f"{P}/{name}/migrate", "{}", 500, "move_failed")["message"]
        now = s.json("GET", f"{P}/{name}")
        assert (now["state"], now["epoch"], now["os_pid"]) == ("ACTIVE", 1, first["os_pid"]), now
        # The number of the one that did not come is not given again.
        s.json("POST", f"{P}/{name}/swap-out", expect=200)
        s.json("POST", f"{P}/{name}/tickets", expect=200)
        assert s.json("GET", f"{P}/{name}")["epoch"] == 3


def test_killed_while_it_moves(s):
    """Source and destination end at once: what is left is the last snapshot, in a later epoch than both."""
    first = make(s, "stuck")
    moving = threading.Thread(target=lambda: s.ask("POST", P + "/stuck/migrate", "{}"))
    os.kill(first["os_pid"], signal.SIGSTOP)
    moving.start()
    s.await_state("a", "stuck", "MIGRATING")
    while len(s.starts("stuck")) < 2:
        time.sleep(0.01)
    assert s.state("a", "stuck") == "MIGRATING"
    for _, _, pid in s.starts("stuck"):
        os.kill(pid, signal.SIGKILL)
    moving.join()
    s.await_state("a", "stuck", "LOST")
    s.json("POST", P + "/stuck/tickets", expect=200)
    assert s.json("GET", P + "/stuck")["epoch"] == 3
    s.json("POST", P + "/stuck/kill", expect=200)


def test_store_full(s):
    make(s, "full")
    for action, code in (("swap-out", "swap_failed"), ("checkpoint", "checkpoint_failed")):
        error = s.refused("POST", f"{P}/full/{action}", None, 500, code)
        assert "the store is full" in error["message"]
        assert s.state("a", "full") == "ACTIVE"
    s.json("POST", P + "/full/kill", expect=200)


def test_released_while_its_controller_ends(s):
    """A swap-out is done when it is committed: the process is swapped and can be had again, in a new
    epoch, while the controller of the old one still ends. Deletion waits for that end."""
    first = make(s, "linger")["os_pid"]
    began = time.monotonic()
    assert s.json("POST", P + "/linger/swap-out", expect=200)["state"] == "SWAPPED"
    p = s.json("POST", P + "/linger/swap-in", expect=200)
    assert time.monotonic() - began < 0.8
    assert p["epoch"] == 2 and p["os_pid"] != first
    assert alive(first)
    # One that ends at a time: this swap-out is answered when the second has ended.
    s.json("POST", P + "/linger/swap-out", expect=200)
    assert s.json("POST", P + "/linger/swap-in", expect=200)["epoch"] == 3
    await_gone(first)
    await_gone(p["os_pid"])
    third = s.json("GET", P + "/linger")["os_pid"]
    s.json("POST", P + "/linger/swap-out", expect=200)
    s.json("DELETE", P + "/linger", expect=204)
    assert not alive(third)
    s.refused("GET", P + "/linger", None, 404, "not_found")
    make(s, "linger")
    s.json("POST", P + "/linger/swap-out", expect=200)  # and the service stops meanwhile


def idle_service(s):
    s.stop()
    s.options += ("--idle-seconds", "1", "--idle-swap-seconds", "1")
    s.start()


def test_idle_is_swapped_out(s):
    """Who has no work for the time given is swapped out; who is asked for something is not."""
    idle_service(s)
    began = time.monotonic()  # before x has done its last: making y may take long
    make(s, "x")
    make(s, "y")
    while s.state("a", "x") in ("ACTIVE", "IDLE", "DRAINING"):
        assert time.monotonic() < began + 20
        s.json("POST", P + "/y/tickets", expect=200)
        time.sleep(0.05)
    assert time.monotonic() > began + 0.9
    assert s.state("a", "x") == "SWAPPED"
    assert s.json("GET", P + "/y")["epoch"] == 1
    assert s.json("POST", P + "/x/tickets", expect=200)["epoch"] == 2


def test_drain_is_called_off_by_demand(s):
    """A process that is wanted while it drains for want of work goes on, in the same epoch; one that
    somebody wants swapped out does not."""
    idle_service(s)
    os_pid = make(s, "slow")["os_pid"]
    s.await_state("a", "slow", "DRAINING")
    t = s.json("POST", P + "/slow/tickets", expect=200)
    assert t["epoch"] == 1
    p = s.json("GET", P + "/slow")
    assert p["os_pid"] == os_pid and p["state"] in ("ACTIVE", "IDLE"), p
    s.await_state("a", "slow", "DRAINING")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        s.ask("POST", P + "/slow/tickets")[0])) for _ in range(20)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert answers == [200] * 20
    assert s.json("GET", P + "/slow")["epoch"] == 1
    assert len(s.starts("slow")) == 1


def test_call_during_swap_out(s):
    """An invocation that comes while the process goes down wakes it again."""
    make(s, "x")
    answers = []

    def ask(*request):
        answers.append(s.ask(*request))

    for _ in range(5):
        t = threading.Thread(target=ask, args=("POST", P + "/x/swap-out"))
        t.start()
        ask("POST", APP + "/invoke/echo", b"e", {"Praas-Pid": "x"})
        t.join()
    assert {a[0] for a in answers} == {200}, answers


def test_control_killed_controller_lives(s):
    """A controller that survived is adopted: same epoch, same OS process."""
    os_pid = make(s, "x")["os_pid"]
    s.kill()
    assert alive(os_pid)
    s.start()
    t = s.json("POST", P + "/x/tickets", expect=200)  # waits for it to come back
    assert (t["epoch"], t["lost_epoch"]) == (1, 0)  # nothing is lost
    assert s.json("GET", P + "/x")["os_pid"] == os_pid
    assert len(s.starts()) == 1
    s.json("POST", P + "/x/swap-out", expect=200)
    await_gone(os_pid)
    assert s.json("POST", P + "/x/swap-in", expect=200)["lost_epoch"] == 0


def test_control_killed_controller_dies(s):
    os_pid = make(s, "x")["os_pid"]
    make(s, "y")
    s.json("POST", P + "/y/swap-out", expect=200)
    time.sleep(0.3)  # the double has no slot log that would tell: until the record is stored
    s.kill()
    os.kill(os_pid, signal.SIGKILL)
    s.start()
    s.await_state("a", "x", "LOST")
    assert s.state("a", "y") == "SWAPPED"
    p = s.json("POST", P + "/x/swap-in", expect=200)
    assert (p["epoch"], p["lost_epoch"]) == (2, 1)


def test_stops_with_a_stuck_controller(s):
    """SIGTERM ends in the time given, whatever controllers do."""
    os_pid = make(s, "stuck")["os_pid"]
    make(s, "x")
    assert s.stop() == 0
    assert not alive(os_pid)
    s.start()
    assert s.state("a", "stuck") == "LOST"
    assert s.state("a", "x") == "SWAPPED"


def test_refuses_while_stopping(s):
    """Requests that come while processes are swapped out are told so; clients that connect meanwhile
    do no harm (the listener once left its epoll set twice, and libmicrohttpd aborted)."""
    make(s, "stuck")
    over, answers = threading.Event(), []

    def connects():
        while not over.is_set():
            try:
                s.connect().connect()
            except OSError:
                pass

    def asks():
        while not over.is_set():
            try:
                status, headers, data = s.ask("GET", "/v1/apps")
            except (OSError, http.client.HTTPException):
                continue  # after the last answer
            if status != 200:
                answers.append((status, json.loads(data)["error"]["code"], headers["Retry-After"]))

    threads = [threading.Thread(target=f) for f in (connects, connects, asks)]
    for t in threads:
        t.start()
    code = s.stop()
    over.set()
    for t in threads:
        t.join()
    assert code == 0, code
    assert answers and set(answers) == {(503, "shutting_down", "1")}, answers[:3]


def test_link_refuses_strangers(s):
    import socket
    make(s, "x")
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(10)
    c.connect(os.path.join(s.data, "run", "link.sock"))
    c.sendall(b'{"t":"join","token":"%s","pid":1,"epoch":1,"controller":"%s",'
              b'"endpoints":["tcp://1"]}\n' % (b"0" * 64, b"0" * 32))
    assert b'"refused"' in c.recv(4096)
    assert c.recv(4096) == b""
    for junk in (b"x" * 70000, b"\n", b"[]\n", b'{"t":"metrics"}\n'):
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(10)
        c.connect(os.path.join(s.data, "run", "link.sock"))
        try:
            c.sendall(junk)
            while c.recv(4096):
                pass
        except ConnectionError:
            pass
    assert s.state("a", "x") == "ACTIVE"


def test_one_service_per_folder(s):
    p = subprocess.run([s.program, "--data", s.data, "--controller", s.controller],
                       capture_output=True, timeout=20)
    assert p.returncode == 1 and b"another control service" in p.stderr, p.stderr


def test_wrong_options(s):
    for options, code in ((["--data", s.data, "--listen", "0.0.0.0:0"], 1), ([], 2),
                          (["--data", s.data, "--listen", "nonsense"], 1),
                          (["--data", s.data, "--prewarm", "x"], 2),
                          (["--data", s.data, "--records", "mysql://x"], 1),
                          (["--data", s.dir + "/" + "x" * 90], 1),
                          (["--data", s.data, "--ready-fd", "777"], 1),
                          (["--data"], 2), (["--data", ""], 2), (["--data", s.data, "more"], 2),
                          (["--nonsense"], 2)):
        if s.process:
            s.stop()
        p = subprocess.run([s.program, "--controller", s.controller, *options],
                           capture_output=True, timeout=20)
        assert p.returncode == code and p.stderr.count(b"\n") == 1, (options, p)
    s.start()


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")],
        "--stop-seconds", "3", "--prewarm", "2")
