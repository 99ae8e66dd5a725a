# SPDX-License-Identifier: MIT
"""The Debian on a disk: itself, without the hypervisor, so that what other tests do with it can be relied on; and two of them
in capsules that work on one disk and talk to each other and to the world outside."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from debian import BOOT_SECONDS, drive, free_port, login, switch_off
from harness import Raw, isolated, manifest, usually
from manager import PLACES

PROGRAMS = {"fio --version": "fio-3", "iperf3 --version": "iperf 3", "stress-ng --version": "stress-ng, version",
            "cyclictest --help": "cyclictest V"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("qemu", ["7.2", "10"])
def test_direct(debian, qemu):
    """It boots to the login prompt with nothing that failed, its programs run, it writes, and sshd takes the key."""
    port = free_port()
    machine = debian.boots_alone(qemu, debian.disk(), "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22",
                                 "-device", "virtio-net-device,netdev=net")
    login(machine)
    assert machine.shell("nproc") == "2"
    assert "/dev/vda / ext4 rw" in machine.shell("grep ' / ' /proc/mounts")
    for command, words in PROGRAMS.items():
        assert words in machine.shell(f"{command} 2>&1 | head -n 3", timeout=60)
    assert "err= 0" in machine.shell("fio --name=t --filename=/root/t --size=16m --bs=64k --rw=randrw --verify=crc32c "
                                     "--output-format=normal | grep err=", timeout=180)
    assert debian.ssh(port, "hostname; id -u") == "debian\n0"
    assert machine.shell("systemctl is-system-running --wait", timeout=240) == "running"
    switch_off(machine)


MIB = 1 << 20
SECTOR = 512
# Of the disk that both work on: a margin of a MiB around each one's part stays as it is.
PARTS = {"one": (1 * MIB, 63 * MIB), "two": (65 * MIB, 62 * MIB)}
MARGINS = [(0, 1 * MIB), (64 * MIB, 65 * MIB), (127 * MIB, 128 * MIB)]
VERIFY = ("fio --name=v --filename=/dev/vdb --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bsrange=4k-64k --size=48m "
          "--verify=crc32c --verify_fatal=1 --output-format=normal")
NO_QUESTIONS = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


def two_nodes(debian):
    for n, (name, (first, size)) in enumerate(PARTS.items()):
        yield debian.capsule(name, memory="384M", disk0={"type": "disk", "source": f"serial:{name}"},
                             disk1={"type": "disk", "source": "serial:data", "first_sector": first // SECTOR, "sectors": size // SECTOR},
                             net0={"type": "net", "network": "lan", "mac-address": Raw(f"[02 00 00 00 00 {n + 1:02x}]")})


@pytest.mark.parametrize("place", usually(PLACES.values(), [("hyp", "10")]), ids=PLACES)
def test_two_together(debian, place):
    """Each checks all that it writes to its part of one disk while the other does so too; ssh from this machine into both,
    and from one into the other."""
    isolation, qemu = place
    pattern = bytes(7 * n % 251 for n in range(MIB))
    data = debian.directory / "data.img"
    data.write_bytes(pattern * 128)
    ports = {f"10.0.2.{15 + n}": free_port() for n in range(2)}
    forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{port}-{address}:22" for address, port in ports.items())
    text = manifest(*two_nodes(debian))
    # Disks take slots from the last one down; the network device comes after the three of them.
    text = text.replace("capsules {", 'networks { lan { uplink = "path:/soc/virtio_mmio@10005000"; }; };\ncapsules {', 1)
    machine = debian.boot(text, smp=2, mem="1G", **isolated(isolation, qemu=qemu), extra=[
        *drive(debian.disk("one"), "one"), *drive(debian.disk("two"), "two"),
        "-drive", f"file={data},format=raw,if=none,id=data", "-device", "virtio-blk-device,drive=data,serial=data",
        "-netdev", f"user,id=net,{forwards}", "-device", "virtio-net-device,netdev=net"])
    for name in PARTS:
        machine.expect_of(name, "debian login: ", BOOT_SECONDS)
    names = {address: debian.ssh(port, "cat /sys/block/vda/serial") for address, port in ports.items()}
    assert sorted(names.values()) == ["one", "two"]
    with ThreadPoolExecutor() as pool:
        for said in pool.map(lambda port: debian.ssh(port, VERIFY, 400), ports.values()):
            assert "err= 0" in said, said
    (here, port), (there, _) = ports.items()
    debian.ssh(port, "umask 077; cat >/root/key", input=debian.key.read_text())
    assert debian.ssh(port, f"ssh -i /root/key {NO_QUESTIONS} root@{there} cat /sys/block/vda/serial") == names[there] != names[here]
    assert "receiver" in debian.ssh(port, f"ssh -i /root/key {NO_QUESTIONS} root@{there} iperf3 -s -1 -D; sleep 1; iperf3 -c {there} -t 3")
    for port in ports.values():
        debian.power_off(port)
    assert machine.wait(180) == 0
    content = data.read_bytes()
    for first, last in MARGINS:
        assert content[first:last] == (pattern * 128)[first:last]
    assert content[2 * MIB:3 * MIB] != pattern
