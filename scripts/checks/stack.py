# SPDX-License-Identifier: MIT
"""Stack depth of the linked program: see scripts/stack-depth."""
import functools
import os
import re
import subprocess

from checks import common, pointers
from checks.common import run

PROGRAMS = ["build/rv64/diosix.elf", "build/rv32/diosix.elf"]
TOOLS = "riscv64-linux-gnu-"
PAGE = 4096

HEAD = re.compile(r"^([0-9a-f]+) <(.+)>:$")
LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S+)(?:\t(.*))?$")
TARGET = re.compile(r"\b([0-9a-f]+) <[^>]*>$")
BRANCHES = {"beq", "bne", "blt", "bge", "bltu", "bgeu", "beqz", "bnez", "blez", "bgez", "bltz", "bgtz", "bgt", "ble",
            "bgtu", "bleu"}
STORES = {"sb", "sh", "sw", "sd"}


# Recursion that is known to end, with the reason.
BOUNDED_RECURSION = {
    "descend": "boot/fault.c: overflows the stack on purpose",
    "fdt_get_alias_namelen": "libfdt: asks for the path of /aliases, which needs no alias",
    "fdt_path_offset_namelen": "the same",
}


class Function:
    """One function of the program: bytes of frame, whom it calls with its frame in place, whom it jumps to without."""

    def __init__(self, name, start):
        self.name = name
        self.start = start
        self.frame = 0
        self.calls, self.jumps = set(), set()
        self.pointer_sites = []  # addresses of calls and jumps through registers
        self.strange = []


def words_of(source, name):
    """The value of a constant like NAME = 4 * PAGE_SIZE, in bytes."""
    found = re.search(rf"\b{name} = (?:(\d+) \* )?PAGE_SIZE\b", common.text(source))
    return int(found[1] or 1) * PAGE


@functools.lru_cache(None)
def labels():
    """What is written in assembly: it gives sp another stack or the guest's value, and is trusted to."""
    return {label for name in common.sources(["src"], [".S"]) for label in re.findall(r"^(\w+):", common.text(name), re.M)}


class Program:
    """The disassembly as a graph."""

    def __init__(self, path):
        self.path = path
        self.functions = {}  # by start address
        self.read_code()
        self.by_name = {}
        for function in self.functions.values():
            self.by_name.setdefault(re.sub(r"\..*", "", function.name), []).append(function)
        self.resolve()

    def read_code(self):
        status, listing = run([TOOLS + "objdump", "-d", "--no-show-raw-insn", self.path])
        if status != 0:
            raise RuntimeError(f"cannot read {self.path}: {listing[-300:]}")
        current = None
        for line in listing.split("\n"):
            head, body = HEAD.match(line), LINE.match(line)
            if head:
                current = self.functions.setdefault(int(head[1], 16), Function(head[2], int(head[1], 16)))
            elif body and current:
                self.instruction(current, int(body[1], 16), body[2], body[3] or "")

    def instruction(self, function, address, name, operands):
        if name in ("add", "addi", "c.addi16sp", "c.addi") and operands.startswith("sp,sp,"):
            self.adjust(function, operands[6:])
        elif operands.startswith("sp,") and name not in BRANCHES | STORES and \
                function.name not in labels() and not (name in ("add", "addi", "mv") and "s0" in operands):
            function.strange.append(f"{address:x}: {name} {operands}")
        target = TARGET.search(operands)
        if name in ("jal", "call") or (name == "jalr" and target):
            function.calls.add(int(target[1], 16))
        elif name == "j" or name in BRANCHES or (name == "jr" and target):
            function.jumps.add(int(target[1], 16))
        elif name == "jalr":
            function.pointer_sites.append((address, False))
        elif name == "jr" and operands != "ra":
            function.pointer_sites.append((address, True))

    def adjust(self, function, amount):
        if re.fullmatch(r"-?\d+", amount):
            function.frame += max(0, -int(amount))
        elif amount not in ("t0", "t1"):  # large frames; counted where the constant is loaded
            function.strange.append(f"sp moves by {amount}")
        else:
            function.strange.append("a frame too large for one instruction")

    # --- who calls whom ---
    def owner(self, address):
        """The function that starts at the address; None: within another."""
        return self.functions.get(address)

    def resolve(self):
        calls, taken = pointers.read_all()
        self.guessed = set()
        self.unknown = []
        sites = [(function, address, jump) for function in self.functions.values()
                 for address, jump in function.pointer_sites]
        places = self.places([address for _, address, _ in sites])
        for function, address, jump in sites:
            kinds = set().union(*[calls.get(place, set()) for place in places[address][:1]])
            targets = {name for kind in kinds for name in taken.get(kind, ())}
            if not kinds and not jump and function.name not in labels():
                self.unknown.append(f"{function.name}: call through a pointer at {address:x}, of unknown type")
            for target in (found for name in targets for found in self.by_name.get(name, [])):
                (function.jumps if jump else function.calls).add(target.start)
                self.guessed.add((function.start, target.start))
        self.pointer_calls = len([1 for function, address, jump in sites
                                  if not jump or any(place in calls for place in places[address][:1])])

    def places(self, addresses):
        """For each address its (function, base name of the file), innermost inlined function first."""
        listing = subprocess.run([TOOLS + "addr2line", "-a", "-f", "-i", "-e", self.path], cwd=common.ROOT, check=True,
                                 input="\n".join(hex(address) for address in addresses), text=True,
                                 stdout=subprocess.PIPE).stdout.split("\n")
        found, current, position = {}, None, 0
        while position < len(listing) - 1:
            if listing[position].startswith("0x"):
                current = found.setdefault(int(listing[position], 16), [])
                position += 1
            else:
                file = os.path.basename(listing[position + 1].split(":")[0])
                current.append((listing[position], file))
                position += 2
        return found

    def edges(self, function):
        """(target, whether the caller's frame is still there)."""
        for start in function.calls:
            if self.owner(start):
                yield self.owner(start), True
        for start in function.jumps:
            target = self.owner(start)
            if target and (target is not function):
                yield target, False


class Depth:
    """Longest paths; functions that can call each other are one step that holds each of their frames once."""

    def __init__(self, program):
        self.program = program
        self.order, self.low, self.stack, self.done = {}, {}, [], {}
        self.rings = []

    def visit(self, function):
        """Tarjan's algorithm; self.done[function] = (depth, path) once its ring is known."""
        self.order[function] = self.low[function] = len(self.order)
        self.stack.append(function)
        for target, _ in self.program.edges(function):
            if target not in self.order:
                self.visit(target)
                self.low[function] = min(self.low[function], self.low[target])
            elif target not in self.done:
                self.low[function] = min(self.low[function], self.order[target])
        if self.low[function] == self.order[function]:
            ring = []
            while not ring or ring[-1] is not function:
                ring.append(self.stack.pop())
            self.finish(ring)

    def finish(self, ring):
        members = set(ring)
        own = sum(member.frame for member in ring) if len(ring) > 1 else 0
        best = (0, ())
        results = {}
        for member in ring:
            deepest = (member.frame, ())
            for target, kept in self.program.edges(member):
                if target not in members:
                    depth, path = self.done[target]
                    deepest = max(deepest, ((member.frame if kept else 0) + depth, path), key=lambda one: one[0])
            results[member] = deepest
            best = max(best, (deepest[0] - member.frame, deepest[1]), key=lambda one: one[0])
        for member in ring:
            depth, path = results[member] if len(ring) == 1 else (own + best[0], best[1])
            self.done[member] = (depth, (member,) + path)
        if len(ring) > 1 or any(target is ring[0] for target, kept in self.program.edges(ring[0]) if kept):
            self.rings.append(ring)

    def of(self, function):
        if function not in self.done:
            self.visit(function)
        return self.done[function]


@functools.lru_cache(None)
def budgets():
    """Each way onto a stack of ours, and that stack's bytes: a hart's own, and the one for our own faults."""
    hart = words_of("src/boot/harts.c", "STACK_SIZE")
    emergency = words_of("src/boot/harts.c", "EMERGENCY_SIZE")
    return {"trap_handle": hart, "boot_main": hart, "boot_secondary": hart, "trap_own": emergency - 32 * 8}


class Report:
    """What is said of one program."""

    def __init__(self, path):
        self.program = Program(path)
        self.depth = Depth(self.program)
        self.depths = {}
        for name in budgets():
            for function in self.program.by_name.get(name, []):
                self.depths[name] = self.depth.of(function)

    def reached(self):
        return set(self.depth.done)

    def rings(self):
        """(names, whether real) of functions that can call each other: it may be that only types of pointers say so."""
        for ring in self.depth.rings:
            starts = {member.start for member in ring}
            guessed = any(source in starts and target in starts for source, target in self.program.guessed)
            names = sorted(re.sub(r"\..*", "", member.name) for member in ring)
            if not set(names) <= set(BOUNDED_RECURSION):
                yield names, not guessed

    def complaints(self):
        found = [f"{name}: {depth} bytes deep, of {budgets()[name]}: {route(path)}"
                 for name, (depth, path) in self.depths.items() if depth >= budgets()[name]]
        found += [f"{name}: not in the program" for name in budgets() if name not in self.depths]
        found += [f"recursion: {', '.join(names)}" for names, real in self.rings() if real]
        found += [f"{one.name}: {strange}" for one in self.reached() for strange in one.strange]
        return found + self.program.unknown

    def summary(self):
        deepest = ", ".join(f"{name} {depth} of {budgets()[name]}" for name, (depth, _) in self.depths.items())
        return f"{deepest}"

    def show(self, paths):
        for name, (depth, path) in self.depths.items():
            print(f"  {name:16} {depth:6} bytes of {budgets()[name]}")
            if paths:
                print("\n".join(f"      {step.frame:5} {step.name}" for step in path))
        print(f"  calls through pointers, taken to reach any function of their type: {self.program.pointer_calls}")
        for names, real in self.rings():
            if not real:
                print(f"  call each other if pointers lead wherever their type allows (each counted once): {', '.join(names)}")
        for complaint in self.complaints():
            print(f"  {complaint}")


def route(path):
    return " > ".join(f"{step.name} {step.frame}" for step in path)


def check_stack():
    """no stack of the hypervisor can overflow, no function calls itself"""
    status, output = run(["make", "-s", "-j2"] + PROGRAMS)
    if status != 0:
        return [f"make {' '.join(PROGRAMS)} failed:\n{output[-1500:]}"], ""
    complaints, notes = [], []
    for path in PROGRAMS:
        report = Report(path)
        complaints += [f"{path}: {complaint}" for complaint in report.complaints()]
        notes.append(f"{path.split('/')[1]}: {report.summary()}")
    return complaints, "; ".join(notes)
