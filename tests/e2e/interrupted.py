# SPDX-License-Identifier: Apache-2.0
"""A benchmark that is interrupted leaves nothing: no service, no controller, no Redis, no file.

usage: interrupted.py BUILD
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from service import alive  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])


def below(pid):
    """All processes that pid has started, and theirs."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                found += [int(child) for child in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
    return found + [pid for child in found for pid in below(child)]


def interrupt(number, ready, work):
    p = subprocess.Popen([f"{BUILD}/bin/praas-perf", "--bin", f"{BUILD}/bin", "--functions",
                          f"{BUILD}/perf/functions", "--quick", "--only", "state"], env=dict(os.environ, TMPDIR=work),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    end = time.monotonic() + 60
    while not ready(work) and time.monotonic() < end:
        assert p.poll() is None, p.returncode
        time.sleep(0.001)
    started = below(p.pid)
    p.send_signal(number)
    assert p.wait(timeout=60) == 128 + number
    while any(alive(pid) for pid in started) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [pid for pid in started if alive(pid)], started
    assert os.listdir(work) == [], os.listdir(work)
    return len(started)


def has_folder(work):
    return any(name.startswith("praas-perf-") for name in os.listdir(work))


def has_redis(work):
    return any("redis" in name for name in os.listdir(work))


with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    most = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        interrupt(number, has_folder, folder)
        most = max(most, interrupt(number, has_redis, folder))
    assert most >= 3, most  # a service, controllers, Redis
