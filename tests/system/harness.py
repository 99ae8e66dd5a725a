# SPDX-License-Identifier: MIT
"""What the system tests are written with: manifests from Python, and machines (QEMUs) that run Diosix.

    machine = boot(manifest(capsule("debian", vcpus=2)), smp=4, qemu="10")     # boot is a fixture of conftest.py
    machine.expect("diosix-guest: up")
    assert machine.shell("nproc") == "2"
    machine.sendline("poweroff")
    assert machine.wait() == 0

A machine keeps everything its console said (machine.console) and writes it to build/system/<test>.log as well.
"""
import os
import re
import signal
import subprocess
import termios
import time
import tty
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("DIOSIX_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diosix")
GUESTS = CACHE / "guests" / "rv64"
# The Linux guests by name, which is the name of their folder in the cache too, and the script that provides each.
LINUX = {
    "rv64": ["scripts/fetch-guests"],
    "rv32": ["scripts/build-guests", "rv32"],
    "rv64-small": ["scripts/build-guests", "rv64-small"],
}
# How much slower or busier this machine is than a quiet one: multiplies what tests measure and judge.
SLOWNESS = float(os.environ.get("DIOSIX_TIME_SCALE", "1"))
# Multiplies every time limit: whatever works takes no longer for it.
TIME_SCALE = 2 * SLOWNESS
PROMPT = "capsule# "
# The isolations that tests are run with. Which one a capsule gets is decided by its harts: see isolated().
ISOLATIONS = ("pmp", "hyp")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size(text):
    """Bytes for "128M" and the like; numbers stay what they are."""
    if isinstance(text, int):
        return text
    return int(text[:-1]) * UNITS[text[-1]]


def incbin(path):
    return f'/incbin/("{Path(path).resolve()}")'


def capsule(name="debian", *, vcpus=1, memory="128M", kernel=None, initrd=None, bootargs="", console="ttyS0", linux="rv64",
            **more):
    """A capsule's node. kernel and initrd are files; those of the Linux guest of that name if not given, initrd=False for
    none. bootargs come after console=. Further arguments become properties: a string, a number (one cell), a list of
    numbers, True (a property without a value), or DTS text (Raw); a dictionary of such becomes a node, which is a device:
    see disk. _ in their names stands for -."""
    words = f"console={console} {bootargs}".strip() if console else bootargs
    guest = CACHE / "guests" / linux
    return {"name": name, "vcpus": vcpus, "memory": Raw(f"/bits/ 64 <{size(memory):#x}>"), "bootargs": words,
            "kernel": kernel or guest / "Image", "initrd": guest / "initramfs.cpio.gz" if initrd is None else initrd,
            "more": {key.replace("_", "-"): value for key, value in more.items()}}


class Raw(str):
    """A property's value as DTS text."""


def disk(path, **more):
    """A RAM disk, for disk0=disk("seed.img")."""
    return {"type": "disk", "data": Raw(incbin(path)), **more}


def dts_property(name, value):
    if isinstance(value, dict):
        return f"{name} {{ " + " ".join(dts_property(key.replace("_", "-"), item) for key, item in value.items()) + " };"
    if value is True:
        return f"{name};"
    if isinstance(value, Raw):
        return f"{name} = {value};"
    if isinstance(value, int):
        return f"{name} = <{value:#x}>;"
    if isinstance(value, list):
        return f"{name} = <{' '.join(map(str, value))}>;"
    return f'{name} = "{value}";'


def capsule_node(node, images):
    """The node's text; the files it uses get a label in images, each file once."""
    properties = {"vcpus": node["vcpus"], "memory": node["memory"], "bootargs": node["bootargs"]}
    for purpose in ("kernel", "initrd"):
        if node[purpose]:
            label = images.setdefault(str(node[purpose]), f"image{len(images)}")
            properties[f"{purpose}-image"] = Raw(f"<&{label}>")
    properties.update(sorted(node["more"].items(), key=lambda item: isinstance(item[1], dict)))
    lines = [dts_property(name, value) for name, value in properties.items() if value is not None and value is not False]
    return f"{node['name']} {{ " + " ".join(lines) + " };"


def manifest(*capsules):
    """The manifest's text (DTS) for these capsules."""
    images = {}
    nodes = [capsule_node(node, images) for node in capsules]
    stored = [f"{label}: {label} {{ data = {incbin(path)}; }};" for path, label in images.items()]
    return "\n".join(["/dts-v1/;", "/ {", 'compatible = "diosix,manifest";', "images {", *stored, "};",
                      "capsules {", *nodes, "};", "};", ""])


def compile_manifest(text, path):
    """Writes the blob of a manifest's text to path."""
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(path), "-"], input=text.encode(), check=True)
    return path


@dataclass
class Setup:
    """The machine that QEMU is to be, and what runs on it. cpu: what follows the model, as in "h=off,sstc=off"; model: the
    model itself, rv64 or rv32 if not given. kernel: what QEMU starts, the hypervisor if not given."""

    qemu: str = "7.2"
    machine: str = "virt"
    xlen: int = 64
    smp: int = 4
    mem: str = "1G"
    model: str | None = None
    cpu: str = "h=off"
    kernel: Path | None = None
    append: str = "isolation=auto loglevel=info"
    extra: list = field(default_factory=list)

    def arguments(self, program, elf, blob):
        cpu = [] if self.machine.startswith("sifive_u") else ["-cpu", ",".join(filter(None, [self.model or f"rv{self.xlen}", self.cpu]))]
        # The console is the terminal as it is: no QEMU keys in it, and Ctrl-C is a byte like others.
        console = ["-display", "none", "-monitor", "none", "-chardev", "stdio,id=console,signal=off",
                   "-serial", "chardev:console"]
        initrd = ["-initrd", str(blob)] if blob else []
        # Labels as plain text, if the test doesn't ask for colours.
        words = self.append if "color=" in self.append else f"{self.append} color=off"
        return [str(program), "-M", self.machine, *cpu, "-smp", str(self.smp), "-m", self.mem, *console, "-bios", "none",
                "-kernel", str(self.kernel or elf), *initrd, "-append", words, *self.extra]


def raw_terminal():
    """Makes QEMU's terminal pass every byte as it is. QEMU sets it raw too, but for newlines, which it lets the terminal
    translate if it does."""
    tty.setraw(0)
    modes = termios.tcgetattr(0)
    modes[1] &= ~termios.ONLCR
    termios.tcsetattr(0, termios.TCSANOW, modes)


def isolated(isolation, cpu="", **fields):
    """Fields of Setup for a machine on which capsules get that isolation: pmp, hyp, or pmp-on-h, which is pmp on harts that
    have H. cpu: further words for QEMU's -cpu."""
    h = "h=off" if isolation == "pmp" else "h=on"
    wish = "pmp" if isolation == "pmp-on-h" else "auto"
    return {"cpu": ",".join(filter(None, [h, cpu])), "append": f"isolation={wish} loglevel=info", **fields}


def known_faults(setup):
    """Words for bootargs of the test guests (tests/guest) about faults of QEMU 7.2 that no hypervisor can mend: VS-mode's sip
    shows only the software interrupt, and Sv32's physical addresses have no more than 32 bits."""
    words = []
    if setup.get("qemu", "7.2") == "7.2":
        words += ["sip=blind"] if "h=on" in setup["cpu"] else []
        words += ["sv32=short"] if setup.get("xlen") == 32 else []
    return " ".join(words)


# Ends in a group's repetition, which more text could go on with: what the group has is perhaps not all.
OPEN_END = re.compile(r"(?<!\\)(?:\\\\)*(?:[+*]|\{\d*,\d*\})\)+$")


class Machine:
    """A QEMU that was started, and its console."""

    def __init__(self, command, log):
        self.command = command
        self.log = open(log, "w", encoding="utf-8", buffering=1)
        self.log.write(" ".join(map(repr, command)) + "\n")
        self.child = pexpect.spawn(command[0], command[1:], encoding="utf-8", codec_errors="replace", timeout=None,
                                   echo=False, maxread=65536, preexec_fn=raw_terminal)
        self.child.delaybeforesend = None
        self.said = []
        self.child.logfile_read = self

    # What pexpect needs of a log file: everything read passes here.
    def write(self, text):
        self.said.append(text)
        self.log.write(text)

    def flush(self):
        pass

    @property
    def console(self):
        """Everything the console has said and an expect has read, with plain newlines."""
        return "".join(self.said).replace("\r", "")

    def tail(self, lines=60):
        return "\n".join(self.console.splitlines()[-lines:])

    def expect(self, pattern, timeout=60):
        """Waits for a regular expression (or for the first of a list, whose index it returns); self.match has the match."""
        # A line arrives in pieces: a group that may match less than all of a word will one day be given half of it.
        for each in pattern if isinstance(pattern, list) else [pattern]:
            assert not (isinstance(each, str) and OPEN_END.search(each)), f"{each!r} must name what follows its last repetition"
        try:
            index = self.child.expect(pattern, timeout=timeout * TIME_SCALE)
        except pexpect.TIMEOUT:
            raise AssertionError(f"in {timeout * TIME_SCALE:.0f} s the console did not say {pattern!r}") from None
        except pexpect.EOF:
            raise AssertionError(f"QEMU ended ({self.wait()}) before the console said {pattern!r}") from None
        return index

    def stream(self, name):
        """What one of several capsules has said: its lines, put together again where another's came between."""
        said = re.findall(rf"^{re.escape(name)}([|:]) ?(.*)", self.console, re.MULTILINE)
        return "".join(("\n" if mark == "|" else "") + text for mark, text in said)

    def expect_of(self, name, pattern, timeout=60):
        """The same as expect for what one of several capsules says, from the beginning on: a slow one's line may come in
        parts, each with its label, which no pattern for the console can foresee."""
        end = time.monotonic() + timeout * TIME_SCALE
        while not re.search(pattern, self.stream(name)):
            if time.monotonic() > end:
                raise AssertionError(f"in {timeout * TIME_SCALE:.0f} s {name} did not say {pattern!r}:\n{self.stream(name)[-500:]}")
            try:
                self.child.expect(r"\n", timeout=1)
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                raise AssertionError(f"QEMU ended ({self.wait()}) before {name} said {pattern!r}") from None

    @property
    def match(self):
        return self.child.match

    @property
    def before(self):
        """What the console said between the last two matches."""
        return self.child.before.replace("\r", "")

    def send(self, text):
        self.child.send(text)

    def sendline(self, text=""):
        self.child.send(text + "\r")

    def shell(self, command, timeout=30):
        """Types a command at the guest's prompt and returns what it prints. The prompt must be there already, or come."""
        # The command's echo must not look like the marks around its output. A shell without a line editor may write its
        # prompt behind the echo of what was typed ahead.
        self.sendline(f"echo '<'out; {command}; echo '<'end")
        self.expect(rf"\n(?:{re.escape(PROMPT)})?<out\r\n", timeout)
        self.expect(r"<end\r\n", timeout)
        return self.before.strip()

    def prompt(self, timeout=60):
        self.expect(re.escape(PROMPT), timeout)

    def wait(self, timeout=60):
        """Waits for QEMU to end by itself; returns its exit status (negative: the signal that ended it)."""
        try:
            self.child.expect(pexpect.EOF, timeout=timeout * TIME_SCALE)
        except pexpect.TIMEOUT:
            raise AssertionError(f"QEMU still runs after {timeout * TIME_SCALE:.0f} s") from None
        self.child.wait()
        return -self.child.signalstatus if self.child.exitstatus is None else self.child.exitstatus

    @property
    def running(self):
        return self.child.isalive()

    def close(self):
        """Ends QEMU if it still runs, having read what it has said until now. May be called again."""
        if self.log.closed:
            return
        try:
            self.child.read_nonblocking(1 << 20, timeout=0)
        except (pexpect.TIMEOUT, pexpect.EOF):
            pass
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()  # close() alone gives it a tenth of a second
        self.child.close(force=True)
        self.log.close()


def log_path(pytestconfig, item, number):
    """Where the console of that machine of a test is written to."""
    directory = Path(pytestconfig.getoption("--build")) / "system"
    directory.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{item.path.stem}-{item.name}")
    return directory / (f"{name}.log" if number == 0 else f"{name}-{number}.log")


def pairwise(**choices):
    """Rows (dicts) such that every pair of values of any two choices is in at least one row; far fewer than all
    combinations, and the same ones every time."""
    names = list(choices)
    missing = {(a, x, b, y) for i, a in enumerate(names) for b in names[i + 1:] for x in choices[a] for y in choices[b]}
    rows = []
    while missing:
        row = dict(zip(*[iter(min(missing, key=repr))] * 2))
        for name in names:
            if name not in row:
                row[name] = max(choices[name], key=lambda value, name=name: gain({**row, name: value}, names, missing))
        missing -= pairs(row, names)
        rows.append({name: row[name] for name in names})
    return rows


def pairs(row, names):
    known = [name for name in names if name in row]
    return {(a, row[a], b, row[b]) for i, a in enumerate(known) for b in known[i + 1:]}


def gain(row, names, missing):
    return len(pairs(row, names) & missing)


def usually(values, keep):
    """Parameters of which only those in keep run by default, the others with -m exhaustive. keep: values, or a function."""
    kept = keep if callable(keep) else lambda value: value in keep
    return [value if kept(value) else pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


def row_id(row):
    """The test id of a row of a matrix: "smp4-vcpus2-…", from which the test can be run again."""
    return "-".join(f"{name}{value}" for name, value in row.items())
