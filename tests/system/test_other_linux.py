# SPDX-License-Identifier: MIT
"""Linux that is not the usual: a newer kernel than the one that everything else is tested with, and a large initramfs."""
import hashlib
import random
import shutil
import subprocess

import pytest

import harness
from edges import alerts
from harness import ISOLATIONS, capsule, isolated, manifest, usually

MEGABYTE = 1 << 20

# --- a newer kernel --------------------------------------------------------------------------------------------------------

FETCH = harness.REPOSITORY / "scripts/fetch-newer-kernel"
# Harts, vCPUs, and what is special about the machine.
PLACES = {
    "shared": {"smp": 2, "vcpus": 4},
    "qemu10": {"smp": 2, "vcpus": 2, "qemu": "10"},
    "single": {"smp": 1, "vcpus": 1, "cpu": "sstc=off"},
    "vector": {"smp": 2, "vcpus": 2, "cpu": "v=on", "qemu": "10"},
    "max": {"smp": 2, "vcpus": 2, "qemu": "10", "model": "max"},
}
USUAL = ["shared", "max"]
ROWS = [pytest.param(name, marks=[] if name in USUAL else [pytest.mark.exhaustive]) for name in PLACES]


@pytest.fixture(scope="module")
def newer():
    """The kernel's file; skips where this machine's mirror has none that is newer."""
    done = subprocess.run([FETCH], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        pytest.skip(f"no newer kernel: {done.stdout.strip().splitlines()[-1]}")
    directory = subprocess.run([FETCH, "--print"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{directory}/Image"


@pytest.mark.parametrize("place", ROWS)
@pytest.mark.parametrize("isolation", usually(ISOLATIONS, ["hyp"]))
def test_newer_kernel(boot, newer, isolation, place):
    """It starts all vCPUs, finds nothing wrong with its machine, gives a shell, and starts anew."""
    setup = dict(PLACES[place])
    vcpus = setup.pop("vcpus")
    node = capsule("newer", kernel=newer, vcpus=vcpus, memory="256M")
    machine = boot(manifest(node), **isolated(isolation, setup.pop("cpu", ""), **setup))
    machine.expect(rf"Isolation: {isolation} \(")
    machine.expect(rf"diosix-guest: nproc {vcpus}\r", timeout=180)
    machine.prompt()
    release = machine.shell("uname -r")
    assert tuple(map(int, release.split(".")[:2])) > (6, 12), release
    machine.sendline("DIOSIX_SECONDS=3 /tests/fork-storm && DIOSIX_SECONDS=3 /tests/interrupts && echo '<'good")
    machine.expect(r"\n<good\r", timeout=120)
    machine.sendline("/tests/dmesg-clean && echo '<'clean || echo '<'unclean")
    machine.expect(r"\n<(clean|unclean)\r")
    assert machine.match[1] == "clean"
    machine.sendline("reboot")
    machine.expect(r"stopped: reset\r")
    machine.expect(rf"diosix-guest: nproc {vcpus}\r", timeout=180)
    machine.prompt()
    machine.sendline("poweroff")
    assert machine.wait() == 0
    assert alerts(machine) == []


# --- a large initramfs -----------------------------------------------------------------------------------------------------

FILES = 8
FILE_SIZE = 16 * MEGABYTE
CHECK = """#!/bin/sh
cd /large && md5sum -c sums
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """128 MiB that can't be compressed, and /tests/large, which checks every byte."""
    directory = tmp_path_factory.mktemp("large")
    source = random.Random(1)
    entries, sums = ["dir /large 755"], []
    for number in range(FILES):
        content = source.randbytes(FILE_SIZE)
        (directory / f"{number}").write_bytes(content)
        entries.append(f"file /large/{number} {directory}/{number} 644")
        sums.append(f"{hashlib.md5(content).hexdigest()}  {number}\n")
    (directory / "sums").write_text("".join(sums))
    (directory / "check").write_text(CHECK)
    entries += [f"file /large/sums {directory}/sums 644", f"file /tests/large {directory}/check 755"]
    (directory / "list").write_text("\n".join(entries) + "\n")
    subprocess.run([harness.REPOSITORY / "scripts/make-cpio", directory / "list", directory / "cpio.gz"], check=True)
    content = (directory / "cpio.gz").read_bytes()
    shutil.rmtree(directory)
    assert len(content) > FILES * FILE_SIZE
    return content


@pytest.fixture
def large(archive, provided, boot, tmp_path):
    """large(guest, isolation, ...) boots such a guest with the archive behind its usual initramfs."""

    def start(guest, isolation, bootargs="", memory="512M", others=(), **setup):
        provided(guest)
        initramfs = tmp_path / "initramfs"
        initramfs.write_bytes((harness.CACHE / "guests" / guest / "initramfs.cpio.gz").read_bytes() + archive)
        node = capsule("large", linux=guest, initrd=initramfs, vcpus=2, memory=memory, bootargs=bootargs)
        machine = boot(manifest(node, *others), smp=2, xlen=32 if guest == "rv32" else 64, **isolated(isolation), **setup)
        initramfs.unlink()  # it is in the manifest by now
        return machine

    return start


@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("guest", ["rv64", "rv32"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_large_initramfs(large, isolation, guest, qemu):
    machine = large(guest, isolation, "diosix.test=large", qemu=qemu)
    machine.expect(rf"Isolation: {isolation} \(")
    machine.expect(r"diosix-guest: test large (passed|failed)\r", timeout=180)
    assert machine.match[1] == "passed"
    assert machine.console.count(": OK") == FILES
    assert machine.wait() == 0
    assert alerts(machine) == []


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_large_initramfs_again(large, isolation):
    """A restart loads it once more, whatever became of the first copy."""
    machine = large("rv64", isolation)
    machine.prompt(timeout=120)
    machine.sendline("rm -r /large; reboot")
    machine.expect(r"stopped: reset\r", timeout=60)
    machine.prompt(timeout=120)
    machine.sendline("/tests/large && echo '<'good")
    machine.expect(r"\n<good\r", timeout=120)
    machine.sendline("poweroff")
    assert machine.wait() == 0


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_large_initramfs_in_little_memory(large, isolation):
    """Memory that can't hold it is said to be too small; the machine's other capsule runs."""
    machine = large("rv64", isolation, memory="128M", others=[capsule("good", bootargs="diosix.poweroff")])
    machine.expect("diosix-guest: up", timeout=120)
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1 and "capsule large: memory" in alerts(machine)[0]
