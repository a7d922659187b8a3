# SPDX-License-Identifier: Apache-2.0
"""A network of a test's own: hosts that are network namespaces, joined by a bridge. The test itself is on the bridge,
in a namespace of its own too, so nothing of this machine's network is touched, and all goes with the test.

What can be done to it: packets lost by chance, in one direction or both, between two hosts or with all; connections
reset; bandwidth taken away; on a line with a relay in it (a program between two TAP devices) packets late, and overtaken.
"""
import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time

NEWNET = 0x40000000  # CLONE_NEWNET
NET = "10.77.0"
HERE = f"{NET}.254"  # the test's own


class Unavailable(Exception):
    """Why there is no such network."""


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[:200]}")
    return done.stdout


def enter_own():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNET) != 0:
        raise Unavailable(f"no network namespace of our own: {os.strerror(ctypes.get_errno())}")


def make_tap(name, netns=None):
    """A device of that name, here or there, and the descriptor that has its packets. For a program of one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    if netns:
        there = os.open(netns, os.O_RDONLY)
        if libc.setns(there, NEWNET) != 0:
            raise Unavailable(f"setns: {os.strerror(ctypes.get_errno())}")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH14x", name.encode(), 0x0002 | 0x1000))  # TUNSETIFF, TAP, NO_PI
    libc.setns(own, NEWNET)
    return fd


class Relay:
    """Two ends of a line; what comes in at one leaves at the other."""

    def __init__(self, name, netns):
        self.told, self.tell = os.pipe()
        ready, done = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ends = [make_tap(name), make_tap("eth0", netns)]
                os.write(done, b"x")
                self.run(ends)
            except (OSError, Unavailable) as e:
                print("relay:", e, file=sys.stderr, flush=True)
            finally:
                os._exit(1)
        os.close(done)
        if os.read(ready, 1) != b"x":
            raise Unavailable("no TAP devices")

    def run(self, ends):
        """In a process of its own. Per packet: a delay, and for some of a thousand one more, so that others overtake it."""
        least, most, permille, count, waiting = 0.0, 0.0, 0, 0, []
        while True:
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            readable, _, _ = select.select([*ends, self.told], [], [], pause)
            if self.told in readable:
                text = os.read(self.told, 4096)
                if not text:
                    os._exit(0)
                least, most, permille = (float(w) for w in text.decode().splitlines()[-1].split())
            now = time.monotonic()
            for end in (0, 1):
                if ends[end] not in readable:
                    continue
                frame, count = os.read(ends[end], 65536), count + 1
                late = random.uniform(0.005, 0.05) if random.random() * 1000 < permille else 0.0
                heapq.heappush(waiting, (now + random.uniform(least, most) + late, count, 1 - end, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(waiting)
                try:
                    os.write(ends[end], frame)
                except OSError:
                    pass  # it is down, or full: lost

    def set(self, least=0.0, most=0.0, permille=0):
        os.write(self.tell, f"{least} {most} {permille}\n".encode())


class Host:
    def __init__(self, name, number, relayed=False):
        self.name, self.address = name, f"{NET}.{number}"
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            if self.holder.poll() is not None:
                raise Unavailable("unshare -n does not work")
        self.netns = f"/proc/{self.holder.pid}/ns/net"
        self.relay = Relay(f"v-{name}", self.netns) if relayed else None
        if not relayed:
            run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        run("ip", "link", "set", f"v-{name}", "master", "br0", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words):
        """To be run there."""
        return ["nsenter", f"--net={self.netns}", *words]

    def run(self, *words, text=None):
        return run(*self.command(*words), text=text)

    def rules(self, *rules):
        """What becomes of packets: (chain, rule) with the chains input and output."""
        lines = ["add table inet chaos", "flush table inet chaos",
                 "add chain inet chaos input { type filter hook input priority 0; }",
                 "add chain inet chaos output { type filter hook output priority 0; }"]
        lines += [f"add rule inet chaos {chain} {rule}" for chain, rule in rules]
        self.run("nft", "-f", "-", text="\n".join(lines))

    @staticmethod
    def of(peer, direction):
        return f"ip {direction} {peer.address} " if peer else "meta iif != lo " if direction == "saddr" \
            else "meta oif != lo "

    def lose(self, percent, peer=None):
        """So many of a hundred packets that come (from the peer)."""
        self.rules(("input", f"{self.of(peer, 'saddr')}numgen random mod 1000 < {int(percent * 10)} drop"))

    def cut(self, peer=None, to=True, back=True):
        """Nothing goes to the peer (to all), nothing comes back."""
        rules = []
        if to:
            rules.append(("output", f"{self.of(peer, 'daddr')}drop"))
        if back:
            rules.append(("input", f"{self.of(peer, 'saddr')}drop"))
        self.rules(*rules)

    def reset(self, permille=1000, peer=None):
        """Connections with the peer get a RST, by the chance of each packet that comes."""
        self.rules(("input", f"{self.of(peer, 'saddr')}meta l4proto tcp numgen random mod 1000 < {permille} "
                             "reject with tcp reset"))

    def slow(self, kbit):
        """What leaves, at so many thousand bits a second."""
        self.run("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kbit}kbit", "burst", "16kb",
                 "latency", "200ms")

    def delay(self, least, most, permille):
        """What passes its relay: seconds; of a thousand packets so many are overtaken by others."""
        self.relay.set(least, most, permille)

    def heal(self):
        self.rules()
        if self.relay:
            self.relay.set()
        if "tbf" in self.run("tc", "qdisc", "show", "dev", "eth0"):
            self.run("tc", "qdisc", "del", "dev", "eth0", "root")


def network(names, relayed=""):
    """Hosts of these names, some with a relay in their line. Unavailable, and why."""
    for program in ("ip", "nft", "tc", "nsenter", "unshare"):
        if not shutil.which(program) and not os.path.exists(f"/usr/sbin/{program}"):
            raise Unavailable(f"{program} is not installed")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    enter_own()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", f"{HERE}/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    hosts = {name: Host(name, i + 1, name in relayed) for i, name in enumerate(names)}
    for host in hosts.values():  # as a look whether rules can be made at all
        host.heal()
    return hosts
