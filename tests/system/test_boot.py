# SPDX-License-Identifier: MIT
"""A capsule boots to its shell, sees what its manifest says, stops and starts again."""
import re

import pytest

from harness import Raw, capsule, manifest
from linux import reboots, shell_answers


@pytest.mark.quick
def test_shell(linux):
    """The way a user first meets it."""
    shell_answers(linux("rv64"), 2)


def test_log_lines(boot):
    """The lines that users and tools may rely on."""
    machine = boot(manifest(capsule(vcpus=2, memory="128M", bootargs="diosix.poweroff")), smp=4, mem="512M")
    assert machine.wait() == 0
    for line in (
        r"\[-\] CPU \d: Welcome to diosix \S+ \.\.\. using device tree at 0x[0-9a-f]+",
        r"\[-\] CPU \d: Available physical RAM: \d+ MiB, physical CPU cores: 4",
        r"\[-\] CPU \d: Isolation: pmp \(\d+ entries, \d+-byte granule\)",
        r"\[-\] CPU \d: Created capsule: ID 1 \(debian\), physical RAM base 0x[0-9a-f]+, size 128 MiB, 2 vCPUs",
        r"\[-\] CPU \d: Supervisor kernel entry: 0x[0-9a-f]+",
    ):
        assert re.search(f"^{line}$", machine.console, re.MULTILINE), line
    ready = re.findall(r"^\[-\] CPU (\d): Physical CPU core ready to roll, type: 64-bit RISC-V, ext: [a-z]+$",
                       machine.console, re.MULTILINE)
    assert sorted(ready) == ["0", "1", "2", "3"]


@pytest.mark.quick
def test_reboot(linux):
    reboots(linux("rv64"), 2)


def test_memory_size(boot):
    """The guest sees the memory that its manifest gives it, less what its kernel keeps for itself."""
    machine = boot(manifest(capsule(memory="192M", bootargs="diosix.poweroff")))
    machine.expect(r"diosix-guest: memory (\d+) kB")
    assert 120 << 10 < int(machine.match[1]) < 192 << 10
    assert machine.wait() == 0


def test_sifive_u(boot):
    """Another machine with other devices, a first hart that has no S-mode, and no way to switch itself off."""
    machine = boot(manifest(capsule(vcpus=4, bootargs="diosix.poweroff")), machine="sifive_u", smp=5)
    machine.expect(r"diosix-guest: nproc 4\r")
    machine.expect(r"Capsule 1 \(debian\) stopped: power off requested")
    machine.expect("cannot be switched off by software")


def test_two_capsules(boot):
    """Two capsules run at once; the machine is powered off when both have stopped."""
    machine = boot(manifest(capsule("one", bootargs="diosix.poweroff"),
                            capsule("two", vcpus=2, bootargs="diosix.poweroff")))
    assert machine.wait() == 0
    assert len(re.findall("diosix-guest: up", machine.console)) == 2
    assert re.search(r"Capsule \d+ \(one\) stopped: power off requested", machine.console)
    assert re.search(r"Capsule \d+ \(two\) stopped: power off requested", machine.console)


def test_bad_node_is_refused_and_others_start(boot):
    """What can't be used is named, with its capsule, and is not the end of the others."""
    machine = boot(manifest(capsule("bad", bananas=3), capsule("good", bootargs="diosix.poweroff")))
    machine.expect("diosix-guest: up")
    assert machine.wait() == 0
    assert re.search(r"\[!\] CPU \d: .*\bbad\b.*bananas", machine.console)
    assert "(bad)" not in re.findall(r"Created capsule: ID \d+ (\(\S+\))", machine.console)


@pytest.mark.parametrize("qemu", ["7.2", "10"])
def test_no_manifest(boot, qemu):
    """Without a manifest there's nothing to run, and that is said."""
    machine = boot(None, qemu=qemu)
    machine.expect(r"\[!\] CPU \d: .*manifest")


def test_garbage_for_a_manifest(boot):
    machine = boot(b"\xd0\x0d\xfe\xed" + bytes(range(256)) * 64)
    machine.expect(r"\[!\] CPU \d: .*manifest")


def test_fixed_place(boot):
    """memory-base names the physical place that a PMP capsule gets."""
    machine = boot(manifest(capsule(memory_base=Raw("/bits/ 64 <0x90000000>"), bootargs="diosix.poweroff")))
    machine.expect("physical RAM base 0x90000000, size 128 MiB")
    machine.expect("diosix-guest: up")
    assert machine.wait() == 0


def test_no_room(boot):
    """A capsule that doesn't fit is refused with the reason; the next one starts."""
    machine = boot(manifest(capsule("huge", memory="8G"), capsule("good", bootargs="diosix.poweroff")))
    machine.expect(r"\[!\] CPU \d: .*huge")
    machine.expect("diosix-guest: up")
    assert machine.wait() == 0
