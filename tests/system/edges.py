# SPDX-License-Identifier: MIT
"""What the tests of booting at the edges share: the hypervisor somewhere else than QEMU puts it, host trees of our own, and
capsules that run tests/guest/hello.S, which takes no time.

    machine = boot(manifest(hello(product)), **elsewhere(product, 0x84000000))
    said_hello(machine)
"""
import re
import struct
import subprocess

from harness import capsule

TRAMPOLINE = 0x80000000
TARGET, TREE, LATE, TICKS = (TRAMPOLINE + 0x100 + 8 * n for n in range(4))
TICKS_PER_SECOND = 10_000_000
TREE_AS_IT_IS = 1
TREE_PLACE = 0x90000000
ALERT = r"\[!\] CPU \d+: "


def hello(product, name="hello", *, xlen=64, kernel=None, memory="4M", **more):
    """A capsule with the smallest guest. Further arguments as harness.capsule has them."""
    return capsule(name, kernel=kernel or product(f"rv{xlen}/guest/hello.bin"), initrd=False, memory=memory, console=None,
                   **more)


def said_hello(machine, timeout=30):
    """Waits for the guest's line and for its capsule's end; returns where it was loaded and its tree's address."""
    machine.expect(r"hello: at 0x([0-9a-f]+), hart 0, tree 0x([0-9a-f]+)\r", timeout)
    return int(machine.match[1], 16), int(machine.match[2], 16)


def store(address, value):
    return ["-device", f"loader,addr={address:#x},data={value:#x},data-len=8"]


def load(path, address):
    return ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]


def elsewhere(product, address, *, xlen=64, binary=None, tree=TREE_AS_IT_IS, late=None, seconds=0):
    """Fields of harness.Setup that start the flat binary at that address, with a1 = tree; hart number late that many
    seconds after the others."""
    binary = binary or product(f"rv{xlen}/diosix.bin")
    return {"kernel": product(f"rv{xlen}/guest/trampoline.elf"), "xlen": xlen,
            "extra": load(binary, address) + store(TARGET, address) + store(TREE, tree) +
            store(LATE, 0xFFFFFFFF if late is None else late) + store(TICKS, int(seconds * TICKS_PER_SECOND))}


def with_tree(product, path, **more):
    """The same, at an address out of the way, with the tree in this file."""
    fields = elsewhere(product, 0x84000000, tree=TREE_PLACE, **more)
    fields["extra"] += load(path, TREE_PLACE)
    return fields


def halted(machine, pattern, timeout=30):
    """Waits for the one line that says why the machine halts, then for the halt; returns the line."""
    machine.expect(rf"({ALERT}[^\r\n]*{pattern}[^\r\n]*)\r\n", timeout)
    line = machine.match[1]
    machine.expect(rf"{ALERT}(Halted|Powering off)\.\r", timeout)
    return line


def alerts(machine):
    """All alert lines, without their prefix."""
    return [line.strip() for line in re.findall(rf"^{ALERT}(.*)$", machine.console, re.M)]


# --- host trees ---------------------------------------------------------------------------------------------------------

def decompile(path):
    done = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(path)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def compile_tree(text, path):
    subprocess.run(["dtc", "-q", "-f", "-I", "dts", "-O", "dtb", "-o", str(path), "-"], input=text.encode(), check=True)
    return path


def compile_text(text):
    """The blob of a tree's text."""
    return subprocess.run(["dtc", "-q", "-f", "-I", "dts", "-O", "dtb", "-"], input=text.encode(), check=True,
                          stdout=subprocess.PIPE).stdout


def without_node(text, name):
    """The tree's text without the nodes whose names match, each with all that is in it."""
    lines, depth = [], 0
    for line in text.splitlines():
        if depth == 0 and re.match(rf"\s*{name} {{$", line):
            depth = 1
        elif depth:
            depth += line.count("{") - line.count("}")
        else:
            lines.append(line)
    return "\n".join(lines)


def without_property(text, name):
    return re.sub(rf"^\s*{name}( = .*)?;\n", "", text, flags=re.M)


# --- kernels ------------------------------------------------------------------------------------------------------------

def elf(code, *, address=0, entry=None, kind=2, machine=243, xlen=64, memory_size=None, virtual=None, file_size=None):
    """An ELF file with one segment of code at that physical address. kind: 2 has a fixed place, 3 can be moved."""
    virtual = address if virtual is None else virtual
    entry = virtual if entry is None else entry
    header = 64 + 56 if xlen == 64 else 52 + 32
    sizes = (len(code) if file_size is None else file_size, len(code) if memory_size is None else memory_size)
    ident = b"\x7fELF" + bytes([xlen // 32, 1, 1]) + bytes(9)
    word = "Q" if xlen == 64 else "I"
    main = struct.pack(f"<HHI{word}{word}{word}IHHHHHH", kind, machine, 1, entry, header - (56 if xlen == 64 else 32), 0, 0,
                       header - (56 if xlen == 64 else 32), 56 if xlen == 64 else 32, 1, 0, 0, 0)
    if xlen == 64:
        segment = struct.pack("<IIQQQQQQ", 1, 7, header, virtual, address, *sizes, 4096)
    else:
        segment = struct.pack("<IIIIIIII", 1, header, virtual, address, *sizes, 7, 4096)
    return ident + main + segment + code


def image(code, *, text_offset=0x200000, image_size=None, flags=0):
    """A RISC-V Image with that header: its first instruction jumps over it."""
    size = 64 + len(code) if image_size is None else image_size
    # c.j cannot reach; jal x0, 64
    return struct.pack("<IIQQQIIQ", 0x0400006F, 0, text_offset, size, flags, 2, 0, 0) + b"RISCV\0\0\0RSC\x05" + bytes(4) + code
