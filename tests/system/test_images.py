# SPDX-License-Identifier: MIT
"""Kernels of every kind, where they say or where the manifest says; and kernels that lie."""
import gzip
import re
import struct
import subprocess

import pytest

import harness
from edges import alerts, elf, hello, image, said_hello
from harness import GUESTS, ISOLATIONS, Raw, capsule, isolated, manifest

MEGABYTE = 1 << 20
RAM = 0x90000000


def place(address):
    return Raw(f"/bits/ 64 <{address:#x}>")


@pytest.fixture
def code(product):
    return product("rv64/guest/hello.bin").read_bytes()


@pytest.fixture
def boot_kernel(boot, product, tmp_path):
    """boot_kernel(bytes, **properties) starts a capsule with 4 MiB at RAM and that kernel."""

    def start(kernel, memory="4M", memory_base=place(RAM), on_isolation="pmp", **more):
        path = tmp_path / "kernel"
        path.write_bytes(kernel)
        good = hello(product, "good", memory_base=place(0xA0000000))
        return boot(manifest(hello(product, "odd", kernel=path, memory=memory, memory_base=memory_base, **more), good),
                    **isolated(on_isolation))

    return start


# --- kernels that can be honoured, and where they then run ---------------------------------------------------------------

KERNELS = {
    "flat": (lambda code: (code, {}), 0),
    "flat-offset": (lambda code: (code, {"kernel_offset": 0x1234A}), 0x1234A),
    "flat-to-the-end": (lambda code: (code, {"kernel_offset": 4 * MEGABYTE - 0x4000}), 4 * MEGABYTE - 0x4000),
    "flat-one-page": (lambda code: (code, {"memory": "12K"}), 0),
    "image": (lambda code: (image(code), {}), 0x200000 + 64),
    "image-at-0": (lambda code: (image(code, text_offset=0), {}), 64),
    "image-anywhere": (lambda code: (image(code), {"memory_base": None}), None),
    "image-size-0": (lambda code: (image(code, image_size=0), {}), 0x200000 + 64),
    "image-size-large": (lambda code: (image(code, image_size=0x1F0000), {}), 0x200000 + 64),
    "elf-here": (lambda code: (elf(code, address=RAM + 0x100000), {}), 0x100000),
    "elf-virtual": (lambda code: (elf(code, address=RAM + 0x3000, virtual=0xFFFFFFFF80000000), {}), 0x3000),
    "elf-movable": (lambda code: (elf(code, address=0x40000000, kind=3), {}), 0),
    "elf-movable-high": (lambda code: (elf(code, address=0xFFFFFFFFC0000000, kind=3), {}), 0),
    "elf-at-0": (lambda code: (elf(code, address=0), {}), 0),
    "elf-bss": (lambda code: (elf(code, address=RAM, memory_size=3 * MEGABYTE), {}), 0),
}


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("name", KERNELS)
def test_kernel(boot_kernel, code, name, isolation):
    make, offset = KERNELS[name]
    kernel, properties = make(code)
    machine = boot_kernel(kernel, on_isolation=isolation, **properties)
    places = sorted([said_hello(machine)[0], said_hello(machine)[0]])
    assert 0xA0000000 in places
    if offset is not None:
        assert RAM + offset in places, [hex(at) for at in places]
    assert machine.wait() == 0 and alerts(machine) == []


# --- kernels that cannot: one line each, and the capsule beside it runs ----------------------------------------------------

def patched(blob, offset, layout, value):
    return blob[:offset] + struct.pack("<" + layout, value) + blob[offset + struct.calcsize(layout):]


NEEDS = r"needs 0x[0-9a-f]+ bytes at text_offset"
BAD_KERNELS = {
    "image-size-astronomic": (lambda code: image(code, image_size=1 << 63), NEEDS),
    "image-size-all": (lambda code: image(code, image_size=(1 << 64) - 1), NEEDS),
    "image-size-more": (lambda code: image(code, image_size=0x200001), NEEDS),
    "image-offset-astronomic": (lambda code: image(code, text_offset=(1 << 64) - 64), NEEDS),
    "image-offset-end": (lambda code: image(code, text_offset=4 * MEGABYTE), NEEDS),
    "image-offset-crooked": (lambda code: image(code, text_offset=0x1001), "text_offset 0x1001 is not aligned"),
    "image-big-endian": (lambda code: image(code, flags=1), "big-endian"),
    "elf-elsewhere": (lambda code: elf(code, address=0x80200000),
                      r"0x80200000-0x[0-9a-f]+ does not lie in the capsule's memory 0x90000000-0x903fffff"),
    "elf-below": (lambda code: elf(code, address=RAM - 0x1000), "does not lie in the capsule's memory"),
    "elf-past-end": (lambda code: elf(code, address=RAM + 0x3FFF00), "does not lie in the capsule's memory"),
    "elf-bss-huge": (lambda code: elf(code, address=RAM, memory_size=1 << 40), "does not lie in the capsule's memory"),
    "elf-bss-wraps": (lambda code: elf(code, address=RAM, memory_size=(1 << 64) - 1), "reaches the end of the address space"),
    "elf-movable-large": (lambda code: elf(code, address=0, memory_size=8 * MEGABYTE), "is larger than the capsule's memory"),
    "elf-file-more": (lambda code: elf(code, address=RAM, file_size=1 << 20, memory_size=1 << 20), "beyond the file's end"),
    "elf-file-wraps": (lambda code: elf(code, address=RAM, file_size=(1 << 64) - 8, memory_size=(1 << 64) - 1),
                       "beyond the file's end|end of the address space"),
    "elf-more-than-memory": (lambda code: elf(code, address=RAM, memory_size=16), "more bytes in the file than in memory"),
    "elf-entry": (lambda code: elf(code, address=RAM, entry=RAM - 2), "entry is odd or in none of its segments"),
    "elf-entry-odd": (lambda code: elf(code, address=RAM, entry=RAM + 1), "entry is odd or in none of its segments"),
    "elf-x86": (lambda code: elf(code, address=RAM, machine=62), "machine type 62, not RISC-V"),
    "elf-rv32": (lambda code: elf(code, address=RAM, xlen=32), "for 32-bit harts, these have 64 bits"),
    "elf-object": (lambda code: elf(code, address=RAM, kind=1), "type is not executable"),
    "elf-short": (lambda code: elf(code, address=RAM)[:40], "header is cut short"),
    "elf-magic-only": (lambda code: b"\x7fELF", "header is cut short"),
    "elf-table-outside": (lambda code: patched(elf(code, address=RAM), 32, "Q", 1 << 62), "program headers reach beyond"),
    "elf-table-crooked": (lambda code: patched(elf(code, address=RAM), 54, "H", 8), "program headers reach beyond"),
    "elf-no-segments": (lambda code: patched(elf(code, address=RAM), 56, "H", 0), "entry|load nothing"),
    "elf-many-rows": (lambda code: patched(elf(code, address=RAM), 56, "H", 0xFFFF), "program headers reach beyond"),
    "gzip": (lambda code: gzip.compress(code), r"is compressed \(gzip\)"),
    "tree": (lambda code: b"\xd0\x0d\xfe\xed" + bytes(100), "is a device tree or a FIT image"),
}


@pytest.mark.parametrize("name", BAD_KERNELS)
def test_kernel_refused(boot_kernel, code, name):
    make, reason = BAD_KERNELS[name]
    machine = boot_kernel(make(code))
    assert said_hello(machine)[0] == 0xA0000000
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1 and re.search(f"capsule odd: kernel: .*({reason})", alerts(machine)[0])


def test_image_needs_alignment(boot_kernel, code):
    machine = boot_kernel(image(code), memory_base=place(RAM + 0x100000))
    said_hello(machine)
    assert machine.wait() == 0
    assert "needs memory-base at a multiple of 2 MiB, it is 0x90100000" in alerts(machine)[0]


def test_offset_for_flat_only(boot_kernel, code):
    machine = boot_kernel(elf(code, address=RAM), kernel_offset=0x1000)
    said_hello(machine)
    assert machine.wait() == 0
    assert "kernel-offset: only for flat binaries; this is an ELF file" in alerts(machine)[0]


@pytest.mark.parametrize("memory", ["64K", "512K"])
def test_tree_of_a_small_capsule(boot, product, memory):
    """Many vCPUs with a long ISA string in little memory: the tree finds room, or its capsule is refused; never half a tree."""
    many = hello(product, "many", vcpus=32, memory=memory)
    machine = boot(manifest(many), qemu="10", model="max", cpu="h=off")
    machine.expect(["hello: at", "memory: kernel, initrd and tree need"])
    assert machine.wait() == 0
    assert "crashed" not in machine.console


# --- kernels of others ---------------------------------------------------------------------------------------------------

def test_linux_in_little_memory(boot):
    """84 MiB are enough for Debian's kernel, 32 are not: that is said at once, and not by a guest that dies."""
    machine = boot(manifest(capsule("small", memory="32M"), capsule("enough", memory="96M", bootargs="diosix.poweroff")))
    machine.expect("diosix-guest: up")
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1 and "capsule small: " in alerts(machine)[0]


def test_vmlinux(boot, tmp_path):
    """Debian's kernel once more, wrapped as an ELF file that is linked at 0 and says how large it is, as vmlinux does."""
    kernel = (GUESTS / "Image").read_bytes()
    path = tmp_path / "vmlinux"
    path.write_bytes(elf(kernel, address=0, virtual=0xFFFFFFFF80000000, memory_size=struct.unpack("<Q", kernel[16:24])[0]))
    machine = boot(manifest(capsule(kernel=path, bootargs="diosix.poweroff", memory_base=place(0x80200000))))
    machine.expect("Supervisor kernel entry: 0x80200000")
    machine.expect("diosix-guest: up")
    assert machine.wait() == 0


def test_uboot(boot):
    """U-Boot runs at 0x80200000 and nowhere else: a flat binary at an offset, in memory at a fixed place."""
    fetch = harness.REPOSITORY / "scripts/fetch-uboot"
    subprocess.run([fetch], check=True)
    directory = subprocess.run([fetch, "--print"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    machine = boot(manifest(capsule("uboot", kernel=f"{directory}/u-boot.bin", initrd=False, console=None, memory="64M",
                                    memory_base=place(0x80000000), kernel_offset=0x200000)))
    machine.expect("U-Boot 20")
    machine.expect("Hit any key")
    machine.send(" ")
    machine.expect("=> ")
    machine.sendline("bdinfo")
    machine.expect(r"-> size     = 0x0000000004000000")
    machine.expect("=> ")
    machine.sendline("poweroff")
    assert machine.wait() == 0
