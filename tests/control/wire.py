# SPDX-License-Identifier: Apache-2.0
"""HTTP itself, to the letter: what is sent byte by byte, and what must come back. After every case the
service answers others, and nothing that followed a doubtful end was taken for a request."""
import re
import socket
import sys
import threading
import time

from service import Service

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
# A second request that must not be answered when the first is refused for its framing.
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
CLOSED, OPEN, EITHER = "closed", "open", "either"


class Reader:
    """Answers from a connection, one at a time."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def more(self):
        try:
            got = self.sock.recv(1 << 16)
        except ConnectionResetError:
            return False
        self.data += got
        return bool(got)

    def answer(self, bodiless=False):
        """(status, headers, body); None when the connection ends before."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return None
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        if status == 100:
            return status, headers, b""
        length = 0 if bodiless or status == 204 else int(headers.get("content-length", 0))
        while len(self.data) < length:
            if not self.more():
                return None
        body, self.data = self.data[:length], self.data[length:]
        return status, headers, body

    def ended(self, seconds=2.0):
        """Whether the peer has closed, with nothing more said."""
        self.sock.settimeout(seconds)
        try:
            return not self.data and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except (TimeoutError, socket.timeout):
            return False


def connect(s, seconds=20):
    host, port = s.host.split(":")
    c = socket.create_connection((host, int(port)), timeout=seconds)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return c


def cases(token):
    auth = b"Authorization: Bearer " + token.encode() + b"\r\n"

    def get(path=b"/v1/apps", extra=b"", version=b"HTTP/1.1", method=b"GET", host=b"Host: x\r\n"):
        return method + b" " + path + b" " + version + b"\r\n" + host + auth + extra + b"\r\n"

    def post(extra, body=b"", path=b"/v1/apps", method=b"POST", version=b"HTTP/1.1"):
        return get(path, extra, version, method) + body

    def length(n):
        return b"Content-Length: " + n + b"\r\n"

    chunked = b"Transfer-Encoding: chunked\r\n"
    bad = b'{"colour":1}'  # a body that is read to its end is refused as 400 invalid
    n = str(len(bad)).encode()
    invalid = (400, "invalid")
    yield from (
        # -- request line
        ("plain", get(), 200, OPEN),
        ("absolute form", get(b"http://x/v1/apps"), 200, OPEN),
        ("absolute form, https", get(b"https://x/v1/apps"), 200, OPEN),
        ("absolute form without a path", get(b"http://x"), 404, OPEN),
        ("other scheme", get(b"ftp://x/v1/apps"), 404, OPEN),
        ("authority form", get(b"x:80"), 404, OPEN),
        ("no target", b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("method alone", b"GET\r\n\r\n", (400, None), CLOSED),
        ("HTTP/0.9", b"GET /healthz\r\n\r\n", 400, CLOSED),
        ("two blanks before the target", b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("two blanks after the target", b"GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("blank at the end", b"GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n", 400, CLOSED),
        ("tab for a blank", b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n", (400, None), CLOSED),
        ("blank in the target", b"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("a blank in the query", get(b"/v1/apps?after=a b"), invalid, CLOSED),
        ("NUL in the target", b"GET /health\0z HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("NUL in the query", b"GET /healthz?a=\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400, CLOSED),
        ("CR in the target", b"GET /health\rz HTTP/1.1\r\nHost: x\r\n\r\n", invalid, CLOSED),
        ("blank line first", b"\r\n" + HEALTH, 200, OPEN),
        ("version 1.0", get(version=b"HTTP/1.0"), 200, CLOSED),
        ("version 1.0, keep alive", get(version=b"HTTP/1.0", extra=b"Connection: Keep-Alive\r\n"), 200, OPEN),
        ("version 1.2", get(version=b"HTTP/1.2"), 200, EITHER),
        ("version 2.0", get(version=b"HTTP/2.0"), 505, CLOSED),
        ("version 0.9", get(version=b"HTTP/0.9"), 505, CLOSED),
        ("version 9.9", get(version=b"HTTP/9.9"), 505, CLOSED),
        ("version of letters", get(version=b"HTTP/x.y"), 400, CLOSED),
        ("version with two digits", get(version=b"HTTP/1.10"), 400, CLOSED),
        ("version in lower case", get(version=b"http/1.1"), 400, CLOSED),
        ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, CLOSED),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", (400, None), CLOSED),
        ("zeros", b"\1" + bytes(100) + b"\r\n\r\n", (400, None), CLOSED),
        ("a long target", get(b"/v1/apps?after=" + b"a" * 8200), (414, "limit_uri"), CLOSED),
        ("a long path", get(b"/" + b"a" * 1100), (414, "limit_uri"), CLOSED),
        ("a giant target", get(b"/" + b"a" * 40000), 414, CLOSED),
        ("a percent at the end", get(b"/v1/apps/%"), (400, "invalid_name"), OPEN),
        ("a bad escape", get(b"/v1/apps/%zz"), (400, "invalid_name"), OPEN),
        ("an encoded NUL", get(b"/v1/apps/a%00b"), (400, "invalid_name"), OPEN),
        ("an encoded slash in a name", get(b"/v1/apps/a%2fb"), (400, "invalid_name"), OPEN),
        ("dots", get(b"/v1/apps/.."), (400, "invalid_name"), OPEN),
        ("encoded dots", get(b"/v1/apps/%2e%2e"), (400, "invalid_name"), OPEN),
        ("overlong UTF-8", get(b"/v1/apps/%c0%ae%c0%ae"), (400, "invalid_name"), OPEN),
        ("encoded CR LF", get(b"/v1/apps/a%0d%0aX:y"), (400, "invalid_name"), OPEN),
        ("a fragment", get(b"/v1/apps#x"), 404, OPEN),
        ("two slashes", get(b"//v1/apps"), 404, OPEN),
        ("a slash at the end", get(b"/v1/apps/"), 404, OPEN),
        ("bytes above 127", get(b"/v1/apps/\xff\xfe"), (400, "invalid_name"), OPEN),
        # -- query
        ("an unknown parameter", get(b"/v1/apps?colour=1"), (400, "invalid_query"), OPEN),
        ("a parameter twice", get(b"/v1/apps?after=a&after=b"), (400, "invalid_query"), OPEN),
        ("a parameter without a value", get(b"/v1/apps?after"), (400, "invalid_query"), OPEN),
        ("a parameter where none is known", get(b"/healthz?x=1"), (400, "invalid_query"), OPEN),
        ("an empty query", get(b"/v1/apps?"), 200, OPEN),
        ("an ampersand too many", get(b"/v1/apps?after=a&"), 200, OPEN),
        # -- methods
        ("HEAD", get(method=b"HEAD"), 200, OPEN),
        ("HEAD of what takes something", get(b"/v1/apps/a/processes/p/messages/k", method=b"HEAD"), 405, OPEN),
        ("OPTIONS", get(method=b"OPTIONS"), 204, OPEN),
        ("OPTIONS of all", get(b"*", method=b"OPTIONS"), 204, OPEN),
        ("another method", get(method=b"PUT"), (405, "method_not_allowed"), OPEN),
        ("PATCH", get(method=b"PATCH"), (405, "method_not_allowed"), OPEN),
        ("TRACE", get(method=b"TRACE"), (405, "method_not_allowed"), OPEN),
        ("CONNECT", get(b"/v1/apps", method=b"CONNECT"), (405, "method_not_allowed"), EITHER),
        ("an unknown method", get(method=b"BREW"), (405, "method_not_allowed"), OPEN),
        ("a method in lower case", get(method=b"get"), (405, "method_not_allowed"), OPEN),
        ("a method that is no token", get(method=b"G(T"), invalid, CLOSED),
        ("a long method", get(method=b"M" * 3000), (405, "method_not_allowed"), OPEN),
        # -- header lines
        ("no host", get(host=b""), (400, "invalid_header"), CLOSED),
        ("no host in 1.0", get(host=b"", version=b"HTTP/1.0"), 200, CLOSED),
        ("two hosts", get(extra=b"Host: y\r\n"), (400, "invalid_header"), CLOSED),
        ("no blank after the colon", get(extra=b"X:y\r\n"), 200, OPEN),
        ("blanks around the value", get(extra=b"X:  \t y \t\r\n"), 200, OPEN),
        ("an empty value", get(extra=b"X:\r\n"), 200, OPEN),
        ("a value above 127", get(extra=b"X: \xc3\xa9\r\n"), 200, OPEN),
        ("a blank before the colon", get(extra=b"X : y\r\n"), (400, "invalid_header"), CLOSED),
        ("a blank in the name", get(extra=b"X Y: z\r\n"), (400, "invalid_header"), CLOSED),
        ("a name of nothing", get(extra=b": y\r\n"), 400, CLOSED),
        ("a name that is no token", get(extra=b"X(y): z\r\n"), (400, "invalid_header"), CLOSED),
        ("a line without a colon", get(extra=b"no colon\r\n"), 400, CLOSED),
        ("a control character", get(extra=b"X: a\x01b\r\n"), (400, "invalid_header"), CLOSED),
        ("DEL", get(extra=b"X: a\x7fb\r\n"), (400, "invalid_header"), CLOSED),
        ("NUL in a value", get(extra=b"X: a\0b\r\n"), invalid, CLOSED),
        ("NUL in a name", get(extra=b"X\0Y: b\r\n"), 400, CLOSED),
        ("CR in a value", get(extra=b"X: a\rY: b\r\n"), (400, "invalid_header"), CLOSED),
        ("a bare LF", get(extra=b"X: a\nY: b\r\n"), invalid, CLOSED),
        ("a bare LF at the end", get()[:-2] + b"\n", invalid, CLOSED),
        ("bare LFs alone", get().replace(b"\r\n", b"\n"), invalid, CLOSED),
        ("a bare LF in the request line", get().replace(b"1.1\r\n", b"1.1\n"), invalid, CLOSED),
        ("a folded line", get(extra=b"X: a\r\n b\r\n"), invalid, CLOSED),
        ("a folded line of a tab", get(extra=b"X: a\r\n\tb\r\n"), invalid, CLOSED),
        ("a folded length", post(b"Content-Length:\r\n 5\r\n", b"12345"), 400, CLOSED),
        ("a folded first line", b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n", 400, CLOSED),
        ("the token twice", get(extra=auth), (400, "invalid_header"), CLOSED),
        ("a pid twice", get(extra=b"Praas-Pid: a\r\nPraas-Pid: b\r\n"), (400, "invalid_header"), CLOSED),
        ("62 more lines", get(extra=b"X: y\r\n" * 62), 200, OPEN),
        ("63 more lines", get(extra=b"X: y\r\n" * 63), (431, "limit_headers"), CLOSED),
        ("a large header", get(extra=b"X: " + b"y" * 16000 + b"\r\n"), 200, OPEN),
        ("a giant header", get(extra=b"X: " + b"y" * 40000 + b"\r\n"), 431, CLOSED),
        ("giant headers", get(extra=(b"X: " + b"y" * 1000 + b"\r\n") * 50), 431, CLOSED),
        ("a name without an end", get(extra=b"y" * 40000), 431, CLOSED),
        # -- length of a body
        ("a length", post(length(n), bad), invalid, OPEN),
        ("a length of zero", post(length(b"0")), invalid, OPEN),
        ("no length", post(b""), invalid, OPEN),
        ("the same length twice", post(length(n) * 2, bad), (400, "invalid_header"), CLOSED),
        ("two lengths", post(length(n) + length(b"3"), bad), (400, "invalid_header"), CLOSED),
        ("a list of lengths", post(length(n + b", " + n), bad), 400, CLOSED),
        ("a negative length", post(length(b"-1"), bad), 400, CLOSED),
        ("a length with a plus", post(length(b"+12"), bad), 400, CLOSED),
        ("a length in hex", post(length(b"0xc"), bad), 400, CLOSED),
        ("a length with a blank", post(length(b"1 2"), bad), 400, CLOSED),
        ("a length with a blank behind", post(length(n + b" "), bad), 400, CLOSED),
        ("an empty length", post(length(b""), bad), 400, CLOSED),
        ("a length of letters", post(length(b"ten"), bad), 400, CLOSED),
        ("a length beyond 64 bits", post(length(b"9" * 30), bad), 413, CLOSED),
        ("a length that is too large", post(length(b"65537"), bad), (413, "too_large"), CLOSED),
        ("a body where none is taken", get(extra=length(b"3")) + b"abc", (413, "too_large"), OPEN),
        ("length and chunks", post(length(n) + chunked, b"0\r\n\r\n"), invalid, CLOSED),
        ("chunks and length", post(chunked + length(n), b"0\r\n\r\n"), invalid, CLOSED),
        # -- chunks: read to the end, and the last of their connection
        ("chunks", post(chunked, b"c\r\n" + bad + b"\r\n0\r\n\r\n"), invalid, CLOSED),
        ("several chunks", post(chunked, b"6\r\n" + bad[:6] + b"\r\n6\r\n" + bad[6:] + b"\r\n0\r\n\r\n"), invalid, CLOSED),
        ("a chunk's extension", post(chunked, b"c;a=b\r\n" + bad + b"\r\n0\r\n\r\n"), invalid, CLOSED),
        ("upper case", post(b"transfer-encoding: CHUNKED\r\n", b"C\r\n" + bad + b"\r\n0\r\n\r\n"), invalid, CLOSED),
        ("zeros before a size", post(chunked, b"000c\r\n" + bad + b"\r\n0\r\n\r\n"), invalid, CLOSED),
        ("a trailer", post(chunked, b"c\r\n" + bad + b"\r\n0\r\nX: y\r\n\r\n"), invalid, CLOSED),
        ("a trailer with a length", post(chunked, b"c\r\n" + bad + b"\r\n0\r\nContent-Length: 9\r\n\r\n"), invalid, CLOSED),
        ("a size of letters", post(chunked, b"zz\r\n" + bad + b"\r\n0\r\n\r\n"), 400, CLOSED),
        ("a negative size", post(chunked, b"-1\r\n" + bad + b"\r\n0\r\n\r\n"), 400, CLOSED),
        ("a size with 0x", post(chunked, b"0xc\r\n" + bad + b"\r\n0\r\n\r\n"), 400, CLOSED),
        ("a size beyond 64 bits", post(chunked, b"f" * 17 + b"\r\n" + bad), 413, CLOSED),
        ("no size", post(chunked, b"\r\n" + bad + b"\r\n0\r\n\r\n"), 400, CLOSED),
        ("a chunk longer than its size", post(chunked, b"3\r\n" + bad + b"\r\n0\r\n\r\n"), 400, CLOSED),
        ("too much in chunks", post(chunked, b"10001\r\n" + b" " * 65537 + b"\r\n0\r\n\r\n"), (413, "too_large"), CLOSED),
        ("chunks where no body is taken", get(extra=chunked) + b"3\r\nabc\r\n0\r\n\r\n", (413, "too_large"), CLOSED),
        ("gzip", post(b"Transfer-Encoding: gzip\r\n", bad), (501, "unsupported"), CLOSED),
        ("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), (501, "unsupported"), CLOSED),
        ("chunked twice", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), (501, "unsupported"), CLOSED),
        ("two codings", post(chunked * 2, b"0\r\n\r\n"), (400, "invalid_header"), CLOSED),
        ("identity", post(b"Transfer-Encoding: identity\r\n", bad), (501, "unsupported"), CLOSED),
        ("a coding with a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), (400, "invalid_header"), CLOSED),
        ("a coding with a blank before the colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), (400, "invalid_header"), CLOSED),
        ("chunks in 1.0", post(chunked, b"0\r\n\r\n", version=b"HTTP/1.0"), invalid, CLOSED),
        # -- expectations
        ("another expectation", post(b"Expect: gold\r\n" + length(n), bad), (417, "unsupported"), CLOSED),
        ("an expectation that is refused", post(b"Expect: 100-continue\r\n" + length(b"70000")), (413, "too_large"), CLOSED),
        # -- credentials, before anything else is told
        ("no token", HEALTH.replace(b"healthz", b"v1/apps"), (401, "unauthorized"), OPEN),
        ("no token, no route", HEALTH.replace(b"healthz", b"nothing"), (401, "unauthorized"), OPEN),
        ("no token, a body", b"POST /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n" + bad, (401, "unauthorized"), OPEN),
        ("no token, a large body", b"PUT /v1/apps/a/processes/p/state/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", (401, "unauthorized"), CLOSED),
        ("no token, chunks", b"POST /v1/apps HTTP/1.1\r\nHost: x\r\n" + chunked + b"\r\n", (401, "unauthorized"), CLOSED),
        ("no token, an expectation", b"POST /v1/apps HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n", (401, "unauthorized"), CLOSED),
        # -- the end of a connection
        ("close", get(extra=b"Connection: close\r\n"), 200, CLOSED),
        ("keep alive", get(extra=b"Connection: keep-alive\r\n"), 200, OPEN),
        ("an upgrade", get(extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), 200, EITHER),
    )


def check(s, name, data, wanted, after):
    status, code = wanted if isinstance(wanted, tuple) and isinstance(wanted[1], str) else (wanted, None)
    with connect(s) as c:
        reader = Reader(c)
        try:
            # What is refused is not followed by a request that came with it.
            c.sendall(data + (SMUGGLED if after is CLOSED else b""))
        except (ConnectionResetError, BrokenPipeError):
            pass
        got = reader.answer(bodiless=data.startswith(b"HEAD "))
        statuses = status if isinstance(status, tuple) else (status,)
        assert (got and got[0]) in statuses, f"{got} instead of {wanted}"
        if code:
            assert f'"{code}"'.encode() in got[2], f"{got} instead of {wanted}"
        if got and got[0] == 405:
            assert re.fullmatch(r"[A-Z]+(, [A-Z]+)*", got[1]["allow"]), got
        if after is CLOSED:
            # libmicrohttpd 0.9.75 may say the head of its own refusals twice: not a second answer.
            while reader.more():
                pass
            assert b" 200 " not in reader.data and b"status" not in reader.data, reader.data
        elif after is OPEN:
            c.sendall(HEALTH)
            assert reader.answer()[0] == 200, "the connection was not kept"


def test_table(s):
    """One request each."""
    failed, count = [], 0
    for name, data, wanted, after in cases(s.token):
        count += 1
        try:
            check(s, name, data, wanted, after)
            assert s.json("GET", "/healthz", expect=200)
        except AssertionError as e:
            failed.append(f"{name}: {e}")
    assert not failed, "\n  " + "\n  ".join(failed)
    assert count >= 130, count
    print(f"   {count} cases")


def test_byte_by_byte(s):
    """A request in as many segments as it has bytes is the same request."""
    with connect(s) as c:
        reader = Reader(c)
        for _ in range(2):
            for byte in HEALTH:
                c.sendall(bytes([byte]))
            assert reader.answer()[0] == 200


def test_split_everywhere(s):
    body = b'{"colour":1}'
    data = (f"POST /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    with connect(s) as c:
        reader = Reader(c)
        for at in range(1, len(data)):
            c.sendall(data[:at])
            c.sendall(data[at:])
            status, _, text = reader.answer()
            assert status == 400 and b'"invalid"' in text, (at, text)


def test_pipelining(s):
    """Requests that come at once are answered in their order."""
    auth = f"Host: x\r\nAuthorization: Bearer {s.token}\r\n".encode()
    batch = b"".join((
        HEALTH,
        b"GET /v1/apps HTTP/1.1\r\n" + auth + b"\r\n",
        b"POST /v1/apps HTTP/1.1\r\n" + auth + b'Content-Length: 12\r\n\r\n{"colour":1}',
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /none HTTP/1.1\r\n" + auth + b"\r\n",
        b"GET /v1/apps HTTP/1.1\r\nHost: x\r\n\r\n"))
    wanted = [200, 200, 400, 200, 404, 401]
    with connect(s) as c:
        reader = Reader(c)
        sender = threading.Thread(target=c.sendall, args=(batch * 50,))
        sender.start()
        for i in range(50 * len(wanted)):
            at = i % len(wanted)
            assert reader.answer(bodiless=at == 3)[0] == wanted[at], i
        sender.join()


def test_keep_alive(s):
    with connect(s) as c:
        reader = Reader(c)
        for _ in range(1000):
            c.sendall(HEALTH)
            assert reader.answer()[0] == 200


def test_head_is_get_without_a_body(s):
    for path in ("/healthz", "/v1/apps", "/metrics", "/v1/apps/none"):
        got = s.ask("GET", path)
        head = s.ask("HEAD", path)
        assert head[0] == got[0] and head[2] == b"", path
        if path != "/metrics":
            assert head[1]["Content-Length"] == got[1]["Content-Length"], path


def test_allow_tells_what_there_is(s):
    for path, allow in (("/v1/apps", "GET, POST, HEAD, OPTIONS"), ("/healthz", "GET, HEAD, OPTIONS"),
                        ("/v1/apps/a", "GET, PUT, DELETE, HEAD, OPTIONS"),
                        ("/v1/apps/a/invoke/f", "POST, OPTIONS")):
        for method in ("OPTIONS", "PATCH"):
            assert s.ask(method, path)[1]["Allow"] == allow, (method, path)


def test_expect_continue(s):
    body = b'{"colour":1}'
    head = (f"POST /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    with connect(s) as c:
        reader = Reader(c)
        for _ in range(3):
            c.sendall(head)
            assert reader.answer()[0] == 100
            c.sendall(body)
            assert reader.answer()[0] == 400


def test_half_close(s):
    """Who ends his side before the answer is there is taken to have gone: he gets the answer, or the
    end, soon, and costs nothing more."""
    for data in (HEALTH, f"GET /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n\r\n".encode()):
        for _ in range(20):
            with connect(s, seconds=5) as c:
                reader = Reader(c)
                c.sendall(data)
                c.shutdown(socket.SHUT_WR)
                got = reader.answer()
                assert got is None or got[0] == 200, got
                assert reader.ended(5)
    assert_nothing_open(s)


def test_ends_in_the_middle(s):
    """A client that goes away in a head, a body or a chunk leaves nothing behind."""
    head = f"PUT /v1/apps/a/processes/p/state/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n".encode()
    length = head + b"Content-Length: 1000000\r\n\r\n"
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n"
    for data in (b"GET /hea", head[:60], length, length + b"x" * 500000, chunks, chunks + b"ffff\r\n" + b"x" * 100):
        for reset in (False, True):
            c = connect(s)
            c.sendall(data)
            if reset:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            c.close()
    assert_nothing_open(s)


def assert_nothing_open(s, seconds=20):
    """Soon: a request counts until the service has seen to its end, which is after its answer was read, so
    for the one that asked before this one too."""
    end = time.monotonic() + seconds
    while True:
        _, _, text = s.ask("GET", "/metrics")
        held, requests = value(text, "body_bytes"), value(text, "requests_open")
        if held == 0 and requests <= 1:
            return
        assert time.monotonic() < end, f"{held} bytes and {requests} requests of clients that left are still held"
        time.sleep(0.02)


def value(text, name):
    return float(re.search(rf"^praas_{name} (\S+)$", text.decode(), re.M).group(1))


def metric(s, name):
    return value(s.ask("GET", "/metrics")[2], name)


def trickle(s, first, byte, every):
    """Sends first, then byte after byte; how long until the service ended it."""
    began = time.monotonic()
    with connect(s) as c:
        c.sendall(first)
        c.settimeout(every)
        while time.monotonic() - began < 30:
            try:
                c.sendall(byte)
                if c.recv(4096) == b"":
                    break
            except (TimeoutError, socket.timeout):
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
    return time.monotonic() - began


def test_slow_clients_are_cut(s):
    """With a second for a head: one that trickles, a body below the least rate, an answer that is not
    taken. One that says nothing is left alone."""
    auth = f"Authorization: Bearer {s.token}\r\n".encode()
    head = b"PUT /v1/apps/a/processes/p/state/k HTTP/1.1\r\nHost: x\r\n" + auth
    slow = ((b"GET /healthz HTTP/1.1\r\nX: ", b"y"), (b"", b"G"), (b"G", b"E"),
            (head + b"Content-Length: 1000000\r\n\r\n", b"x"),
            (head + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n", b"x"))
    took = [None] * len(slow)

    def one(i):
        took[i] = trickle(s, *slow[i], 0.1)
    with connect(s) as idle, connect(s) as used:
        reader = Reader(used)
        used.sendall(HEALTH)
        assert reader.answer()[0] == 200
        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(slow))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert all(0.9 < x < 8 for x in took), took
        assert metric(s, "http_cut_total") >= len(slow)
        for c in (idle, used):
            c.sendall(HEALTH)
            assert (reader if c is used else Reader(c)).answer()[0] == 200


def test_slow_reader_is_cut(s):
    """An answer of 48 MiB that nobody reads is not kept for ever."""
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", "/v1/apps/a/processes", {"pid": "p"}, 201)
    path = "/v1/apps/a/processes/p/state/k"
    assert s.ask("PUT", path, bytes(40000))[0] == 204
    c = connect(s)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {s.token}\r\n\r\n".encode()
    began = time.monotonic()
    c.settimeout(0.2)
    while metric(s, "http_cut_total") == 0 and time.monotonic() - began < 25:
        try:
            c.sendall(one * 20)
        except (TimeoutError, socket.timeout):
            time.sleep(0.1)
        except (ConnectionResetError, BrokenPipeError):
            break
    assert metric(s, "http_cut_total") == 1
    c.close()


TESTS = [f for n, f in sorted(globals().items()) if n.startswith("test_")]


def main():
    failed = 0
    for test in TESTS:
        s = Service(sys.argv[1], sys.argv[2], "--head-seconds", "1")
        began = time.monotonic()
        try:
            s.start()
            test(s)
            code = s.stop()
            assert code == 0, f"exit code {code}"
            assert not s.cleanup(), "controllers left"
            print(f"ok {test.__name__} {time.monotonic() - began:.1f}s", flush=True)
        except Exception as e:  # the next test runs anyway
            failed += 1
            print(f"FAILED {test.__name__}: {type(e).__name__}: {e}", flush=True)
            s.cleanup()
    sys.exit(1 if failed else 0)


main()
