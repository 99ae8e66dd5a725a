# SPDX-License-Identifier: MIT
"""A capsule with harts of its own: nothing else runs there, and what it does needs no hypervisor."""
import re
import time

import pytest

from harness import SLOWNESS, isolated, manifest, pairwise, row_id, usually
from linux import powers_off
from many import many
from monitor import Monitor

SECONDS = [pytest.param(10, id="10s"), pytest.param(60, id="60s", marks=pytest.mark.exhaustive)]
ROWS = pairwise(corner=["pmp", "hyp", "rv32", "rv32-hyp"], qemu=["7.2", "10"], neighbours=[0, 4])
CORNERS = {"pmp": isolated("pmp"), "hyp": isolated("hyp"), "rv32": isolated("pmp", xlen=32),
           "rv32-hyp": isolated("hyp", xlen=32)}


def nudges(setup, seconds):
    """At most so many traps keep a hart of QEMU 7.2 from losing timers in VS-mode, 20 a second: elsewhere none are needed."""
    loses = "h=on" in setup["cpu"] and setup.get("qemu", "7.2") == "7.2"
    return 20 * (1.2 * seconds * SLOWNESS + 2) if loses else 0


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("row", usually(ROWS, ROWS[::2]), ids=row_id)
def test_no_exit(boot, product, row, seconds):
    """It computes, takes 250 timer interrupts a second by Sstc, and sleeps in WFI now and then: not one exit."""
    setup = {**CORNERS[row["corner"]], "qemu": row["qemu"]}
    quiet = many(product, "q", f"only=quiet for={(seconds + 4) * 1000}", setup, harts=[1], dedicated=True)
    others = [many(product, f"w{n}", "only=storm storm=all", setup) for n in range(row["neighbours"])]
    machine = boot(manifest(quiet, *others), smp=2, mem="512M", **setup)
    machine.expect("quiet q begins", 30)
    monitor = Monitor(machine)
    with monitor:
        before = monitor.stat("q")
        time.sleep(seconds)
        after = monitor.stat("q")
    assert 0 <= after["exits"] - before["exits"] <= nudges(setup, seconds), (before, after)
    machine.expect(r"quiet q ended: ticks=(\d+) waits=(\d+) wrong=0", 30)
    assert int(machine.match[1]) > 100 * seconds and int(machine.match[2]) > 10


def test_without_sstc(boot, product):
    """Its timers then cost exits; it still has the hart for itself, and the others share what is left."""
    setup = isolated("pmp", "sstc=off")
    nodes = [many(product, "d", "only=worker every=5000", setup, harts=[1], dedicated=True),
             *[many(product, f"w{n}", "only=worker every=5000", setup) for n in range(3)]]
    machine = boot(manifest(*nodes), smp=2, mem="512M", **setup)
    for _ in nodes:
        machine.expect(r"worker \w+ 0 t=\d+ units=0", 30)
    figures = Monitor(machine).used(12)
    assert figures["d"] == pytest.approx(12, rel=0.05), figures
    for n in range(3):
        assert figures[f"w{n}"] == pytest.approx(4, rel=0.08), figures


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_linux_of_its_own(linux, isolation):
    """Debian's kernel on a dedicated hart, busy with nothing on its console: hardly an exit."""
    guest = linux("rv64", isolation=isolation)
    machine = guest.machine(guest.capsule("own", harts=[1], dedicated=True), smp=2)
    machine.expect("diosix-guest: up", timeout=120)
    machine.prompt()
    machine.sendline("end=$(($(date +%s) + 25)); while [ $(date +%s) -lt $end ]; do :; done; sleep 1; echo '<'done")
    time.sleep(2)
    with Monitor(machine) as monitor:
        before = monitor.stat("own")["exits"]
        time.sleep(10)
        after = monitor.stat("own")["exits"]
    assert after - before < 10 + nudges(isolated(isolation), 10), after - before
    machine.expect("<done", 90)
    powers_off(machine)


def test_others_stay_away(boot, product):
    """As many workers as would fill both harts run on the other one."""
    setup = isolated("pmp")
    nodes = [many(product, "d", "only=density", setup, harts=[0], dedicated=True),
             *[many(product, f"w{n}", "only=worker", setup) for n in range(4)]]
    machine = boot(manifest(*nodes), smp=2, mem="512M", **setup)
    for n in range(4):
        machine.expect(f"worker w{n} 0 t=", 30)
    with Monitor(machine) as monitor:
        for _ in range(20):
            row = next(row for row in monitor.command("harts") if re.match(r" *0 ", row))
            assert not re.search(r"w\d", row), row


def test_refusals(boot, product):
    """More vCPUs than harts, a hart that another has for itself, one that isn't there: each said, and the others run."""
    setup = isolated("pmp")
    bad = {"many": {"vcpus": 2, "harts": [1], "dedicated": True}, "taken": {"harts": [2], "dedicated": True},
           "absent": {"harts": [9]}, "all": {"dedicated": True}}
    nodes = [many(product, "first", "only=density", setup, harts=[2], dedicated=True)]
    nodes += [many(product, name, "only=density", setup, **more) for name, more in bad.items()]
    nodes += [many(product, "good", "only=worker for=500", setup)]
    machine = boot(manifest(*nodes), smp=4, mem="512M", **setup)
    machine.expect(r"Capsule \d+ \(good\) stopped", 30)
    for name in bad:
        assert re.search(rf"\[!\] CPU \d+: Capsule refused: (capsule )?{name}: ", machine.console), name
