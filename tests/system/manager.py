# SPDX-License-Identifier: MIT
"""A machine with a manager whose Linux has capsulectl, and what is said to it."""
import itertools
import json
import struct
import subprocess
from pathlib import Path

import pytest

import harness
from harness import usually
from monitor import Monitor

PLACES = {f"{isolation}-qemu{qemu}": (isolation, qemu) for isolation, qemu in itertools.product(("pmp", "hyp"), ("7.2", "10"))}
PLACE = pytest.mark.parametrize("place", usually(PLACES.values(), [("pmp", "7.2"), ("hyp", "10")]), ids=PLACES)


def autostart_list(source):
    """/capsules: one by `run`'s words, one by a file that comes after it, and some that can't be started."""
    folders = {"web": {"run": "run"}, "filed": {"capsule.dtb": "filed.dtb", "after": "name-web"},
               "broken": {"capsule.dtb": "bad.dtb"}, "disabled": {"run": "run", "off": "run"}, "lost": {"run": "run", "after": "nobody"},
               "chicken": {"run": "run", "after": "name-egg"}, "egg": {"run": "run", "after": "name-chicken"}}
    return "\n".join(["dir /capsules 755"] + [f"dir /capsules/{name} 755" for name in folders] + [
        f"file /capsules/{name}/{file} {source / content} 0644" for name, files in folders.items() for file, content in files.items()])


@pytest.fixture
def boot_initrd(provided, product, tmp_path):
    """The small guest's initramfs with capsulectl in it, and what to make capsules of: a second archive is unpacked over the
    first."""
    provided("rv64-small")
    small = harness.CACHE / "guests/rv64-small"
    (tmp_path / "bad.dts").write_text('/dts-v1/; / { compatible = "diosix,manifest"; capsules { bad { memory = <0x1000>; }; }; };')
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", tmp_path / "bad.dtb", tmp_path / "bad.dts"], check=True)
    harness.compile_manifest(harness.manifest(harness.capsule("filed", kernel=product("rv64/guest/hello.bin"), initrd=False,
                                                              memory="4M", console=None)), tmp_path / "filed.dtb")
    (tmp_path / "run").write_text("# words\n../../../../Image --initrd \"/initrd\"\n# more\n--memory 64M\n")
    (tmp_path / "nobody").write_text("web nobody\n")
    hello = Path(product("rv64/guest/hello.bin")).read_bytes()
    packed = subprocess.run(["zstd", "-q", "-c"], input=hello, stdout=subprocess.PIPE, check=True).stdout
    (tmp_path / "hello.zst").write_bytes(packed)
    # As Linux's EFI images that unpack themselves: where the packed kernel is, and what it is packed by.
    (tmp_path / "hello.efi").write_bytes(struct.pack("<4s4sII8x32s", b"MZ", b"zimg", 64, len(packed), b"zstd").ljust(64, b"\0") + packed)
    for name in ("web", "filed", "chicken", "egg"):
        (tmp_path / f"name-{name}").write_text(f"{name}\n")
    (tmp_path / "list").write_text(f"""file /bin/capsulectl {product('rv64/capsulectl')} 0755
file /hello {product('rv64/guest/hello.bin')} 0644
file /hello.zst {tmp_path / "hello.zst"} 0644
file /hello.efi {tmp_path / "hello.efi"} 0644
file /Image {small / "Image"} 0644
file /initrd {small / "initramfs.cpio.gz"} 0644
file /bad.dtb {tmp_path / "bad.dtb"} 0644
file /filed.dtb {tmp_path / "filed.dtb"} 0644
{autostart_list(tmp_path)}
""")
    subprocess.run([harness.REPOSITORY / "scripts/make-cpio", tmp_path / "list", tmp_path / "more.gz"], check=True)
    first = (harness.CACHE / "guests/rv64-small/initramfs.cpio.gz").read_bytes()
    (tmp_path / "initrd").write_bytes(first + (tmp_path / "more.gz").read_bytes())
    return tmp_path / "initrd"


@pytest.fixture
def managed(linux, boot_initrd):
    """managed(place, others, **properties): a machine whose first capsule, boot, has capsulectl; others are the arguments of
    its neighbours. At boot's prompt."""

    def start(place, *others, **properties):
        isolation, qemu = place
        guest = linux("rv64-small", isolation=isolation, qemu=qemu)
        nodes = [guest.capsule("boot", initrd=boot_initrd, **({"memory": "64M"} | properties)),
                 *(guest.capsule(name, memory="64M", **more) for name, more in others)]
        machine = guest.machine(*nodes, smp=2)
        # A manager has the terminal to itself; where there is none, lines have labels.
        machine.expect("capsule# ", 120)
        return machine

    return start


def capsules(machine):
    """{name: what capsulectl says of it}"""
    return {row["name"]: row for row in json.loads(machine.shell("capsulectl --json list"))}


def refused(machine, command):
    """What a command says that must fail, and its status."""
    *said, status = machine.shell(f"{command} 2>&1; echo $?").splitlines()
    return " ".join(said), int(status)


def state_becomes(machine, name, state):
    for _ in range(60):
        if capsules(machine)[name]["state"] == state:
            return
        machine.shell("sleep 0.5")
    raise AssertionError(f"{name}: {capsules(machine)[name]}, not {state}")


def succeeds(machine, command):
    """What a command says; its progress bar is not part of it."""
    *said, status = machine.shell(f"{command} 2>/dev/null; echo $?", 120).splitlines()
    assert status == "0"
    return " ".join(said)


def focus(machine, name):
    Monitor(machine).enter()
    machine.sendline(f"focus {name}")
    machine.expect(f"the terminal is that of {name} alone", 20)  # until then the monitor takes what is typed


def used(machine):
    """(MiB, vCPUs) of the quota."""
    rows = [line.split() for line in machine.shell("capsulectl quota").splitlines()]
    return float(rows[1][1]), int(rows[2][1])


def gone(machine, name):
    assert refused(machine, f"capsulectl destroy {name}") == ("", 0)
    for _ in range(60):
        if name not in capsules(machine):
            return
        machine.shell("sleep 0.5")
    raise AssertionError(f"{name} is still there")
