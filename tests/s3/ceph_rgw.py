# SPDX-License-Identifier: Apache-2.0
"""Ceph's RADOS Gateway from the distribution's packages: one monitor, one store, one gateway, all on loopback and in
one folder. The strict judge of signatures and bodies."""
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid

KEY, SECRET, REGION, BUCKET = "AKPRAASTEST", "secretofthetest", "us-east-1", "praas-test"
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph-authtool", "monmaptool", "radosgw-admin", "ceph")
READY_S = 120

CONFIG = """[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {dir}/keyring
auth_allow_insecure_global_id_reclaim = false
client_mount_timeout = 20
rgw_init_timeout = 60
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 2
mon_data_avail_crit = 1
run_dir = {dir}/run
admin_socket = {dir}/run/$cluster-$name.$pid.asok
pid_file = {dir}/run/$name.pid
log_file = {dir}/log/$name.log
crash_dir = {dir}/log
[mon]
mon_data = {dir}/mon
[osd]
osd_data = {dir}/osd0
osd_objectstore = memstore
memstore_device_bytes = {room}
osd_memory_target = 939524096
[client.rgw]
rgw_data = {dir}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def missing():
    return [p for p in PROGRAMS if not shutil.which(p)]


class Server:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="praas-rgw-")
        for name in ("mon", "osd0", "rgw", "run", "log"):
            os.mkdir(f"{self.dir}/{name}")
        self.processes = []
        self.mon2, self.mon1, self.port = free_ports(3)
        self.fsid = str(uuid.uuid4())
        with open(f"{self.dir}/ceph.conf", "w") as f:
            f.write(CONFIG.format(dir=self.dir, fsid=self.fsid, mon1=self.mon1, mon2=self.mon2, port=self.port,
                                  room=int(os.environ.get("PRAAS_RGW_BYTES", 3 << 30))))
        self.env = {**os.environ, "CEPH_CONF": f"{self.dir}/ceph.conf"}
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def run(self, *command, **kw):
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True, timeout=60, **kw)

    def daemon(self, *command):
        self.processes.append(subprocess.Popen([*command, "-f"], env=self.env, stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))

    def wait(self, what, true):
        end = time.monotonic() + READY_S
        while not true():
            if time.monotonic() > end or any(p.poll() is not None for p in self.processes):
                raise RuntimeError(f"Ceph: no {what}")
            time.sleep(0.2)

    def ask(self, *command):
        try:
            return self.run("timeout", "5", "ceph", *command).stdout
        except subprocess.CalledProcessError:
            return ""

    def answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).read()
        except OSError:
            return False
        return True

    def start(self):
        ring = f"{self.dir}/keyring"
        self.run("ceph-authtool", "-C", ring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "client.rgw"):
            self.run("ceph-authtool", ring, "--gen-key", "-n", name, "--cap", "mon", "allow *", "--cap", "osd",
                     "allow *", "--cap", "mgr", "allow *")
        self.run("ceph-authtool", ring, "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap",
                 "osd", "allow *", "--cap", "mgr", "allow profile osd")
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a",
                 f"[v2:127.0.0.1:{self.mon2},v1:127.0.0.1:{self.mon1}]", f"{self.dir}/monmap")
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", f"{self.dir}/monmap", "--keyring", ring)
        self.daemon("ceph-mon", "-i", "a")
        self.wait("monitor", lambda: self.ask("-s"))
        osd = str(uuid.uuid4())
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.daemon("ceph-osd", "-i", "0")
        self.wait("store", lambda: "1 up" in self.ask("osd", "stat"))
        self.daemon("radosgw", "-n", "client.rgw")
        self.wait("gateway", self.answers)
        self.run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "praas", "--display-name", "praas",
                 "--access-key", KEY, "--secret-key", SECRET)
        self.run("curl", "-sf", "-X", "PUT", "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{KEY}:{SECRET}", "-H",
                 "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                 f"http://127.0.0.1:{self.port}/{BUCKET}")

    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix, endpoint=None, more=""):
        return f"s3://{BUCKET}/{prefix}?endpoint={endpoint or self.endpoint()}&region={REGION}{more}"

    @property
    def environment(self):
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def stop(self):
        for p in reversed(self.processes):
            p.kill()
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
