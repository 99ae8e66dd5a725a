# SPDX-License-Identifier: MIT
"""Linux in 32 bits: Debian has none, so scripts/build-guests builds kernel and busybox from Debian's sources."""
import itertools

import pytest

import linux as checks
from harness import ISOLATIONS, usually

QEMUS = ["7.2", "10"]
# Harts and vCPUs: a hart for each, and fewer.
SIZES = [(1, 1), (2, 2), (4, 4), (2, 4), (1, 2), (2, 8)]


def row_ids(row):
    isolation, qemu, (smp, vcpus) = row
    return f"{isolation}-qemu{qemu}-smp{smp}-vcpus{vcpus}"


@pytest.fixture(params=ISOLATIONS)
def guest(linux, request):
    return linux("rv32", isolation=request.param)


@pytest.mark.parametrize("row", itertools.product(ISOLATIONS, QEMUS, SIZES), ids=row_ids)
def test_shell(linux, row):
    isolation, qemu, (smp, vcpus) = row
    checks.shell_answers(linux("rv32", isolation=isolation, qemu=qemu), vcpus, smp=smp)


@pytest.mark.parametrize("qemu", QEMUS)
@pytest.mark.parametrize("cpu", ["sstc=off", "v=on", "v=on,vlen=256"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_extensions(linux, isolation, cpu, qemu):
    """Without the timer extension, and with vectors: the kernel uses what it is told of."""
    machine = linux("rv32", isolation=isolation, qemu=qemu, cpu=cpu).boot(4, smp=2)
    machine.expect(r"diosix-guest: isa (\S+)\r")
    isa = machine.match[1]
    assert ("sstc" in isa) == ("sstc=off" not in cpu)
    assert isa.startswith("rv32imafdcv") == ("v=on" in cpu)
    machine.prompt()
    checks.powers_off(machine)


@pytest.mark.parametrize("smp,vcpus", [(2, 2), (1, 2)])
def test_reboot(guest, smp, vcpus):
    checks.reboots(guest, vcpus, smp=smp)


@pytest.mark.parametrize("isolation,place,qemu", checks.torture_rows(("pmp", "shared", "7.2"), ("hyp", "shared", "7.2")))
def test_torture(linux, isolation, place, qemu):
    smp, vcpus = checks.PLACES[place]
    checks.survives_torture(linux("rv32", isolation=isolation, qemu=qemu), vcpus, smp=smp)


def test_console_output(guest):
    checks.prints_64k(guest)


@pytest.mark.parametrize("count", usually([128, 1024], [128]))
def test_console_input(guest, count):
    checks.reads_paste(guest, count)


def test_panic(guest):
    checks.panics_and_reboots(guest)


def test_interrupt_key(guest):
    checks.interrupt_key_works(guest)


def test_hotplug(guest):
    checks.cpu_comes_back(guest, smp=1)


@pytest.mark.parametrize("console,words", [("hvc0", ""), ("hvc0", "earlycon=sbi"), ("ttyS0", "earlycon=sbi")])
def test_sbi_console(guest, console, words):
    """The SBI's own console, which the 64-bit kernel of Debian has no driver for."""
    machine = guest.machine(guest.capsule(vcpus=2, console=console, bootargs=words), smp=2)
    machine.expect("Linux version")
    machine.prompt()
    assert machine.shell("echo $((6 * 7))") == "42"
    checks.powers_off(machine)


def test_two_capsules(guest):
    """Two at once on fewer harts than vCPUs."""
    machine = guest.machine(guest.capsule("one", vcpus=2, bootargs="diosix.poweroff", memory="64M"),
                            guest.capsule("two", vcpus=2, bootargs="diosix.poweroff", memory="64M"), smp=2)
    assert machine.wait() == 0
    for name in ("one", "two"):
        assert f"({name}) stopped: power off requested" in machine.console
    assert machine.console.count("diosix-guest: up") == 2


@pytest.mark.parametrize("memory", ["24M", "512M"])
def test_memory_size(guest, memory):
    """A small capsule, and more memory than the kernel's linear map may hold at once."""
    machine = guest.boot(1, "diosix.poweroff", memory)
    machine.expect(r"diosix-guest: memory (\d+) kB")
    megabytes = int(memory[:-1])
    assert megabytes / 2 < int(machine.match[1]) / 1024 < megabytes
    assert machine.wait() == 0
