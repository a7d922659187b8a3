#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test such that nothing of it is left, however it ends: passed, failed, by a signal, by a time-out.

usage: guard.py COMMAND …
It is the reaper of all that COMMAND starts, daemons and orphans too. When COMMAND ends, or SIGTERM, SIGINT or
SIGHUP comes, what still runs is killed. The exit code is that of COMMAND (128 + the signal that ended it);
1 when COMMAND is content but something of it went on running. Whoever kills the whole tree of a test, as ctest
does after its time-out, reaches all by it; should this program alone be killed, COMMAND is sent SIGTERM.

A test in Python says guard.ensure() first: it runs again, under this.
"""
import atexit
import ctypes
import os
import signal
import sys
import time

SUBREAPER, DEATHSIG = 36, 1  # prctl(2)
NATURAL_S = 5  # until a controller that was told to end has ended
TERM_S = 10  # for COMMAND to clean up by itself after a signal
NAME = "PRAAS_TEST_GUARD"  # in the environment: the guard's pid


def prctl(option, value):
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants():
    """All that run and have us among their ancestors."""
    parents, zombies = {}, set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(name)] = int(fields[1])
        if fields[0] == "Z":
            zombies.add(int(name))
    found, before = {os.getpid()}, 0
    while len(found) != before:
        before = len(found)
        found |= {p for p, parent in parents.items() if parent in found}
    return found - zombies - {os.getpid()}


def name_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f"{pid} ({f.read().replace(bytes(1), b' ').decode(errors='replace').strip()[:100]})"
    except OSError:
        return str(pid)


def reap(child, codes):
    """Takes the ends of all who have ended; the child's goes to codes."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            codes.append(os.waitstatus_to_exitcode(status))


def kill_all():
    """Until there is none: what is killed may have started another one just before."""
    end = time.monotonic() + NATURAL_S
    while (left := descendants()) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap(0, [])
        time.sleep(0.01)


def become(command, guard):
    """In the child."""
    prctl(DEATHSIG, signal.SIGTERM)
    if os.getppid() != guard:
        os._exit(143)
    os.environ[NAME] = str(guard)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execvp(command[0], command)
    except OSError as e:
        print(f"{command[0]}: {e}", file=sys.stderr)
        os._exit(127)


def run(command):
    signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    prctl(SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        become(command, os.getppid())
    codes, until, told = [], None, None
    while not codes and (until is None or time.monotonic() < until):
        got = signal.sigtimedwait(signals, 0.5)
        reap(child, codes)
        if got and got.si_signo != signal.SIGCHLD and not codes:
            told = got.si_signo
            until = until or time.monotonic() + TERM_S
            os.kill(child, told)
    end = time.monotonic() + (NATURAL_S if codes and not told else 0)
    while (left := descendants()) and time.monotonic() < end:
        signal.sigtimedwait(signals, 0.02)
        reap(child, codes)
    names = [name_of(pid) for pid in left]
    kill_all()
    if told:
        return 128 + told
    if names and codes[0] == 0:
        print("left running, killed now:", "; ".join(sorted(names)), file=sys.stderr)
        return 1
    return codes[0] if codes[0] >= 0 else 128 - codes[0]


def on_signal(number, _frame):
    sys.exit(128 + number)


def ensure():
    """To be called before anything is started."""
    if os.environ.get(NAME) != str(os.getppid()):
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), sys.executable, *sys.argv])
    # Should the guard be killed we are told, and it is for us to clean up.
    prctl(SUBREAPER, 1)
    prctl(DEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGHUP, on_signal)
    atexit.register(kill_all)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
