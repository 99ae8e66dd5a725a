# SPDX-License-Identifier: MIT
"""The test guests (tests/guest): programs that test the hypervisor from inside a capsule. A program reports a line for
each of its tests; here it only has to be run, in the places that matter, and its summary believed.

A hostile guest must fail alone: test_beside_witness runs each kind next to a capsule that looks after its own memory,
registers and share of the hart."""
import re

import pytest

from harness import ISOLATIONS, SLOWNESS, Raw, capsule, isolated, known_faults, manifest
from test_broken_builds import Broken, build
from test_variants import VARIANTS

# Where the programs run: harts and vCPUs, the isolation (pmp-on-h: by PMP alone on harts with H, in VS-mode without stage
# 2), and what is special about the machine.
PLACES = {
    "alone": (4, 4, isolated("pmp")),
    "shared": (2, 4, isolated("pmp")),
    "single": (1, 1, isolated("pmp")),
    "crowded": (1, 4, isolated("pmp", "sstc=off")),
    "vector": (2, 4, isolated("pmp", "v=on,vlen=256")),
    "qemu10": (2, 4, isolated("pmp", "v=on", qemu="10")),
    "max": (2, 2, isolated("pmp", model="max", qemu="10")),
    "hyp": (4, 4, isolated("hyp")),
    "hyp-single": (1, 1, isolated("hyp")),
    "hyp-crowded": (1, 4, isolated("hyp", "sstc=off")),
    "hyp-vector": (2, 4, isolated("hyp", "v=on,vlen=256")),
    "hyp-qemu10": (2, 4, isolated("hyp", "v=on", qemu="10")),
    "hyp-svade": (1, 2, isolated("hyp", "svadu=off,svade=on,sstc=off", qemu="10")),
    "hyp-max": (4, 4, isolated("hyp", model="max", qemu="10")),
    "pmp-on-h": (2, 4, isolated("pmp-on-h")),
    "pmp-on-h-qemu10": (1, 2, isolated("pmp-on-h", "v=on,sstc=off", qemu="10")),
    "rv32": (2, 4, isolated("pmp", xlen=32)),
    "rv32-crowded": (1, 2, isolated("pmp", "sstc=off", xlen=32)),
    "rv32-qemu10": (4, 4, isolated("pmp", "v=on", xlen=32, qemu="10")),
    "rv32-hyp": (2, 4, isolated("hyp", "v=on", xlen=32)),
    "rv32-hyp-crowded": (1, 2, isolated("hyp", "sstc=off", xlen=32)),
    "rv32-hyp-qemu10": (4, 4, isolated("hyp", xlen=32, qemu="10")),
    "rv32-hyp-max": (1, 2, isolated("hyp", xlen=32, model="max", qemu="10")),
    "rv32-pmp-on-h": (1, 4, isolated("pmp-on-h", xlen=32)),
}
# Of those, one for each way of isolation: for the tests that don't run everywhere.
CORNERS = ["shared", "hyp-crowded", "hyp-qemu10", "pmp-on-h", "rv32", "rv32-hyp"]
PROGRAMS = ["sbi", "isolation", "devices", "timing"]
HYPERVISOR = 0x9FFF0000  # an address near the top of 512 MiB, where the hypervisor lives
# Fewer rounds than the programs do by themselves.
FEWER = {"sbi": "count=100", "timing": "duration=500 wakes=3000"}
SUMMARY = r"guest: (\d+) passed, (\d+) failed"


def guest(product, program, words="", *, xlen=64, name=None, kind="bin", **more):
    return capsule(name or program, kernel=product(f"rv{xlen}/guest/{program}.{kind}"), initrd=False, memory="32M",
                   console=None, bootargs=words, **more)


def isolation_of(setup):
    """What the log says of a capsule there."""
    if "h=on" not in setup["cpu"]:
        return r"isolation pmp, \d+ PMP entries\r"
    if "isolation=pmp" in setup["append"]:
        return r"isolation pmp, \d+ PMP entries, in VS-mode without stage 2\r"
    return r"isolation hyp, .* 1 piece, \d+ KiB of Sv(39|32)x4 tables, \d+ PMP entries\r"


@pytest.fixture
def run(boot, product):
    """run(place, program, words, **properties) starts a machine with one guest there: a name of PLACES, or a row."""

    def start(place, program, words="", **more):
        smp, vcpus, setup = PLACES[place] if isinstance(place, str) else place
        words = f"{words} {known_faults(setup)} own-hart={int(smp >= vcpus)} host-harts={smp}"
        node = guest(product, program, words, xlen=setup.get("xlen", 64), vcpus=vcpus, **more)
        machine = boot(manifest(node), smp=smp, mem="512M", **setup)
        machine.expect(rf"Capsule 1 \({program}\): {isolation_of(setup)}", 20)
        return machine

    return start


def passes(machine, timeout=120):
    """Waits for the summary; shows what was not ok."""
    machine.expect(SUMMARY, timeout)
    passed, failed = int(machine.match[1]), int(machine.match[2])
    bad = re.findall(r"^.*(?:not ok|# bad).*$", machine.console, re.MULTILINE)
    assert failed == 0 and not bad, "\n".join(bad)
    assert passed > 0


def guest_rows():
    """What looks for holes runs in every place, what measures and counts by default in the corners and half of the others."""
    def usual(program, place):
        number = list(PLACES).index(place) + PROGRAMS.index(program)
        return program in ("isolation", "devices") or place in CORNERS or number % 2 == 0

    return [pytest.param(program, place, id=f"{program}-{place}", marks=[] if usual(program, place) else [pytest.mark.exhaustive])
            for program in PROGRAMS for place in PLACES]


@pytest.mark.parametrize("program, place", guest_rows())
def test_guest(run, program, place):
    machine = run(place, program, f"foreign={HYPERVISOR:#x} {FEWER.get(program, str())}")
    passes(machine)
    assert machine.wait() == 0


@pytest.mark.quick
@pytest.mark.parametrize("place", ["single", "hyp-single"])
def test_guest_elsewhere(run, product, place):
    """An ELF instead of a flat binary, somewhere else in memory."""
    machine = run(place, "isolation", "only=entry,loads,stores,fetches,edges", kind="elf",
                  memory_base=Raw("/bits/ 64 <0x90000000>"))
    machine.expect("# RAM 0x90000000")
    passes(machine)
    assert machine.wait() == 0


@pytest.mark.parametrize("place", CORNERS)
def test_alarm(run, place):
    passes(run(place, "devices", "tests=alarm"))


@pytest.mark.parametrize("seed, place", [(1, "shared"), (2, "hyp"), (3, "rv32-hyp"), (4, "rv32")])
def test_fuzz(run, seed, place):
    """Random calls; the seed finds them again."""
    machine = run(place, "sbi", f"only=fuzz fuzz=1000000 seed={seed} foreign={HYPERVISOR:#x}")
    passes(machine, timeout=180)
    assert machine.wait() == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", [
    "only=fuzz fuzz=10000000 seed=3", "only=storm,race count=100000", "only=fence,ipi,hsm count=20000",
])
@pytest.mark.parametrize("place", ["alone", "hyp"])
def test_sbi_long(run, words, place):
    passes(run(place, "sbi", words), timeout=3600)


@pytest.mark.exhaustive
@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("smp", [1, 2, 4])
def test_wake_long(run, smp, isolation):
    """A million wake-ups."""
    words = "only=wake-timer,wake-masked,wake-ipi wakes=1000000"
    passes(run((smp, 4, isolated(isolation)), "timing", words), timeout=3600)


@pytest.mark.parametrize("name, program, qemu", [
    ("privileged-1.11", "sbi", "7.2"), ("no-henvcfg", "isolation", "10"), ("no-time", "isolation", "7.2"),
    ("no-time", "timing", "10"), ("no-vmids", "timing", "7.2"), ("two-vmids", "timing", "10"),
])
def test_poorer_harts(run, tmp_path, name, program, qemu):
    """Harts with less than QEMU's: the hypervisor is built not to find it."""
    elf = build(tmp_path, Broken(name, VARIANTS[name], "", ""))
    machine = run((2, 4, isolated("hyp", qemu=qemu, kernel=elf)), program, FEWER.get(program, ""))
    passes(machine)
    assert machine.wait() == 0


# --- the end of a capsule ------------------------------------------------------------------------------------------------

ENDS = {
    "failure": "the guest reported a failure",
    "legacy-shutdown": "power off requested",
    "syscon-off": "power off requested",
    "last-stop": "power off requested.*",
}


@pytest.mark.parametrize("place", ["shared", "hyp", "rv32-hyp"])
@pytest.mark.parametrize("way", ENDS)
def test_end(run, way, place):
    machine = run(place, "crash", f"way={way}")
    machine.expect(rf"Capsule 1 \(crash\) stopped: {ENDS[way]}\r", 20)
    assert machine.wait() == 0


@pytest.mark.parametrize("way", ["reboot", "warm-reboot", "syscon-reboot"])
@pytest.mark.parametrize("harts", [0, 3])
@pytest.mark.parametrize("place", ["shared", "hyp"])
def test_reboot(run, way, harts, place):
    """Again and again, up to the limit of short lives, by one hart or by all at once; the tree and the registers are
    those of a first start."""
    machine = run(place, "crash", f"way={way} harts={harts}")
    for _ in range(6):
        machine.expect(rf"# crash: {way}\r?\n", 20)
    assert machine.running
    assert "not ok" not in machine.console


# --- beside others -------------------------------------------------------------------------------------------------------

TROUBLE = [
    "no-handler", "foreign-handler", "device-handler", "far-handler", "bad-handler", "jump-nowhere", "load-nowhere",
    "stack-nowhere", "foreign-tables", "random-tables", "device-stack", "device-tables", "sleep-for-ever",
    "suspend-for-ever", "call-storm", "device-storm", "fault-storm", "interrupt-storm", "fence-storm", "console-storm",
    "hart-storm",
]
DURATION = 1500  # ms
# Machines for two capsules on one hart. evil: the isolation of the one that gives trouble, if it isn't the other's.
PAIRS = {
    "pmp": isolated("pmp"),
    "hyp": isolated("hyp"),
    "pmp-beside-hyp": isolated("hyp", qemu="10", evil="pmp"),
    "rv32": isolated("pmp", xlen=32),
    "rv32-hyp": isolated("hyp", xlen=32),
}


def beside():
    """Every trouble in pmp and in hyp, and every third of it in each of the other pairs."""
    others = [name for name in PAIRS if name not in ("pmp", "hyp")]
    return [(way, name) for n, way in enumerate(TROUBLE) for name in ("pmp", "hyp", others[n % len(others)])]


@pytest.fixture
def witnessed(boot, product):
    """witnessed(pair, program, words, **fields) runs the witness beside another guest; returns the rounds that it got and
    the longest time between two, in us."""

    def start(pair, program, words, *, name="evil", vcpus=2, smp=1):
        setup = dict(PAIRS[pair])
        isolation, xlen, sip = setup.pop("evil", None), setup.get("xlen", 64), known_faults(setup)
        other = guest(product, program, f"{words} {sip}", xlen=xlen, name=name, vcpus=vcpus, isolation=isolation)
        witness = guest(product, "timing", f"only=witness duration={DURATION} {sip}", xlen=xlen, name="witness")
        machine = boot(manifest(other, witness), smp=smp, mem="512M", **setup)
        machine.expect(r"witness: (\d+) rounds, longest (\d+) us", 60)
        rounds, longest = int(machine.match[1]), int(machine.match[2])
        machine.expect(rf"witness\| {SUMMARY}", 20)
        assert machine.match[2] == "0", machine.tail()
        # A log line doesn't wait for what its capsule has said: it may stand before the summary, which waits its turn.
        if not re.search(r"Capsule \d \(witness\) stopped: power off requested\n", machine.console):
            machine.expect(r"Capsule \d \(witness\) stopped: power off requested\r", 20)
        return rounds, longest

    return start


@pytest.fixture(scope="module")
def share():
    """Rounds of a witness beside a capsule of two vCPUs that only compute, for each pair: measured once."""
    return {}


@pytest.mark.alone
@pytest.mark.parametrize("way, pair", beside())
def test_beside_witness(witnessed, share, way, pair):
    """On one hart: the witness keeps what is its own, and its share of the hart, within what a busy emulator allows."""
    if pair not in share:
        share[pair], _ = witnessed(pair, "crash", "way=hang harts=1")
    rounds, longest = witnessed(pair, "crash", f"way={way} harts=1 foreign={HYPERVISOR:#x}")
    assert rounds > share[pair] / 3, f"{rounds} rounds, beside a hanging guest it were {share[pair]}"
    assert longest < 1000000 * SLOWNESS, f"{longest} us without a turn"


@pytest.mark.parametrize("pair", PAIRS)
def test_isolation_beside_witness(witnessed, pair):
    """The isolation program's tries at all of memory, with the witness's memory right behind its own."""
    witnessed(pair, "isolation", "stride=0x1000", smp=2)


@pytest.mark.parametrize("setup", [
    isolated("pmp", "v=on"), isolated("hyp", "v=on"), isolated("hyp", "v=on", qemu="10"), isolated("hyp", xlen=32),
], ids=["pmp", "hyp", "hyp-qemu10", "rv32-hyp"])
def test_two_of_each(boot, product, setup):
    """Two capsules that check their registers and address spaces, on one hart."""
    words = f"only=integer,float,vector,csrs,spaces duration=1500 {known_faults(setup)}"
    nodes = [guest(product, "timing", words, xlen=setup.get("xlen", 64), name=name, vcpus=2) for name in ("one", "two")]
    machine = boot(manifest(*nodes), smp=1, mem="512M", **setup)
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0


# --- what things cost ----------------------------------------------------------------------------------------------------

# Instructions a round, with room for change; the figures themselves are in the console's log.
CEILINGS = {"base-call": 600, "unknown-call": 600, "set-timer": 600, "self-ipi": 900, "remote-fence-self": 800,
            "plic-read": 1600, "timer-interrupt": 1500, "illegal-instruction": 900}


@pytest.mark.parametrize("sstc", ["on", "off"])
@pytest.mark.parametrize("xlen, isolation", [(64, "pmp"), (64, "hyp"), (32, "pmp"), (32, "hyp")])
def test_bench(run, xlen, isolation, sstc):
    setup = isolated(isolation, f"sstc={sstc}", xlen=xlen, extra=["-icount", "shift=0,sleep=off"])
    machine = run((1, 1, setup), "bench")
    passes(machine)
    assert machine.wait() == 0
    figures = {name: float(value) for name, value in re.findall(r"^bench: (\S+) ([\d.]+)$", machine.console, re.MULTILINE)}
    assert CEILINGS.keys() <= figures.keys() and figures["base-call"] > 100
    if sstc == "on":
        over = {name: figures[name] for name, most in CEILINGS.items() if figures[name] > most}
        assert not over, over


@pytest.mark.parametrize("place", [*CORNERS, "alone", "hyp-single"])
def test_steal(run, place):
    """What vCPUs are told of the time that others had: about half of it on two harts for four; next to none alone."""
    passes(run(place, "sbi", "only=steal"))
