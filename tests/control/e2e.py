# SPDX-License-Identifier: Apache-2.0
"""The real control service, controller, worker and an example: state that lives through swaps and
crashes, over REST."""
import os
import signal
import sys
import threading

from service import alive, run

APP = "/v1/apps/a"
P = APP + "/processes"
EXAMPLES = os.path.abspath(sys.argv[3])


def make_app(s, isolation):
    s.json("POST", "/v1/apps", {"name": "a", "code": os.path.join(EXAMPLES, "counter"),
                                "isolation": isolation, "allow_weak_sandbox": True,
                                "resources": {"concurrency": 2}}, 201)


def call(s, fn, data=b"", pid="x"):
    status, headers, answer = s.ask("POST", APP + "/invoke/" + fn, data,
                                    {"Praas-Pid": pid} if pid else {})
    assert status == 200, (fn, status, headers["Praas-Status"], answer)
    return answer


def life(s, isolation):
    make_app(s, isolation)
    p = s.json("POST", P, {"pid": "x"}, 201)
    assert {e.split(":")[0] for e in p["endpoints"]} == {"shm", "tcp"}, p["endpoints"]
    assert int(call(s, "add", b"5")) == 5
    assert int(call(s, "add", b"7")) == 12
    keys = s.json("GET", P + "/x/state", expect=200)["state"]
    assert len(keys) >= 1, keys
    assert s.ask("PUT", P + "/x/state/mine", b"m")[0] == 204
    assert s.ask("POST", P + "/x/messages/box", b"waits")[0] == 204
    assert s.json("POST", P + "/x/swap-out", expect=200)["state"] == "SWAPPED"
    assert not alive(p["os_pid"])
    assert int(call(s, "add", b"1")) == 13  # the call woke it
    assert s.ask("GET", P + "/x/state/mine")[2] == b"m"
    assert s.ask("GET", P + "/x/messages/box")[2] == b"waits"
    s.json("POST", P + "/x/checkpoint", expect=200)
    assert int(call(s, "add", b"100")) == 113
    os.kill(s.json("GET", P + "/x")["os_pid"], signal.SIGKILL)
    s.await_state("a", "x", "LOST")
    assert int(call(s, "add", b"1")) == 14  # what the checkpoint had
    s.json("DELETE", P + "/x", expect=204)
    for folder, _, files in os.walk(os.path.join(s.data, "store")):
        assert not files, (folder, files)
    assert s.json("POST", P, {"pid": "x"}, 201)["number"] == 2
    assert int(call(s, "add", b"2")) == 2  # nothing of the other came back


def test_life_inline(s):
    life(s, "inline")


def test_life_worker(s):
    life(s, "worker")


def test_restart_of_everything(s):
    """All is swapped out on SIGTERM, and there after the next start."""
    make_app(s, "inline")
    for pid in ("x", "y"):
        s.json("POST", P, {"pid": pid}, 201)
        call(s, "add", b"3", pid)
    assert s.stop() == 0
    s.start()
    assert s.state("a", "x") == "SWAPPED" and s.state("a", "y") == "SWAPPED"
    assert int(call(s, "add", b"1", "x")) == 4
    os_pid = s.json("GET", P + "/x")["os_pid"]
    s.kill()
    s.start()
    assert int(call(s, "add", b"1", "x")) == 5  # the same controller, adopted
    assert s.json("GET", P + "/x")["os_pid"] == os_pid


def test_herd_on_a_swapped_process(s):
    make_app(s, "inline")
    s.json("POST", P, {"pid": "x"}, 201)
    s.json("POST", P + "/x/swap-out", expect=200)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(int(call(s, "add", b"1"))))
               for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(answers) == list(range(1, 31)), sorted(answers)
    assert s.json("GET", P + "/x")["epoch"] == 2


def test_without_a_pid(s):
    make_app(s, "inline")
    status, headers, data = s.ask("POST", APP + "/invoke/add", b"4")
    assert (status, data.strip()) == (200, b"4"), (status, data)
    assert headers["Praas-Pid"]


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
