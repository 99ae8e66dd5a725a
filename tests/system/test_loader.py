# SPDX-License-Identifier: MIT
"""The hypervisor boots from wherever a loader puts it, and with its manifest inside its own image."""
import re
import subprocess

import pytest

import harness
from edges import alerts, elsewhere, halted, hello, said_hello
from harness import ISOLATIONS, Raw, capsule, isolated, manifest

ADDRESSES = {
    "page": 0x84001000,             # aligned to 4 KiB and to nothing more
    "behind": 0x80001000,           # right behind the trampoline, where capsules will be
    "manifest": 0x8A000000,         # above the manifest
    "tree": 0xBFE80000,             # not far behind the host's tree
    "last": 0xC0000000 - 0x100000,  # as high as its own .bss lets it
}
END = 0xC0000000  # of RAM, with 1 GiB


def home(elf):
    """Where it wants to be: a power of two at the end of RAM."""
    lines = subprocess.run(["riscv64-linux-gnu-nm", str(elf)], check=True, capture_output=True, text=True).stdout
    end = next(int(line.split()[0], 16) for line in lines.splitlines() if line.endswith(" image_end"))
    return END - (1 << (end - 0x80000000 - 1).bit_length())


def check(machine):
    said_hello(machine)
    assert machine.wait() == 0
    assert len(re.findall("ready to roll", machine.console)) == 4
    assert alerts(machine) == []


@pytest.mark.quick
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_middle(boot, product, isolation):
    """A flat binary, at an address that is not the one it was linked for."""
    check(boot(manifest(hello(product)), **elsewhere(product, 0x84000000), **isolated(isolation)))


@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("place", ADDRESSES)
def test_place(boot, product, place, qemu):
    check(boot(manifest(hello(product, vcpus=2)), qemu=qemu, **elsewhere(product, ADDRESSES[place])))


@pytest.mark.parametrize("below", [0, 0x3F000], ids=["there", "across"])
def test_at_home(boot, product, below):
    """Where it would move to, or across the start of that place."""
    address = home(product("rv64/diosix.elf")) - below
    machine = boot(manifest(hello(product, vcpus=2)), **elsewhere(product, address))
    check(machine)


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("address", [0x100000000, 0x180003000, 0x1F0000000], ids=hex)
def test_above_4g(boot, product, address, isolation):
    check(boot(manifest(hello(product)), mem="6G", **elsewhere(product, address), **isolated(isolation)))


@pytest.mark.parametrize("qemu", ["7.2", "10"])
@pytest.mark.parametrize("address", [0x80001000, 0x84001000, 0xBFF00000], ids=hex)
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_rv32(boot, product, isolation, address, qemu):
    check(boot(manifest(hello(product, xlen=32)), qemu=qemu, **elsewhere(product, address, xlen=32), **isolated(isolation)))


def test_rv32_memory_beyond_reach(boot, product):
    """32-bit harts have 34-bit physical addresses, but M-mode has no translation: what lies above 4 GiB is left alone."""
    machine = boot(manifest(hello(product, xlen=32)), xlen=32, mem="3G")
    check(machine)


def test_old_place_is_free(boot, product):
    """Nothing stays behind where the loader put it: capsules get the very same memory."""
    machine = boot(manifest(hello(product, memory="8M", memory_base=Raw("/bits/ 64 <0x84000000>")),
                            hello(product, "low", memory_base=Raw("/bits/ 64 <0x80000000>"))),
                   **elsewhere(product, 0x84000000))
    said_hello(machine)
    check(machine)


def test_linux_from_elsewhere(boot, product):
    machine = boot(manifest(capsule(vcpus=2, bootargs="diosix.poweroff")), **elsewhere(product, 0x9C005000))
    machine.expect("diosix-guest: up", timeout=120)
    assert machine.wait() == 0


# --- the manifest inside the image --------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def with_manifest(product, tmp_path_factory):
    """with_manifest(name, text) makes diosix-<name>.elf and .bin by `make image`; returns the ELF's path."""
    made = {}

    def make(name, text):
        if name not in made:
            source = tmp_path_factory.mktemp("image") / f"{name}.dts"
            source.write_text(text)
            made[name] = product(f"rv64/diosix-{name}.elf", f"MANIFEST={source}", target="image")
        return made[name]

    return make


@pytest.mark.quick
def test_image(boot, product, with_manifest):
    check(boot(None, kernel=with_manifest("edge", manifest(hello(product, "inside")))))


@pytest.mark.parametrize("address", [0x80001000, 0x84000000, None], ids=["low", "middle", "home"])
def test_image_binary(boot, product, with_manifest, address):
    """The flat one, put anywhere."""
    elf = with_manifest("edge", manifest(hello(product, "inside")))
    check(boot(None, **elsewhere(product, address or home(elf), binary=elf.with_suffix(".bin"))))


def test_initrd_goes_first(boot, product, with_manifest):
    """A manifest that the loader passes stands in for the one inside."""
    machine = boot(manifest(hello(product, "outside")), kernel=with_manifest("edge", manifest(hello(product, "inside"))))
    check(machine)
    assert "(outside)" in machine.console and "(inside)" not in machine.console


def test_image_with_linux(boot, product, with_manifest):
    """40 MB in one file."""
    kernel = with_manifest("edge-linux", manifest(capsule(vcpus=2, bootargs="diosix.poweroff")))
    for number, fields in enumerate([{"kernel": kernel}, elsewhere(product, 0x84001000, binary=kernel.with_suffix(".bin"))]):
        machine = boot(None, **fields)
        machine.expect("diosix-guest: up", timeout=120)
        assert machine.wait() == 0, number


def test_damaged_manifest_inside(boot, product, with_manifest, tmp_path):
    """It is trusted no more than another."""
    good = with_manifest("edge", manifest(hello(product, "inside"))).with_suffix(".bin").read_bytes()
    blob = (harness.REPOSITORY / with_manifest("edge", "").with_suffix(".dtb")).read_bytes()
    at = good.index(blob)
    bad = tmp_path / "bad.bin"
    bad.write_bytes(good[:at + 4] + b"\xff\xff\xff\xff" + good[at + 8:])
    machine = boot(None, **elsewhere(product, 0x84000000, binary=bad))
    assert "cut short" in halted(machine, "Manifest refused")


@pytest.mark.parametrize("arguments, reason", [
    ([], "needs MANIFEST="), (["MANIFEST=/nonexistent.dts"], "cannot read the manifest"),
], ids=["none", "missing"])
def test_make_image_refuses(product, arguments, reason):
    product("rv64/diosix.elf")
    done = subprocess.run(["make", "-s", "-C", harness.REPOSITORY, "image", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode != 0 and reason in done.stdout


def test_no_manifest(boot, product):
    """Neither inside nor passed: nothing to run, which is said with what to do about it."""
    machine = boot(None, **elsewhere(product, 0x84000000))
    assert "make image MANIFEST=" in halted(machine, "There is no manifest")
    assert machine.wait() == 0
