# SPDX-License-Identifier: MIT
"""Disks and entropy in Linux guests, with the drivers that stock kernels have."""
import subprocess
import time

import pytest

from harness import capsule, disk, known_faults, manifest, usually
from linux import ends_foreground, powers_off, reads_pasted_lines
from monitor import ESCAPE, Monitor
from test_guests import CORNERS, HYPERVISOR, PLACES as GUEST_PLACES, passes
from test_network import networks

PLACES = {f"{guest}-{isolation}-qemu{qemu}": (guest, isolation, qemu)
          for guest in ("rv64-small", "rv32") for isolation in ("pmp", "hyp") for qemu in ("7.2", "10")}
USUAL = [("rv64-small", "pmp", "7.2"), ("rv64-small", "hyp", "10"), ("rv32", "hyp", "7.2"), ("rv32", "pmp", "10")]
PLACE = pytest.mark.parametrize("place", usually(PLACES.values(), USUAL), ids=PLACES)
MIB = 1 << 20


@pytest.fixture
def seed(tmp_path):
    """An empty ext4 of 8 MiB."""
    path = tmp_path / "seed.img"
    path.write_bytes(bytes(8 * MIB))
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", path], check=True)
    return path


@pytest.fixture
def guest(linux):
    def guest(place):
        name, isolation, qemu = place
        return linux(name, isolation=isolation, qemu=qemu)

    return guest


def mount(machine, device="vda"):
    return machine.shell(f"mkdir -p /mnt; mount -t ext4 /dev/{device} /mnt && echo mounted")


@PLACE
def test_disk(guest, seed, place):
    """What was written and synced is there after a reboot, and after one that came without warning; the seed is as it was."""
    guest = guest(place)
    machine = guest.machine(guest.capsule(vcpus=2, disk0=disk(seed), bootargs="panic=-1"))
    machine.prompt(120)
    assert machine.shell("cat /sys/block/vda/serial; echo; cat /sys/block/vda/size") == f"disk0\n{8 * MIB // 512}"
    assert mount(machine) == "mounted"
    machine.shell("seq 1 50000 >/mnt/numbers; md5sum </mnt/numbers >/mnt/sum")
    machine.shell("umount /mnt")
    machine.sendline("reboot")
    machine.expect("diosix-guest: up", timeout=120)
    machine.prompt()
    assert mount(machine) == "mounted"
    assert machine.shell("md5sum </mnt/numbers | cmp - /mnt/sum && echo same") == "same"
    machine.shell("echo again >/mnt/again; sync")
    machine.sendline("echo b >/proc/sysrq-trigger")
    machine.expect("diosix-guest: up", timeout=120)
    machine.prompt()
    assert mount(machine) == "mounted"
    assert machine.shell("cat /mnt/again; md5sum </mnt/numbers | cmp - /mnt/sum && echo same") == "again\nsame"
    assert "error" not in machine.shell("dmesg | grep -iE 'vda|virtio'")
    powers_off(machine)
    assert not any(seed.read_bytes()[MIB * 7:])


@PLACE
def test_read_only(guest, seed, place):
    """Nothing can be written to it, whatever the guest tries; the one beside it is another copy."""
    guest = guest(place)
    machine = guest.machine(guest.capsule(disk0=disk(seed, read_only=True), disk1=disk(seed)))
    machine.prompt(120)
    assert machine.shell("cat /sys/block/vda/ro /sys/block/vdb/ro") == "1\n0"
    before = machine.shell("md5sum </dev/vda")
    assert machine.shell("dd if=/dev/zero of=/dev/vda count=1 2>&1 || echo refused").endswith("refused")
    machine.shell("dd if=/dev/zero of=/dev/vdb bs=64k; sync")
    machine.shell("echo 3 >/proc/sys/vm/drop_caches")
    assert machine.shell("md5sum </dev/vda") == before
    assert machine.shell("head -c 65536 /dev/vdb | md5sum") == machine.shell("head -c 65536 /dev/zero | md5sum")
    assert mount(machine) == "mounted"
    assert machine.shell("touch /mnt/x 2>&1") == "touch: /mnt/x: Read-only file system"
    powers_off(machine)


@PLACE
def test_entropy(guest, place):
    guest = guest(place)
    machine = guest.machine(guest.capsule(rng0={"type": "rng"}))
    machine.prompt(120)
    assert machine.shell("cat /sys/class/misc/hw_random/rng_current") == "virtio_rng.0"
    first = machine.shell("head -c 5000 /dev/hwrng | md5sum")
    assert machine.shell("head -c 5000 /dev/hwrng | wc -c") == "5000"
    assert machine.shell("head -c 5000 /dev/hwrng | md5sum") != first
    powers_off(machine)


@PLACE
def test_console(guest, place):
    """A shell on virtio-console, with nothing lost either way. The small kernels have the SBI's console as hvc0."""
    guest = guest(place)
    machine = guest.machine(guest.capsule(vcpus=2, console="hvc1", console0={"type": "console"}))
    machine.prompt(120)
    assert "hvc1" in machine.shell("cat /sys/class/tty/console/active").split()
    assert machine.shell("tty") == "/dev/hvc1"
    assert machine.shell("seq 1 5000", timeout=60).splitlines() == [str(n) for n in range(1, 5001)]
    reads_pasted_lines(machine, 200)
    machine.prompt()
    ends_foreground(machine)
    assert machine.shell("echo alive") == "alive"
    powers_off(machine)


@pytest.mark.parametrize("console, isolation", [("hvc1", "pmp"), ("ttyS0", "hyp")])
def test_stop(guest, console, isolation):
    """With a virtio console the kernel is asked to power off wherever it prints."""
    guest = guest(("rv64-small", isolation, "7.2"))
    machine = guest.machine(guest.capsule("x", console=console, console0={"type": "console"}), guest.capsule("keeper"), smp=2)
    for _ in range(2):
        machine.expect("diosix-guest: up", timeout=120)
    machine.expect("x.*capsule# ", timeout=60)
    with Monitor(machine) as monitor:
        monitor.request("stop", "x")
        monitor.becomes("x", "^stopped")
        assert "power off" in monitor.list()["x"]["last"]


@pytest.mark.parametrize("isolation, qemu", [("pmp", "7.2"), ("hyp", "10"), ("pmp-on-h", "10"), ("hyp", "7.2")])
def test_debian(linux, seed, isolation, qemu):
    """Debian's own kernel, whose drivers are modules: a shell on hvc0, and a disk that holds what is written to it."""
    guest = linux("rv64", isolation=isolation, qemu=qemu)
    machine = guest.machine(guest.capsule(vcpus=2, disk0=disk(seed), console0={"type": "console"}, bootargs="diosix.hvc=hvc0"))
    machine.prompt(120)
    assert machine.shell("tty") == "/dev/hvc0"
    machine.shell("modprobe virtio_blk")
    assert machine.shell("cat /sys/block/vda/serial") == "disk0"
    machine.shell("dd if=/dev/urandom of=/tmp/x bs=64k count=64; dd if=/tmp/x of=/dev/vda bs=64k seek=32; sync")
    machine.shell("echo 3 >/proc/sys/vm/drop_caches")
    assert machine.shell("dd if=/dev/vda bs=64k skip=32 count=64 2>/dev/null | cmp - /tmp/x && echo same") == "same"
    reads_pasted_lines(machine, 100)
    powers_off(machine)


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_all_slots(guest, seed, isolation):
    """Eight devices, each where the tree says, each with its own interrupt."""
    guest = guest(("rv64-small", isolation, "7.2"))
    devices = {f"d{n}": {"type": "rng"} if n == 3 else disk(seed) for n in range(8)}
    machine = guest.machine(guest.capsule(vcpus=2, **devices))
    machine.prompt(120)
    read = machine.shell("for d in /dev/vd?; do dd if=$d of=/dev/null bs=64k 2>&1; done", timeout=60)
    assert read.count(f"{8 * MIB // 65536}+0 records out") == 7
    assert machine.shell("cat /sys/block/vd?/serial") == "".join(f"d{n}" for n in range(8) if n != 3)
    assert machine.shell("grep -c virtio /proc/interrupts") == "8"
    powers_off(machine)


@pytest.mark.parametrize("isolation", ["pmp", "hyp"])
def test_killed_under_load(guest, seed, isolation):
    """A capsule that is killed while it writes gives everything back; a new one begins with the seed."""
    guest = guest(("rv64-small", isolation, "7.2"))
    machine = guest.machine(guest.capsule("x", vcpus=2, memory="64M", disk0=disk(seed)),
                            guest.capsule("keeper", memory="64M"))
    machine.expect(r"x\| .*diosix-guest: up", timeout=120)
    machine.expect("x.*capsule# ", timeout=60)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    for _ in range(3):
        machine.sendline("while true; do dd if=/dev/urandom of=/dev/vda bs=64k; done")
        machine.expect("records out", timeout=60)
        with Monitor(machine) as monitor:
            monitor.request("kill", "x")
            monitor.becomes("x", "^stopped")
            monitor.request("destroy", "x")
            end = time.monotonic() + 60
            while "x" in monitor.list():
                assert time.monotonic() < end
            while monitor.memory()[1] == free:  # until each hart has passed
                assert time.monotonic() < end
            monitor.request("create", "x")
            assert monitor.memory()[1] == free
            monitor.request("start", "x")
        machine.expect(r"x\| .*diosix-guest: up", timeout=120)
        machine.expect("x.*capsule# ", timeout=60)
        machine.send(f"{ESCAPE}n")
        machine.expect("input goes to x")
        machine.sendline("mkdir /mnt; mount -t ext4 /dev/vda /mnt && echo '<'mounted")
        machine.expect("<mounted", timeout=30)
        machine.sendline("umount /mnt")


@pytest.mark.parametrize("place", CORNERS)
def test_hostile_driver(boot, product, tmp_path, place):
    """tests/guest/virtio.c twice, side by side: each would find its own disk changed by the other."""
    smp, vcpus, setup = GUEST_PLACES[place]
    rounds = 20000 if place in ("shared", "rv32") else 6000  # where harts have H, QEMU takes five times as long for one
    pattern = tmp_path / "pattern.img"
    pattern.write_bytes(bytes(7 * n % 256 for n in range(256 * 512)))
    kernel = product(f"rv{setup.get('xlen', 64)}/guest/virtio.bin")
    nodes = [capsule(name, kernel=kernel, initrd=False, memory="16M", console=None, vcpus=vcpus,
                     bootargs=f"foreign={HYPERVISOR:#x} rounds={rounds} {known_faults(setup)}", rng0={"type": "rng"},
                     disk0=disk(pattern, read_only=True), disk1=disk(pattern),
                     console0={"type": "console"}, net0={"type": "net", "network": name}, net1={"type": "net", "network": name})
             for name in ("one", "two")]
    machine = boot(networks(manifest(*nodes), one=1500, two=1500), smp=smp, mem="512M", **setup)
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0
