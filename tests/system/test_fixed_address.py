# SPDX-License-Identifier: MIT
"""Guests that run at one address only: a small system of ours (tests/guest/fixed.S), flat and as an ELF file, and U-Boot."""
import re
import subprocess

import pytest

import harness
from edges import alerts
from harness import ISOLATIONS, Raw, capsule, isolated, manifest

RAM = 0x80000000
LARGE_PAGE = {64: 0x200000, 32: 0x400000}


def place(address):
    return Raw(f"/bits/ 64 <{address:#x}>")


def fixed(product, xlen, kind="bin", name="fixed", **more):
    """Its capsule. A flat binary is told where to lie, an ELF file knows."""
    if kind == "bin":
        more.setdefault("kernel_offset", LARGE_PAGE[xlen])
    return capsule(name, kernel=product(f"rv{xlen}/guest/fixed.{kind}"), initrd=False, console=None, memory="8M",
                   **{"memory_base": place(RAM), **more})


def runs(machine, xlen):
    machine.expect(rf"fixed: at 0x0*{RAM + LARGE_PAGE[xlen]:x}\nfixed: interrupt 5\nfixed: by the UART\n")


@pytest.mark.parametrize("kind", ["bin", "elf"])
@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("xlen", [64, 32], ids=["rv64", "rv32"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_fixed(boot, product, isolation, xlen, qemu, kind):
    machine = boot(manifest(fixed(product, xlen, kind)), xlen=xlen, qemu=qemu, **isolated(isolation))
    runs(machine, xlen)
    assert machine.wait() == 0
    assert f"Isolation: {isolation} (" in machine.console
    assert f"Supervisor kernel entry: {RAM + LARGE_PAGE[xlen]:#x}\n" in machine.console
    assert alerts(machine) == []


@pytest.mark.parametrize("xlen", [64, 32], ids=["rv64", "rv32"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_without_sstc(boot, product, isolation, xlen):
    machine = boot(manifest(fixed(product, xlen)), xlen=xlen, smp=1, **isolated(isolation, "sstc=off"))
    runs(machine, xlen)
    assert machine.wait() == 0


@pytest.mark.parametrize("xlen", [64, 32], ids=["rv64", "rv32"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_two_at_one_address(boot, product, isolation, xlen):
    """Where addresses are translated both run; where they aren't the second is told what is in its way."""
    machine = boot(manifest(fixed(product, xlen, name="one"), fixed(product, xlen, name="two")), xlen=xlen,
                   **isolated(isolation))
    assert machine.wait() == 0
    if isolation == "hyp":
        assert "fixed: by the UART" in said_by(machine, "one") and "fixed: by the UART" in said_by(machine, "two")
        assert alerts(machine) == []
    else:
        assert machine.console.count("fixed: by the UART") == 1
        assert len(alerts(machine)) == 1 and "capsule two: memory-base" in alerts(machine)[0]


def said_by(machine, name):
    """A capsule's words out of labelled output, in which lines may be cut into several when two write at once."""
    return "".join(re.findall(rf"^{name}\| (.*)$", machine.console, re.M))


@pytest.mark.parametrize("xlen", [64, 32], ids=["rv64", "rv32"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_elf_elsewhere(boot, product, isolation, xlen):
    """An ELF file is never put where it can't run: the line says which addresses it wants and which there are."""
    address = RAM + LARGE_PAGE[xlen]
    machine = boot(manifest(fixed(product, xlen, "elf", memory_base=place(0x90000000))), xlen=xlen, **isolated(isolation))
    assert machine.wait() == 0
    assert len(alerts(machine)) >= 1 and f"{address:#x}-" in alerts(machine)[0], alerts(machine)
    assert "0x90000000-0x907fffff" in alerts(machine)[0]
    assert "fixed: at" not in machine.console


@pytest.fixture(scope="module")
def uboot():
    """U-Boot for S-mode, a flat binary for 0x80200000."""
    fetch = harness.REPOSITORY / "scripts/fetch-uboot"
    subprocess.run([fetch], check=True)
    done = subprocess.run([fetch, "--print"], check=True, stdout=subprocess.PIPE, text=True)
    return f"{done.stdout.strip()}/u-boot.bin"


@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_uboot_finds_its_machine(boot, uboot, isolation, qemu):
    """What U-Boot makes of the machine: the SBI's parts, the processor, the memory, its own clock; and it starts anew."""
    node = capsule("uboot", kernel=uboot, initrd=False, console=None, memory="64M", memory_base=place(RAM),
                   kernel_offset=0x200000)
    machine = boot(manifest(node), qemu=qemu, **isolated(isolation))
    machine.expect("Hit any key")
    machine.send(" ")
    machine.expect("=> ")
    said = ask(machine, "sbi")
    for part in ("SBI 2.0", "Diosix 0x", "Timer Extension", "IPI Extension", "RFENCE Extension", "Hart State Management",
                 "System Reset", "Debug Console"):
        assert part in said, said
    assert "reg = <0x00000000 0x80000000 0x00000000 0x04000000>;" in ask(machine, "fdt print /memory")
    assert "done" in ask(machine, "sleep 1; echo done")
    machine.sendline("reset")
    machine.expect(r"Capsule 1 \(uboot\) stopped: reset\r")
    machine.expect("Hit any key")
    machine.send(" ")
    machine.expect("=> ")
    machine.sendline("poweroff")
    assert machine.wait() == 0


def ask(machine, command):
    """Gives U-Boot a command; returns what it says."""
    machine.sendline(command)
    machine.expect("\n=> ", 30)
    return machine.before
