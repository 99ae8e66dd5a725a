# SPDX-License-Identifier: MIT
"""The operator's monitor (Ctrl-] m), for tests: the one place that knows its prompt and what its commands print.

    monitor = Monitor(machine)
    with monitor:                                # enters, and leaves again
        monitor.request("kill", "worker")
        assert monitor.state("worker") == "stopped"
    monitor.stat("worker")                       # each of these enters for itself if need be
"""
import re
import time
from contextlib import contextmanager

from harness import TIME_SCALE

ESCAPE = "\x1d"  # Ctrl-]
PROMPT = "diosix> "
LEAVE = "\x04"  # Ctrl-D
LOG_LINE = re.compile(r"^\[[-!?]\] CPU \d+: ")
SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()][0-9A-B]")
UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60,
         "h": 3600, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01}
LIST_ROW = re.compile(r"^ *(?P<id>\d+) (?P<name>[a-z0-9-]+) +(?P<state>\S.*?) +(?P<isolation>pmp|hyp) +(?P<vcpus>\d+) "
                      r"+(?P<memory>[\d.]+ \w+) +(?P<cpu>[\d.]+ \w+)(?: (?P<last>.*))?$")
MEM_ROW = re.compile(r"^ *(?P<id>\d+) (?P<name>[a-z0-9-]+) +(?P<ram>[\d.]+ \w+) +(?P<tables>[\d.]+ \w+) "
                     r"+(?P<overhead>[\d.]+ \w+)$")


def plain(text):
    """The text without escape sequences and carriage returns. A line that was erased and drawn again stands there twice."""
    return SEQUENCE.sub("", text).replace("\r", "")


def number(text):
    """"1.5 KiB" and the like, in bytes, seconds or as a count; as exact as it is printed."""
    value, _, unit = text.strip().partition(" ")
    return float(value) * UNITS[unit] if "." in value or unit else int(value)


def device_row(text):
    """"7 requests, 4 KiB read" as {"requests": 7, "read": 4096}."""
    parts = (re.fullmatch(r"([\d.]+(?: [KMGT]?i?B| [MGT])?) (\S.*)", part) for part in text.split(", "))
    return {part[2]: number(part[1]) for part in parts}


class Monitor:
    def __init__(self, machine):
        self.machine = machine
        self.inside = False

    def __enter__(self):
        self.enter()
        return self

    def __exit__(self, *error):
        if self.machine.running and self.inside:
            self.leave()

    def enter(self):
        self.machine.send(f"{ESCAPE}m")
        self.machine.expect(re.escape(PROMPT), 20)
        self.inside = True

    def leave(self):
        self.machine.send(LEAVE)
        self.inside = False

    @contextmanager
    def visit(self):
        """Inside for as long as this lasts; stays inside if it was."""
        was_inside = self.inside
        if not was_inside:
            self.enter()
        yield
        if not was_inside:
            self.leave()

    def command(self, line, timeout=20):
        """Types a line, and returns the lines that come, without log lines."""
        with self.visit():
            self.machine.send(line + "\r")
            # The echo of what was typed; what the command says; the prompt. Log lines may come at any time, and the prompt
            # once more after them.
            echo = r"(?:\r*\n)?".join(map(re.escape, line))  # a log line may come between two keys
            self.machine.expect(echo + r"\r*\n(?s:(.*?))" + re.escape(PROMPT), timeout * TIME_SCALE)
            text = plain(self.machine.match[1])
            if LOG_LINE.match(text.lstrip("\n")) and not self.said(text):
                # It came before the line was entered, and the prompt with the line once more after it.
                self.machine.expect(r"\n(?s:(.*?))" + re.escape(PROMPT), timeout * TIME_SCALE)
                text = plain(self.machine.match[1])
        return self.said(text)

    @staticmethod
    def said(text):
        """Its lines, without log lines."""
        return [row.rstrip() for row in text.splitlines() if row.strip() and not LOG_LINE.match(row)]

    def keys(self, text):
        """Types this at the prompt as it is."""
        self.machine.send(text)

    def request(self, verb, name):
        """start, stop, kill, restart, pause, resume, create, destroy: must not be refused."""
        rows = self.command(f"{verb} {name}")
        assert rows and rows[0].startswith("ok"), rows
        return rows

    def refused(self, verb, name):
        """The same, where it must be: returns what was said."""
        rows = self.command(f"{verb} {name}")
        assert rows and rows[0].startswith("Refused:"), rows
        return " ".join(rows)

    def list(self):
        """{name: row of list as a dict} in the monitor's order."""
        rows = filter(None, map(LIST_ROW.match, self.command("list")))
        return {row["name"]: row.groupdict() for row in rows}

    def state(self, name):
        """As `info` has it, whole."""
        return re.fullmatch(r"Capsule \d+ \(.*\): (.*)", self.command(f"info {name}")[0])[1]

    def becomes(self, name, pattern, seconds=40):
        """Asks again and again until the state matches."""
        end = time.monotonic() + seconds * TIME_SCALE
        state = ""
        with self.visit():
            while time.monotonic() < end:
                state = self.state(name)
                if re.search(pattern, state):
                    return state
                time.sleep(0.02)
        raise AssertionError(f"{name} is {state}, not {pattern}")

    def logs(self, name, text, seconds=20):
        """Asks again and again until what the capsule has said has the text in it."""
        end = time.monotonic() + seconds * TIME_SCALE
        said = ""
        with self.visit():
            while text not in said:
                assert time.monotonic() < end, f"{name} did not say {text!r}: {said[-500:]!r}"
                said = " ".join(self.command(f"log {name}"))
        return said

    def stat(self, name):
        """{"starts": 1, "exits": …, "CPU time": seconds, …, exits by cause, and {what: number} for each device} of one
        capsule."""
        rows = [re.fullmatch(r" +(\S.*?) {2,}(\S.*)", row) for row in self.command(f"stat {name}")]
        return {row[1]: device_row(row[2]) if "," in row[2] else number(row[2]) for row in rows if row}

    def used(self, seconds):
        """CPU time that each capsule gets in so many seconds, by the scheduler's own account."""
        with self.visit():
            before = self.list()
            time.sleep(seconds)
            after = self.list()
        return {name: number(after[name]["cpu"]) - number(row["cpu"]) for name, row in before.items()}

    def memory(self):
        """({name: {"ram": bytes, "tables": …, "overhead": …}}, the line that says how much is free)."""
        text = self.command("mem", timeout=60)
        rows = filter(None, map(MEM_ROW.match, text))
        return {row["name"]: {key: number(row[key]) for key in ("ram", "tables", "overhead")} for row in rows}, text[0]
