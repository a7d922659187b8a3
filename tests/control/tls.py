# SPDX-License-Identifier: Apache-2.0
"""REST over TLS: what is spoken, what is refused, a certificate that is replaced while it serves."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from service import Service, alive

CLI = sys.argv[3]
APP = "/v1/apps/a"
DIR = tempfile.mkdtemp(prefix="praas-tls-")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=DIR)


def make_pair(name, ca="ca", names="DNS:localhost,IP:127.0.0.1"):
    """NAME.pem and NAME.key, signed by ca."""
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
    with open(os.path.join(DIR, "ext"), "w") as f:
        f.write("subjectAltName=" + names + "\n")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", name + ".pem")


def make_ca(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", name + ".key", "-out", name + ".pem", "-days", "2", "-subj", "/CN=" + name)


def path(name):
    return os.path.join(DIR, name)


def trust(ca="ca.pem"):
    return ssl.create_default_context(cafile=path(ca))


def install(name):
    """NAME's pair becomes the one that is served: each file replaced at once."""
    for end in (".key", ".pem"):
        shutil.copy(path(name + end), path("new" + end))
        os.rename(path("new" + end), path("server" + end))


def shown(s):
    """Serial number of the certificate that a new connection is shown."""
    host, port = s.host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        with s.tls.wrap_socket(raw, server_hostname=host) as c:
            return c.getpeercert()["serialNumber"]


def await_change(s, before, seconds=10):
    end = time.monotonic() + seconds
    while shown(s) == before:
        assert time.monotonic() < end, "the certificate is still the one before"
        time.sleep(0.05)


def cli(s, *arguments, **env):
    base = {k: v for k, v in os.environ.items() if not k.startswith("PRAAS")}
    return subprocess.run([CLI, *arguments], capture_output=True, text=True, timeout=60,
                          env={**base, "PRAAS_URL": s.url, "PRAAS_TOKEN": s.token, **env})


def test_serves(s):
    """The whole of a life over TLS, kept alive, with bodies of some size and many at once."""
    assert s.url.startswith("https://")
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", APP + "/processes", {"pid": "x"}, 201)
    c = s.connect()
    for size in (0, 1, 16384, 5 << 20):
        payload = os.urandom(size)
        status, _, data = s.ask("POST", APP + "/invoke/echo", payload, {"Praas-Pid": "x"},
                                connection=c)
        assert (status, data) == (200, payload), (size, status)
        assert c.sock is not None
    assert c.sock.version() == "TLSv1.3", c.sock.version()
    c.close()
    answers = []

    def many():
        c = s.connect()
        for _ in range(20):
            answers.append(s.ask("POST", APP + "/invoke/echo", b"e", {"Praas-Pid": "x"},
                                 connection=c)[0])
        c.close()

    threads = [threading.Thread(target=many) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [200] * 200, answers


def test_refuses_what_is_old_or_no_tls(s):
    old = trust()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = s.host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        try:
            old.wrap_socket(raw, server_hostname=host)
            raise AssertionError("TLS 1.2 is spoken")
        except (ssl.SSLError, ConnectionError):
            pass
    for junk in (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 999):
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            got = b""
            try:
                raw.sendall(junk)
                raw.shutdown(socket.SHUT_WR)
                while piece := raw.recv(4096):
                    got += piece
            except OSError:
                pass  # cut off at once
            assert b"HTTP/1.1 200" not in got, got
    assert s.json("GET", "/healthz", expect=200)


def test_new_certificate_without_a_break(s):
    """Files that change count from the next handshake on; connections that are there go on."""
    kept, serial = s.connect(), shown(s)
    assert s.ask("GET", "/v1/apps", connection=kept)[0] == 200
    sock = kept.sock
    install("two")
    await_change(s, serial)
    assert s.ask("GET", "/v1/apps", connection=kept)[0] == 200 and kept.sock is sock
    serial = shown(s)
    with open(path("server.pem"), "w") as f:  # nonsense: the pair before is kept
        f.write("nonsense")
    time.sleep(1.5)
    assert shown(s) == serial
    os.rename(shutil.copy(path("one.pem"), path("new.pem")), path("server.pem"))
    time.sleep(1.5)  # a certificate without its key: half of a replacement
    assert shown(s) == serial
    install("one")
    await_change(s, serial)
    serial = shown(s)
    install("two")
    s.process.send_signal(signal.SIGHUP)
    await_change(s, serial)
    assert s.ask("GET", "/v1/apps", connection=kept)[0] == 200 and kept.sock is sock
    kept.close()


def test_command_line(s):
    good = cli(s, "app", "ls", PRAAS_CA=path("ca.pem"))
    assert good.returncode == 0, good
    for env in ({}, {"PRAAS_CA": path("other.pem")}, {"PRAAS_CA": path("none.pem")}):
        bad = cli(s, "app", "ls", **env)
        assert bad.returncode == 5 and "PRAAS_CA" in bad.stderr, bad
    install("elsewhere")
    s.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    bad = cli(s, "app", "ls", PRAAS_CA=path("ca.pem"))
    assert bad.returncode == 5, bad
    config = path("config")
    os.makedirs(os.path.join(config, "praas"))
    with open(os.path.join(config, "praas", "config"), "w") as f:
        f.write(f"context = here\n[here]\nurl = {s.url}\ntoken = {s.token}\n"
                f"ca = {path('ca.pem')}\n")
    install("one")
    s.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    good = cli(s, "app", "ls", PRAAS_URL="", XDG_CONFIG_HOME=config)
    assert good.returncode == 0, good


def test_listens_off_loopback_only_with_tls_or_leave(s):
    def attempt(*options):
        s2 = Service(s.program, s.controller, "--listen", "0.0.0.0:0", *options)
        p = subprocess.Popen([s.program, "--data", s2.data, "--controller", s.controller,
                              *s2.options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
        line = p.stdout.readline()
        if line:
            p.send_signal(signal.SIGTERM)
        _, words = p.communicate(timeout=60)
        s2.cleanup()
        return p.returncode, line, words

    code, line, words = attempt()
    assert code == 1 and not line and "--tls-cert" in words and "0.0.0.0" in words, words
    code, line, _ = attempt("--insecure-listen")
    assert code == 0 and "http://0.0.0.0" in line
    code, line, _ = attempt("--tls-cert", path("one.pem"), "--tls-key", path("one.key"))
    assert code == 0 and "https://0.0.0.0" in line
    shutil.copy(path("one.key"), path("open.key"))
    os.chmod(path("open.key"), 0o644)
    for cert, key, why in (("none.pem", "one.key", "none.pem"), ("one.pem", "two.key", "one.pem"),
                           ("one.key", "one.pem", ""), ("one.pem", "open.key", "everybody"),
                           ("ext", "one.key", "ext")):
        code, line, words = attempt("--tls-cert", path(cert), "--tls-key", path(key))
        assert code == 1 and not line and "TLS: " in words and why in words, (cert, words)
    code, _, words = attempt("--tls-cert", path("one.pem"))
    assert code == 2 and "--tls-key" in words, words


def main():
    make_ca("ca")
    make_ca("other")
    for name in ("one", "two"):
        make_pair(name)
    make_pair("elsewhere", names="DNS:elsewhere")
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        install("one")
        s = Service(sys.argv[1], sys.argv[2], "--tls-cert", path("server.pem"), "--tls-key",
                    path("server.key"))
        s.tls = trust()
        began = time.monotonic()
        try:
            s.start()
            test(s)
            assert s.stop() == 0
            print(f"ok {name} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next test runs anyway
            failed += 1
            print(f"FAILED {name}: {type(e).__name__}: {e}", flush=True)
        left = s.cleanup()
        failed += any(alive(pid) for pid in left)
    shutil.rmtree(DIR)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if not shutil.which("openssl"):
        print("SKIPPED: no openssl")
        sys.exit(77)
    main()
