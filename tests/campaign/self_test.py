# SPDX-License-Identifier: Apache-2.0
"""The checker of the campaign finds what is planted in a history, and nothing in a good one."""
import sys

from history import History

S = 10 ** 9
UNSURE = (-1002, -1011, -1013)


def call(number, epoch, try_=0, rc=0, status=0, took=0.001):
    begun = number * S
    return f"call 0 {number} {try_} {begun} {int(begun + took * S)} {rc} {status} {epoch}"


def judge(lines, log, killed=(), saved=None, late=False):
    h = History(lines, ["w/a/tcp"], UNSURE, late)
    place = h.check_log(0, log)
    h.check_kept(0, place, set(killed), saved or {})
    h.check_others(0)
    return h.problems


GOOD = [call(n, 1) for n in (1, 2, 3)]
TOLD = GOOD + ["lost 0 1", call(4, 2)]
REPEATED = [call(1, 1), call(2, 0, rc=-107), call(2, 2, try_=1)]
LATE = [call(1, 1), call(2, 0, rc=0, status=-1002), call(2, 1, try_=1), call(3, 1)]
CASES = (
    (GOOD, [(1, 1), (2, 1), (3, 1)], {}, ""),
    (GOOD, [(1, 1), (3, 1)], {}, "not killed"),
    (TOLD, [(1, 1), (4, 2)], {"killed": [1]}, ""),
    (TOLD, [(1, 1), (2, 1), (3, 1)], {}, "not killed"),
    (TOLD, [(1, 1), (3, 1), (4, 2)], {"killed": [1]}, "from the middle"),
    (TOLD, [(1, 1), (4, 2)], {"killed": [1], "saved": {1: 2 * S + S // 2}}, "though it was saved"),
    (GOOD + [call(4, 2)], [(1, 1), (4, 2)], {"killed": [1]}, "was not told"),
    (GOOD + [call(4, 2), "lost 0 1"], [(1, 1), (4, 2)], {"killed": [1]}, "was not told"),
    (GOOD, [(1, 1), (2, 1), (2, 1), (3, 1)], {}, "ran twice in epoch"),
    (GOOD, [(1, 1), (2, 1), (2, 2), (3, 2)], {}, "nobody was told"),
    (REPEATED, [(1, 1), (2, 1), (2, 2)], {}, ""),
    (LATE, [(1, 1), (2, 1), (3, 1), (2, 1)], {"late": True}, ""),
    (LATE, [(1, 1), (2, 1), (3, 1), (2, 1)], {}, "before"),
    (LATE, [(1, 1), (3, 1), (2, 1)], {"late": True}, "before"),
    (LATE, [(1, 1), (2, 1), (3, 1), (1, 1)], {"late": True}, "before"),
    (GOOD, [(2, 1), (1, 1), (3, 1)], {}, "before"),
    (GOOD, [(1, 1), (2, 1), (3, 1), (9, 1)], {}, "never asked for"),
    ([call(1, 1, took=6)], [(1, 1)], {}, "took 6.0 s"),
    (["open 0 0 40000000000 0"], [], {}, "connecting took"),
    (["recv 0 2 0 1 0", "recv 0 2 2 3 0"], [], {}, "message 2 after 2"),
    (["recv 0 2 0 1 0", "lost 0 1", "recv 0 2 2 3 0"], [], {}, ""),
    (["put 0 5 0 1 0", "get 0 4 2 3 0"], [], {}, "reads 4"),
)


def main():
    failed = 0
    for lines, log, more, wanted in CASES:
        problems = judge(lines, log, **more)
        good = any(wanted in p for p in problems) if wanted else not problems
        if not good:
            failed += 1
            print(f"FAILED: wanted {wanted!r}, found {problems}")
    print(f"{len(CASES)} cases, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
