# SPDX-License-Identifier: MIT
"""The test guests (tests/guest): programs that test the hypervisor from inside a capsule. A program reports a line for
each of its tests; here it only has to be run, in the places that matter, and its summary believed.

A hostile guest must fail alone: test_beside_witness runs each kind next to a capsule that looks after its own memory,
registers and share of the hart."""
import re

import pytest

from harness import TIME_SCALE, Raw, capsule, manifest

# Where the programs run: harts, vCPUs, and what is special about the machine.
PLACES = {
    "alone": {"smp": 4, "vcpus": 4},
    "shared": {"smp": 2, "vcpus": 4},
    "single": {"smp": 1, "vcpus": 1},
    "crowded": {"smp": 1, "vcpus": 4, "cpu": "h=off,sstc=off"},
    "vector": {"smp": 2, "vcpus": 4, "cpu": "h=off,v=on,vlen=256"},
    "qemu10": {"smp": 2, "vcpus": 4, "qemu": "10", "cpu": "h=off,v=on"},
    "rv32": {"smp": 2, "vcpus": 4, "xlen": 32},
    "rv32-crowded": {"smp": 1, "vcpus": 2, "xlen": 32, "cpu": "h=off,sstc=off"},
}
PROGRAMS = ["sbi", "isolation", "devices", "timing"]
HYPERVISOR = 0x9FFF0000  # an address near the top of 512 MiB, where the hypervisor lives
# Fewer rounds than the programs do by themselves.
FEWER = {"sbi": "count=100", "timing": "duration=500 wakes=3000"}
SUMMARY = r"guest: (\d+) passed, (\d+) failed"


def guest(product, program, words="", *, xlen=64, name=None, kind="bin", **more):
    return capsule(name or program, kernel=product(f"rv{xlen}/guest/{program}.{kind}"), initrd=False, memory="32M",
                   console=None, bootargs=words, **more)


def passes(machine, timeout=120):
    """Waits for the summary; shows what was not ok."""
    machine.expect(SUMMARY, timeout)
    passed, failed = int(machine.match[1]), int(machine.match[2])
    bad = re.findall(r"^.*(?:not ok|# bad).*$", machine.console, re.MULTILINE)
    assert failed == 0 and not bad, "\n".join(bad)
    assert passed > 0


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_guest(boot, product, program, place):
    setup = dict(PLACES[place])
    words = f"foreign={HYPERVISOR:#x} {FEWER.get(program, str())}"
    node = guest(product, program, words, xlen=setup.get("xlen", 64), vcpus=setup.pop("vcpus"))
    machine = boot(manifest(node), mem="512M", **setup)
    passes(machine)
    assert machine.wait() == 0


@pytest.mark.quick
def test_guest_elsewhere(boot, product):
    """An ELF instead of a flat binary, somewhere else in memory."""
    node = guest(product, "isolation", "only=entry,loads,stores,fetches,edges", kind="elf",
                 memory_base=Raw("/bits/ 64 <0x90000000>"))
    machine = boot(manifest(node), smp=1, mem="512M")
    machine.expect("# RAM 0x90000000")
    passes(machine)
    assert machine.wait() == 0


def test_alarm(boot, product):
    machine = boot(manifest(guest(product, "devices", "tests=alarm")), smp=1, mem="512M")
    passes(machine)


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(boot, product, seed):
    """Random calls; the seed finds them again."""
    words = f"only=fuzz fuzz=1000000 seed={seed} foreign={HYPERVISOR:#x}"
    machine = boot(manifest(guest(product, "sbi", words, vcpus=2)), smp=2, mem="512M")
    passes(machine, timeout=180)
    assert machine.wait() == 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", [
    "only=fuzz fuzz=10000000 seed=3", "only=storm,race count=100000", "only=fence,ipi,hsm count=20000",
])
def test_sbi_long(boot, product, words):
    machine = boot(manifest(guest(product, "sbi", words, vcpus=4)), smp=4, mem="512M")
    passes(machine, timeout=3600)


@pytest.mark.exhaustive
@pytest.mark.parametrize("smp", [1, 2, 4])
def test_wake_long(boot, product, smp):
    """A million wake-ups."""
    words = "only=wake-timer,wake-masked,wake-ipi wakes=1000000"
    machine = boot(manifest(guest(product, "timing", words, vcpus=4)), smp=smp, mem="512M")
    passes(machine, timeout=3600)


# --- the end of a capsule ------------------------------------------------------------------------------------------------

ENDS = {
    "failure": "the guest reported a failure",
    "legacy-shutdown": "power off requested",
    "syscon-off": "power off requested",
    "last-stop": "power off requested.*",
}


@pytest.mark.parametrize("way", ENDS)
def test_end(boot, product, way):
    machine = boot(manifest(guest(product, "crash", f"way={way}")), smp=2, mem="512M")
    machine.expect(rf"Capsule 1 \(crash\) stopped: {ENDS[way]}\r", 20)
    assert machine.wait() == 0


@pytest.mark.parametrize("way", ["reboot", "warm-reboot", "syscon-reboot"])
@pytest.mark.parametrize("harts", [0, 3])
def test_reboot(boot, product, way, harts):
    """Again and again, by one hart or by all at once; the tree and the registers are those of a first start."""
    machine = boot(manifest(guest(product, "crash", f"way={way} harts={harts}", vcpus=4)), smp=2, mem="512M")
    for _ in range(20):
        machine.expect(rf"# crash: {way}\r?\n", 20)
    assert machine.running
    assert "not ok" not in machine.console


# --- beside others -------------------------------------------------------------------------------------------------------

TROUBLE = [
    "no-handler", "foreign-handler", "device-handler", "far-handler", "bad-handler", "jump-nowhere", "load-nowhere",
    "stack-nowhere", "foreign-tables", "random-tables", "sleep-for-ever", "suspend-for-ever", "call-storm",
    "device-storm", "fault-storm", "interrupt-storm", "fence-storm", "console-storm", "hart-storm",
]
DURATION = 1500  # ms


def witnessed(boot, product, *others, smp=1):
    """Runs the witness beside others; returns the rounds that it got and the longest time between two, in us."""
    words = f"only=witness duration={DURATION}"
    machine = boot(manifest(*others, guest(product, "timing", words, name="witness")), smp=smp, mem="512M")
    machine.expect(r"witness: (\d+) rounds, longest (\d+) us", 60)
    rounds, longest = int(machine.match[1]), int(machine.match[2])
    machine.expect(rf"witness\| {SUMMARY}", 20)
    assert machine.match[2] == "0", machine.tail()
    machine.expect(r"Capsule \d \(witness\) stopped: power off requested\r", 20)
    return rounds, longest


@pytest.fixture(scope="module")
def share():
    """Rounds of a witness beside a capsule of two vCPUs that only compute: measured once."""
    return {}


@pytest.mark.parametrize("way", TROUBLE)
def test_beside_witness(boot, product, share, way):
    """On one hart: the witness keeps what is its own, and its share of the hart, within what a busy emulator allows."""
    if not share:
        share["rounds"], _ = witnessed(boot, product, guest(product, "crash", "way=hang harts=1", name="evil", vcpus=2))
    evil = guest(product, "crash", f"way={way} harts=1 foreign={HYPERVISOR:#x}", name="evil", vcpus=2)
    rounds, longest = witnessed(boot, product, evil)
    assert rounds > share["rounds"] / 3, f"{rounds} rounds, beside a hanging guest it were {share['rounds']}"
    assert longest < 1000000 * TIME_SCALE, f"{longest} us without a turn"


def test_isolation_beside_witness(boot, product):
    """The isolation program's tries at all of memory, with the witness's memory right behind its own."""
    evil = guest(product, "isolation", "stride=0x1000", name="evil", vcpus=2)
    witnessed(boot, product, evil, smp=2)


def test_two_of_each(boot, product):
    """Two capsules that check their registers and address spaces, on one hart."""
    words = "only=integer,float,vector,csrs,spaces duration=1500"
    nodes = [guest(product, "timing", words, name=name, vcpus=2) for name in ("one", "two")]
    machine = boot(manifest(*nodes), smp=1, mem="512M", cpu="h=off,v=on")
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0


# --- what things cost ----------------------------------------------------------------------------------------------------

# Instructions a round, with room for change; the figures themselves are in the console's log.
CEILINGS = {"base-call": 600, "unknown-call": 600, "set-timer": 600, "self-ipi": 900, "remote-fence-self": 800,
            "plic-read": 1600, "timer-interrupt": 1500, "illegal-instruction": 900}


@pytest.mark.parametrize("sstc", ["on", "off"])
def test_bench(boot, product, sstc):
    machine = boot(manifest(guest(product, "bench")), smp=1, mem="512M", cpu=f"h=off,sstc={sstc}",
                   extra=["-icount", "shift=0,sleep=off"])
    passes(machine)
    assert machine.wait() == 0
    figures = {name: float(value) for name, value in re.findall(r"^bench: (\S+) ([\d.]+)$", machine.console, re.MULTILINE)}
    assert CEILINGS.keys() <= figures.keys()
    if sstc == "on":
        over = {name: figures[name] for name, most in CEILINGS.items() if figures[name] > most}
        assert not over, over
