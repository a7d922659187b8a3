# SPDX-License-Identifier: Apache-2.0
"""A bad network under the load of campaign.py: processes on two nodes and clients on three hosts, which are network
namespaces; between them packets are lost, pass in one direction only or not at all, are late and overtaken, connections are
reset, lines are thin; controllers are killed, and stopped for some time; between, processes are swapped out and wake on whichever node. At
the end what clients saw is held against the contract (history.py), and messages from process to process must have come
once and in order.

usage: network.py CONTROL CONTROLLER FUNCTIONS LOAD [--rounds 300] [--seed N] [--seconds N] [--keep]
"""
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import campaign  # noqa: E402
import hosts as net  # noqa: E402

MIB = 1 << 20
TROUBLES = (("loss", 5), ("cut", 4), ("one-way", 3), ("reset", 3), ("slow", 2), ("delay", 3), ("kill", 3), ("stop", 3))


class Network(campaign.Campaign):
    clients = ("w/a/auto", "w/a/direct", "w/b/auto", "i/c/auto",  # on x
               "w/a/auto", "w/b/auto", "i/c/auto", "w/b/direct",  # on y
               "w/a/auto", "w/b/auto", "i/c/auto")  # on z
    where = "xxxxyyyyzzz"
    late = True
    hosts = {}
    step = 20  # messages at a time
    rests = 0.02  # who receives them is swapped out between two of them, so often

    def __init__(self, o):
        super().__init__(o)
        self.sent = 0
        self.messenger = threading.Thread(target=self.send_messages)

    @classmethod
    def options(cls):
        words = ["--listen", f"{net.HERE}:0", "--insecure-listen", "--no-cgroup", "--placement", "spread"]
        for name in "xy":
            words += ["--node", f"{name},netns={cls.hosts[name].netns},listen={cls.hosts[name].address},memory=2G"]
        return words

    def start_load(self, *before, clients=None):
        for name, host in self.hosts.items():
            super().start_load(*host.command(), clients=[c if at == name else "-"
                                                         for c, at in zip(self.clients, self.where)])
        self.start_messages(s="x", r="y")

    def start_messages(self, **nodes):
        self.s.json("POST", "/v1/apps", {"name": "m", "code": self.functions, "isolation": "worker",
                                         "allow_weak_sandbox": True, "resources": {"memory_bytes": 128 * MIB}}, 201)
        self.numbers = {pid: self.s.json("POST", "/v1/apps/m/processes",
                                         {"pid": pid, **({"node": nodes[pid]} if nodes else {})}, 201)["number"]
                        for pid in "sr"}
        self.messenger.start()

    # ---- messages from s to r, neither of which is ever killed --------------------------

    def invoke(self, pid, fn, text):
        return self.s.ask("POST", f"/v1/apps/m/invoke/{fn}", text, {"Praas-Pid": pid})

    def send_messages(self):
        """What the service says to s does not pass where the trouble is."""
        chance = random.Random(self.random.random())
        while not self.over:
            status, _, answer = self.invoke("s", "send_many", f"{self.numbers['r']} {self.sent + 1} {self.step}")
            if status != 200:
                self.problems.append(f"send_many: {status} {answer!r}")
                return
            self.sent += int(answer)
            if chance.random() < 0.1:
                self.invoke("r", "drain", "0")
            if chance.random() < self.rests:
                self.s.ask("POST", "/v1/apps/m/processes/r/swap-out", "{}")
            time.sleep(0.02)

    def check_messages(self):
        end = time.monotonic() + 60
        got, wanted = [], [str(n + 1) for n in range(self.sent)]
        while got != wanted and time.monotonic() < end:
            status, _, answer = self.invoke("r", "drain", "200")
            if status == 200:
                got = [line.split(" ", 1)[1] for line in answer.decode().splitlines()]
        if got != wanted:
            first = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
            self.problems.append(f"of {len(wanted)} messages {len(got)} came; at {first + 1} {got[first:first + 3]}")

    # ---- rounds -------------------------------------------------------------------------

    def trouble(self, kind, one, other, seconds):
        if kind == "loss":
            one.lose(self.random.uniform(1, 10), other)
        elif kind == "cut":
            one.cut(other)
        elif kind == "one-way":
            to = self.random.random() < 0.5
            one.cut(other, to=to, back=not to)
        elif kind == "reset":
            one.reset(self.random.randrange(20, 500), other)
        elif kind == "slow":
            one.slow(self.random.choice((256, 1000, 8000)))
        elif kind == "delay":
            one = self.hosts["z"]
            one.delay(0.0, self.random.uniform(0.001, 0.06), self.random.randrange(300))
        time.sleep(seconds)
        one.heal()

    def round(self):
        kind = self.random.choices([k for k, _ in TROUBLES], [n for _, n in TROUBLES])[0]
        one, other = self.random.sample(sorted(self.hosts), 2)
        seconds = self.random.choice((0.1, 0.2, 0.4, 0.8, 1.5, 3.0)) * self.random.uniform(0.5, 1.0)
        place = self.random.choice(self.processes)
        if kind in ("kill", "stop"):
            found = self.controller_of(place)
            if not found:
                return False
            if not (self.stop(found[0], seconds) if kind == "stop" else self.kill(place, *found)):
                return False
        else:
            self.trouble(kind, self.hosts[one], self.hosts[other], seconds)
        self.count(kind)
        time.sleep(self.random.uniform(0.0, 0.2))
        return True

    def kill(self, place, pid, epoch):
        with self.lock:
            self.killed[place].add(epoch)
        return send(pid, signal.SIGKILL)

    @staticmethod
    def stop(pid, seconds):
        """What it does not do in time others do without; then it goes on, and must not do harm."""
        done = send(pid, signal.SIGSTOP)
        time.sleep(seconds)
        return send(pid, signal.SIGCONT) and done

    def end(self):
        for host in self.hosts.values():
            host.heal()
        super().end()
        self.messenger.join()

    def judge(self):
        self.check_messages()
        return f"{super().judge()}, {self.sent} messages"


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    try:
        Network.hosts = net.network("xyz", relayed="z")
    except net.Unavailable as e:
        print("SKIPPED:", e)
        sys.exit(77)
    campaign.main(Network)
