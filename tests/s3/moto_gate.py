# SPDX-License-Identifier: Apache-2.0
"""moto's S3 in a thread, behind a gate that checks every signature and every body as strictly as S3 itself does.

moto checks signatures only in a mode that cannot list a prefix with a '/' (it encodes it twice), and bodies never. The
gate computes what must have been sent with botocore, which shares nothing with our signer.
"""
import datetime
import hashlib
import io
import logging
import os
import ssl
import subprocess
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET, REGION, BUCKET = "AKPRAASTEST", "secret/of+the=test", "eu-test-1", "praas-test"


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay

    def log(self, *args):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY


def error(start, status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>gate</Message></Error>".encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


class Gate:
    """Keys: {key id: (secret, session token or None)}; may change while it runs."""

    def __init__(self, app, keys, host_style):
        self.app, self.keys, self.host_style = app, keys, host_style
        self.requests = 0
        self.expired = set()  # key ids

    def wrong(self, env, body):
        """(status, code) of what is wrong; None: nothing."""
        headers = {n[5:].replace("_", "-").lower(): v for n, v in env.items() if n.startswith("HTTP_")}
        auth = headers.get("authorization", "")
        if not auth.startswith("AWS4-HMAC-SHA256 "):
            return "403 Forbidden", "AccessDenied"
        parts = dict(p.strip().split("=", 1) for p in auth.split(" ", 1)[1].split(","))
        key, day, region, service, _ = parts["Credential"].split("/")
        if key not in self.keys:
            return "403 Forbidden", "InvalidAccessKeyId"
        secret, session = self.keys[key]
        if headers.get("x-amz-security-token") != session or key in self.expired:
            return "400 Bad Request", "ExpiredToken" if session else "InvalidToken"
        stamp = headers.get("x-amz-date", "")
        try:
            when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
        except ValueError:
            return "403 Forbidden", "AccessDenied"
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        if abs((now - when).total_seconds()) > 900 or day != stamp[:8]:
            return "403 Forbidden", "RequestTimeTooSkewed"
        if region != REGION or service != "s3":
            return "400 Bad Request", "AuthorizationHeaderMalformed"
        must = {n for n in headers if n.startswith("x-amz-")} | {"host"}
        names = parts["SignedHeaders"].split(";")
        if not must <= set(names):
            return "403 Forbidden", "AccessDenied"
        asked = botocore.awsrequest.AWSRequest(
            method=env["REQUEST_METHOD"], url=f"http://{headers['host']}{env['REQUEST_URI']}")
        for name in names:
            asked.headers[name] = headers.get(name, "")
        asked.context["timestamp"] = stamp
        signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(key, secret), "s3", region)
        payload = headers.get("x-amz-content-sha256", "")
        canonical = signer.canonical_request(asked).rsplit("\n", 1)[0] + "\n" + payload
        if signer.signature(signer.string_to_sign(asked, canonical), asked) != parts["Signature"]:
            return "403 Forbidden", "SignatureDoesNotMatch"
        if payload != hashlib.sha256(body).hexdigest():
            return "400 Bad Request", "XAmzContentSHA256Mismatch"
        return None

    def __call__(self, env, start):
        self.requests += 1
        length = int(env.get("CONTENT_LENGTH") or 0)
        body = env["wsgi.input"].read(length) if length else b""
        refused = self.wrong(env, body)
        if refused:
            return error(start, *refused)
        env["wsgi.input"] = io.BytesIO(body)
        if self.host_style:  # moto is told in the path, its own host names are fixed
            bucket = env["HTTP_HOST"].split(".", 1)[0]
            env["PATH_INFO"] = f"/{bucket}{env['PATH_INFO']}"
            env["REQUEST_URI"] = env["RAW_URI"] = f"/{bucket}{env['REQUEST_URI']}"
            env["HTTP_HOST"] = env["HTTP_HOST"].split(".", 1)[1]
        return self.app(env, start)


def certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=s3.test", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    return f"{folder}/cert.pem", f"{folder}/key.pem"


class Server:
    def __init__(self, tls=None, host_style=False):
        """tls: a folder for the certificate."""
        os.environ.setdefault("MOTO_S3_CUSTOM_ENDPOINTS", "")
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.gate = Gate(DomainDispatcherApplication(create_backend_app), {KEY: (SECRET, None)}, host_style)
        self.server = make_server("127.0.0.1", 0, self.gate, threaded=True, request_handler=Handler)
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate(tls))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme, self.ca = "https", f"{tls}/cert.pem"
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.create_bucket(BUCKET)

    def create_bucket(self, name):
        from moto.s3.models import s3_backends
        s3_backends["123456789012"]["aws"].create_bucket(name, REGION)

    def endpoint(self, host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}"

    def url(self, prefix, endpoint=None, more=""):
        return f"s3://{BUCKET}/{prefix}?endpoint={endpoint or self.endpoint()}&region={REGION}{more}"

    @property
    def environment(self):
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def stop(self):
        self.server.shutdown()
