# SPDX-License-Identifier: Apache-2.0
"""How many there may be of something (docs/rest.md, Limits): the last one is made, the next one is refused with an error
of its own, and where one is deleted there is room again."""
import json
import os
import sqlite3

from service import run

P = "/v1/apps/a/processes"


def copy_rows(s, table, count, **change):
    """count copies of the only row of a table, while no service runs; change: column → SQL of the copy number i."""
    db = sqlite3.connect(os.path.join(s.data, "records.db"))
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != change.get("key")]
    change.pop("key", None)
    values = ", ".join(change.get(c, c) for c in columns)
    db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
               f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM n, {table}")
    db.commit()
    db.close()


def full(s, method, path, body, code, words, **kw):
    error = s.refused(method, path, json.dumps(body), 409, code, **kw)
    assert words in error["message"] and error["hint"], error


def test_limit_of_applications(s):
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    assert s.stop() == 0
    copy_rows(s, "apps", 9998, name="'a' || i", id="randomblob(16)")
    s.start()
    s.json("POST", "/v1/apps", {"name": "last", "code": s.code}, 201)
    s.refused("POST", "/v1/apps", json.dumps({"name": "more", "code": s.code}), 403, "quota_apps")  # of its tenant
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    t = s.json("POST", "/v1/tokens", {"scopes": ["deploy"], "tenant": "t"}, 201)["token"]
    full(s, "POST", "/v1/apps", {"name": "more", "code": s.code}, "limit_apps", "10000 applications", token=t)
    s.json("DELETE", "/v1/apps/a7", expect=204)
    s.json("POST", "/v1/apps", {"name": "more", "code": s.code}, 201, token=t)


def test_limit_of_processes(s):
    """Of one application; another one has room. A listing of them comes in pages."""
    s.json("POST", "/v1/apps", {"name": "a", "code": s.code}, 201)
    s.json("POST", P, {"pid": "p"}, 201)
    s.json("POST", P + "/p/swap-out", expect=200)
    assert s.stop() == 0
    copy_rows(s, "processes", 99998, key="number", name="'p' || i")
    s.start()
    s.json("POST", P, {"pid": "last"}, 201)
    full(s, "POST", P, {"pid": "more"}, "limit_processes", "too many processes")
    full(s, "POST", P + "/last/fork", {"pid": "more"}, "limit_processes", "too many processes")
    assert s.json("POST", P, {"pid": "last"}, 200)["pid"] == "last"  # it exists
    page = s.json("GET", P, expect=200)
    assert len(page["processes"]) == 1000 and page["next"] == page["processes"][-1]["pid"]
    s.json("DELETE", P + "/last", expect=204)
    s.json("POST", P, {"pid": "more"}, 201)
    s.json("POST", "/v1/apps", {"name": "b", "code": s.code}, 201)
    s.json("POST", "/v1/apps/b/processes", {}, 201)


def test_limit_of_tokens(s):
    """Of one tenant; another one has room."""
    c = s.connect()
    for _ in range(1000):
        made = s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201, connection=c)
    full(s, "POST", "/v1/tokens", {"scopes": ["read"]}, "limit_tokens", "1000")
    s.json("POST", "/v1/tenants", {"name": "t"}, 201)
    s.json("POST", "/v1/tokens", {"scopes": ["read"], "tenant": "t"}, 201)
    s.json("DELETE", "/v1/tokens/" + made["id"], expect=204)
    s.json("POST", "/v1/tokens", {"scopes": ["read"]}, 201)
    c.close()


def test_limit_of_tenants(s):
    c = s.connect()
    for i in range(999):  # and the tenant default
        s.json("POST", "/v1/tenants", {"name": f"t{i}"}, 201, connection=c)
    full(s, "POST", "/v1/tenants", {"name": "more"}, "limit_tenants", "1000")
    s.json("DELETE", "/v1/tenants/t5", expect=204)
    s.json("POST", "/v1/tenants", {"name": "more"}, 201)
    c.close()


run([f for n, f in sorted(globals().items()) if n.startswith("test_")])
