# SPDX-License-Identifier: MIT
"""What each capsule gets of the harts: its share, whatever the others do; and how soon one of high priority runs.

Where the machine's clock counts instructions (many.COUNTED) the figures are exact. Without it the host decides how fast
harts are, and only what shares one hart can be compared."""
import re
import time

import pytest

from harness import isolated, manifest, pairwise, row_id, usually
from many import COUNTED, Progress, ends, many
from monitor import Monitor

STEP = "every=100"
TOLERANCE = 1.05  # of shares over any second
SECONDS = 8  # of what is measured by the host's clock
# The latest that a capsule of higher priority than all others runs after its timer was due, in instructions: what
# docs/measurements.md promises.
WAKE_BOUND = 50_000
WAKE_BOUND_VCPU = 10_000  # more for each vCPU beyond the second of a capsule that is started
STORMS = ["ipi", "timer", "sbi", "fence", "illegal", "mmio", "wfi", "console", "fault", "all"]
CORNERS = {
    "pmp": isolated("pmp"),
    "hyp": isolated("hyp"),
    "rv32": isolated("pmp", xlen=32),
    "rv32-hyp": isolated("hyp", xlen=32),
}
CORNER = pytest.mark.parametrize("corner", usually(CORNERS, ["pmp", "rv32-hyp"]))


@pytest.fixture
def run(boot, product):
    """run(setup, smp, {name: (words, properties)}, counted=True) runs these until all have ended; their Progress."""

    def start(setup, smp, guests, counted=True, timeout=120, **fields):
        if counted and smp > 1:
            setup = {**setup, "qemu": "10"}  # 7.2 lets one hart run until it sleeps: the others' time passes without them
        nodes = [many(product, name, words, setup, **more) for name, (words, more) in guests.items()]
        machine = boot(manifest(*nodes), smp=smp, mem="512M", **{**setup, **fields}, extra=COUNTED if counted else [])
        ends(machine, timeout)
        assert "not ok" not in machine.console
        start.console = machine.console
        return Progress(machine.console, by="units" if counted else "ran")

    return start


def workers(count, seconds, **more):
    return {f"w{n}": (f"only=worker {STEP} for={int(seconds * 1000)}", more) for n in range(count)}


# --- equals ----------------------------------------------------------------------------------------------------------------

EQUALS = pairwise(corner=list(CORNERS), count=[2, 5], sstc=["on", "off"], qemu=["7.2", "10"])


@pytest.mark.parametrize("row", usually(EQUALS, EQUALS[::2]), ids=row_id)
def test_equals(run, row):
    """Over any second, all of them within 5 % of each other."""
    setup = {**CORNERS[row["corner"]], "qemu": row["qemu"]}
    setup["cpu"] += f",sstc={row['sstc']}"
    names = list(workers(row["count"], 0))
    progress = run(setup, 1, workers(row["count"], 2.5))
    assert progress.spread(names, skip=0.3, step=0.25) < TOLERANCE


@pytest.fixture
def shared(boot, product):
    """shared(setup, smp, guests, seconds) runs these by the host's clock: their CPU time. Where harts run in turn, as they do
    when instructions are counted, time on a hart is not work done, and neither is it where the host is busy."""

    def start(setup, smp, guests, seconds=SECONDS):
        nodes = [many(product, name, words, setup, **more) for name, (words, more) in guests.items()]
        machine = boot(manifest(*nodes), smp=smp, mem="512M", **setup)
        for _ in guests:
            machine.expect(r"worker \w+ 0 t=\d+ units=0", 60)
        time.sleep(1)
        figures = Monitor(machine).used(seconds)
        print(figures)
        return figures

    return start


@pytest.mark.alone
@pytest.mark.parametrize("corner, smp, count", [("pmp", 2, 3), ("hyp", 4, 7)])
def test_equals_on_several_harts(shared, corner, smp, count):
    """Also where their number is no multiple of the harts'."""
    figures = shared(CORNERS[corner], smp, {name: ("only=worker every=5000", {}) for name in workers(count, 0)})
    assert max(figures.values()) / min(figures.values()) < 1.08
    assert sum(figures.values()) > 0.9 * SECONDS * smp


@pytest.mark.alone
@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("corner", usually(["pmp", "hyp"], ["hyp"]))
def test_equals_real_time(run, corner, qemu):
    """By the host's clock, on one hart. The host takes QEMU off its processors as it likes: it evens out in some seconds."""
    progress = run({**CORNERS[corner], "qemu": qemu}, 1, workers(3, 6), counted=False)
    assert progress.whole(["w0", "w1", "w2"], skip=0.3) < 1.10


@CORNER
def test_vcpus_of_one(run, corner):
    """Two vCPUs of one capsule get equal shares, beside another capsule's."""
    guests = {"two": (f"only=worker {STEP} for=2500 harts=1", {"vcpus": 2}), "one": (f"only=worker {STEP} for=2500", {})}
    progress = run(CORNERS[corner], 1, guests)
    assert progress.spread(["two", "two.1"], skip=0.3, step=0.25) < TOLERANCE


# --- weights and priorities ------------------------------------------------------------------------------------------------

@CORNER
@pytest.mark.parametrize("weights", usually([(100, 300), (100, 100, 200), (1, 1000), (10000, 5000)], [(100, 300), (1, 1000)]),
                         ids=str)
def test_weights(run, corner, weights):
    """Shares are as weights, on one hart."""
    guests = {f"w{n}": (f"only=worker {STEP} for=3500", {"weight": weight}) for n, weight in enumerate(weights)}
    progress = run(CORNERS[corner], 1, guests)
    for window in progress.windows(list(guests), 1.0, skip=0.3):
        total = sum(window.values())
        for n, weight in enumerate(weights):
            share = weight / sum(weights)
            got = window[f"w{n}"] / total
            assert abs(got - share) < max(0.05 * share, 0.005), f"w{n} got {got:.3f} of the hart, {share:.3f} is its share"


@pytest.mark.alone
@pytest.mark.parametrize("smp", usually([2, 4], [2]))
def test_weights_on_several_harts(shared, smp):
    """Twice as many capsules as harts, half of them with three times the weight."""
    guests = {f"w{n}": ("only=worker every=5000", {"weight": 300 if n % 2 else 100}) for n in range(2 * smp)}
    figures = shared(isolated("pmp"), smp, guests)
    for n in range(2 * smp):
        assert figures[f"w{n}"] == pytest.approx(SECONDS * (0.75 if n % 2 else 0.25), rel=0.15)


@CORNER
def test_priority_is_strict(run, corner):
    """While the higher one has work, the lower one gets nothing; then it gets all."""
    guests = {"low": (f"only=worker {STEP} for=2500", {}), "high": (f"only=worker {STEP} for=1500", {"priority": 1})}
    progress = run(CORNERS[corner], 1, guests)
    begin, end = progress.points["high"][0][0], progress.points["high"][-1][0]
    got = progress.at("low", end - 0.05) - progress.at("low", begin + 0.05)
    done = progress.at("high", end) - progress.at("high", begin)
    assert got < done / 1000, f"the lower one did {got:.0f} units beside {done}"
    assert progress.points["low"][-1][1] > done / 3


@CORNER
def test_weight_counts_among_equals_only(run, corner):
    guests = {"low": (f"only=worker {STEP} for=2000", {"weight": 10000}),
              "high": (f"only=worker {STEP} for=1000", {"priority": 15, "weight": 1})}
    progress = run(CORNERS[corner], 1, guests)
    begin, end = progress.points["high"][0][0], progress.points["high"][-1][0]
    assert progress.at("low", end - 0.05) - progress.at("low", begin + 0.05) < 100


@pytest.mark.alone
def test_harts(shared):
    """Who may run on one hart only shares that one; the others share the other."""
    guests = {"w0": ("only=worker every=5000", {"harts": [1]}), "w1": ("only=worker every=5000", {"harts": [1]}),
              "free": ("only=worker every=5000", {"harts": [0]})}
    figures = shared(isolated("pmp"), 2, guests)
    assert figures["w0"] == pytest.approx(SECONDS / 2, rel=0.1) and figures["w1"] == pytest.approx(SECONDS / 2, rel=0.1)
    assert figures["free"] == pytest.approx(SECONDS, rel=0.1)


# --- who never yields ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def beside_spin():
    """What a worker does beside one that only spins, for each place: measured once."""
    return {}


def storm_rows():
    """All storms in pmp and in hyp on one hart, by default in one of the two; each once more in a corner of RV32, or on two
    harts."""
    others = [("rv32", 1), ("rv32-hyp", 1), ("pmp", 2), ("hyp", 2)]
    rows = [(storm, *place) for n, storm in enumerate(STORMS) for place in [("pmp", 1), ("hyp", 1), others[n % 4]]]
    usual = [(storm, "hyp" if storm in ("timer", "fault") else "pmp", 1) for storm in STORMS]
    return [row if row in usual else pytest.param(*row, marks=pytest.mark.exhaustive) for row in rows]


@pytest.mark.parametrize("storm, corner, smp", storm_rows())
def test_storm(run, beside_spin, storm, corner, smp):
    """It is charged for all that it makes the hypervisor do: the worker loses nothing against a neighbour that spins."""

    def work_beside(storm):
        vcpus = 2 * smp
        words = f"only=storm storm={storm} for=1600 harts=1"
        guests = {f"s{n}": (words, {"vcpus": 2}) for n in range(vcpus // 2)}
        guests |= {"w": (f"only=worker {STEP} for=1300", {})}
        return run(CORNERS[corner], smp, guests, timeout=180).done("w", 0.25, skip=0.2)

    if (corner, smp) not in beside_spin:
        beside_spin[corner, smp] = work_beside("spin")
    got = work_beside(storm) / beside_spin[corner, smp]
    assert got > 0.95, f"{got:.3f} of what it gets beside one that spins"


# --- wake-ups --------------------------------------------------------------------------------------------------------------

LATE = re.compile(r"waker \S+ late by min=(\d+) median=(\d+) p99=(\d+) max=(\d+) ticks of (\d+);")
WAKE_NEIGHBOURS = {
    "spin": (1, "only=storm storm=spin", {}),
    "storm": (1, "only=storm storm=all", {}),
    "console": (1, "only=storm storm=console", {}),
    # Two, so that one's answers come while the other one asks.
    "disk": (2, "only=storm storm=disk", {"memory": "4M", "disk0": {"type": "disk", "source": "serial:d", "read_only": True}}),
    # They are scrubbed, filled and told what they have, again and again, until it is too often.
    "starting": (8, "only=fail how=reset", {"memory": "4M"}),
    "starting-wide": (8, "only=fail how=reset", {"memory": "4M", "vcpus": 8}),
}


@CORNER
@pytest.mark.parametrize("neighbour", WAKE_NEIGHBOURS)
def test_wake_bound(boot, product, tmp_path, neighbour, corner):
    """On one hart: from the timer's tick to the sleeper's next instruction, in instructions."""
    setup = CORNERS[corner]
    count, words, more = WAKE_NEIGHBOURS[neighbour]
    nodes = [*[many(product, f"low{n}", words, setup, **more) for n in range(count)],
             many(product, "high", "only=waker count=500", setup, priority=15)]
    if neighbour == "disk":
        # So that the hart never sleeps: how soon the host answers must not decide when.
        nodes.insert(0, many(product, "awake", "only=storm storm=spin", setup))
    image = tmp_path / "d.img"
    image.write_bytes(bytes(1 << 20))
    drive = ["-drive", f"file={image},format=raw,if=none,id=d", "-device", "virtio-blk-device,drive=d,serial=d"]
    machine = boot(manifest(*nodes), smp=1, mem="512M", extra=[*COUNTED, *(drive if neighbour == "disk" else [])], **setup)
    machine.expect(LATE, 120)
    least, median, p99, most, hz = map(int, machine.match.groups())
    instructions = 1_000_000_000 // hz
    print(f"wake-up beside {neighbour}, {corner}: {[n * instructions for n in (least, median, p99, most)]} instructions")
    assert most * instructions < WAKE_BOUND + WAKE_BOUND_VCPU * max(0, more.get("vcpus", 1) - 2)


# --- clocks ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("counted", [True, False], ids=["counted", "real-time"])
@CORNER
def test_clocks(run, corner, counted):
    """`time` never runs backwards between vCPUs that move among harts under load."""
    guests = {"c": ("only=clocks for=2000", {"vcpus": 2}), **workers(2, 2)}
    run(CORNERS[corner], 2, guests, counted=counted)
    passes = int(re.search(r"ok \d+ clocks: (\d+) passes, 0 times back", run.console)[1])
    assert passes > 100


@CORNER
def test_steal_time(run, corner):
    """SBI STA says as much as a vCPU has missed beside two that spin, within a tenth."""
    guests = {"s": ("only=steal for=1500", {}), "x": ("only=storm storm=spin for=2500", {}), **workers(1, 2.5)}
    run(CORNERS[corner], 1, guests)
    missed, stolen = map(int, re.search(r"missed=(\d+) us stolen=(\d+) us", run.console).groups())
    assert 700_000 < missed < 1_300_000
    assert stolen == pytest.approx(missed, rel=0.1)


def test_no_steal_time_alone(run):
    run(isolated("pmp"), 1, {"s": ("only=steal for=500", {})})
    missed, stolen = map(int, re.search(r"missed=(\d+) us stolen=(\d+) us", run.console).groups())
    assert missed < 10_000 and stolen < 10_000
