# SPDX-License-Identifier: Apache-2.0
"""A proxy between an S3 client and a real server that lets things go wrong, request by request.

Orders, one a line on the control port, each answered by a line:
  FAULT METHOD COUNT [ARGUMENT]   the next COUNT requests of METHOD (* any) suffer FAULT
  chaos PERCENT SEED              any fault, by chance, from now on
  clear                           nothing any more
  count                           how many requests there were, and how many suffered something

Faults: delay MS; stall (no answer, ever); reset (before the server sees it); lost (it had its effect, the answer is cut
off); late MS (as lost, and the effect comes MS later); cut (half of the answer's body); status CODE[:S3CODE] (without the
server); wrong (a bit of the answer's body); damaged (a bit of the request's body).
"""
import random
import socket
import struct
import threading
import time

KINDS = ("delay", "stall", "reset", "lost", "late", "cut", "status", "damaged")  # by chance
ARGUMENTS = {"delay": ("50", "400"), "late": ("30", "300"), "status": ("500:InternalError", "503:SlowDown", "502", "409")}


class Gone(Exception):
    pass


def read_message(f):
    """(head, body) of one request or answer that says its length; (b"", b"") at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = f.readline()
        if not line:
            return b"", b""
        head += line
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head, length


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


class Proxy:
    def __init__(self, server):
        self.server, self.lock = server, threading.Lock()
        self.rules, self.chaos, self.requests, self.faults = [], None, 0, 0
        self.port = self.listen(self.serve)
        self.control_port = self.listen(self.control)

    def listen(self, handler):
        s = socket.create_server(("127.0.0.1", 0), backlog=64)

        def accept():
            while True:
                connection, _ = s.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=handler, args=(connection,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return s.getsockname()[1]

    def control(self, connection):
        with connection, connection.makefile("rw") as f:
            for line in f:
                f.write(self.order(line.split()) + "\n")
                f.flush()

    def order(self, words):
        with self.lock:
            if words[0] == "clear":
                self.rules, self.chaos = [], None
            elif words[0] == "count":
                return f"{self.requests} {self.faults}"
            elif words[0] == "chaos":
                self.chaos = (int(words[1]), random.Random(int(words[2])))
            else:
                self.rules.append([words[0], words[1], int(words[2]), (words + [""])[3]])
        return "ok"

    def choose(self, method):
        """(fault, argument) of this request."""
        with self.lock:
            self.requests += 1
            for rule in self.rules:
                if rule[2] > 0 and rule[1] in ("*", method):
                    rule[2] -= 1
                    self.faults += 1
                    return rule[0], rule[3]
            if self.chaos and self.chaos[1].random() * 100 < self.chaos[0]:
                kind = self.chaos[1].choice(KINDS)
                self.faults += 1
                return kind, self.chaos[1].choice(ARGUMENTS.get(kind, ("",)))
        return "", ""

    def ask(self, head, body):
        """The server's answer, over a connection of its own."""
        with socket.create_connection(self.server, timeout=60) as s, s.makefile("rb") as f:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) + body)
            answer, length = read_message(f)
            return answer, b"" if head.startswith(b"HEAD ") else f.read(length)

    def ask_late(self, head, body):
        try:
            self.ask(head, body)
        except OSError:
            pass  # the server has had its end meanwhile: then it never comes

    def serve(self, connection):
        try:
            with connection, connection.makefile("rb") as f:
                while True:
                    head, length = read_message(f)
                    if not head:
                        return
                    self.one(connection, head, f.read(length) if length else b"")
        except (Gone, OSError):
            pass

    def one(self, connection, head, body):
        kind, argument = self.choose(head.split(b" ", 1)[0].decode())
        if kind == "delay":
            time.sleep(int(argument) / 1000)
        elif kind == "stall":
            connection.recv(1)  # until the client goes
            raise Gone
        elif kind == "reset":
            reset(connection)
        elif kind == "late":
            threading.Timer(int(argument) / 1000, self.ask_late, (head, body)).start()
            reset(connection)
        elif kind == "status":
            status, _, code = argument.partition(":")
            text = f"<Error><Code>{code}</Code></Error>".encode() if code and not head.startswith(b"HEAD ") else b""
            connection.sendall(f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            return
        elif kind == "damaged" and body:
            body = bytes([body[0] ^ 4]) + body[1:]
        answer, data = self.ask(head, body)
        if kind == "lost":
            reset(connection)
        if kind == "wrong" and data:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if kind == "cut":
            connection.sendall(answer + data[:len(data) // 2])
            reset(connection)
        connection.sendall(answer.replace(b"Connection: close\r\n", b"") + data)
