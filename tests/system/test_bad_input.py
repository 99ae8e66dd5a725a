# SPDX-License-Identifier: MIT
"""What a loader or a user gets wrong ends in a line that says so: host trees, manifests, kernels, command lines."""
import random
import re
import struct
import subprocess

import pytest

import edges
from edges import ALERT, alerts, compile_tree, elsewhere, halted, hello, load, said_hello, with_tree, without_node, without_property
from harness import Raw, manifest

MANIFEST_PLACE = 0x88000000
DRAM = "memory@80000000"


@pytest.fixture(scope="session")
def virt_tree(qemu_program, tmp_path_factory):
    """The text of the tree that QEMU 7.2 passes: 4 harts, 1 GiB."""
    blob = tmp_path_factory.mktemp("tree") / "virt.dtb"
    subprocess.run([qemu_program("7.2", 64), "-M", f"virt,dumpdtb={blob}", "-cpu", "rv64,h=off", "-smp", "4", "-m", "1G",
                    "-display", "none"], check=True, stderr=subprocess.DEVNULL)
    return edges.decompile(blob)


def with_manifest(tree, blob):
    """The tree's text with the bounds of a manifest at MANIFEST_PLACE."""
    end = MANIFEST_PLACE + blob.stat().st_size
    assert "chosen {" in tree
    return tree.replace("chosen {", f"chosen {{ linux,initrd-start = <{MANIFEST_PLACE:#x}>; linux,initrd-end = <{end:#x}>;")


@pytest.fixture
def boot_tree(boot, product, tmp_path):
    """boot_tree(text or bytes, manifest's text) starts the hypervisor with that host tree; the manifest, if any, is added to
    the tree as a loader would."""

    def start(tree, text=None, more=(), late=None, seconds=0, **fields):
        more = list(more)
        if text is not None:
            blob = edges.compile_tree(text, tmp_path / "manifest.dtb")
            tree = with_manifest(tree, blob)
            more += load(blob, MANIFEST_PLACE)
        path = tmp_path / "host.dtb"
        if isinstance(tree, bytes):
            path.write_bytes(tree)
        else:
            compile_tree(tree, path)
        setup = with_tree(product, path, late=late, seconds=seconds)
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


@pytest.mark.parametrize("address", [0, 3, 8, 0x84000001, 0x84000004, 0x1FFFFFF8, 0xBFFFFFF8, 0x7FFFFFFFFFFFFFF8,
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
    "clint-for-nobody": (replaced(r"(clint@2000000 {\s*)interrupts-extended = <.*>;", r"\1"),
                         "clint@2000000: interrupts-extended can't be used"),
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
    machine = boot_tree(replaced(r"reg = <0x00 0x10000000 0x00 0x100>", "reg = <0 0x40000 0 0x100>")(virt_tree),
                        manifest(hello(product)))
    boots(machine)


def test_clint_of_others(boot_tree, virt_tree, product):
    """The tree mixes up whose timer is whose: harts find out before they run a guest. One that another hart happens to ring by
    mistake in that moment may be taken in; the first, whose registers are right, is always there."""
    wrong = replaced(r"(clint@2000000 {\s*interrupts-extended = <)0x08 0x03 0x08 0x07 0x06 0x03 0x06 0x07",
                     r"\1 0x08 0x03 0x08 0x07 0x99 0x03 0x06 0x07")
    machine = boot_tree(wrong(virt_tree), manifest(hello(product, vcpus=4)))
    boots(machine)
    refused = [line for line in alerts(machine) if "names for it is not its own" in line]
    assert 0 in ready(machine)
    assert refused and len(refused) + len(ready(machine)) == 4


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


@pytest.mark.parametrize("kilobytes", [4, 512, 600, 700, 1024])
def test_little_memory(boot_tree, virt_tree, product, kilobytes):
    """So little that harts find no stack or a capsule no memory: that is said."""
    machine = boot_tree(replaced(MEMORY_REG, f"reg = <0 0x88000000 0 {kilobytes << 10:#x}>")(virt_tree),
                        manifest(hello(product, memory="1M")))
    machine.expect(rf"{ALERT}[^\r]*(Not enough memory for|No capsule of the manifest could be made)")
    assert machine.wait() == 0


def test_late_hart(boot, product):
    """The harts don't come at the same time: all are waited for, for a while."""
    machine = boot(manifest(hello(product)), **elsewhere(product, 0x84000000, late=2, seconds=1.5))
    boots(machine)
    assert ready(machine) == [0, 1, 2, 3] and alerts(machine) == []


def test_too_late_hart(boot_tree, virt_tree, product):
    """One that comes when the others have long begun stays out of their way."""
    # The page that it waits in must not become a capsule's.
    tree = replaced(r"/dts-v1/;", "/dts-v1/; /memreserve/ 0x80000000 0x1000;")(virt_tree)
    tree = replaced("chosen {", 'chosen { bootargs = "on-idle=halt";')(tree)
    machine = boot_tree(tree, manifest(hello(product)), late=2, seconds=8)
    said_hello(machine)
    machine.expect("staying up")
    assert ready(machine) == [0, 1, 3]
    with pytest.raises(AssertionError):
        machine.expect(r"\[", timeout=6)
    assert machine.running


def test_memory_that_is_not_there(boot_tree, virt_tree):
    """The tree says 4 GiB, the machine has 1: the hypervisor falls over, not silently."""
    machine = boot_tree(replaced(MEMORY_REG, "reg = <0 0x80000000 1 0>")(virt_tree))
    machine.expect(rf"{ALERT}hypervisor panic: trap with cause 7 at 0x[0-9a-f]+, address 0x[0-9a-f]+\s")


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
    blob = compile_tree(with_manifest(virt_tree, good), tmp_path / "good.dtb").read_bytes()
    machine = boot_tree(mutated(blob, seed), more=load(good, MANIFEST_PLACE))
    machine.expect(["hello: at", rf"{ALERT}Halted", rf"{ALERT}Powering off", rf"{ALERT}hypervisor panic"], timeout=30)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_tree(boot_tree, virt_tree, tmp_path, product, seed):
    """It boots, or it says why not."""
    try_mutation(boot_tree, virt_tree, tmp_path, product, seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(8, 500))
def test_damaged_trees(boot_tree, virt_tree, tmp_path, product, seed):
    try_mutation(boot_tree, virt_tree, tmp_path, product, seed)


# --- manifests that can't be used -----------------------------------------------------------------------------------------

def whole(text):
    return f'/dts-v1/; / {{ compatible = "diosix,manifest"; {text} }};'


def compiled(text, tmp_path):
    return compile_tree(text, tmp_path / "bad.dtb").read_bytes()


GOOD_NODE = "capsules { good { memory = <0x100000>; kernel = [6f 00 00 00]; }; };"
MANIFESTS = {
    "text": (lambda compiled: whole(GOOD_NODE).encode(), "not a device tree blob; compile it with dtc"),
    "one-byte": (lambda compiled: b"\xd0", "not a device tree blob"),
    "zeros": (lambda compiled: bytes(4096), "not a device tree blob"),
    "truncated": (lambda compiled: compiled(whole(GOOD_NODE))[:-9], "cut short, has "),
    "header-lies": (lambda compiled: header(compiled(whole(GOOD_NODE)), 36, 0x7FFFFFFF), "manifest: FDT_ERR_"),
    "strings-lie": (lambda compiled: header(compiled(whole(GOOD_NODE)), 12, 0x7FFFFFFF), "manifest: FDT_ERR_"),
    "crooked": (lambda compiled: header(compiled(whole(GOOD_NODE)), 8, 0x39), "its blocks are not aligned"),
    "version-16": (lambda compiled: header(header(compiled(whole(GOOD_NODE)), 20, 16), 24, 16), "version 16 of the format"),
    "compatible": (lambda compiled: compiled(whole(GOOD_NODE).replace("diosix,", "dios6,")), "the root's must be"),
    "no-compatible": (lambda compiled: compiled("/dts-v1/; / { " + GOOD_NODE + " };"), "the root's must be"),
    "no-capsules": (lambda compiled: compiled(whole("images { };")), "has no /capsules"),
    "host-tree": (lambda compiled: compiled("/dts-v1/; / { compatible = \"riscv-virtio\"; };"), "the root's must be"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_unusable_manifest(boot, tmp_path, name):
    """Without a sound manifest nothing can run: the machine says why, and is switched off."""
    make, reason = MANIFESTS[name]
    machine = boot(make(lambda text: compiled(text, tmp_path)))
    line = halted(machine, "Manifest refused: manifest: ")
    assert reason in line
    assert machine.wait() == 0


CAPSULES = {
    "unknown": ("bananas = <3>;", "bad: bananas: there is no such property"),
    "no-memory": ("/delete-property/ memory;", "bad: memory: must be given"),
    "memory-0": ("memory = <0>;", "bad: memory: must not be 0"),
    "memory-crooked": ("memory = <0x100800>;", "bad: memory: must be a multiple of 4 KiB"),
    "memory-astronomic": ("memory = <0x2000000 0>;", "bad: memory: 0x200000000000000 is more than 56 bits"),
    "memory-string": ('memory = "128M";', "bad: memory: must be one number"),
    "memory-8g": ("memory = <2 0>;", r"bad: memory of 8192 MiB does not fit: \d+ MiB are free"),
    "no-kernel": ("/delete-property/ kernel-image;", "bad: kernel: kernel or kernel-image must be given"),
    "kernel-empty": ("/delete-property/ kernel-image; kernel;", "bad: kernel: is empty"),
    "kernel-twice": ("kernel = [01];", "bad: kernel.*: given both as data and as an image"),
    "kernel-nowhere": ("kernel-image = <0x99>;", "bad: kernel-image: must refer to a node in /images"),
    "vcpus-0": ("vcpus = <0>;", "bad: vcpus: must be 1 to 32, is 0"),
    "vcpus-33": ("vcpus = <33>;", "bad: vcpus: must be 1 to 32, is 33"),
    "vcpus-many": ("vcpus = <0xffffffff>;", "bad: vcpus: must be 1 to 32, is 4294967295"),
    "isolation": ('isolation = "strong";', "bad: isolation: must be"),
    "hyp": ('isolation = "hyp";', r'bad: isolation .?"hyp".*no hart can serve hyp isolation'),
    "restart": ('restart = "sometimes";', 'bad: restart: must be "never", "on-failure" or "always"'),
    "priority": ("priority = <16>;", "bad: priority: must be 0 to 15, is 16"),
    "weight": ("weight = <0>;", "bad: weight: must be 1 to 10000, is 0"),
    "harts-twice": ("harts = <1 0 1>;", "bad: harts: has 1 twice"),
    "harts-string": ('harts = "all harts";', "bad: harts: must be numbers of 32 bits"),
    "dedicated": ("vcpus = <2>; harts = <0>; dedicated;", "bad: dedicated: needs as many harts as vcpus, has 1 for 2"),
    "dedicated-alone": ("dedicated;", "bad: dedicated: harts must be given too"),
    "watchdog": ("watchdog = <601>;", "bad: watchdog: must be 1 to 600, is 601"),
    "quota": ("quota = <1>;", "bad: quota: is not supported yet"),
    "net": ('net0 { type = "net"; };', "bad: net0: network: must be the name of one in /networks"),
    "net-of-none": ('net0 { type = "net"; network = "lan"; };', "bad: net0: network: there is no network lan"),
    "disk-without-data": ('disk0 { type = "disk"; };', "bad: disk0: data: source, data or data-image must be given"),
    "disk-of-odd-size": ('disk0 { type = "disk"; data = [00 01 02]; };',
                         "bad: disk0: data: must be a multiple of 512 bytes, has 3"),
    "disk-of-the-machine": ('disk0 { type = "disk"; source = "serial:data1"; };',
                            "bad: disk0: source: the machine has no disk serial:data1"),
    "device": ('teapot { type = "teapot"; };', "bad: teapot: not a device of a known type"),
    "bootargs": (f'bootargs = "{"x" * 2048}";', "bad: bootargs: must not be longer than 2047"),
    "flag": ("manager = <1>;", "bad: manager: takes no value"),
    "place": ("memory-base = /bits/ 64 <0x40000000>;", "bad: memory-base 0x40000000 .* is not free RAM"),
    "place-crooked": ("memory-base = /bits/ 64 <0x90000800>;", "bad: memory-base: must be a multiple of 4 KiB"),
    "place-past-end": ("memory-base = /bits/ 64 <0xbfffe000>;", "bad: memory-base 0xbfffe000 .* is not free RAM"),
    "place-wraps": ("memory-base = /bits/ 64 <0xfffffffffffff000>;", "bad: memory-base: .* end beyond 56 bits"),
    "place-device": ("memory-base = /bits/ 64 <0x10000000>;", "bad: memory-base 0x10000000 .* is not free RAM"),
    "initrd": ("initrd = [" + "00 " * 8192 + "]; memory = <0x3000>;", "bad: memory: kernel, initrd and tree need"),
    "too-small": ("memory = <0x2000>;", "bad: memory: kernel, initrd and tree need"),
    "offset-odd": ("kernel-offset = <0x1001>;", "bad: kernel-offset: 0x1001 is odd"),
    "offset-beyond": ("kernel-offset = <0x400000>;", "bad: kernel-offset: 0x400000 is beyond memory"),
    "offset-astronomic": ("kernel-offset = <0xffffffff 0xfffffffe>;", "bad: kernel-offset: 0xfffffffffffffffe is beyond"),
}


@pytest.mark.parametrize("name", CAPSULES)
def test_unusable_capsule(boot, product, name):
    """One line names the capsule, the property and the reason; the capsules before it and after it start."""
    text, reason = CAPSULES[name]
    kernel = product("rv64/guest/hello.bin")
    machine = boot(f"""/dts-v1/;
        / {{ compatible = "diosix,manifest"; images {{ hello: hello {{ data = /incbin/("{kernel}"); }}; }}; capsules {{
            first {{ memory = <0x400000>; kernel-image = <&hello>; }};
            bad: bad {{ memory = <0x400000>; kernel-image = <&hello>; }};
            last {{ memory = <0x400000>; kernel-image = <&hello>; }};
        }}; }};
        &bad {{ {text} }};""")
    said_hello(machine)
    said_hello(machine)
    assert machine.wait() == 0
    lines = alerts(machine)
    assert len(lines) == 1 and re.search(f"Capsule refused: (capsule )?{reason}", lines[0]), lines
    # Its cause and its cure stand behind it.
    assert re.search(r" \([^;]+; [^;]+\)$", lines[0])
    assert sorted(re.findall(r"Created capsule: ID \d+ \((\S+)\)", machine.console)) == ["first", "last"]


def test_names(boot, product):
    """Bad names, made printable; a name given twice."""
    nodes = "".join(f"{name} {{ memory = <0x400000>; kernel-image = <&hello>; }};" for name in
                    ["a_b", "Upper", "x" * 32, "twice", "twicf", "good"])
    blob = edges.compile_text(f"""/dts-v1/; / {{ compatible = "diosix,manifest";
        images {{ hello: hello {{ data = /incbin/("{product("rv64/guest/hello.bin")}"); }}; }};
        capsules {{ {nodes} }}; }};""")
    machine = boot(blob.replace(b"Upper", b"\x1b[2J\xff").replace(b"twicf", b"twice"))
    said_hello(machine)
    said_hello(machine)
    assert machine.wait() == 0
    lines = alerts(machine)
    assert len(lines) == 4
    assert re.search(r"capsule a_b: a name is 1 to 31", lines[0])
    assert re.search(r"capsule \?\[2J\?: a name is 1 to 31", lines[1])
    assert re.search(r"another capsule before it has this name", lines[3])


def test_same_place(boot, product):
    """Two capsules want the same memory: the first gets it; both are named, with their ranges."""
    machine = boot(manifest(hello(product, "first", memory_base=Raw("/bits/ 64 <0x90000000>")),
                            hello(product, "second", memory_base=Raw("/bits/ 64 <0x903ff000>"))))
    assert said_hello(machine)[0] == 0x90000000
    assert machine.wait() == 0
    assert len(alerts(machine)) == 1
    assert "capsule second: memory-base: 0x903ff000-0x907fefff overlaps first's 0x90000000-0x903fffff" in alerts(machine)[0]


def test_place_taken(boot, product):
    """A place that the hypervisor already gave to a capsule that asked for none, and the hypervisor's own place."""
    machine = boot(manifest(hello(product, "anywhere"), hello(product, "late", memory_base=Raw("/bits/ 64 <0x80000000>")),
                            hello(product, "high", memory="1M", memory_base=Raw("/bits/ 64 <0xbff00000>"))))
    said_hello(machine)
    assert machine.wait() == 0
    assert [re.search("late|high", line)[0] for line in alerts(machine)] == ["late", "high"]


@pytest.mark.parametrize("capsules", ["", "one { }; two { memory = <0x1000>; };"], ids=["none", "bad"])
def test_nothing_to_run(boot, tmp_path, capsules):
    """No capsule at all: the machine says so and is switched off."""
    machine = boot(compiled(whole(f"capsules {{ {capsules} }};"), tmp_path))
    machine.expect(rf"{ALERT}No capsule of the manifest could be made")
    assert machine.wait() == 0


def test_outside_of_capsules(boot, product):
    """What stands beside the capsules and means nothing is reported; the capsules start."""
    kernel = product("rv64/guest/hello.bin")
    machine = boot(f"""/dts-v1/; / {{ compatible = "diosix,manifest"; colour = "red"; teapots {{ }}; networks {{ lan {{ mtu = <9>; }}; }};
        capsules {{ good {{ memory = <0x400000>; kernel = /incbin/("{kernel}"); }}; }}; }};""")
    said_hello(machine)
    assert machine.wait() == 0
    assert [re.search("colour|teapots|network", line)[0] for line in alerts(machine)] == ["network", "colour", "teapots"]


def try_damaged_manifest(boot, product, seed):
    """A few bytes are wrong: the hypervisor may refuse some or all of it, or run it, but is not harmed itself."""
    blob = edges.compile_text(manifest(hello(product, "one", vcpus=2), hello(product, "two", memory_base=Raw("/bits/ 64 <0x90000000>"))))
    machine = boot(mutated(blob, seed), append="on-idle=halt")
    # What runs may be anything: what matters is that every capsule came to something.
    machine.expect(["staying up", "Supervisor kernel entry", rf"{ALERT}Halted", "No capsule of the manifest could be made"])
    try:
        machine.expect(["hypervisor panic"], timeout=0.3)
        raise RuntimeError("the hypervisor fell over a manifest")
    except AssertionError:
        pass


@pytest.mark.parametrize("seed", range(8))
def test_damaged_manifest(boot, product, seed):
    try_damaged_manifest(boot, product, seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(8, 300))
def test_damaged_manifests(boot, product, seed):
    try_damaged_manifest(boot, product, seed)


def test_many_capsules(boot, product):
    """256 capsules are the limit; each gets its memory and its turn."""
    machine = boot(manifest(*(hello(product, f"c{n}", memory="64K") for n in range(258))))
    assert machine.wait(timeout=120) == 0
    assert len(re.findall(r"hello: at", machine.console)) == 256
    assert "beyond the limit of 256 capsules" in alerts(machine)[0]


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


# --- entropy ---------------------------------------------------------------------------------------------------------------

ENTROPY_DEVICES = {
    "none": [],
    "legacy": ["-device", "virtio-rng-device"],
    "modern": ["-device", "virtio-rng-device", "-global", "virtio-mmio.force-legacy=false"],
}


@pytest.mark.parametrize("device", ENTROPY_DEVICES)
def test_no_seed_in_the_tree(boot_tree, virt_tree, product, device):
    """An entropy device of the machine stands in for it; without one the log says what that means."""
    assert "rng-seed" in virt_tree
    machine = boot_tree(edges.without_property(virt_tree, "rng-seed"), manifest(hello(product, rng0={"type": "rng"})),
                        more=ENTROPY_DEVICES[device])
    said_hello(machine)
    assert machine.wait() == 0
    said = alerts(machine)
    if device != "none":
        assert said == []
        assert "Entropy device /soc/virtio_mmio@10008000" in machine.console
        return
    assert said == ["No entropy: the host tree has no rng-seed, the harts have no Zkr, and no virtio device gives any. "
                    "Guests' rng-seeds can be guessed", "hello: rng0: not offered, there is no entropy"]
