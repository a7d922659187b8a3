# SPDX-License-Identifier: Apache-2.0
"""Every verb of the command line with input that makes no sense, interrupted while it waits, and with a service that
is killed under it: it ends, in time, with a code and a sentence, never by itself with a signal, and leaves nothing.

usage: hostile.py BUILD [--one-in N] [TEST…]     (of verbs and bad words every pair, or one in N: each verb, option and word still comes)
"""
import concurrent.futures
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import guard  # noqa: E402

guard.ensure()
BUILD = pathlib.Path(sys.argv[1]).resolve()
EXAMPLES = BUILD / "examples"
HOME = None  # of each test
ENV = {"PATH": f"{BUILD}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
       **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}
ONE_IN = int(sys.argv[3]) if sys.argv[2:3] == ["--one-in"] else 1
ONLY = sys.argv[4:] if sys.argv[2:3] == ["--one-in"] else sys.argv[2:]
IN_TIME = 30
CODES = (1, 2, 4, 5, 6)

LONG = "n" * 5000
NAMES = ["", " ", "a b", "../..", ".", "..", "a/b", "%2e%2e", "ü", "\U0001f600", "\udcff\udcfe", "a\nb", "\x1b[31m", "n" * 65, LONG, "-1", "a?b", "a#b", "a%00b"]
NUMBERS = ["", "-1", "0", "1e9", "0x10", "99999999999999999999999", "18446744073709551616", "1.5", "nan", "ten", " 1", "1 ", "١", LONG]
SIZES = ["", "-1", "0", "1X", "K", "99999999999999999999G", "18446744073709551615G", "1.5G", "4 K", "nan", LONG]
TIMES = ["", "-1s", "1", "1x", "s", "99999999999999999999d", "18446744073709551615d", "1.5s", "0s", "nan", LONG]
FILES = ["@/nowhere", "@", "@/", "@/proc/self/mem", "@" + LONG]


def run(*words, code=None, stdin=b"", env=None, seconds=IN_TIME):
    """(exit code, output, errors); it ends in time and with a sentence, when it fails."""
    p = subprocess.run(["praas", *words], env={**ENV, **(env or {})}, input=stdin, capture_output=True,
                       timeout=seconds, cwd=HOME)
    err = p.stderr.decode(errors="surrogateescape")
    shown = [w[:80] for w in words]
    assert p.returncode >= 0, f"{shown} ended by signal {-p.returncode}: {err}"
    assert "anitizer" not in err and "runtime error" not in err, (shown, err)
    if p.returncode not in (0, 2):
        assert re.fullmatch(r"praas: .+\n", err), (shown, p.returncode, err)
    if p.returncode != 0:
        assert err and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", err), (shown, err)
    # What to do next is said in commands, not in requests.
    assert not re.search("(GET|POST|PUT|DELETE) (/|…|the )", err), (shown, err)
    if code is not None:
        assert p.returncode in (code if isinstance(code, tuple) else (code,)), (shown, p.returncode, code, err)
    return p.returncode, p.stdout, err


class Dev:
    """praas dev with the examples."""

    def __init__(self, *more, env=None):
        self.p = subprocess.Popen(["praas", "dev", str(EXAMPLES), "--allow-weak-sandbox", *more],
                                  env={**ENV, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=HOME)
        out = b""
        while b"Ctrl-C" not in out:
            line = self.p.stdout.readline()
            assert line, out
            out += line

    def end(self):
        self.p.send_signal(signal.SIGINT)
        self.p.communicate(timeout=60)
        assert self.p.returncode == 0, self.p.returncode


# What every verb takes, one wrong thing at a time.
WRONG = {
    "app create": (["NAME", "--code", str(EXAMPLES / "hello")],
                   {"--memory": SIZES, "--vcpu": NUMBERS, "--concurrency": NUMBERS, "--isolation": NAMES}),
    "app deploy": (["NAME", "--code", str(EXAMPLES / "hello")], {"--memory": SIZES, "--concurrency": NUMBERS}),
    "app show": (["NAME"], {}), "app rm": (["NAME"], {}),
    "process create": (["NAME"], {"--pid": NAMES}),
    "process show": (["NAME", "NAME"], {}), "process swap": (["NAME", "NAME"], {}), "process wake": (["NAME", "NAME"], {}),
    "process checkpoint": (["NAME", "NAME"], {}), "process move": (["NAME", "NAME"], {"--to": NAMES}), "process kill": (["NAME", "NAME"], {}),
    "process fork": (["NAME", "NAME"], {"--pid": NAMES, "--snapshot": NAMES}), "process rm": (["NAME", "NAME"], {}),
    "ps": (["NAME"], {}), "top": (["NAME"], {}), "logs": (["NAME", "NAME"], {"--tail": SIZES, "--function": NAMES, "--trace": NAMES}),
    "usage": (["NAME", "NAME"], {"--since": TIMES, "--until": TIMES, "--by": NAMES, "--app": NAMES, "--tenant": NAMES}),
    "invoke": (["NAME", "NAME"], {"--pid": NAMES, "--data": FILES, "--deadline": TIMES, "--transport": NAMES, "--count": NUMBERS,
                                  "--concurrency": NUMBERS}),
    "msg send": (["NAME", "NAME", "KEY"], {"--data": FILES}), "msg recv": (["NAME", "NAME", "KEY"], {"--timeout": TIMES}),
    "msg ls": (["NAME", "NAME"], {}), "state ls": (["NAME", "NAME"], {}), "state get": (["NAME", "NAME", "KEY"], {}),
    "state put": (["NAME", "NAME", "KEY"], {"--data": FILES}), "state rm": (["NAME", "NAME", "KEY"], {}),
    "state export": (["NAME", "NAME", "/proc/nowhere"], {}), "state import": (["NAME", "NAME", "/proc/nowhere"], {}),
    "state snapshot": (["NAME", "NAME", "NAME"], {}), "state snapshots": (["NAME", "NAME"], {}),
    "state rollback": (["NAME", "NAME", "NAME"], {}), "state forget": (["NAME", "NAME", "NAME"], {}),
    "token create": (["--scopes", "read"], {"--scopes": NAMES, "--ttl": TIMES, "--app": NAMES, "--tenant": NAMES, "--label": NAMES}),
    "token revoke": (["NAME"], {}),
    "tenant create": (["NAME"], {"--apps": NUMBERS, "--memory": SIZES, "--rate": NUMBERS}),
    "tenant limits": (["NAME"], {"--apps": NUMBERS, "--memory": SIZES}), "tenant rm": (["NAME"], {}),
    "bench": (["NAME"], {}), "help": (["NAME"], {}),
}
RIGHT = {"NAME": "hello", "KEY": "k"}
# What is a value of that option after all.
FINE = {("--label", v) for v in NAMES} | {("--function", v) for v in NAMES} | {("--trace", v) for v in NAMES} | \
       {("--vcpu", "1.5"), ("--tail", "0"), ("--since", "0s"), ("--until", "0s"), ("--since", "-1s")}


def test_input_that_makes_no_sense():
    dev = Dev()
    run("process", "create", "hello", "-p", "hello", code=0)
    tries = []
    for verb, (shape, options) in WRONG.items():
        words = verb.split()
        for at, kind in enumerate(shape):
            if kind in RIGHT:
                for value in NAMES if kind == "NAME" else ["", "k" * 256, LONG]:
                    given = [value if i == at else RIGHT.get(w, w) for i, w in enumerate(shape)]
                    tries.append((words + ["--"] + given if value.startswith("-") else words + given, verb, None, value))
        for option, values in options.items():
            for value in values:
                given = [RIGHT.get(w, w) for w in shape]
                tries.append((words + given + [f"{option}={value}"], verb, option, value))
        run(*words, "--nothing-of-the-kind", code=2)
        if any(k in RIGHT for k in shape):
            run(*words, *["x"] * 9, code=2)
    some = tries[::ONE_IN]
    assert {t[1:3] for t in some} == {t[1:3] for t in tries}, "a verb or an option is left out"
    assert {t[3] for t in some} == {t[3] for t in tries}, "a word is left out"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        bad = [words for words in pool.map(lambda t: try_one(*t), some) if words]
    assert not bad, "\n".join(bad)
    # The service and its process have seen all that and live on.
    assert run("invoke", "hello", "hello", "-p", "hello", "-d", "W", code=0)[1] == b"Hello, W!"
    assert len(tries) > 500, len(tries)
    dev.end()


def try_one(words, verb, option, value):
    """What is wrong with how it ended; None."""
    try:
        code, _, _ = run(*words)
        assert code in CODES or (option, value) in FINE or is_fine(verb, option, value), ([w[:60] for w in words], code)
    except (AssertionError, ValueError, subprocess.TimeoutExpired) as e:
        return str(e)[:400]
    return None


def is_fine(verb, option, value):
    return verb == "help" and value == "" or value == "-1" and option not in NUMERIC


NUMERIC = {o for _, options in WRONG.values() for o, values in options.items() if values in (NUMBERS, SIZES, TIMES)}


# ---- files ---------------------------------------------------------------------------------


def test_code_that_makes_no_sense():
    dev = Dev()
    for name, content in (("empty", b""), ("garbage", os.urandom(4096)), ("half", b'{"functions": {'), ("list", b"[]"), ("zeros", bytes(100000)),
                          ("deep", b"[" * 100000), ("number", b'{"functions": 7}'), ("big", b" " * (8 << 20)),
                          ("no-library", b'{"functions": {"f": {"library": "none.so", "symbol": "f"}}}'),
                          ("out", b'{"functions": {"f": {"library": "../../../etc/passwd", "symbol": "f"}}}'),
                          ("terminal", b'{"functions": {"f": {"library": "\\u001b[31m.so", "symbol": "f"}}}')):
        folder = HOME / name
        folder.mkdir()
        (folder / "praas.json").write_bytes(content)
        # It is the deployer's to say which libraries are his.
        run("app", "create", name, "--code", str(folder), code=(0, 1) if name == "out" else 1)
        run("app", "deploy", name, "--code", str(folder), code=(1, 4))
        run("app", "deploy", "hello", "--code", str(folder), code=1)
        if name != "out":
            run("up", str(folder), "--data", str(HOME / "other"), code=1)
    (HOME / "folder" / "praas.json").mkdir(parents=True)
    os.mkfifo(HOME / "pipe")
    for path in (HOME / "folder", HOME / "pipe", HOME / "empty" / "praas.json", "/dev/zero", "/proc/self", "relative", "", LONG):
        run("app", "create", "x", "--code", str(path), code=(1, 2))
    for data in (HOME / "pipe", HOME / "empty" / "praas.json", "/dev/null", "/proc", LONG):
        run("up", "--data", str(data), code=1)
    library = HOME / "binary"
    library.mkdir()
    (library / "praas.json").write_text('{"functions": {"f": {"library": "lib.so", "symbol": "f"}}}')
    (library / "lib.so").write_bytes(b"\x7fELF" + os.urandom(4096))
    run("app", "create", "binary", "--code", str(library), code=(0, 1))
    run("invoke", "binary", "f", code=(1, 4))
    tar = HOME / "x.tar"
    tar.write_bytes(os.urandom(10000))
    run("process", "create", "hello", "-p", "p", code=0)
    for path in (tar, HOME / "empty", HOME / "folder"):
        assert run("state", "import", "hello", "p", str(path))[0] == 1
    dev.end()


# ---- what others wrote, on a terminal --------------------------------------------------------


def test_nothing_of_others_reaches_the_terminal_raw():
    dev = Dev()
    evil = "x\x1b]0;evil\x07\x9b31m\x7f"
    run("process", "create", "hello", "-p", "p", code=0)
    run("state", "put", "hello", "p", evil, "-d", "1", code=0)
    run("msg", "send", "hello", "p", evil, "-d", "1", code=0)
    run("app", "create", "says", "--code", str(BUILD / "tests" / "faultfns"), code=0)
    run("invoke", "says", "says", "-p", "p", "-d", "3" + evil, code=0)
    outputs = [run(*words)[1] for words in (("state", "ls", "hello", "p"), ("msg", "ls", "hello", "p"))]
    end = time.monotonic() + 10
    while b"evil" not in (out := run("logs", "says", "p", code=0)[1]) and time.monotonic() < end:
        time.sleep(0.05)
    for out in (*outputs, out):
        assert b"evil" in out and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out.decode()), out
    err = run("state", "get", "hello", "p", evil + "no", code=4)[2]
    assert "\x1b" not in err and "\x9b" not in err, err
    dev.end()


# ---- interrupted, and a service that goes away ----------------------------------------------

WAITS = {
    "msg recv": ["msg", "recv", "hello", "p", "never", "-t", "1h"],
    "ps": ["ps", "--watch"], "logs": ["logs", "hello", "p", "-f"], "logs of all": ["logs", "hello", "-f"],
    "invoke": ["invoke", "hang", "hang", "-p", "p"], "invoke tcp": ["invoke", "hang", "hang", "-p", "p", "--transport", "tcp"],
    "invoke many": ["invoke", "hello", "noop", "-p", "p", "-n", "10000000"],
    "invoke async": ["invoke", "hang", "hang", "-p", "p", "--async"],
    "state put": ["state", "put", "hello", "p", "k"], "msg send": ["msg", "send", "hello", "p", "k"],
    "state import": ["state", "import", "hello", "p"],
}


def waiting():
    """The service, and what those wait for."""
    dev = Dev()
    run("process", "create", "hello", "-p", "p", code=0)
    run("app", "create", "hang", "--code", str(BUILD / "tests" / "faultfns"), "--concurrency", "4", code=0)
    run("process", "create", "hang", "-p", "p", code=0)
    return dev


def all_begun():
    """Those that wait, by name: each has gone to sleep, or works."""
    # What they print nobody reads before they end: to files, or one would wait for that.
    started = {name: subprocess.Popen(["praas", *words], env=ENV, cwd=HOME, stdin=subprocess.PIPE,
                                      stdout=open(HOME / f"{name}.out", "wb"), stderr=open(HOME / f"{name}.err", "wb"),
                                      start_new_session=True) for name, words in WAITS.items()}
    time.sleep(3)
    for name, p in started.items():
        assert p.poll() is None, (name, p.returncode, (HOME / f"{name}.err").read_bytes())
    return started


def ended(p, name, seconds=IN_TIME):
    """(code, errors)"""
    return p.wait(timeout=seconds), (HOME / f"{name}.err").read_bytes()


def test_interrupted_while_it_waits():
    dev = waiting()
    for number in (signal.SIGINT, signal.SIGTERM):
        started = all_begun()
        for name, p in started.items():
            p.send_signal(number)
        for name, p in started.items():
            # A shell says 128 + the signal.
            assert ended(p, name)[0] == -number, (name, ended(p, name))
    # What they waited in is as before, and takes new ones.
    assert run("msg", "ls", "hello", "p", "--json", code=0)[1].strip() == b"[]"
    assert run("state", "ls", "hello", "p", "--json", code=0)[1].strip() == b"[]"
    assert run("invoke", "hello", "hello", "-p", "p", "-d", "W", code=0)[1] == b"Hello, W!"
    dev.end()


def test_service_killed_while_they_wait():
    dev = waiting()
    status = json.loads(run("status", "--json", code=0)[1])
    started = all_begun()
    os.kill(status["os_pid"], signal.SIGKILL)
    for name in ("ps", "logs", "logs of all"):
        code, err = ended(started[name], name)
        assert code == 1 and re.fullmatch(rb"praas: .+\n", err), (name, code, err)
    for name in ("state put", "msg send"):
        started[name].communicate(b"x")
        code, err = ended(started[name], name)
        assert code == 1 and re.fullmatch(rb"praas: .+\n", err), (name, code, err)
    # The others hold a connection to the process and go on: it lives.
    for name in ("msg recv", "invoke", "invoke tcp", "invoke async"):
        assert started[name].poll() is None, (name, ended(started[name], name))
    dev.p.communicate(timeout=60)
    assert dev.p.returncode == 1, dev.p.returncode
    for p in started.values():
        p.kill()
        p.communicate()
    run("ps", code=1)
    dev = Dev()
    assert run("invoke", "hello", "hello", "-p", "p", "-d", "W", code=0)[1] == b"Hello, W!"
    dev.end()


def on_terminal(words, keys, until):
    """(how it ended, all that it wrote, the terminal's settings before and after); keys, or a function, when until is seen."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(HOME)
        os.execvpe("praas", ["praas", *words], {**ENV, "TERM": "xterm"})
    before = termios.tcgetattr(fd)
    out, sent, end = b"", False, time.monotonic() + IN_TIME
    status = None
    while status is None and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                out += os.read(fd, 65536)
            except OSError:
                pass
        if until in out and not sent:
            sent = True
            keys() if callable(keys) else os.write(fd, keys)
        done, code = os.waitpid(pid, os.WNOHANG)
        status = code if done else None
    assert status is not None, (words, out[-500:])
    while select.select([fd], [], [], 0.1)[0]:
        try:
            out += os.read(fd, 65536)
        except OSError:
            break
    after = termios.tcgetattr(fd)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), out, before, after


def test_top_gives_the_terminal_back():
    dev = waiting()
    for keys, code in ((b"q", 0), (b"\x03", -signal.SIGINT), (b"\x1c", -signal.SIGQUIT)):
        ended, out, before, after = on_terminal(["top"], keys, b"ACTIVE")
        assert ended == code, (keys, ended)
        assert before == after and out.rstrip().endswith(b"\x1b[?25h\x1b[?1049l"), (keys, out[-200:])
    # A service that does not answer does not hold it; one that goes is told of, where it can be read.
    pid = json.loads(run("status", "--json", code=0)[1])["os_pid"]
    ended, out, before, after = on_terminal(["top"], lambda: os.kill(pid, signal.SIGKILL), b"ACTIVE")
    told = out.split(b"\x1b[?1049l")
    assert ended == 1 and before == after and len(told) == 2 and told[1].strip().startswith(b"praas: "), (ended, out[-300:])
    dev.p.communicate(timeout=60)


def test_up_that_is_interrupted_leaves_no_service():
    for ms in (1, 3, 5, 8, 12, 16, 20, 30):
        p = subprocess.Popen(["praas", "up"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(ms / 1000)
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=IN_TIME)
        if p.returncode == 0:  # it was ready before
            run("down", code=0)
            continue
        assert p.returncode == -signal.SIGINT, p.returncode
        end = time.monotonic() + IN_TIME
        while (left := [guard.name_of(c) for c in guard.descendants()]) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left, left


# ---- where it keeps its things ---------------------------------------------------------------


def test_two_in_one_folder():
    dev = Dev()
    for _ in range(3):
        code, _, err = run("dev", str(EXAMPLES), code=1)
        assert "runs on" in err and "already" in err, err
    assert run("invoke", "hello", "hello", "-d", "W", code=0)[1] == b"Hello, W!"
    dev.end()
    # At the same moment: one of them serves, the other one says so.
    both = [subprocess.Popen(["praas", "dev"], env=ENV, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    end = time.monotonic() + IN_TIME
    while all(p.poll() is None for p in both) and time.monotonic() < end:
        time.sleep(0.02)
    lost = [p for p in both if p.poll() is not None]
    assert len(lost) == 1 and lost[0].returncode == 1 and lost[0].stderr.read().startswith(b"praas"), [p.returncode for p in both]
    won = next(p for p in both if p is not lost[0])
    run("ps", code=0)
    won.send_signal(signal.SIGINT)
    won.communicate(timeout=IN_TIME)
    assert won.returncode == 0
    lost[0].communicate()


def test_home_that_cannot_be_written():
    for home, extra in (("/proc/self", {}), ("/dev/null", {}), (str(HOME), {"XDG_STATE_HOME": "/proc/self"}),
                        (str(HOME), {"XDG_CONFIG_HOME": "/dev/null"})):
        env = {"HOME": home, **extra}
        run("ps", code=1, env=env)
        run("status", code=4, env=env)
        run("down", code=4, env=env)
        if home != str(HOME) or "XDG_STATE_HOME" in extra:
            for verb in ("up", "dev"):
                _, _, err = run(verb, code=1, env=env)
                assert "annot" in err or "HOME" in err, err


def main():
    global HOME
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_") or (ONLY and name not in ONLY):
            continue
        began = time.monotonic()
        HOME = pathlib.Path(tempfile.mkdtemp(prefix="praas-hostile-"))
        HOME.chmod(0o755)
        ENV["HOME"] = str(HOME)
        try:
            test()
            print(f"ok {name} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next one runs anyway
            failed += 1
            print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
        guard.kill_all()
        shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
