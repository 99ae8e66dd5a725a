# SPDX-License-Identifier: MIT
"""Disks of the machine in Linux guests: whole, by sectors and by partitions; several capsules on one; and capsules that
are stopped while the disk still works for them."""
import itertools
import random
import re
import struct
import subprocess
import time
import uuid
import zlib

import pytest

from harness import Raw, capsule, known_faults, manifest, usually
from linux import powers_off
from monitor import Monitor
from test_guests import CORNERS, HYPERVISOR, PLACES as GUEST_PLACES, passes
from test_network import networks

MIB = 1 << 20
SECTOR = 512
PLACES = {f"{guest}-{isolation}-qemu{qemu}-{transport}": (guest, isolation, qemu, transport)
          for guest, isolation, qemu, transport in itertools.product(
              ("rv64-small", "rv32"), ("pmp", "hyp"), ("7.2", "10"), ("legacy", "modern"))}
USUAL = [("rv64-small", "pmp", "7.2", "legacy"), ("rv64-small", "hyp", "10", "modern"),
         ("rv32", "hyp", "7.2", "legacy"), ("rv32", "pmp", "10", "modern")]
PLACE = pytest.mark.parametrize("place", usually(PLACES.values(), USUAL), ids=PLACES)


def numbered(path, sectors):
    """A disk on which each sector says which one it is."""
    path.write_bytes(b"".join(struct.pack("<QQ", n, ~n & (1 << 64) - 1) * 32 for n in range(sectors)))
    return path


def filesystem(path, mib=16):
    with open(path, "wb") as file:
        file.truncate(mib * MIB)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", path], check=True)
    return path


def partitioned(path, parts, sectors=64 * MIB // SECTOR, broken=()):
    """A disk with a GPT. parts: name to (first, last). broken: of "primary" and "copy", those that are damaged."""
    entries = bytearray(128 * 128)
    for n, (name, (first, last)) in enumerate(parts.items()):
        entries[128 * n:128 * (n + 1)] = (uuid.uuid4().bytes + uuid.uuid4().bytes + struct.pack("<QQQ", first, last, 0)
                                          + name.encode("utf-16le").ljust(72, b"\0"))

    def header(own, other, table):
        fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, sectors - 34, uuid.uuid4().bytes, table, 128, 128,
                  zlib.crc32(entries)]
        layout = "<8sIIIIQQQQ16sQIII"
        fields[3] = zlib.crc32(struct.pack(layout, *fields))
        return struct.pack(layout, *fields).ljust(SECTOR, b"\0")

    with open(path, "wb") as file:
        file.truncate(sectors * SECTOR)
        file.seek(446)
        file.write(struct.pack("<B3sB3sII", 0, bytes(3), 0xEE, bytes(3), 1, sectors - 1))
        file.seek(510)
        file.write(b"\x55\xaa")
        for name, at, table, head in (("primary", 1, 2, header(1, sectors - 1, 2)),
                                      ("copy", sectors - 1, sectors - 33, header(sectors - 1, 1, sectors - 33))):
            file.seek(at * SECTOR)
            file.write(bytes(SECTOR) if name in broken else head)
            file.seek(table * SECTOR)
            file.write(entries)
    return path


def drive(path, serial, transport="legacy", more="", options=""):
    """QEMU's words for a disk of the machine."""
    return ["-drive", f"file={path},format=raw,if=none,id={serial}{options}",
            "-device", f"virtio-blk-device,drive={serial},serial={serial}{more}",
            *(["-global", "virtio-mmio.force-legacy=false"] if transport == "modern" else [])]


def source(name, **more):
    return {"type": "disk", "source": f"serial:{name}", **more}


@pytest.fixture
def guest(linux):
    def guest(place):
        name, isolation, qemu = place[:3]
        return linux(name, isolation=isolation, qemu=qemu)

    return guest


@PLACE
def test_whole(guest, tmp_path, place):
    """A filesystem on a disk of the machine: what was synced is there after a reboot, and in the file."""
    guest = guest(place)
    image = filesystem(tmp_path / "a.img")
    machine = guest.machine(guest.capsule(vcpus=2, disk0=source("data1")), extra=drive(image, "data1", place[3]))
    machine.prompt(120)
    assert machine.shell("cat /sys/block/vda/serial; echo; cat /sys/block/vda/size") == f"data1\n{16 * MIB // SECTOR}"
    mount = "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt && echo mounted"
    assert machine.shell(mount) == "mounted"
    machine.shell("seq 1 200000 >/mnt/numbers; md5sum </mnt/numbers >/mnt/sum; sync; echo 3 >/proc/sys/vm/drop_caches", 60)
    assert machine.shell("md5sum </mnt/numbers | cmp - /mnt/sum && echo same", 60) == "same"
    machine.shell("umount /mnt")
    machine.sendline("reboot")
    machine.expect("diosix-guest: up", timeout=120)
    machine.prompt()
    assert machine.shell(mount) == "mounted"
    assert machine.shell("md5sum </mnt/numbers | cmp - /mnt/sum && echo same", 60) == "same"
    assert "error" not in machine.shell("dmesg | grep -iE 'vda|virtio'")
    counts = Monitor(machine).stat("debian")["disk0"]
    assert counts["requests"] > 10 and counts["read"] > MIB and counts["written"] > MIB and "failed" not in counts, counts
    machine.sendline("")
    machine.prompt()
    machine.shell("umount /mnt")
    powers_off(machine)
    assert subprocess.run(["/sbin/fsck.ext4", "-fn", image], check=False).returncode == 0


PARTS = {"capsule-a": (2048, 10239), "capsule-b": (10240, 18431), "räksmörgås": (18432, 18439)}


@pytest.mark.parametrize("broken", [(), ("primary",), ("primary", "copy")], ids=["sound", "copy", "none"])
def test_partition(guest, tmp_path, broken):
    """A capsule gets the partition that has the name, by the table at the end too if the first one is damaged; without a
    table it is refused, and the others run."""
    guest = guest(("rv64-small", "pmp", "7.2"))
    image = partitioned(tmp_path / "p.img", PARTS, broken=broken)
    with open(image, "r+b") as file:
        file.seek(2048 * SECTOR)
        file.write(b"this is a\n")
    nodes = [guest.capsule("a", disk0=source("p", partition="capsule-a"))]
    if len(broken) == 2:
        nodes.append(guest.capsule("plain", bootargs="diosix.poweroff"))
    machine = guest.machine(*nodes, extra=drive(image, "p"))
    if len(broken) == 2:
        machine.expect(r"Capsule refused: a: disk0: partition: serial:p has no partition capsule-a")
        assert machine.wait(120) == 0
        return
    machine.expect(r"Disk /soc/virtio_mmio@10008000, serial p: 64 MiB, 3 partitions")
    machine.prompt(120)
    assert machine.shell("cat /sys/block/vda/size; head -n 1 /dev/vda") == "8192\nthis is a"
    machine.shell("head -c 4194304 /dev/zero | tr '\\0' z >/dev/vda; sync", 60)
    assert "No space" in machine.shell("dd if=/dev/zero of=/dev/vda bs=512 seek=8192 count=1 2>&1")
    powers_off(machine)
    content = image.read_bytes()
    assert content[2048 * SECTOR:10240 * SECTOR] == b"z" * (8192 * SECTOR)
    assert not any(content[10240 * SECTOR:-34 * SECTOR])


@pytest.mark.parametrize("limit, command, seconds", [
    ((1000000, 0), "dd if=/dev/vda of=/dev/null bs=64k count=48 iflag=direct", 3.1),
    ((0, 100), "dd if=/dev/vda of=/dev/null bs=4k count=300 iflag=direct", 3.0),
    ((2000000, 50), "dd if=/dev/zero of=/dev/vda bs=16k count=150 oflag=direct", 3.0)], ids=["bytes", "operations", "both"])
def test_rate(guest, tmp_path, limit, command, seconds):
    """A capsule gets no more than its disk's rate allows, and not much less."""
    guest = guest(("rv64-small", "pmp", "7.2"))
    rate = Raw(f"/bits/ 64 <{limit[0]} {limit[1]}>")
    machine = guest.machine(guest.capsule(disk0=source("d", rate=rate)), extra=drive(filesystem(tmp_path / "d.img"), "d"))
    machine.prompt(120)
    took = machine.shell(f"time {command} 2>&1", 60)
    real = sum(float(part) * unit for part, unit in zip(re.search(r"real\s+(\d+)m ?([\d.]+)s", took).groups(), (60, 1)))
    assert seconds - 0.3 < real < seconds * 2, took  # a busy host takes its time
    powers_off(machine)


REFUSALS = {
    "unknown": ({"source": "serial:other"}, "source: the machine has no disk serial:other"),
    "beyond": ({"source": "serial:d", "first_sector": 8, "sectors": 1 << 20}, "sectors: serial:d has 32768 sectors"),
    "wrap": ({"source": "serial:d", "first_sector": Raw("/bits/ 64 <0xffffffffffffffff>"), "sectors": 2}, "sectors: serial:d has"),
    "behind": ({"source": "serial:d", "first_sector": 32768}, "sectors: serial:d has 32768 sectors"),
    "both": ({"source": "serial:d", "sectors": 8, "partition": "x"}, "source: give sectors or a partition, not both"),
    "scheme": ({"source": "d"}, 'source: must be "serial:NAME", "path:/NODE" or "served:NAME"'),
    "shared": ({"source": "path:/soc/virtio_mmio@10008000", "first_sector": 99, "read_only": True},
               "capsule first uses some of these sectors of path:/soc/virtio_mmio@10008000, and not both only read"),
}


def test_refused(guest, tmp_path):
    """What can't be had is refused, with the reason; the others run. Who only reads may share."""
    guest = guest(("rv64-small", "pmp", "7.2"))
    off = {"bootargs": "diosix.poweroff", "memory": "64M"}
    nodes = [guest.capsule("first", disk0=source("d", sectors=100), **off)]
    nodes += [guest.capsule(name, disk0={"type": "disk", **disk}, **off) for name, (disk, _) in REFUSALS.items()]
    nodes += [guest.capsule(f"reads{n}", disk0=source("d", first_sector=200, read_only=True), **off) for n in range(2)]
    machine = guest.machine(*nodes, extra=drive(filesystem(tmp_path / "d.img"), "d"))
    assert machine.wait(120) == 0
    for name, (_, reason) in REFUSALS.items():
        assert f"{name}: disk0: {reason}" in machine.console, name
    assert machine.console.count("Created capsule") == 3


@pytest.mark.parametrize("isolation", usually(["pmp", "hyp"], ["hyp"]))
def test_shared(guest, tmp_path, isolation):
    """Two capsules on one disk at once, each in its own sectors, a third one that only reads: nobody sees or changes what
    isn't his."""
    guest = guest(("rv64-small", isolation, "7.2"))
    image = numbered(tmp_path / "n.img", 65536)
    words = "diosix.test=disk-own diosix.poweroff"
    machine = guest.machine(
        guest.capsule("low", bootargs=words, disk0=source("n", first_sector=1000, sectors=20000)),
        guest.capsule("high", bootargs=words, disk0=source("n", first_sector=30000, sectors=20000)),
        guest.capsule("reader", bootargs="diosix.test=disk-same diosix.poweroff",
                      disk0=source("n", first_sector=60000, read_only=True)), extra=drive(image, "n"), smp=2)
    for name in ("low", "high", "reader"):
        machine.expect_of(name, r"diosix-guest: test [a-z-]+ (passed|failed)", 120)
        assert " passed" in machine.stream(name)
    assert machine.wait(60) == 0
    before, after = numbered(tmp_path / "x.img", 65536).read_bytes(), image.read_bytes()
    for first, last in ((0, 1000), (21000, 30000), (50000, 65536)):
        assert before[first * SECTOR:last * SECTOR] == after[first * SECTOR:last * SECTOR]
    assert before[1000 * SECTOR:21000 * SECTOR] != after[1000 * SECTOR:21000 * SECTOR]


# The disk that is slow has requests in flight whenever somebody is killed.
SPEEDS = {"fast": "", "slow": ",throttling.iops-total=40"}


LOADS = {f"{isolation}-{speed}": (isolation, speed) for isolation in ("pmp", "hyp") for speed in SPEEDS}


@pytest.mark.parametrize("load", usually(LOADS.values(), [("pmp", "slow"), ("hyp", "fast")]), ids=LOADS)
def test_killed_under_load(guest, tmp_path, load):
    """A capsule that is killed while the disk works for it gives everything back, in bounded time; the disk goes on for
    its neighbour, which finds nothing changed."""
    isolation, speed = load
    guest = guest(("rv64-small", isolation, "7.2"))
    image = numbered(tmp_path / "n.img", 65536)
    machine = guest.machine(
        guest.capsule("x", vcpus=2, memory="64M", disk0=source("n", first_sector=0, sectors=30000)),
        guest.capsule("y", memory="64M", bootargs="diosix.seconds=20 diosix.test=disk-same",
                      disk0=source("n", first_sector=60000)),
        guest.capsule("keeper", memory="32M"),  # or the machine ends when y has, before x is there again
        smp=2, extra=drive(image, "n", options=SPEEDS[speed]))
    machine.expect_of("x", "capsule# ", 120)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    for _ in range(3):
        Monitor(machine).enter()
        machine.sendline("focus x")
        machine.expect("input goes to x")
        machine.sendline("for n in 1 2 3 4; do while true; do dd if=/dev/vda of=/dev/null bs=16k iflag=direct; done & done; "
                         "while true; do dd if=/dev/zero of=/dev/vda bs=16k oflag=direct; done")
        time.sleep(random.uniform(0.5, 1.5))
        with Monitor(machine) as monitor:
            monitor.request("kill", "x")
            monitor.becomes("x", "^stopped")
            monitor.request("destroy", "x")
            end = time.monotonic() + 60
            while "x" in monitor.list() or monitor.memory()[1] == free:
                assert time.monotonic() < end
            monitor.request("create", "x")
            assert monitor.memory()[1] == free
            monitor.request("start", "x")
        machine.expect(r"x\| .*diosix-guest: up", timeout=120)
        machine.expect("x.*capsule# ", timeout=60)
    machine.expect_of("y", "diosix-guest: test disk-same passed", 60)
    assert "did not answer" not in machine.console


KILLS = {f"{isolation}-{rounds}": (isolation, rounds) for isolation in ("pmp", "hyp") for rounds in (4, 50)}


@pytest.mark.parametrize("kills", usually(KILLS.values(), [("pmp", 4)]), ids=KILLS)
def test_flushed_is_there(guest, tmp_path, kills):
    """Whenever a capsule is killed, what it had flushed is on the disk, and fsck finds nothing wrong once the journal has
    been played."""
    isolation, rounds = kills
    guest = guest(("rv64-small", isolation, "7.2"))
    image, copy = filesystem(tmp_path / "j.img", 64), tmp_path / "copy.img"
    machine = guest.machine(guest.capsule("x", memory="64M", bootargs="diosix.test=disk-flush", disk0=source("j")),
                            guest.capsule("y", memory="64M"), smp=2, extra=drive(image, "j"))
    flushed = 0
    for n in range(rounds):
        machine.expect(r"disk-flush: has (\d+)\r", 120)
        assert int(machine.match[1]) >= flushed
        machine.expect(r"disk-flush: flushed \d+\r", 60)
        time.sleep(random.uniform(0.1, 2))
        with Monitor(machine) as monitor:
            monitor.request("kill", "x")
            monitor.becomes("x", "^stopped")
            # The capsule's lines come through its console: none is shown that wasn't said.
            flushed = max(map(int, re.findall(r"disk-flush: flushed (\d+)\n", machine.console)))
            subprocess.run(["cp", "--sparse=always", image, copy], check=True)
            repaired = subprocess.run(["/sbin/e2fsck", "-p", copy], check=False, capture_output=True, text=True)
            assert repaired.returncode in (0, 1), (n, repaired.stdout)
            checked = subprocess.run(["/sbin/e2fsck", "-fn", copy], check=False, capture_output=True, text=True)
            assert checked.returncode == 0, (n, checked.stdout)
            monitor.request("start", "x")


@pytest.mark.parametrize("place", usually(CORNERS, ["shared", "hyp-qemu10", "rv32-hyp"]))
def test_hostile_driver(boot, product, tmp_path, place):
    """tests/guest/virtio.c twice, side by side, on disks of the machine: each would find its own one changed by the other,
    and no sector that isn't theirs is touched. Resets come while requests are in flight."""
    smp, vcpus, setup = GUEST_PLACES[place]
    image = tmp_path / "pattern.img"
    image.write_bytes(bytes(7 * n % 256 for n in range(1024 * SECTOR)))
    before = image.read_bytes()
    kernel = product(f"rv{setup.get('xlen', 64)}/guest/virtio.bin")
    nodes = [capsule(name, kernel=kernel, initrd=False, memory="16M", console=None, vcpus=vcpus,
                     bootargs=f"foreign={HYPERVISOR:#x} {known_faults(setup)}",
                     disk0=source("d", sectors=256, read_only=True), disk1=source("d", first_sector=first, sectors=256),
                     console0={"type": "console"}, net0={"type": "net", "network": name}, net1={"type": "net", "network": name})
             for name, first in (("one", 256), ("two", 640))]
    machine = boot(networks(manifest(*nodes), one=1500, two=1500), smp=smp, mem="512M", **setup, extra=drive(image, "d"))
    for _ in nodes:
        passes(machine)
    assert machine.wait() == 0
    after = image.read_bytes()
    for first, last in ((0, 256), (512, 640), (896, 1024)):
        assert before[first * SECTOR:last * SECTOR] == after[first * SECTOR:last * SECTOR]
    assert "did not answer" not in machine.console
