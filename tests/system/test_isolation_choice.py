# SPDX-License-Identifier: MIT
"""Which isolation a capsule gets, where its memory lies, and what of both can't be had: all in the log, in one line each."""
import re

import pytest

from edges import alerts, hello, said_hello
from harness import Raw, capsule, isolated, known_faults, manifest
from test_guests import passes

QEMUS = ["7.2", "10"]
XLENS = pytest.mark.parametrize("xlen", [64, 32], ids=["rv64", "rv32"])
NO_HYP = (r'isolation "hyp", but no hart has the H extension \(no hart can serve hyp isolation; ask for pmp, or for none: in '
          r'QEMU H is -cpu rv64,h=on\)')
GIGABYTE = 1 << 30


def place(address):
    return Raw(f"/bits/ 64 <{address:#x}>")


def chosen(machine):
    """Each capsule's isolation, by its name."""
    return dict(re.findall(r"Capsule \d+ \((\S+)\): isolation (pmp|hyp),", machine.console))


def described(machine, name):
    """The rest of the line that says how a capsule is isolated."""
    return re.search(rf"Capsule \d+ \({name}\): isolation (.*)", machine.console)[1]


def said_by(machine, name):
    """Where the capsules of that name said that they are. One alone speaks without its name."""
    label = "" if set(chosen(machine)) == {name} else rf"{name}\| "
    return re.findall(rf"^{label}hello: at 0x0*([0-9a-f]+),", machine.console, re.M)


# --- the wish, and what comes of it --------------------------------------------------------------------------------------

def expected(wish, command, has_h):
    """The isolation, or None for a refusal."""
    wish = command if wish in (None, "auto") else wish
    if wish == "auto":
        return "hyp" if has_h else "pmp"
    return None if wish == "hyp" and not has_h else wish


@pytest.mark.parametrize("qemu", QEMUS)
@pytest.mark.parametrize("h", ["on", "off"])
@pytest.mark.parametrize("command", ["auto", "pmp", "hyp"])
@XLENS
def test_wish(boot, product, xlen, command, h, qemu):
    """The manifest's word counts before the command line's. What can't be had is refused, and the others start."""
    wishes = {"silent": None, "auto": "auto", "pmp": "pmp", "hyp": "hyp"}
    nodes = [hello(product, name, xlen=xlen, isolation=wish) for name, wish in wishes.items()]
    machine = boot(manifest(*nodes), xlen=xlen, smp=2, qemu=qemu, cpu=f"h={h}", append=f"isolation={command}")
    assert machine.wait() == 0
    want = {name: expected(wish, command, h == "on") for name, wish in wishes.items()}
    assert chosen(machine) == {name: isolation for name, isolation in want.items() if isolation}
    for name, isolation in want.items():
        assert len(said_by(machine, name)) == (1 if isolation else 0), name
        in_vs_mode = isolation == "pmp" and h == "on"
        assert isolation is None or in_vs_mode == described(machine, name).endswith(", in VS-mode without stage 2")
    refused = [name for name, isolation in want.items() if isolation is None]
    assert len(alerts(machine)) == len(refused)
    for name, line in zip(refused, alerts(machine)):
        assert re.search(f"Capsule refused: {name}: {NO_HYP}", line)


@XLENS
def test_nothing_left(boot, product, xlen):
    """No capsule can have what the command line asks for: that is said, and the machine is switched off."""
    machine = boot(manifest(hello(product, xlen=xlen)), xlen=xlen, append="isolation=hyp", cpu="h=off")
    assert machine.wait() == 0
    assert re.search(NO_HYP, alerts(machine)[0]) and "No capsule of the manifest could be made" in alerts(machine)[1]


# --- many at once --------------------------------------------------------------------------------------------------------

def guest(product, name, words, xlen=64, **more):
    """A capsule that runs the isolation program, or another kernel."""
    more.setdefault("kernel", product(f"rv{xlen}/guest/isolation.bin"))
    return capsule(name, initrd=False, console=None, bootargs=words, **{"memory": "32M", **more})


@pytest.mark.parametrize("smp", [1, 3])
@pytest.mark.parametrize("qemu", QEMUS)
@XLENS
def test_at_one_address(boot, product, xlen, qemu, smp):
    """Capsules of both kinds, three at the same guest-physical address: each finds in its RAM what it wrote there."""
    setup = isolated("hyp", xlen=xlen, qemu=qemu)
    words = f"only=entry,ram rounds=20 {known_faults(setup)}"
    nodes = [guest(product, f"hyp{n}", f"{words} salt={n}", xlen, memory_base=place(0x80000000)) for n in range(3)]
    nodes += [guest(product, f"pmp{n}", f"{words} salt={8 + n}", xlen, isolation="pmp") for n in range(2)]
    machine = boot(manifest(*nodes), smp=smp, mem="512M", **setup)
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0
    assert chosen(machine) == {name: name[:3] for name in ("hyp0", "hyp1", "hyp2", "pmp0", "pmp1")}
    assert len(re.findall(r"hyp\d\| # RAM 0x80000000,", machine.console)) == 3
    hosts = re.findall(r"physical RAM base 0x([0-9a-f]+), size 32 MiB", machine.console)
    assert len(set(hosts)) == 5


@XLENS
@pytest.mark.parametrize("isolation", ["pmp", "hyp", "pmp-on-h"])
def test_leaves_nothing(boot, product, xlen, isolation):
    """A guest that fills every register it has, over and over, and one that comes to the same hart a little later."""
    setup = isolated(isolation, "v=on", xlen=xlen)
    dirty = guest(product, "dirty", f"only=residue {known_faults(setup)}", xlen, memory="8M")
    fresh = [guest(product, f"fresh{n}", f"only=entry,zero {known_faults(setup)}", xlen, memory=f"{64 << n}M") for n in range(2)]
    machine = boot(manifest(dirty, *fresh), smp=1, mem="512M", **setup)
    for _ in fresh:
        passes(machine)
    console = machine.console
    assert console.index("dirty| # residue") < console.index("fresh0| # entry") < console.index("fresh1| # entry")


@XLENS
@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_finds_nothing_of_its_own(boot, product, xlen, isolation):
    """The same when it starts anew: registers and RAM are those of a first start."""
    setup = isolated(isolation, "v=on", xlen=xlen)
    node = guest(product, "dirty", f"only=entry,zero,residue then=reboot {known_faults(setup)}", xlen, memory="4M")
    machine = boot(manifest(node), smp=1, **setup)
    for _ in range(8):
        machine.expect(r"# residue\r?\n")
    assert "not ok" not in machine.console


@pytest.mark.parametrize("qemu", QEMUS)
def test_mixed_harts(boot, product, qemu):
    """Every other hart hides that it has H: capsules of both kinds test their registers, address spaces and wake-ups, and all
    that they must not reach, each on the harts of its kind. A debug build, which compares PMP and stage 2 all the time."""
    setup = {**isolated("hyp", "v=on", qemu=qemu), "append": "fault=mixed"}
    words = f"foreign=0x9fff0000 duration=500 wakes=2000 {known_faults(setup)}"
    timing = f"only=integer,float,vector,csrs,spaces,shootdown,wake-ipi,wake-masked {words}"
    nodes = [guest(product, f"{what}-{isolation}", text, vcpus=3, isolation=isolation, kernel=product(f"rv64/guest/{what}.bin"))
             for what, text in (("timing", timing), ("isolation", words)) for isolation in ("hyp", "pmp")]
    machine = boot(manifest(*nodes), smp=4, mem="512M", kernel=product("rv64/diosix.elf", "DEBUG=1"), **setup)
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0
    assert chosen(machine) == {f"{what}-{isolation}": isolation for what in ("timing", "isolation")
                               for isolation in ("hyp", "pmp")}


# --- where memory lies ---------------------------------------------------------------------------------------------------

PIECES = {
    "two": ([0x8C000000], "400M", 2),
    "three": ([0x84000000, 0x90000000], "348M", 3),
    "four": ([0x84000000, 0x8C000000, 0x94000000], "288M", 4),
}


@pytest.mark.parametrize("qemu", QEMUS)
@pytest.mark.parametrize("name", PIECES)
@XLENS
def test_pieces(boot, product, xlen, name, qemu):
    """Capsules with fixed places leave holes; one that is larger than any of them gets its RAM in pieces. It sees one range,
    whose every page is there once; beside each piece there is nothing."""
    holes, memory, pieces = PIECES[name]
    setup = isolated("hyp", xlen=xlen, qemu=qemu)
    fixed = [hello(product, f"fixed{n}", xlen=xlen, isolation="pmp", memory="64M", memory_base=place(base))
             for n, base in enumerate(holes)]
    words = f"only=loads,stores,edges,tables,ram foreign=0x9fff0000 {known_faults(setup)}"
    machine = boot(manifest(*fixed, guest(product, "large", words, xlen, memory=memory)), smp=2, mem="512M", **setup)
    passes(machine)
    assert machine.wait() == 0
    assert f", {pieces} pieces," in described(machine, "large")
    assert alerts(machine) == []


def test_too_many_pieces(boot, product):
    """Four are the limit: what would need five is refused, with what is free; the others start."""
    fixed = [hello(product, f"fixed{n}", isolation="pmp", memory="4M", memory_base=place(0x80000000 + (64 << 20) * n))
             for n in range(1, 8)]
    machine = boot(manifest(*fixed, hello(product, "large", memory="400M"), hello(product, "good")), mem="512M", cpu="h=on")
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1
    assert re.search(r"large: memory of 400 MiB does not fit into 4 pieces: \d+ MiB are free", alerts(machine)[0])
    assert len(said_by(machine, "good")) == 1


@pytest.mark.parametrize("isolation", ["pmp", "hyp", "pmp-on-h"])
@pytest.mark.parametrize("memory", ["3G", "5G"])
def test_above_4g(boot, product, isolation, memory):
    """RAM that ends, for the guest too, above 4 GiB: all of it is there, and nothing behind it."""
    setup = isolated(isolation)
    words = f"only=loads,stores,edges,tables,ram {known_faults(setup)}"
    machine = boot(manifest(guest(product, "large", words, memory=memory)), smp=2, mem="6G", **setup)
    machine.expect(rf"# RAM 0x80000000, {int(memory[0]) << 20} KiB")
    passes(machine)
    assert machine.wait() == 0


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_host_memory_above_4g(boot, product, isolation):
    """Capsules that lie above 4 GiB in the host."""
    low = hello(product, "low", memory="1900M")
    node = guest(product, "high", f"only=loads,edges,ram {known_faults(isolated(isolation))}", memory="3G",
                  memory_base=place(0x100000000))
    machine = boot(manifest(low, node), mem="6G", smp=2, **isolated(isolation))
    machine.expect(r"\(high\), physical RAM base 0x([0-9a-f]+),")
    assert int(machine.match[1], 16) >= 1 << 32
    machine.expect(r"# RAM 0x100000000, 3145728 KiB")
    passes(machine)
    assert machine.wait() == 0


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
@pytest.mark.parametrize("qemu", QEMUS)
def test_rv32_beyond_reach(boot, product, isolation, qemu):
    """M-mode of 32-bit harts reaches 4 GiB: RAM above is not used, places there are refused; the others start."""
    nodes = {"start": {"memory_base": place(0x100000000)}, "far": {"memory_base": place(0x20000000000)},
             "edge": {"memory_base": place(0x3FFC00000)}, "much": {"memory": "2500M"}, "good": {}}
    machine = boot(manifest(*[hello(product, name, xlen=32, **more) for name, more in nodes.items()]), xlen=32, mem="3G",
                   qemu=qemu, **isolated(isolation))
    assert machine.wait() == 0
    assert chosen(machine) == {"good": isolation}
    assert int(re.search(r"Available physical RAM: (\d+) MiB", machine.console)[1]) < 2048
    lines = dict(re.match(r"Capsule refused: (?:capsule )?(\w+): (.*)", line).groups() for line in alerts(machine))
    reasons = {
        "start": "memory-base" if isolation == "pmp" else "32-bit harts cannot start at 0x100000000",
        "far": "memory-base: 0x20000000000 and 0x400000 bytes end beyond 34 bits",
        "edge": "memory-base" if isolation == "pmp" else "32-bit harts cannot start at 0x3ffc00000",
        "much": r"memory of 2500 MiB does not fit.*: \d+ MiB are free",
    }
    assert lines.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert re.search(reason, lines[name]), lines[name]


FAR = {
    "sv39x4-half": ((1 << 40) - (32 << 20), "Sv39x4"),
    "sv39x4": ((1 << 41) - (32 << 20), "Sv39x4"),
    "across": ((1 << 41) - (16 << 20), "Sv48x4"),
    "sv48x4": (1 << 41, "Sv48x4"),
    "sv48x4-end": ((1 << 50) - (32 << 20), "Sv48x4"),
    "sv57x4": (1 << 50, "Sv57x4"),
    "last": ((1 << 56) - (32 << 20), "Sv57x4"),
}
# QEMU 7.2 takes the highest bit of a guest-physical address for a sign, so that the upper half of each mode faults. The
# tests at boot notice.
UPPER_HALF = ("sv39x4", "sv48x4-end")


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("qemu", QEMUS)
def test_far_place(boot, product, name, qemu):
    """A guest-physical place that the smallest stage-2 mode doesn't reach gets a larger one."""
    base, mode = FAR[name]
    setup = isolated("hyp", qemu=qemu)
    node = guest(product, "far", f"only=entry,loads,stores,fetches,edges,csrs,ram {known_faults(setup)}",
                  memory_base=place(base))
    machine = boot(manifest(node), smp=2, mem="512M", **setup)
    if qemu == "7.2" and name in UPPER_HALF:
        machine.expect("Isolation self-test failed for far: hart [01]: stage 2 stops VS-mode in the capsule's own RAM")
        return
    machine.expect(f"# RAM {base:#x},")
    passes(machine)
    assert machine.wait() == 0
    assert f" KiB of {mode} tables" in described(machine, "far")


def test_far_place_refused(boot, product):
    """Where harts don't have that mode, and in pmp, where there is no memory at such a place."""
    far = [hello(product, "far", memory_base=place(0x20000000000)), hello(product, "good")]
    machine = boot(manifest(*far), qemu="10", **isolated("hyp", "sv48=off"))
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1 and "far: memory-base: no stage-2 mode of this machine reaches 0x200003fffff" in alerts(machine)[0]
    machine = boot(manifest(*far), **isolated("pmp"))
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1 and "far: memory-base 0x20000000000 size 0x400000 is not free RAM" in alerts(machine)[0]


ODD_PLACES = {
    "bottom": {"memory_base": place(0), "memory": "32M"},
    "over-the-devices": {"memory_base": place(0), "memory": "400M"},
    "last-page-first": {"memory_base": place(0x9FFFF000), "memory": "8M"},
    "one-page-off": {"memory_base": place(0x80001000), "memory": "8M"},
    "small": {"memory_base": place(0x90000000), "memory": "640K"},
    "odd-size": {"memory": "5004K"},
}


@pytest.mark.parametrize("name", ODD_PLACES)
@XLENS
def test_odd_place(boot, product, xlen, name):
    """Places and sizes that no large page fits, and where the devices would be: they are moved, and the tree says so."""
    setup = isolated("hyp", xlen=xlen)
    words = f"only=entry,loads,stores,fetches,edges,ram foreign=0x9fff0000 {known_faults(setup)}"
    machine = boot(manifest(guest(product, "odd", words, xlen, **ODD_PLACES[name])), smp=2, mem="512M", **setup)
    passes(machine)
    assert machine.wait() == 0 and alerts(machine) == []


@XLENS
def test_rv32_and_rv64_top(boot, product, xlen):
    """RAM up to the last byte below 4 GiB, which is the last of all that a 32-bit guest can name without translation."""
    machine = boot(manifest(hello(product, xlen=xlen, memory_base=place(0xFFC00000))), xlen=xlen, **isolated("hyp"))
    at, tree = said_hello(machine)
    assert at == 0xFFC00000 < tree < 1 << 32
    assert machine.wait() == 0 and alerts(machine) == []
