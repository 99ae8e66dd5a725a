# SPDX-License-Identifier: MIT
"""Several Linux systems on one machine, with small guests and, where it can run, U-Boot beside them: all of them come up,
answer, and go, one after the other. By default every pair of values is met in some test; with -m exhaustive all
combinations run."""
import itertools
import re
import subprocess

import pytest

import harness
from harness import Raw, capsule, pairwise, row_id, usually
from many import Progress, many
from monitor import ESCAPE

LINUXES = 4
CHOICES = {
    "guest": ["rv64-small", "rv64", "rv32"],
    "isolation": ["pmp", "hyp"],
    "smp": [1, 2, 4],
    "qemu": ["7.2", "10"],
    "vcpus": [1, 2],
}
ALL = [dict(zip(CHOICES, values)) for values in itertools.product(*CHOICES.values())]
MEMORY = {"rv64": "128M", "rv64-small": "64M", "rv32": "64M"}
UBOOT_BASE = 0x80000000  # in pmp the host's memory must be free there: it is made first


@pytest.fixture(scope="module")
def uboot():
    fetch = harness.REPOSITORY / "scripts/fetch-uboot"
    subprocess.run([fetch], check=True)
    directory = subprocess.run([fetch, "--print"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{directory}/u-boot.bin"


def names(count):
    return [f"linux-{n}" for n in range(count)]


def focus(machine, number, name):
    """Input to that capsule from now on. The number is its id."""
    machine.send(f"{ESCAPE}{number}")
    machine.expect(f"input goes to {name}", 30)


def answers(machine, number, name, vcpus):
    """A shell that answers, then a power-off."""
    focus(machine, number, name)
    machine.sendline(f"echo '<'$(nproc) {name}'>'")
    machine.expect_of(name, rf"<{vcpus} {name}>", 60)
    machine.sendline("poweroff")
    machine.expect(rf"Capsule {number} \({name}\) stopped: power off requested", 60)


def boots_many(linux, product, row, uboot=None):
    guest = linux(row["guest"], isolation=row["isolation"], qemu=row["qemu"])
    setup = {"cpu": "h=on" if row["isolation"] == "hyp" else "h=off", "xlen": guest.xlen, "qemu": row["qemu"]}
    nodes = []
    if uboot:
        nodes.append(capsule("uboot", kernel=uboot, initrd=False, console=None, memory="64M",
                             memory_base=Raw(f"/bits/ 64 <{UBOOT_BASE:#x}>"), kernel_offset=0x200000))
    nodes += [guest.capsule(name, vcpus=row["vcpus"], memory=MEMORY[row["guest"]]) for name in names(LINUXES)]
    nodes += [many(product, f"w{n}", "only=worker", setup) for n in range(2)]
    machine = guest.machine(*nodes, smp=row["smp"], mem="2G" if guest.xlen == 64 else "1G")
    return machine


def all_come_and_go(machine, row, uboot=None):
    for name in names(LINUXES):
        machine.expect_of(name, rf"diosix-guest: nproc {row['vcpus']}\n", 240)
    ids = {name: int(number) for number, name in re.findall(r"Created capsule: ID (\d+) \(([a-z0-9-]+)\)", machine.console)}
    for name in names(LINUXES):
        answers(machine, ids[name], name, row["vcpus"])
    if uboot:
        focus(machine, ids["uboot"], "uboot")
        machine.send(" \r")
        machine.expect("=> ", 60)
        machine.sendline("poweroff")
        machine.expect(r"\(uboot\) stopped: power off requested", 60)
    progress = Progress(machine.console)
    assert len(progress.points["w0"]) > 1 and len(progress.points["w1"]) > 1
    assert not re.search(r"\[!\] CPU", machine.console)
    machine.close()


def fits(row):
    """Debian's kernels, four of them on four emulated harts, take minutes where the host has two processors."""
    return row["guest"] != "rv64" or row["smp"] < 4


@pytest.mark.parametrize("row", usually(pairwise(**CHOICES), fits), ids=row_id)
def test_many(linux, product, row):
    all_come_and_go(boots_many(linux, product, row), row)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", ALL, ids=row_id)
def test_many_exhaustive(linux, product, row):
    all_come_and_go(boots_many(linux, product, row), row)


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_many_with_uboot(linux, product, uboot, isolation):
    row = {"guest": "rv64-small", "isolation": isolation, "smp": 2, "qemu": "7.2", "vcpus": 1}
    all_come_and_go(boots_many(linux, product, row, uboot), row, uboot)


@pytest.mark.exhaustive  # minutes
@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_one_dies(linux, product, isolation):
    """One panics and starts anew, one is rebooted, over and over; the third one's torture finds nothing wrong."""
    guest = linux("rv64-small", isolation=isolation)
    torture = "diosix.test=signals,pipeline,fp,memory,dmesg-clean diosix.seconds=6"
    nodes = [guest.capsule("steady", vcpus=2, bootargs=torture), guest.capsule("reboots", bootargs="diosix.reboot"),
             guest.capsule("panics", bootargs="panic=-1 init=/nowhere rdinit=/nowhere"),
             many(product, "w", "only=worker", {"cpu": "h=on" if isolation == "hyp" else "h=off"})]
    machine = guest.machine(*nodes, smp=2, mem="1G")
    for name in ("signals", "pipeline", "fp", "memory", "dmesg-clean"):
        machine.expect(rf"diosix-guest: test {name} (passed|failed)", timeout=240)
        assert machine.match[1] == "passed", name
    machine.expect(r"\(steady\) stopped: power off requested", 60)
    assert machine.console.count("(reboots) stopped: reset") >= 2
    assert machine.console.count("(panics) stopped: reset") >= 2
    Progress(machine.console)
