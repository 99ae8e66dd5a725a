# SPDX-License-Identifier: MIT
"""Torture inside a capsule's Linux (tests/system/guest/tests): with a hart for each vCPU, and with fewer harts."""
import hashlib

import pytest

from harness import capsule, manifest

SECONDS = 4
TESTS = ["fork-storm", "signals", "taskset", "pipeline", "interrupts", "fp", "memory"]
PLACES = {"alone": (4, 4), "shared": (2, 4), "single": (1, 1)}


@pytest.mark.parametrize("place", PLACES)
def test_torture(boot, place):
    """All of them in one boot, and nothing that the kernel found wrong with its machine."""
    smp, vcpus = PLACES[place]
    names = [*TESTS, "dmesg-clean"]
    words = f"diosix.seconds={SECONDS} diosix.test={','.join(names)}"
    machine = boot(manifest(capsule(vcpus=vcpus, bootargs=words)), smp=smp)
    for name in names:
        machine.expect(rf"diosix-guest: test {name} (passed|failed)", timeout=180)
        assert machine.match[1] == "passed", f"{name} failed"
    assert machine.wait() == 0


def console_lines():
    pattern = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" * 2
    return [f"{n:04} {pattern[n % 62:n % 62 + 58]}" for n in range(1024)]


def test_console_output(boot):
    """Not a byte of 64 KiB is lost, doubled or changed."""
    machine = boot(manifest(capsule(vcpus=2, bootargs="diosix.test=console")))
    machine.expect(r"console: begin\r\n")
    machine.expect(r"console: end\r\n", timeout=120)
    assert machine.before.splitlines() == console_lines()
    assert machine.wait() == 0


@pytest.mark.parametrize("count", [128, 1024])
def test_console_input(boot, count):
    """What is pasted into a guest's terminal arrives as it was: 8 and 64 KiB at once, in lines."""
    lines = console_lines()[:count]
    digest = hashlib.md5("".join(line + "\n" for line in lines).encode()).hexdigest()
    machine = boot(manifest(capsule(vcpus=2)))
    machine.prompt()
    machine.sendline("stty -echo; cat >/tmp/paste; stty echo; md5sum </tmp/paste")
    machine.expect(r"/tmp/paste\r\n")
    machine.send("".join(line + "\r" for line in lines) + "\x04")
    machine.expect(r"([0-9a-f]{32})  -\r", timeout=60)
    assert machine.match[1] == digest
    machine.sendline("poweroff")
    assert machine.wait() == 0


def test_panic(boot):
    """A kernel that panics, told to reboot then, is reported as a reset and comes up again."""
    machine = boot(manifest(capsule(vcpus=2, bootargs="panic=-1")), smp=2)
    machine.prompt()
    machine.sendline("echo c >/proc/sysrq-trigger")
    machine.expect("Kernel panic - not syncing: sysrq triggered crash", timeout=60)
    machine.expect(r"Capsule 1 \(debian\) stopped: reset\r")
    machine.expect("diosix-guest: up")
    machine.prompt()
    machine.sendline("poweroff")
    assert machine.wait() == 0


def test_interrupt_key(boot):
    """Ctrl-C ends what runs in the foreground of the guest's shell, and nothing else."""
    machine = boot(manifest(capsule()))
    machine.prompt()
    machine.sendline("echo '<'begin; sleep 1000")
    machine.expect(r"\n<begin\r\n")
    machine.send("\x03")
    machine.prompt()
    assert machine.shell("echo alive") == "alive"
    machine.sendline("poweroff")
    assert machine.wait() == 0
