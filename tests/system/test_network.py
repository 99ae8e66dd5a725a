# SPDX-License-Identifier: MIT
"""Capsules on switched networks, with the driver that stock kernels have."""
import hashlib
import itertools
import random
import re
import socket
import threading
import time

import pytest

from harness import Raw, isolated, manifest, usually
from monitor import Monitor

PLACES = {f"{guest}-{isolation}-qemu{qemu}": (guest, isolation, qemu)
          for guest, isolation, qemu in itertools.product(("rv64-small", "rv32"), ("pmp", "hyp"), ("7.2", "10"))}
USUAL = [("rv64-small", "pmp", "7.2"), ("rv64-small", "hyp", "10"), ("rv32", "hyp", "7.2"), ("rv32", "pmp", "10")]


def net(n, network="lan", **more):
    return {"type": "net", "network": network, "mac-address": Raw(f"[02 00 00 00 00 {n:02x}]"), **more}


def networks(text, **mtus):
    """The manifest's text with these networks in it."""
    nodes = " ".join(f"{name} {{ mtu = <{mtu}>; }};" for name, mtu in mtus.items())
    return text.replace("capsules {", f"networks {{ {nodes} }};\ncapsules {{", 1)


def boots(guest, text):
    return guest.start(text, **isolated(guest.isolation, guest.cpu, xlen=guest.xlen, qemu=guest.qemu, smp=2))


@pytest.fixture
def guest(linux):
    def guest(place):
        name, isolation, qemu = place
        return linux(name, isolation=isolation, qemu=qemu)

    return guest


@pytest.mark.parametrize("place", usually(PLACES.values(), USUAL), ids=PLACES)
def test_transfer(guest, place):
    """Two that ping each other and move some MiB in both directions, at the usual MTU and at the largest."""
    guest = guest(place)
    for mtu in (1500, 9000):
        words = "diosix.test=network diosix.poweroff"
        nodes = [guest.capsule(name, memory="64M", vcpus=vcpus, bootargs=f"{words} diosix.host={n} diosix.peer={3 - n}",
                               net0=net(n)) for name, n, vcpus in (("one", 1, 1), ("two", 2, 2))]
        machine = boots(guest, networks(manifest(*nodes), lan=mtu))
        for name in ("one", "two"):
            machine.expect_of(name, r"diosix-guest: test network (passed|failed)", 180)
            assert "test network passed" in machine.stream(name), machine.stream(name)[-800:]
        assert machine.wait(60) == 0


ROUNDS = {f"{isolation}-{rounds}": (isolation, rounds) for isolation in ("pmp", "hyp") for rounds in (4, 20)}


@pytest.mark.parametrize("visits", usually(ROUNDS.values(), [("hyp", 4)]), ids=ROUNDS)
def test_one_comes_and_goes(guest, visits):
    """A capsule that floods another one, which is killed and made anew meanwhile, loses nothing of what it has to do with
    a third; and it can't send from an address that isn't its own."""
    isolation, rounds = visits
    guest = guest(("rv64-small", isolation, "7.2"))
    nodes = [guest.capsule("one", memory="64M", bootargs=f"diosix.seconds={25 + 5 * (rounds - 4)} diosix.test=network-steady",
                           net0=net(1)),
             *(guest.capsule(name, memory="64M", bootargs=f"diosix.seconds={60 + 8 * rounds} diosix.host={n} diosix.test=network-host",
                             net0=net(n)) for n, name in ((2, "two"), (3, "three")))]
    machine = boots(guest, networks(manifest(*nodes), lan=1500))
    machine.expect_of("one", "network-steady: begins", 120)
    for n in range(rounds):
        time.sleep(2)
        with Monitor(machine) as monitor:
            monitor.request("kill", "three")
            monitor.becomes("three", "^stopped")
            if n % 2 == 0:
                monitor.request("destroy", "three")
                end = time.monotonic() + 30
                while "three" in monitor.list():
                    assert time.monotonic() < end
                monitor.request("create", "three")
            monitor.request("start", "three")
    machine.expect_of("one", r"diosix-guest: test network-steady (passed|failed)", 120 + 5 * rounds)
    assert "test network-steady passed" in machine.stream("one"), machine.stream("one")[-800:]


@pytest.mark.parametrize("isolation", usually(["pmp", "hyp"], ["pmp"]))
def test_isolated(guest, isolation):
    """Isolated ports don't reach each other, whatever their drivers know; who isn't reaches both."""
    guest = guest(("rv64-small", isolation, "10"))
    nodes = [guest.capsule("one", memory="64M", bootargs="diosix.test=network-apart", net0=net(1, isolated=True)),
             *(guest.capsule(f"host{n}", memory="64M", bootargs=f"diosix.seconds=90 diosix.host={n} diosix.test=network-host",
                             net0=net(n, **({"isolated": True} if n == 2 else {}))) for n in (2, 3))]
    machine = boots(guest, networks(manifest(*nodes), lan=1500))
    machine.expect_of("one", r"diosix-guest: test network-apart (passed|failed)", 180)
    assert "test network-apart passed" in machine.stream("one"), machine.stream("one")[-800:]
    with Monitor(machine) as monitor:
        one, three = (monitor.stat(name)["net0"] for name in ("one", "host3"))
    assert one["frames sent"] > 8 and one["received"] > 6 and three["received"] >= 6 and "spoofed" not in one, (one, three)


def timed(guest, rate, tests):
    """How many seconds host 1 takes, with this rate, as whoever of the two measures it says. tests: host 1's and host 2's."""
    rate = Raw(f"/bits/ 64 <{rate[0]} {rate[1]}>")
    nodes = [guest.capsule(f"host{n}", memory="64M", bootargs=f"diosix.host={n} diosix.seconds=60 diosix.test={tests[n - 1]}",
                           net0=net(n, **({"rate": rate} if n == 1 else {}))) for n in (1, 2)]
    machine = boots(guest, networks(manifest(*nodes), lan=1500))
    teller = "host2" if tests[1] == "network-rate" else "host1"
    machine.expect_of(teller, r"diosix-guest: test network-\w+ (passed|failed)", 180)
    took = re.search(r"network: took (\d+) ms", machine.stream(teller))
    assert took, machine.stream(teller)[-800:]
    return int(took[1]) / 1000


def test_rate(guest):
    """A capsule sends no faster than its rate allows, in bytes or in frames, and not much slower; nothing is lost."""
    guest = guest(("rv64-small", "pmp", "7.2"))
    # After a rest a tenth of a second's worth goes at once. A busy host takes its time.
    assert 2.8 < timed(guest, (1000000, 0), ("network-rate", "network-rate")) < 10  # 3 MB
    assert 2.7 < timed(guest, (0, 20), ("network-pings", "network-host")) < 8  # 60 frames


OUTSIDE = {f"{guest}-{isolation}-qemu{qemu}-{transport}": (guest, isolation, qemu, transport) for guest, isolation, qemu in
           PLACES.values() for transport in ("legacy", "modern")}


def serves_once(listener, data):
    """Gives one who comes the data, its sum before it."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(f"{hashlib.md5(data).hexdigest()}  -\n".encode() + data)


def fetches(port):
    """How much a guest's server gives, which says the sum in its first line; it may still be about to listen."""
    received = b""
    end = time.monotonic() + 60
    while not received and time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        time.sleep(0.1)
    line, _, data = received.partition(b"\n")
    return line.decode().split()[0] == hashlib.md5(data).hexdigest() and len(data)


@pytest.mark.parametrize("place", usually(OUTSIDE.values(), [("rv64-small", "pmp", "7.2", "legacy"), ("rv32", "hyp", "10", "modern")]),
                         ids=OUTSIDE)
def test_uplink(guest, place):
    """A capsule reaches the world outside, and is reached from there; nothing is changed on the way."""
    transport = place[3]
    guest = guest(place[:3])
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as free:
        inside = free.getsockname()[1]
        free.close()
        words = f"diosix.test=network-outside diosix.port={listener.getsockname()[1]}"
        text = manifest(guest.capsule("one", memory="64M", bootargs=words, net0=net(1)))
        text = text.replace("capsules {", 'networks { lan { uplink = "path:/soc/virtio_mmio@10008000"; }; };\ncapsules {', 1)
        extra = ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{inside}-10.0.2.15:5000", "-device", "virtio-net-device,netdev=n0",
                 *(["-global", "virtio-mmio.force-legacy=false"] if transport == "modern" else [])]
        machine = guest.start(text, **isolated(guest.isolation, guest.cpu, xlen=guest.xlen, qemu=guest.qemu, smp=2, extra=extra))
        server = threading.Thread(target=serves_once, args=(listener, random.randbytes(3000000)), daemon=True)
        server.start()
        machine.expect("network: listens", 120)
        assert fetches(inside) == 3000000
        machine.expect(r"diosix-guest: test network-outside (passed|failed)", 120)
        assert machine.match[1] == "passed", machine.tail(20)
        assert machine.wait(60) == 0
