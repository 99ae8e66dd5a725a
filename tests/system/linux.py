# SPDX-License-Identifier: MIT
"""What every Linux guest must do, wherever it runs: in 64 and 32 bits, in each isolation, on each QEMU. The test files
choose where; here it is done.

    guest = linux("rv32", isolation="pmp", qemu="10")      # linux is a fixture of conftest.py
    shell_answers(guest, vcpus=2)
"""
import hashlib
import itertools
from dataclasses import dataclass
from typing import Callable

import pytest

import harness

SECONDS = 4
TORTURE = ["fork-storm", "signals", "taskset", "pipeline", "interrupts", "fp", "memory", "dmesg-clean"]

# Harts and vCPUs: a hart for each, fewer harts, one of each.
PLACES = {"alone": (4, 4), "shared": (2, 4), "single": (1, 1)}


def torture_rows(*usual):
    """Parameters (isolation, place, QEMU) for torture, which takes most of a minute each: these always, the others of all
    with -m exhaustive."""
    every = itertools.product(["pmp", "hyp", "pmp-on-h"], PLACES, ["7.2", "10"])
    return [pytest.param(*row, marks=[] if row in usual else [pytest.mark.exhaustive]) for row in every]


@dataclass
class Guest:
    """A Linux guest of harness.LINUX, and the machine to boot it on. cpu: further words for QEMU's -cpu."""

    start: Callable
    name: str = "rv64"
    isolation: str = "pmp"
    qemu: str = "7.2"
    cpu: str = ""

    @property
    def xlen(self):
        return 32 if self.name == "rv32" else 64

    def capsule(self, name="debian", **more):
        return harness.capsule(name, linux=self.name, **more)

    def machine(self, *capsules, **setup):
        """Boots a machine with these capsules; setup as harness.Setup has it."""
        fields = harness.isolated(self.isolation, self.cpu, xlen=self.xlen, qemu=self.qemu)
        return self.start(harness.manifest(*capsules), **{**fields, **setup})

    def boot(self, vcpus=1, bootargs="", memory="128M", **setup):
        """Boots a machine with one capsule."""
        return self.machine(self.capsule(vcpus=vcpus, bootargs=bootargs, memory=memory), **setup)


def powers_off(machine):
    machine.sendline("poweroff")
    assert machine.wait() == 0


def shell_answers(guest, vcpus, **setup):
    """A shell, which answers, in the isolation that was asked for, and a power-off that ends QEMU well."""
    machine = guest.boot(vcpus, **setup)
    machine.expect(rf"Capsule 1 \(debian\): isolation {guest.isolation[:3]},")
    machine.expect(rf"diosix-guest: nproc {vcpus}\r", timeout=120)
    machine.expect(rf"diosix-guest: isa rv{guest.xlen}i")
    machine.prompt()
    assert machine.shell("nproc") == str(vcpus)
    assert machine.shell("grep -c ^processor /proc/cpuinfo") == str(vcpus)
    assert "real" in machine.shell("time true 2>&1"), "programs must be able to read the time"
    powers_off(machine)


def boots(guest, vcpus, **setup):
    """Up, with all its vCPUs, and off again: nobody types anything."""
    machine = guest.boot(vcpus, "diosix.poweroff", **setup)
    machine.expect(rf"Capsule 1 \(debian\): isolation {guest.isolation[:3]},")
    machine.expect("diosix-guest: up", timeout=120)
    machine.expect(rf"diosix-guest: nproc {vcpus}\r")
    assert machine.wait() == 0


def reboots(guest, vcpus, **setup):
    """A guest's reboot starts it again, from RAM in which nothing is left."""
    machine = guest.boot(vcpus, **setup)
    for _ in range(2):
        machine.expect("diosix-guest: up")
        machine.prompt()
        assert machine.shell("cat /tmp/left 2>&1") == "cat: can't open '/tmp/left': No such file or directory"
        machine.shell("echo left >/tmp/left")
        machine.sendline("reboot")
    machine.expect("diosix-guest: up")
    machine.prompt()
    powers_off(machine)


def survives_torture(guest, vcpus, **setup):
    """All of tests/system/guest/tests in one boot, and nothing that the kernel found wrong with its machine."""
    machine = guest.boot(vcpus, f"diosix.seconds={SECONDS} diosix.test={','.join(TORTURE)}", **setup)
    for name in TORTURE:
        machine.expect(rf"diosix-guest: test {name} (passed|failed)", timeout=180)
        assert machine.match[1] == "passed", f"{name} failed"
    assert machine.wait() == 0


def console_lines():
    pattern = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" * 2
    return [f"{n:04} {pattern[n % 62:n % 62 + 58]}" for n in range(1024)]


def prints_64k(guest):
    """Not a byte of 64 KiB is lost, doubled or changed."""
    machine = guest.boot(2, "diosix.test=console")
    machine.expect(r"console: begin\r\n")
    machine.expect(r"console: end\r\n", timeout=120)
    assert machine.before.splitlines() == console_lines()
    assert machine.wait() == 0


def reads_paste(guest, count):
    """What is pasted into a guest's terminal arrives as it was: so many lines at once."""
    machine = guest.boot(2)
    machine.prompt()
    reads_pasted_lines(machine, count)
    powers_off(machine)


def reads_pasted_lines(machine, count):
    """At a prompt: so many lines at once."""
    lines = console_lines()[:count]
    digest = hashlib.md5("".join(line + "\n" for line in lines).encode()).hexdigest()
    machine.sendline("stty -echo; echo '<'ready; cat >/tmp/paste; stty echo; md5sum </tmp/paste")
    machine.expect(r"\n<ready\r\n")
    machine.send("".join(line + "\r" for line in lines) + "\x04")
    machine.expect(r"([0-9a-f]{32})  -\r", timeout=60)
    assert machine.match[1] == digest


def panics_and_reboots(guest):
    """A kernel that panics, told to reboot then, is reported as a reset and comes up again."""
    machine = guest.boot(2, "panic=-1", smp=2)
    machine.prompt()
    machine.sendline("echo c >/proc/sysrq-trigger")
    machine.expect("Kernel panic - not syncing: sysrq triggered crash", timeout=60)
    machine.expect(r"Capsule 1 \(debian\) stopped: reset\r")
    machine.expect("diosix-guest: up")
    machine.prompt()
    powers_off(machine)


def interrupt_key_works(guest):
    """Ctrl-C ends what runs in the foreground of the guest's shell, and nothing else."""
    machine = guest.boot()
    machine.prompt()
    ends_foreground(machine)
    assert machine.shell("echo alive") == "alive"
    powers_off(machine)


def ends_foreground(machine):
    """At a prompt: Ctrl-C."""
    # Said by a process of its own: between "echo" and the start of "sleep", busybox's shell may lose a Ctrl-C.
    machine.sendline("sh -c 'echo \"<\"begin; exec sleep 1000'")
    machine.expect(r"\n<begin\r\n")
    machine.send("\x03")
    machine.prompt()


def cpu_comes_back(guest, smp):
    """A CPU that the guest switches off and on again works."""
    machine = guest.boot(2, smp=smp)
    machine.prompt()
    for _ in range(3):
        machine.shell("echo 0 >/sys/devices/system/cpu/cpu1/online")
        assert machine.shell("nproc") == "1"
        machine.shell("echo 1 >/sys/devices/system/cpu/cpu1/online")
        assert machine.shell("taskset 2 nproc; nproc") == "1\n2"
    powers_off(machine)
