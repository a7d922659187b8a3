# SPDX-License-Identifier: Apache-2.0
"""Processes move, one after the other, under the load of campaign.py and of messages from process to process; between,
they are saved. Clients of libpraas follow: they must see no error, connect once, and find each effect once and in its
order (history.py). How long processes stood still is told.

usage: moves.py CONTROL CONTROLLER FUNCTIONS LOAD [--rounds 300] [--seed N] [--seconds N] [--keep] [--mib N] [--swaps 1]
--mib: of state that the first process has, which alone moves then and is not saved, so that all of it is sent
--swaps: of a process that does not move and to which messages are sent, so many as there are moves, at the same time
--rest: seconds between two moves; clients pause for half of it, so that some look only when all is over
"""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import campaign  # noqa: E402
from network import MIB, Network  # noqa: E402


APART_S = 0.1  # a client that does not look while its process moves twice comes too late


class Moves(Network):
    clients = ("w/a/tcp", "w/a/shm", "w/a/direct", "w/b/tcp", "w/b/shm", "w/b/direct", "i/c/tcp", "i/c/shm",
               "w/a/tcp/25", "w/a/shm/25", "w/a/direct/25", "i/c/tcp/25")
    late = False
    mib, rest, swaps = 0, 0.0, 0
    step = 100

    def __init__(self, o):
        super().__init__(o)
        self.pauses = []
        if self.rest:
            self.clients = [f"{c.rsplit('/', c.count('/') - 2)[0]}/{int(500 * self.rest)}" for c in self.clients]
        self.moved_at = {}
        self.moving = [*self.processes, ("m", "s"), *([] if self.swaps else [("m", "r")])]
        if self.swaps:
            self.rests = 0
        self.swapper = threading.Thread(target=self.swap, args=(o.rounds,))
        self.swapped = 0

    @staticmethod
    def options():
        return ["--listen", f"127.0.0.1:{campaign.free_port()}"]

    def resources(self):
        return {"concurrency": 2, "memory_bytes": (256 + 4 * self.mib) * MIB}

    def start_load(self, *before, clients=None):
        for i in range(self.mib):
            status, _, data = self.s.ask("PUT", f"/v1/apps/w/processes/a/state/large%2F{i}", os.urandom(MIB))
            assert status == 204, (status, data)
        campaign.Campaign.start_load(self)
        self.start_messages()
        if self.swaps:
            self.swapper.start()

    def swap(self, rounds):
        """Out, and in again: by the next message of those that are sent all along, or by us."""
        while self.swapped < rounds and not self.problems:
            status, answer = self.ask("POST", "/v1/apps/m/processes/r/swap-out")
            if status not in (200, 409):  # it begins, or rests
                self.problems.append(f"swap-out: {status} {answer}")
            self.swapped += status == 200
            if self.swapped % 2 == 0:
                self.ask("POST", "/v1/apps/m/processes/r/swap-in")
            time.sleep(0.01)

    def end(self):
        if self.swaps:
            self.swapper.join()
        super().end()

    def save_at_times(self):
        while not self.over and not self.mib:
            app, pid = self.random.choice(self.processes)
            self.count(f"checkpoint {self.ask('POST', f'/v1/apps/{app}/processes/{pid}/checkpoint')[0]}")
            time.sleep(0.3)

    def figure(self, name):
        for line in self.s.ask("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split(" ")[1])
        return 0.0

    def round(self):
        app, pid = ("w", "a") if self.mib else self.random.choice(self.moving)
        if time.monotonic() - self.moved_at.get((app, pid), 0) < APART_S:
            return False
        before = self.figure("praas_move_pause_seconds_sum")
        status, answer = self.ask("POST", f"/v1/apps/{app}/processes/{pid}/migrate")
        if status == 200:
            self.pauses.append(self.figure("praas_move_pause_seconds_sum") - before)
            self.moved_at[(app, pid)] = time.monotonic()
            time.sleep(self.rest)
            return True
        # It rests, what was before is not over yet, or it is being saved.
        if status != 409:
            self.problems.append(f"migrate: {status} {answer}")
        time.sleep(0.005)
        return False

    def judge(self):
        told = super().judge()
        for _, history in self.loads:
            history.seek(0)
            self.check_errors(history.read().splitlines())
        self.pauses.sort()
        return (f"{told}, {self.swapped} swap-outs; stood still {self.at(0.5):.1f} ms at the median, {self.at(0.99):.1f} ms at the 99th percentile, "
                f"{self.at(1):.1f} ms at most")

    def at(self, part):
        return 1000 * self.pauses[min(int(part * len(self.pauses)), len(self.pauses) - 1)] if self.pauses else 0

    def check_errors(self, lines):
        opened = set()
        for line in lines:
            kind, client, *rest = line.split()
            good = {"call": rest[4:6] == ["0", "0"], "lost": False}.get(kind, rest[-1] == "0")
            if not good or (kind == "open" and client in opened):
                self.problems.append(f"a client saw the move: {line}")
            if kind == "open":
                opened.add(client)


if __name__ == "__main__":
    for word, kind in (("mib", int), ("rest", float), ("swaps", int)):
        if f"--{word}" in sys.argv:
            at = sys.argv.index(f"--{word}")
            setattr(Moves, word, kind(sys.argv[at + 1]))
            del sys.argv[at:at + 2]
    campaign.main(Moves)
