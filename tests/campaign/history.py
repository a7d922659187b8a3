# SPDX-License-Identifier: Apache-2.0
"""What a client may see (docs/protocols.md, contract), held against what clients saw."""

CALL_S, CONTROL_S, GRACE_S = 2.0, 30.0, 3.0
LINE_S = 20.0  # of a request without a deadline, on a network that is back within 3 s: TCP waits longer each time


class History:
    """lines: of load.c; unsure: statuses of calls that may have run; late: a network may deliver what was given up, after
    the connection that it was sent over, and so behind what its client has done since."""

    def __init__(self, lines, places, unsure, late=False):
        self.unsure_status, self.late = unsure, late
        self.calls = [[] for _ in places]  # (id, try, begun, ended, rc, status, epoch)
        self.lost = [[] for _ in places]  # (position among the calls, epoch)
        self.others = [[] for _ in places]
        self.requests = 0
        self.problems = []
        for line in lines:
            self.take(line.split())

    def wrong(self, *words):
        self.problems.append(" ".join(str(w) for w in words))

    def in_time(self, what, client, begun, ended, seconds):
        self.requests += 1
        if ended - begun > (seconds + GRACE_S) * 1e9:
            self.wrong(f"client {client}: {what} took {(ended - begun) / 1e9:.1f} s")

    def take(self, words):
        kind, client, rest = words[0], int(words[1]), [int(w) for w in words[2:]]
        if kind == "call":
            self.calls[client].append(rest)
            self.in_time("call", client, rest[2], rest[3], CALL_S)
        elif kind == "open":
            self.in_time("connecting", client, rest[0], rest[1], CONTROL_S)
        elif kind == "lost":
            self.lost[client].append((len(self.calls[client]), rest[0]))
        else:
            self.others[client].append((kind, *rest, len(self.lost[client])))
            self.in_time(kind, client, rest[1], rest[2], LINE_S if self.late and kind != "recv" else CALL_S)

    def unsure(self, call):
        """Whoever saw this does not know whether it ran."""
        return call[4] != 0 or call[5] in self.unsure_status

    def check_log(self, client, log):
        """log: (id, epoch) of each entry of the client's state object, at the end."""
        tries = {}
        for call in self.calls[client]:
            tries.setdefault(call[0], []).append(call)
        place, before = {}, (0, 0)
        for at, (number, epoch) in enumerate(log):
            if number not in tries:
                self.wrong(f"client {client}: {number} was never asked for")
            elif number in place:
                first = log[place[number]][1]
                if first == epoch and not self.another_ticket(tries[number]):
                    self.wrong(f"client {client}: {number} ran twice in epoch {epoch}")
                if not any(self.unsure(c) for c in tries[number]):
                    self.wrong(f"client {client}: {number} ran twice and nobody was told")
            repeated = self.late and number in place and self.given_up(tries[number])
            place.setdefault(number, at)
            if (number < before[0] and not repeated) or epoch < before[1]:
                self.wrong(f"client {client}: {before} before {(number, epoch)}")
            before = max(before[0], number), epoch
        return place

    def given_up(self, tries):
        """An earlier one may still be on its way."""
        return self.another_ticket(tries) and any(self.unsure(c) for c in tries[:-1])

    @staticmethod
    def another_ticket(tries):
        """A connection that ended is followed by one with a new ticket: another caller."""
        return any(c[4] != 0 or c[5] != 0 for c in tries[:-1])

    def check_kept(self, client, place, killed, saved):
        """Acknowledged is there, but for what followed the last snapshot of an epoch that was killed."""
        by_epoch = {}
        for position, call in enumerate(self.calls[client]):
            if call[4] == 0 and call[5] == 0:
                by_epoch.setdefault(call[6], []).append((position, call))
        missing = 0
        for epoch, calls in sorted(by_epoch.items()):
            gone = [i for i, (_, c) in enumerate(calls) if c[0] not in place]
            missing += len(gone)
            if not gone:
                continue
            first = calls[gone[0]][1]
            if epoch not in killed:
                self.wrong(f"client {client}: {first[0]} is lost, and epoch {epoch} was not killed")
            if len(gone) != len(calls) - gone[0]:
                self.wrong(f"client {client}: of epoch {epoch} {len(gone)} are lost from the middle")
            if first[3] < saved.get(epoch, 0):
                self.wrong(f"client {client}: {first[0]} of epoch {epoch} is lost though it was saved")
            self.check_told(client, epoch, calls[-1][0])
        return missing

    def check_told(self, client, epoch, last):
        """Before anything is acknowledged in a later epoch the client was told of the loss."""
        later = [p for p, c in enumerate(self.calls[client]) if c[4] == 0 and c[5] == 0 and c[6] > epoch]
        if not later:
            return
        if not any(e >= epoch and last < p <= min(later) for p, e in self.lost[client]):
            self.wrong(f"client {client}: was not told that epoch {epoch} was lost ({self.lost[client]})")

    def check_others(self, client):
        """While no epoch is lost: messages in order, never twice, and one reads what one wrote."""
        received, epoch, written = 0, None, None
        for kind, number, _, _, rc, lost in self.others[client]:
            if lost != epoch:
                received, epoch, written = 0, lost, None
            if kind == "recv" and rc == 0:
                if number <= received:
                    self.wrong(f"client {client}: message {number} after {received}")
                received = number
            elif kind == "put":
                written = number if rc == 0 else None
            elif kind == "get" and rc == 0 and written is not None and number != written:
                self.wrong(f"client {client}: reads {number}, wrote {written}")
