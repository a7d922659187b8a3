#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random requests, signed by ours and by botocore: the same signature, over what goes over the wire.

usage: oracle.py SIGN [COUNT]     (the program tests/s3/sign.c)
"""
import datetime
import random
import string
import subprocess
import sys

try:
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
except ImportError:
    print("SKIPPED: no botocore (Debian: python3-botocore)")
    sys.exit(77)

SEED = 20260131


def text(rng, most, chars):
    return "".join(rng.choice(chars) for _ in range(rng.randint(0, most)))


ANY = string.printable.replace("\x0b", "").replace("\x0c", "") + "äß€\U0001f600"
PATH = string.ascii_letters + string.digits + "-._~/ +:$&'()*,;=@!%\"<>[]{}^`|äß€"
HEADER = string.ascii_letters + string.digits + "   -._~+:$&'()*,;=@!%/\t"
NAME = string.ascii_lowercase + string.digits


def request(rng):
    date = datetime.datetime(rng.randint(2000, 2099), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23),
                             rng.randint(0, 59), rng.randint(0, 59))
    stamp = date.strftime("%Y%m%dT%H%M%SZ")
    payload = rng.choice(["UNSIGNED-PAYLOAD", "%064x" % rng.getrandbits(256)])
    # What botocore's own clean-up of hosts and paths would change is not asked: S3 signs what is sent.
    headers = {"host": "h" + text(rng, 20, NAME) + ".example.com", "x-amz-date": stamp,
               "x-amz-content-sha256": payload}
    for _ in range(rng.randint(0, 5)):
        headers["x-amz-meta-" + text(rng, 8, NAME + "-") + "x"] = "v" + text(rng, 30, HEADER)
    if rng.random() < 0.3:
        headers["x-amz-security-token"] = "t" + text(rng, 1000, string.ascii_letters + "+/=")
    query = [(text(rng, 12, ANY), text(rng, 40, ANY)) for _ in range(rng.randint(0, 6))]
    if rng.random() < 0.3 and query:
        query.append((query[0][0], text(rng, 5, ANY)))  # a name that comes twice
    return {"method": rng.choice(["GET", "PUT", "POST", "HEAD", "DELETE"]), "path": "/" + text(rng, 80, PATH),
            "payload": payload, "stamp": stamp, "date": date, "key": "AK" + text(rng, 18, string.ascii_uppercase),
            "secret": "s" + text(rng, 60, string.printable.strip()), "region": "r" + text(rng, 14, NAME + "-"),
            "query": query, "headers": headers}


def lines(r):
    fields = [r["method"], r["path"], r["payload"], r["stamp"], r["key"], r["secret"], r["region"],
              str(len(r["query"])), str(len(r["headers"]))]
    for name, value in [*r["query"], *r["headers"].items()]:
        fields += [name, value]
    return "".join(f.encode().hex() + "\n" for f in fields)




def expected(r, target):
    """botocore's signature of the request as it stands in the URL that ours made."""
    url = f"http://{r['headers']['host']}{target}"
    asked = botocore.awsrequest.AWSRequest(method=r["method"], url=url)
    for name, value in r["headers"].items():
        asked.headers[name] = value
    asked.context["timestamp"] = r["stamp"]
    signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(r["key"], r["secret"]), "s3", r["region"])
    canonical = signer.canonical_request(asked)
    # The last line is the payload's hash, which botocore takes from the body: here from the header.
    canonical = canonical.rsplit("\n", 1)[0] + "\n" + r["payload"]
    signature = signer.signature(signer.string_to_sign(asked, canonical), asked)
    names = signer.signed_headers(signer.headers_to_sign(asked))
    return (f"AWS4-HMAC-SHA256 Credential={signer.scope(asked)}, SignedHeaders={names}, Signature={signature}")


def decoded(target):
    """(path, sorted parameters) that a server sees."""
    from urllib.parse import unquote
    path, _, query = target.partition("?")
    pairs = [p.partition("=") for p in query.split("&")] if query else []
    return unquote(path), sorted((unquote(a), unquote(b)) for a, _, b in pairs)


def main(argv):
    count = int(argv[2]) if len(argv) > 2 else 10000
    rng = random.Random(SEED)
    requests = [request(rng) for _ in range(count)]
    out = subprocess.run([argv[1]], input="".join(map(lines, requests)), check=True, text=True,
                         capture_output=True).stdout.split("\n")
    for i, r in enumerate(requests):
        target, authorization = out[2 * i], out[2 * i + 1]
        assert decoded(target) == (r["path"], sorted(r["query"])), (r, target)
        want = expected(r, target)
        assert authorization == want, (r, target, authorization, want)
    print(f"{count} requests, the same signature in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
