#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keys with a session token from the metadata endpoints of a task and of an instance, which a server that checks them takes
until they expire: then new ones are fetched.

usage: keys.py CONFORMANCE_STORE

The endpoints are doubles of ours: the real ones are on AWS's machines alone.
"""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import guard  # noqa: E402

guard.ensure()
try:
    import moto_gate
except ImportError as e:
    print(f"SKIPPED: no moto for {sys.executable}: {e}")
    sys.exit(77)

ROLE, TOKEN, TASK = "role-of-it", "imds-token", "Bearer of-the-task"


class Metadata(http.server.BaseHTTPRequestHandler):
    """Each set of keys is new; the gate takes the newest one."""
    gate, asked, expire_after = None, [], 10**9

    def log_message(self, *args):
        pass

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def keys(self):
        n = len(self.asked)
        self.asked.append(self.path)
        key, secret, session = f"ASIA{n}", f"secret{n}/+", f"session{n}=="
        self.gate.keys = {key: (secret, session)}
        self.answer(200, json.dumps({"AccessKeyId": key, "SecretAccessKey": secret, "Token": session,
                                     "Expiration": "2099-01-01T00:00:00Z"}))

    def do_PUT(self):
        good = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if good else 400, TOKEN if good else "")

    def do_GET(self):
        base = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/task" and self.headers["Authorization"] == TASK:
            self.keys()
        elif not self.path.startswith(base) or self.headers["X-aws-ec2-metadata-token"] != TOKEN:
            self.answer(401, "")
        elif self.path == base:
            self.answer(200, ROLE + "\n")
        elif self.path == base + ROLE:
            self.keys()
        else:
            self.answer(404, "")


class Expiring(moto_gate.Gate):
    """Says once, after some requests, that the keys have expired."""
    after = 30

    def __call__(self, env, start):
        if self.requests == self.after:
            self.expired |= set(self.keys)
        return super().__call__(env, start)


def run(program, url, env, wanted=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    out = subprocess.run([program, url], env={**clean, "HOME": "/nonexistent", **env}, capture_output=True, text=True,
                         timeout=100, check=False)
    assert (out.returncode == 0) == (wanted == 0), (out.returncode, out.stdout[-2000:], out.stderr[-2000:])


def main(argv):
    server = moto_gate.Server()
    server.gate.__class__ = Expiring
    Metadata.gate = server.gate
    metadata = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{metadata.server_port}"
    off = {"AWS_EC2_METADATA_DISABLED": "true"}

    task = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": at + "/task", **off}
    run(argv[1], server.url("task"), {**task, "AWS_CONTAINER_AUTHORIZATION_TOKEN": TASK})
    assert Metadata.asked == ["/task"] * 2, Metadata.asked  # the second time when they had expired
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(TASK + "\n")
        f.flush()
        run(argv[1], server.url("file"), {**task, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f.name})
    run(argv[1], server.url("refused"), {**task, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "no"}, wanted=1)

    before, server.gate.after = len(Metadata.asked), server.gate.requests + 30
    run(argv[1], server.url("instance"), {"AWS_EC2_METADATA_SERVICE_ENDPOINT": at})
    assert len(Metadata.asked) == before + 2, Metadata.asked
    run(argv[1], server.url("off"), {"AWS_EC2_METADATA_SERVICE_ENDPOINT": at, **off}, wanted=1)

    server.gate.keys = {"AKFILE": ("secret of file".replace(" ", ""), None)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "credentials")
        with open(path, "w") as f:
            f.write("[default]\naws_access_key_id = NO\naws_secret_access_key = NO\n[p]\naws_access_key_id = AKFILE\n"
                    "aws_secret_access_key = secretoffile\n")
        env = {"AWS_SHARED_CREDENTIALS_FILE": path, "AWS_PROFILE": "p", **off}
        os.chmod(path, 0o644)
        run(argv[1], server.url("open"), env, wanted=1)
        os.chmod(path, 0o600)
        run(argv[1], server.url("file2"), env)
    server.stop()
    print("task, instance, file: taken; expired: fetched again")


if __name__ == "__main__":
    main(sys.argv)
