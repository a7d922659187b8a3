# SPDX-License-Identifier: Apache-2.0
"""/v1/openapi.json against the service: it describes all there is and nothing else, and what the
service takes and answers is as described."""
import json
import os
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("SKIPPED: python3-jsonschema is missing")
    sys.exit(77)

from service import run, write_library

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
NAMES = {"app": "a", "pid": "p", "fn": "echo", "key": "k", "id": "t"}


class Description:
    def __init__(self, s):
        self.s = s
        self.doc = s.json("GET", "/v1/openapi.json", expect=200, token="")
        self.seen = set()  # (operationId, status)

    def find(self, ref):
        node = self.doc
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        return node

    def operations(self):
        for path, item in self.doc["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def validator(self, schema):
        resolver = jsonschema.RefResolver("", self.doc)
        return jsonschema.Draft202012Validator(schema, resolver=resolver)

    def operation_of(self, method, path):
        bare = path.split("?")[0]
        for m, pattern, operation in self.operations():
            if m == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), bare):
                return operation
        raise AssertionError(f"{method} {path} is not described")

    def ask(self, method, path, body=None, headers=None, token=None):
        """A request whose answer must be as it is described."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        status, got, data = self.s.ask(method, path, body, headers, token)
        operation = self.operation_of(method, path)
        where = f"{method} {path}: {status} {data[:300]}"
        described = operation["responses"].get(str(status))
        if described is None:
            assert status >= 400, f"not described: {where}"
            described = self.find(operation["responses"]["default"]["$ref"])
        if "content" not in described:
            assert data == b"", where
        elif got.get_content_type() in described["content"]:
            kind = got.get_content_type()
            schema = described["content"][kind]["schema"]
            if kind == "application/json":
                errors = list(self.validator(schema).iter_errors(json.loads(data)))
                assert not errors, f"{where}: {errors[0].message}"
        else:
            raise AssertionError(f"{got.get_content_type()} is not described: {where}")
        self.seen.add((operation["operationId"], str(status)))
        return status, got, data


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_is_openapi(s):
    d = Description(s)
    assert re.fullmatch(r"3\.1\.\d+", d.doc["openapi"])
    assert {"title", "version"} <= set(d.doc["info"])
    for ref in set(references(d.doc)):
        d.find(ref)
    used = set(references(d.doc))
    for kind in ("parameters", "responses", "schemas"):
        for name in d.doc["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{kind} {name} is not used"
    for schema in d.doc["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    ids = []
    for method, path, operation in d.operations():
        ids.append(operation["operationId"])
        assert operation["summary"] and operation["responses"], (method, path)
        parameters = [d.find(p["$ref"]) for p in operation["parameters"]]
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"\{(\w+)\}", path))
        assert all(p["required"] for p in parameters if p["in"] == "path")
        assert any(int(x) < 400 for x in operation["responses"] if x.isdigit()), (method, path)
        assert ("requestBody" in operation) <= (method in ("POST", "PUT")), (method, path)
    assert len(ids) == len(set(ids))
    try:  # not in Debian 12; used where it is at hand
        from openapi_spec_validator import validate
        validate(d.doc)
        print("   openapi-spec-validator agrees")
    except ImportError:
        pass


def test_is_the_table(s):
    d = Description(s)
    table = json.loads(subprocess.check_output([sys.argv[3]]))
    described = {(m, p, o["operationId"], o.get("x-praas-scope")) for m, p, o in d.operations()}
    assert described == {(r["method"], r["pattern"], r["id"], r["scope"]) for r in table}
    for r in table:
        operation = d.doc["paths"][r["pattern"]][r["method"].lower()]
        assert ("requestBody" in operation) == (r["body"] != "none"), r
        assert (operation.get("security") == []) == (r["scope"] is None), r


def test_every_method_of_every_path(s):
    """What is described is there; what is not is 405, and Allow says what is."""
    d = Description(s)
    for path, item in d.doc["paths"].items():
        concrete = re.sub(r"\{(\w+)\}", lambda m: NAMES[m.group(1)], path)
        described = {m.upper() for m in item} | {"OPTIONS"}
        allow = s.ask("OPTIONS", concrete)[1]["Allow"].split(", ")
        assert set(allow) - {"HEAD"} == described, (path, allow)
        for method in METHODS:
            status, headers, data = s.ask(method, concrete)
            code = json.loads(data)["error"]["code"] if status >= 400 and data else ""
            assert code != "no_route", (method, path)
            if method == "HEAD":
                assert (status == 405) == ("HEAD" not in allow), (method, path, status)
            else:
                assert (status == 405) == (method not in described), (method, path, status)
            if status == 405:
                assert headers["Allow"] == ", ".join(allow)


def watch(d, app):
    """An answer without an end: its beginning is as described."""
    c = d.s.connect()
    c.request("GET", app + "/watch", headers={"Authorization": "Bearer " + d.s.token})
    r = c.getresponse()
    described = d.operation_of("GET", app + "/watch")["responses"][str(r.status)]
    assert r.headers.get_content_type() in described["content"]
    d.seen.add(("watch", str(r.status)))
    r.close()
    c.close()


def use_all(d):
    """Every operation with every success that is described."""
    s, app, p = d.s, "/v1/apps/a", "/v1/apps/a/processes"
    for path in ("/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/limits"):
        d.ask("GET", path)
    d.ask("POST", "/v1/apps", {"name": "a", "code": s.code})
    write_library(os.path.join(s.code, "libecho.so"))
    d.ask("PUT", app, {"roll": False})
    d.ask("POST", p, {"pid": "p"})
    d.ask("POST", p, {"pid": "p"})
    d.ask("POST", p, {"pid": "q", "wait": False})
    s.await_state("a", "q", "ACTIVE")
    d.ask("POST", p, b"")
    d.ask("POST", app + "/invoke/echo", b"x", {"Praas-Pid": "p", "Praas-Key": "k", "Praas-Deadline-Ms": "5000"})
    d.ask("PUT", p + "/p/state/k", b"v")
    d.ask("GET", p + "/p/state/k")
    d.ask("POST", p + "/p/messages/k", b"m")
    d.ask("GET", p + "/p/messages/k?wait_ms=100")
    for path in ("/v1/apps", app, app + "/members", p, p + "/p", p + "/p/state", p + "/p/logs"):
        d.ask("GET", path)
    watch(d, app)
    for path in ("/v1/apps", app + "/members", p, p + "/p/state"):
        d.ask("GET", path + "?limit=1")
    d.ask("POST", p + "/p/snapshots", {"name": "s"})
    d.ask("POST", p + "/p/snapshots", {"name": "t"})
    d.ask("GET", p + "/p/snapshots?limit=1")
    d.ask("GET", p + "/p/snapshots/s")
    d.ask("POST", p + "/p/fork", {"pid": "f", "snapshot": "s"})
    d.ask("POST", p + "/p/rollback", {"snapshot": "s"})
    d.ask("POST", p + "/p/swap-in", {})
    d.ask("DELETE", p + "/p/snapshots/s")
    for action in ("checkpoint", "migrate", "swap-out", "swap-in", "tickets", "kill"):
        d.ask("POST", f"{p}/p/{action}", {})
    for query in ("", "?by=process&application=a&process=p&limit=1", "?by=tenant&tenant=default",
                  "?by=process&limit=1&after=default/a/1&since_s=1&until_s=9000000000"):
        d.ask("GET", "/v1/usage" + query)
    d.ask("DELETE", p + "/p/state/k")
    d.ask("POST", "/v1/tenants", {"name": "t", "limits": {"apps": 3}})
    d.ask("PUT", "/v1/tenants/t", {"limits": {"apps": 4}})
    d.ask("GET", "/v1/tenants/t")
    d.ask("GET", "/v1/tenants?limit=1")
    _, _, made = d.ask("POST", "/v1/tokens", {"scopes": ["read"], "ttl_s": 60, "app": "a", "label": "l"})
    d.ask("GET", "/v1/tokens?limit=1")
    d.ask("DELETE", "/v1/tokens/" + json.loads(made)["id"])
    d.ask("GET", "/v1/nodes")
    d.ask("POST", "/v1/nodes/local/drain", {})  # there is no other
    d.ask("POST", "/v1/nodes/local/drain", {"swap_out": True})
    d.ask("GET", "/v1/nodes")
    d.ask("POST", "/v1/nodes/local/resume", {})
    d.ask("DELETE", "/v1/tenants/t")
    for name in [x["pid"] for x in s.json("GET", p)["processes"]]:
        d.ask("DELETE", f"{p}/{name}")
    d.ask("DELETE", app)


def test_answers_are_as_described(s):
    d = Description(s)
    use_all(d)
    missing = {(o["operationId"], status) for _, _, o in d.operations()
               for status in o["responses"] if status.isdigit()} - d.seen
    assert not missing, f"never seen: {sorted(missing)}"


def test_refusals_are_as_described(s):
    """No key, a wrong path, nothing there: every operation answers in the form of an error."""
    d = Description(s)
    for method, path, operation in d.operations():
        concrete = re.sub(r"\{(\w+)\}", lambda m: NAMES[m.group(1)], path)
        wrong = re.sub(r"\{(\w+)\}", "%00", path)
        status, _, _ = d.ask(method, concrete, token="")
        assert (status == 401) == (operation.get("security") != []), (method, path, status)
        if wrong != path:
            assert d.s.refused(method, wrong, None, 400, "invalid_name")
        if "{app}" in path:
            assert d.ask(method, concrete)[0] == 404, (method, path)


def wrong_values(schema):
    """Values that a schema does not allow, for the kinds that bodies have."""
    kind = schema.get("type", "string" if "enum" in schema else None)
    yield {"integer": "7", "string": 7, "boolean": "yes", "array": "x", "object": 7}[kind]
    yield None
    if kind == "integer":
        yield 1.5
        yield schema.get("minimum", 0) - 1
        if "maximum" in schema:
            yield schema["maximum"] + 1
    if "enum" in schema:
        yield "none of them"
    if "pattern" in schema:
        yield "no such \u00e4\n"
    if schema.get("minItems"):
        yield []


def test_bodies_that_are_not_as_described(s):
    """Of every JSON body: each member with a value that its schema does not allow, an unknown member,
    a required one left out. All are refused, and nothing is made."""
    d = Description(s)
    good = {"AppNew": {"name": "b", "code": s.code}, "TokenNew": {"scopes": ["read"]}, "TenantNew": {"name": "u"},
            "SnapshotNew": {"name": "s"}, "Rollback": {"snapshot": "s"}}
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", "/v1/apps/a/processes", {"pid": "p"}, 201)
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    tried = 0
    for method, path, operation in d.operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        schema, whole = d.doc["components"]["schemas"][name], good.get(name, {})
        concrete = re.sub(r"\{(\w+)\}", lambda m: NAMES[m.group(1)], path)
        bodies = [{**whole, "no such member": 1}]
        bodies += [{k: v for k, v in whole.items() if k != gone} for gone in schema.get("required", [])]
        for member, of in schema["properties"].items():
            of = d.find(of["$ref"]) if "$ref" in of else of
            bodies += [{**whole, member: value} for value in wrong_values(of)]
            for inner, inner_of in of.get("properties", {}).items():
                bodies += [{**whole, member: {inner: value}} for value in wrong_values(inner_of)]
            if of.get("additionalProperties") is False:
                bodies.append({**whole, member: {"no such member": 1}})
        for body in bodies:
            assert list(d.validator(schema).iter_errors(body)), f"{name} allows {body}"
            status, _, data = d.ask(method, concrete, body)
            assert status == 400, f"{method} {path} took {body}: {status} {data}"
            tried += 1
    assert tried >= 100, tried
    assert [a["name"] for a in s.json("GET", "/v1/apps")["apps"]] == ["a"]
    print(f"   {tried} bodies")


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
