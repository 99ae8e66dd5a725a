# SPDX-License-Identifier: MIT
"""What the tests of many capsules share: the program tests/guest/many*.c, which runs in 64 KiB, and what its guests say.

    machine = boot(manifest(*[many(product, f"w{n}", "only=worker for=3000") for n in range(4)]), smp=2, **COUNTED)
    progress = Progress(ends(machine).console)
    assert progress.spread(["w0", "w1"], window=1) < 1.05
"""
import bisect
import itertools
import re
import statistics

from harness import capsule, known_faults
from monitor import plain

TICKS = 10_000_000  # a second of the guests' clock, on QEMU's virt machine
# The machine's clock counts instructions: what a capsule gets is exact, and the same on every host, however busy it is.
# QEMU runs its harts in turn then, in one thread, and skips the time in which all of them sleep.
COUNTED = ["-icount", "shift=0,sleep=off"]
WORKER = re.compile(r"worker (\S+) (\d) t=(\d+) units=(\d+) ran=(\d+)$")


def many(product, name, words, setup=None, *, memory="64K", **more):
    """A capsule with that program; words choose what it does. setup: of the machine, for what its QEMU is known to do."""
    setup = setup or {"cpu": "h=off"}
    program = product(f"rv{setup.get('xlen', 64)}/guest/many.bin")
    return capsule(name, kernel=program, initrd=False, console=None, memory=memory,
                   bootargs=f"name={name} notes=0 {words} {known_faults(setup)}".strip(), **more)


def ends(machine, timeout=120):
    assert machine.wait(timeout) == 0
    return machine


class Progress:
    """Who had done how much when, by the lines of workers: in units of work or, where the host may be faster for one
    guest than for another, in ticks in which it ran."""

    def __init__(self, console, by="units"):
        self.points = {}
        for line in plain(console).splitlines():
            if match := WORKER.search(line):
                name, hart, ticks, units, ran = match[1], *map(int, match.groups()[1:])
                point = (ticks / TICKS, units if by == "units" else ran)
                self.points.setdefault(name if hart == 0 else f"{name}.{hart}", []).append(point)
        assert "WRONG" not in console, "a checksum was wrong"

    def at(self, name, moment):
        """Units done by then; between two lines as if its work went on evenly."""
        points = self.points[name]
        n = bisect.bisect(points, (moment, float("inf")))
        if n == 0 or n == len(points):
            return points[min(n, len(points) - 1)][1]
        (t0, u0), (t1, u1) = points[n - 1], points[n]
        return u0 + (u1 - u0) * (moment - t0) / (t1 - t0)

    def begin(self, names):
        return max(self.points[name][0][0] for name in names)

    def end(self, names):
        return min(self.points[name][-1][0] for name in names)

    def windows(self, names, window, skip=0.0, step=None):
        """For each stretch of so many seconds in which all these worked: {name: units}."""
        begin, end = self.begin(names) + skip, self.end(names)
        found = []
        for n in itertools.count():
            t = begin + n * (step or window)
            if t + window > end + 1e-6:
                break
            found.append({name: self.at(name, t + window) - self.at(name, t) for name in names})
        assert found, f"{', '.join(names)} never worked for {window} s at once: {begin:.2f} to {end:.2f}"
        return found

    def spread(self, names, window=1.0, **more):
        """The worst window's ratio of the most to the least."""
        return max(max(row.values()) / max(min(row.values()), 1) for row in self.windows(names, window, **more))

    def whole(self, names, skip=0.0):
        """The ratio of the most to the least over all of the time in which they all worked."""
        return self.spread(names, self.end(names) - self.begin(names) - skip - 0.01, skip=skip)

    def ratio(self, name, other, window=1.0, **more):
        """The median window's ratio of the one to the other."""
        return statistics.median(row[name] / max(row[other], 1) for row in self.windows([name, other], window, **more))

    def done(self, name, window, skip=0.0):
        """The median of the units that it did in a window."""
        return statistics.median(row[name] for row in self.windows([name], window, skip))
