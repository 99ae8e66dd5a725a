# SPDX-License-Identifier: MIT
"""What a loader or a user gets wrong ends in a line that says so: host trees, manifests, kernels, command lines."""
import random
import re
import struct
import subprocess

import pytest

import edges
from edges import ALERT, alerts, compile_tree, elsewhere, halted, hello, load, said_hello, with_tree, without_node, without_property
from harness import Raw, capsule, manifest

MANIFEST_PLACE = 0x88000000
DRAM = "memory@80000000"


@pytest.fixture(scope="session")
def virt_tree(qemu_program, tmp_path_factory):
    """The text of the tree that QEMU 7.2 passes: 4 harts, 1 GiB."""
    blob = tmp_path_factory.mktemp("tree") / "virt.dtb"
    subprocess.run([qemu_program("7.2", 64), "-M", f"virt,dumpdtb={blob}", "-cpu", "rv64,h=off", "-smp", "4", "-m", "1G",
                    "-display", "none"], check=True, stderr=subprocess.DEVNULL)
    return edges.decompile(blob)


@pytest.fixture
def boot_tree(boot, product, tmp_path):
    """boot_tree(text or bytes, manifest's text) starts the hypervisor with that host tree; the manifest, if any, is added to
    the tree as a loader would."""

    def start(tree, text=None, binary=None, **fields):
        more = []
        if text is not None:
            blob = edges.compile_tree(text, tmp_path / "manifest.dtb")
            end = MANIFEST_PLACE + blob.stat().st_size
            bounds = f"chosen {{ linux,initrd-start = <{MANIFEST_PLACE:#x}>; linux,initrd-end = <{end:#x}>;"
            assert "chosen {" in tree
            tree = tree.replace("chosen {", bounds)
            more = load(blob, MANIFEST_PLACE)
        path = tmp_path / "host.dtb"
        if isinstance(tree, bytes):
            path.write_bytes(tree)
        else:
            compile_tree(tree, path)
        setup = with_tree(product, path, binary=binary)
        setup["extra"] += more
        return boot(None, **setup, **fields)

    return start


# --- host trees that can't be used -----------------------------------------------------------------------------------------

def header(blob, offset, value):
    return blob[:offset] + struct.pack(">I", value) + blob[offset + 4:]


MALFORMED = "not a well-formed tree"
BLOBS = {
    "zeros": lambda blob: bytes(4096),
    "text": lambda blob: b"/dts-v1/; / { };" * 100,
    "random": lambda blob: random.Random(1).randbytes(8192),
    "half": lambda blob: blob[:len(blob) // 2],
    "header-only": lambda blob: blob[:40],
    "no-strings": lambda blob: blob[:-400] + bytes(400),
    "size-huge": lambda blob: header(blob, 4, 0xFFFFFFFF),
    "size-megabytes": lambda blob: header(blob, 4, 0x200000),
    "size-tiny": lambda blob: header(blob, 4, 16),
    "size-0": lambda blob: header(blob, 4, 0),
    "struct-outside": lambda blob: header(blob, 8, 0x7FFFFFF0),
    "struct-crooked": lambda blob: header(blob, 8, struct.unpack(">I", blob[8:12])[0] + 1),
    "strings-outside": lambda blob: header(blob, 12, 0xFFFFFFF0),
    "version-1": lambda blob: header(blob, 20, 1),
    "version-99": lambda blob: header(header(blob, 20, 99), 24, 99),
}


@pytest.mark.parametrize("name", BLOBS)
def test_malformed_tree(boot_tree, virt_tree, tmp_path, name):
    blob = compile_tree(virt_tree, tmp_path / "good.dtb").read_bytes()
    machine = boot_tree(BLOBS[name](blob))
    line = halted(machine, "Host device tree at 0x90000000 refused")
    assert MALFORMED in line and "check the file with dtc and the loader" in line
    assert len(alerts(machine)) == 2


@pytest.mark.parametrize("address", [0, 1, 8, 0x84000001, 0x84000004, 0x1FFFFFF8, 0xBFFFFFF8, 0x7FFFFFFFFFFFFFF8,
                                     0xFFFFFFFFFFFFFFF8, 0xFFFFFFFFFFFFFFFF], ids=hex)
def test_no_tree(boot, product, address):
    """a1 names no tree: nothing, a crooked address, one where there is no memory, the end of memory."""
    machine = boot(None, **elsewhere(product, 0x84000000, tree=address))
    line = halted(machine, f"Host device tree at {address:#x} refused")
    assert MALFORMED in line


def replaced(pattern, replacement, count=1):
    def change(text):
        changed, times = re.subn(pattern, replacement, text, count, flags=re.M)
        assert times >= 1, pattern
        return changed
    return change


def node(name):
    return lambda text: without_node(text, name)


def added(node_text):
    """Puts nodes right before the tree's end."""
    return lambda text: text.rstrip().removesuffix("};") + node_text + "\n};\n"


MEMORY_REG = r"reg = <0x00 0x80000000 0x00 0x40000000>"
TREES = {
    "no-memory": (node(DRAM), "no RAM: no node with device_type"),
    "memory-of-0": (replaced(MEMORY_REG, "reg = <0 0x80000000 0 0>"), "no RAM"),
    "memory-wraps": (replaced(MEMORY_REG, "reg = <0xffffffff 0xfffff000 0 0x2000>"), "reg can't be used"),
    "memory-crooked": (replaced(MEMORY_REG, "reg = <0 0x80000000 0x40000000>"), "reg can't be used"),
    "memory-disabled": (replaced(MEMORY_REG, 'reg = <0 0x80000000 0 0x40000000>; status = "disabled"'), "no RAM"),
    "no-cpus": (node("cpus"), "no /cpus"),
    "no-harts": (node(r"cpu@\d"), "no usable hart"),
    "no-mmu": (lambda text: without_property(text, "mmu-type"), "no usable hart"),
    "harts-disabled": (replaced('status = "okay"', 'status = "disabled"', 0), "no usable hart"),
    "hart-twice": (replaced(r"(cpu@1 {(?:.*\n)*?\s*reg = )<0x01>", r"\1<0x00>"), "hart 0 is named twice"),
    "no-timebase": (lambda text: without_property(text, "timebase-frequency"), "no timebase-frequency"),
    "timebase-0": (replaced("timebase-frequency = <.*>", "timebase-frequency = <0>"), "timebase-frequency 0 is out of range"),
    "no-clint": (node("clint@2000000"), "no CLINT or ACLINT"),
    "clint-for-nobody": (lambda text: without_property(text, "interrupts-extended"), "no CLINT or ACLINT"),
    "initrd-reversed": (replaced("chosen {", "chosen { linux,initrd-start = <0x88001000>; linux,initrd-end = <0x88000000>;"),
                        "don't make a range"),
    "initrd-half": (replaced("chosen {", "chosen { linux,initrd-start = <0x88001000>;"), "don't make a range"),
    "bootargs-long": (replaced("chosen {", f'chosen {{ bootargs = "{"x" * 300}";'), "bootargs has over 255"),
    "bootargs-open": (replaced("chosen {", "chosen { bootargs = [41 42 43];"), "bootargs is not terminated"),
    "too-many-harts": (replaced("cpu-map {", "".join(f'cpu@{n:x} {{ device_type = "cpu"; reg = <{n}>; }};'
                                                     for n in range(16, 80)) + "cpu-map {"), "more than 64 harts"),
}


@pytest.mark.parametrize("name", TREES)
def test_unusable_tree(boot_tree, virt_tree, name):
    change, reason = TREES[name]
    machine = boot_tree(change(virt_tree))
    line = halted(machine, "Host device tree at 0x90000000 refused")
    assert reason in line
    assert len(alerts(machine)) == 2


# --- odd ones that can ---------------------------------------------------------------------------------------------------

def boots(machine):
    said_hello(machine)
    assert machine.wait() == 0


def ready(machine):
    """The harts that said that they are ready."""
    return sorted(map(int, re.findall(r"CPU (\d+): Physical CPU core ready", machine.console)))


@pytest.mark.quick
def test_own_tree(boot_tree, virt_tree, product):
    """The tree that all others here are made from is good."""
    machine = boot_tree(virt_tree, manifest(hello(product)))
    boots(machine)
    assert ready(machine) == [0, 1, 2, 3] and alerts(machine) == []


def test_no_console(boot_tree, virt_tree, product):
    """The UART of QEMU's virt is the last resort, polled, with a word on what is missing."""
    tree = without_property(node(r"(serial|uart)@10000000")(virt_tree), "stdout-path")
    machine = boot_tree(tree, manifest(hello(product)))
    boots(machine)
    assert [line for line in alerts(machine) if "stdout-path" in line]


def test_console_that_is_not_there(boot_tree, virt_tree, product):
    """A UART at an address where nothing answers is none; that must not be the end of all words."""
    machine = boot_tree(replaced(r"reg = <0x00 0x10000000 0x00 0x100>", "reg = <0 0x40000000 0 0x100>")(virt_tree),
                        manifest(hello(product)))
    boots(machine)


def test_no_plic(boot_tree, virt_tree, product):
    """The console is polled."""
    boots(boot_tree(node("plic@c000000")(virt_tree), manifest(hello(product))))


def test_hart_disabled(boot_tree, virt_tree, product):
    """The harts' numbers have a gap; the one left out never runs a guest."""
    tree = replaced(r'(cpu@1 {(?:.*\n)*?\s*status = )"okay"', r'\1"disabled"')(virt_tree)
    machine = boot_tree(tree, manifest(hello(product, vcpus=8)))
    boots(machine)
    assert ready(machine) == [0, 2, 3]


def test_hart_not_named(boot_tree, virt_tree, product):
    """Harts that the tree doesn't know wait for ever, somewhere safe."""
    machine = boot_tree(node("cpu@2")(virt_tree), manifest(hello(product, vcpus=8)))
    boots(machine)
    assert ready(machine) in ([0, 1, 3],)


def test_hart_missing(boot_tree, virt_tree, product):
    """One that the tree names but that never comes is not waited for without end, and is reported."""
    machine = boot_tree(virt_tree, manifest(hello(product)), smp=3)
    boots(machine)
    assert ready(machine) == [0, 1, 2]
    assert any("3 of 4 harts" in line for line in alerts(machine))


def test_reserved_memory(boot_tree, virt_tree, product):
    """What the tree reserves is nobody's: capsules can't have it even by name."""
    tree = replaced(r"/dts-v1/;", "/dts-v1/; /memreserve/ 0x80000000 0x1000000;")(virt_tree)
    tree = added("reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges; "
                 "mine@a0000000 { reg = <0 0xa0000000 0 0x1000000>; }; };")(tree)
    bad = [hello(product, f"bad{n}", memory_base=Raw(f"/bits/ 64 <{base:#x}>")) for n, base in
           enumerate([0x80000000, 0x80FFF000, 0xA0FFF000, 0x9FFFF000, 0xFFC00000])]
    machine = boot_tree(tree, manifest(*bad, hello(product, "good")))
    at, _ = said_hello(machine)
    assert at == 0x81000000
    assert machine.wait() == 0
    assert [re.search(r"bad\d", line)[0] for line in alerts(machine)] == [f"bad{n}" for n in range(5)]


def test_memory_in_pieces(boot_tree, virt_tree, product):
    """Banks with holes between them, and one that lies twice in the tree."""
    tree = replaced(MEMORY_REG, "reg = <0 0x80000000 0 0x1000000 0 0x84000000 0 0x8000000 0 0x90000000 0 0x10000000>")(virt_tree)
    tree = added('memory@b0000000 { device_type = "memory"; reg = <0 0xb0000000 0 0x1000000 0 0xb0800000 0 0x1000000>; };')(tree)
    machine = boot_tree(tree, manifest(hello(product, "whole", memory="16M"), hello(product, "across", memory="256M"),
                                       hello(product, "too-large", memory="512M")))
    said_hello(machine)
    said_hello(machine)
    assert machine.wait() == 0
    assert "too-large" in alerts(machine)[0] and len(alerts(machine)) == 1


def test_memory_that_is_not_there(boot_tree, virt_tree):
    """The tree says 4 GiB, the machine has 1: the hypervisor falls over, not silently."""
    machine = boot_tree(replaced(MEMORY_REG, "reg = <0 0x80000000 1 0>")(virt_tree))
    machine.expect(rf"{ALERT}hypervisor panic: trap with cause 7 at 0x[0-9a-f]+, address 0x[0-9a-f]+")


def test_initrd_outside_of_memory(boot_tree, virt_tree):
    tree = replaced("chosen {", "chosen { linux,initrd-start = <0x1000>; linux,initrd-end = <0x2000>;")(virt_tree)
    machine = boot_tree(tree)
    machine.expect(rf"{ALERT}The initrd at 0x1000 is not in RAM: ignored")
    halted(machine, "There is no manifest")


def mutated(blob, seed):
    """A few bytes changed, anywhere."""
    chance, damaged = random.Random(seed), bytearray(blob)
    for _ in range(chance.choice([1, 2, 5, 20])):
        damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    return bytes(damaged)


def try_mutation(boot_tree, virt_tree, tmp_path, product, seed):
    text = manifest(hello(product))
    good = edges.compile_tree(text, tmp_path / "m.dtb")
    bounds = f"chosen {{ linux,initrd-start = <{MANIFEST_PLACE:#x}>; linux,initrd-end = <{MANIFEST_PLACE + good.stat().st_size:#x}>;"
    blob = compile_tree(virt_tree.replace("chosen {", bounds), tmp_path / "good.dtb").read_bytes()
    machine = boot_tree(mutated(blob, seed), extra_load=load(good, MANIFEST_PLACE))
    machine.expect(["hello: at", rf"{ALERT}Halted", rf"{ALERT}hypervisor panic"], timeout=30)


# --- the hypervisor's command line ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words, reason", {
    "unknown": ("bananas=3", "Unknown word on the command line: bananas=3"),
    "isolation": ("isolation=strong", "isolation=strong is unknown (auto, pmp, hyp): using auto"),
    "loglevel": ("loglevel=9", "loglevel=9 is unknown (alert, info, debug): using info"),
    "on-idle": ("on-idle=dance", "on-idle=dance is unknown (poweroff, halt): using poweroff"),
    "fault": ("fault=trap", "fault=trap is for debug builds only: ignored"),
    "long": ("x" * 200, "Unknown word on the command line: " + "x" * 63),
}.values(), ids=["unknown", "isolation", "loglevel", "on-idle", "fault", "long"])
def test_command_line(boot, product, words, reason):
    """A word that can't be used is named, and is not the end."""
    machine = boot(manifest(hello(product)), append=f"  isolation=auto {words}  loglevel=info ")
    boots(machine)
    assert alerts(machine) == [reason]


def test_stay_up(boot, product):
    machine = boot(manifest(hello(product)), append="on-idle=halt")
    said_hello(machine)
    machine.expect("No capsule is left to run: staying up")
    assert machine.running


def test_log_level(boot, product):
    machine = boot(manifest(hello(product), hello(product, "bad", bananas=1)), append="loglevel=alert")
    boots(machine)
    assert "[-]" not in machine.console and len(alerts(machine)) == 1


# --- the hypervisor's own faults ------------------------------------------------------------------------------------------

FAULTS = {
    "early": r"hypervisor panic: trap with cause 5 at 0x[0-9a-f]+, address 0xfffffffffffffffc\r",
    "trap": r"hypervisor panic: trap with cause 5 at 0x[0-9a-f]+, address 0xfffffffffffffffc\r",
    "stack": r"hypervisor panic: trap with cause 7 at 0x[0-9a-f]+, address 0x[0-9a-f]+ \(stack overflow\)\r",
    "panic": r"hypervisor panic at \S+fault\.c:\d+: assertion failed: fault != FAULT_PANIC\r",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_own_fault(boot, product, fault):
    """The hypervisor's own mistake is reported with its cause, the registers and a backtrace; nothing runs afterwards."""
    kernel = product("rv64/diosix.elf", "DEBUG=1")
    machine = boot(manifest(hello(product)), kernel=kernel, append=f"fault={fault}")
    machine.expect(ALERT + FAULTS[fault])
    if fault != "panic":
        assert len(re.findall(r"x\d+ *=0x[0-9a-f]{16}", read_registers(machine))) == 31
    machine.expect(r"backtrace: 0x[0-9a-f]+( 0x[0-9a-f]+)*\r" if fault != "stack" else "backtrace:")


def read_registers(machine):
    machine.expect(r"(?s)(  x1 .*x31=0x[0-9a-f]{16})\r")
    return machine.match[1]
