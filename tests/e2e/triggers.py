# SPDX-License-Identifier: Apache-2.0
"""Triggers and pipelines of the examples, on real texts, with the real programs: what waits for others sleeps and wakes
with its process, and each text counts once.

usage: triggers.py praas-control praas-controller EXAMPLES praas
"""
import collections
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from service import await_gone, run  # noqa: E402

EXAMPLES = os.path.abspath(sys.argv[3])
CLI = os.path.abspath(sys.argv[4])
LICENSES = "/usr/share/common-licenses/"
TEXTS = [LICENSES + name for name in ("GPL-1", "GPL-2", "GPL-3", "LGPL-2.1")]
PATIENCE = 60


def make_app(s, name, isolation, **more):
    s.json("POST", "/v1/apps", {"name": name, "code": os.path.join(EXAMPLES, name), "isolation": isolation,
                                "allow_weak_sandbox": True, **more}, 201)
    return s.json("POST", f"/v1/apps/{name}/processes", {"pid": "x"}, 201)


def cli(s, *arguments, ok=True):
    p = subprocess.run([CLI, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                       env={"PRAAS_URL": s.url, "PRAAS_TOKEN": s.token, "HOME": s.dir, "PATH": os.environ["PATH"]})
    assert not ok or p.returncode == 0, (arguments, p.stdout, p.stderr)
    return p.stdout


def process(s, app):
    return s.json("GET", f"/v1/apps/{app}/processes/x", expect=200)


def await_queued(s, app, wanted):
    """So many inputs wait. A checkpoint brings the figures."""
    end = time.monotonic() + PATIENCE
    while True:
        s.json("POST", f"/v1/apps/{app}/processes/x/checkpoint", {}, 200)
        got = process(s, app).get("metrics", {}).get("queued")
        if got == wanted:
            return
        assert time.monotonic() < end, (got, wanted)
        time.sleep(0.01)


def rest(s, app):
    pid = process(s, app)["os_pid"]
    s.json("POST", f"/v1/apps/{app}/processes/x/swap-out", {}, 200)
    await_gone(pid)


def figures(paths):
    texts = [open(path, "rb").read() for path in paths]
    longest = max((w for t in texts for w in re.findall(rb"[A-Za-z]+", t)), key=len)
    return (sum(t.count(b"\n") for t in texts), sum(len(t.split()) for t in texts), sum(map(len, texts)), len(longest))


def read_figures(line):
    match = re.fullmatch(r"(\d+) lines, (\d+) words, (\d+) bytes; longest word: ([A-Za-z]+)\n", line)
    assert match, line
    return (*map(int, match.groups()[:3]), len(match.group(4)))


def tree_over_swaps(s, isolation):
    """Four texts through the tree, and the process sleeps after each of the first three."""
    make_app(s, "reduce-tree", isolation)
    rounds = 3
    for n in range(rounds):
        for i, path in enumerate(TEXTS[:-1]):
            cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", f"k{n}", "-d", "@" + path, "--one-way",
                "--transport", "shm" if i % 2 else "tcp")
            # One waits in pair; one pair in root; a pair in root and one in pair.
            await_queued(s, "reduce-tree", (1, 1, 2)[i])
            if n != 1:
                rest(s, "reduce-tree")
        assert read_figures(cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", f"k{n}", "-d",
                                "@" + TEXTS[-1])) == figures(TEXTS)
        await_queued(s, "reduce-tree", 0)
        rest(s, "reduce-tree")
    lines, words, size, longest = figures(TEXTS)
    assert read_figures(cli(s, "invoke", "reduce-tree", "total", "-p", "x")) == (
        rounds * lines, rounds * words, rounds * size, longest)


def test_tree_over_swaps_inline(s):
    tree_over_swaps(s, "inline")


def test_tree_over_swaps_worker(s):
    tree_over_swaps(s, "worker")


def test_killed_with_inputs_that_wait(s):
    """After a crash what waited at the last checkpoint waits."""
    make_app(s, "reduce-tree", "inline")
    for i, path in enumerate(TEXTS[:2]):
        cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + path, "--one-way")
        await_queued(s, "reduce-tree", 1)
    os_pid = process(s, "reduce-tree")["os_pid"]
    os.kill(os_pid, 9)
    await_gone(os_pid)
    for path in TEXTS[2:3]:
        cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + path, "--one-way")
    await_queued(s, "reduce-tree", 2)
    assert read_figures(cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d",
                            "@" + TEXTS[3])) == figures(TEXTS)


def test_rolled_back(s):
    """With a snapshot of then, what waited then waits, and what came since is of another time."""
    make_app(s, "reduce-tree", "inline")
    app = "/v1/apps/reduce-tree/processes/x"
    cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + TEXTS[0], "--one-way")
    await_queued(s, "reduce-tree", 1)
    cli(s, "state", "snapshot", "reduce-tree", "x", "then")
    for path in TEXTS[1:3]:
        cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + path, "--one-way")
    await_queued(s, "reduce-tree", 2)
    cli(s, "state", "rollback", "reduce-tree", "x", "then")
    cli(s, "invoke", "reduce-tree", "total", "-p", "x")
    await_queued(s, "reduce-tree", 1)
    assert s.json("GET", app, expect=200)["pid"] == "x"
    for path in TEXTS[1:3]:
        cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + path, "--one-way")
    await_queued(s, "reduce-tree", 2)
    assert read_figures(cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d",
                            "@" + TEXTS[3])) == figures(TEXTS)


def top_words(paths):
    words = collections.Counter()
    for path in paths:
        words.update(w.decode().lower() for w in re.findall(rb"[A-Za-z]+", open(path, "rb").read()))
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:10]


def map_reduce(s, isolation):
    """All who asked get the result; some through REST, some directly, at the same time."""
    make_app(s, "map-reduce", isolation)
    answers = [None] * len(TEXTS)

    def ask(i):
        if i % 2:
            answers[i] = cli(s, "invoke", "map-reduce", "map", "-p", "x", "-k", "k", "-d", "@" + TEXTS[i])
        else:
            with open(TEXTS[i], "rb") as f:
                status, _, answer = s.ask("POST", "/v1/apps/map-reduce/invoke/map", f.read(),
                                          {"Praas-Pid": "x", "Praas-Key": "k"})
            assert status == 200, (status, answer)
            answers[i] = answer.decode()

    for _ in range(5):
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(TEXTS))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wanted = "".join(f"{count} {word}\n" for word, count in top_words(TEXTS))
        assert answers == [wanted] * len(TEXTS), (wanted, answers)
        answers[:] = [None] * len(TEXTS)


def test_map_reduce_inline(s):
    map_reduce(s, "inline")


def test_map_reduce_worker(s):
    map_reduce(s, "worker")


def test_map_reduce_spread(s):
    """Each text is read in a process of its own, and all lists meet in another one."""
    make_app(s, "map-reduce", "worker")
    for name in ("all", *(f"p{i}" for i in range(len(TEXTS)))):
        s.json("POST", "/v1/apps/map-reduce/processes", {"pid": name}, 201)
    answers = [None] * len(TEXTS)

    def ask(i):
        answers[i] = cli(s, "invoke", "map-reduce", "spread", "-p", f"p{i}", "-k", "k", "-d", "@" + TEXTS[i])

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(TEXTS))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wanted = "".join(f"{count} {word}\n" for word, count in top_words(TEXTS))
        assert answers == [wanted] * len(TEXTS), (wanted, answers)
        answers[:] = [None] * len(TEXTS)


def test_idle_process_sleeps_with_inputs(s):
    """Nobody waits for the result: the process is swapped out for want of work, and knows them afterwards."""
    assert s.stop() == 0
    s.options = ("--idle-swap-seconds", "1")
    s.start()
    make_app(s, "reduce-tree", "inline")
    cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + TEXTS[0], "--one-way")
    await_queued(s, "reduce-tree", 1)
    s.await_state("reduce-tree", "x", "SWAPPED", PATIENCE)
    for path in TEXTS[1:3]:
        cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d", "@" + path, "--one-way")
    assert read_figures(cli(s, "invoke", "reduce-tree", "leaf", "-p", "x", "-k", "k", "-d",
                            "@" + TEXTS[3])) == figures(TEXTS)


if __name__ == "__main__":
    run([f for name, f in sorted(globals().items()) if name.startswith("test_")])
