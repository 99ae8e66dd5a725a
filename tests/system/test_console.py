# SPDX-License-Identifier: MIT
"""The operator's console with several capsules: whose line is whose, what reaches whom, and the monitor's prompt."""
import re
import time

import pytest

from harness import capsule, isolated, manifest
from many import many
from monitor import ESCAPE, PROMPT, Monitor, plain

COLOR = re.compile(r"\x1b\[(?:9|3)[0-7]m([a-z0-9-]+)[|:]\x1b\[0?m ")
BOLD = re.compile(r"\x1b\[[01]m")  # the hypervisor's own lines
LOG = r"\[[-!?]\] CPU \d+: "


@pytest.fixture
def talk(boot, product):
    """talk({name: words}, …) boots a machine with these guests."""

    def start(guests, smp=1, color=False, qemu="7.2", **more):
        setup = isolated("pmp", qemu=qemu)
        if color:
            setup["append"] += " color=on"
        nodes = [many(product, name, words, setup, **more.get(name, {})) for name, words in guests.items()]
        return boot(manifest(*nodes), smp=smp, mem="512M", **setup)

    return start


def shown_lines(machine):
    """What is on the screen, line by line: a line that was erased, to be drawn again, is not."""
    text = re.sub(r"[^\n]*\r\x1b\[K", "", "".join(machine.said))
    return plain(text).splitlines()


def of_capsule(machine, name):
    """The lines behind its label."""
    return [line[len(name) + 2:] for line in shown_lines(machine) if line.startswith((f"{name}| ", f"{name}: "))]


# --- labels --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("color", [False, True], ids=["plain", "color"])
def test_labels(talk, color):
    """Each line has its owner's name in front, and is whole; nobody's line is in another's."""
    names = ["one", "two", "three-with-a-longer-name"]
    machine = talk({name: "only=talker every=2 for=2000" for name in names}, smp=2, color=color)
    assert machine.wait() == 0
    for name in names:
        numbers = [int(n) for n in re.findall(rf"^talker {name} line (\d+) of many$", "\n".join(of_capsule(machine, name)), re.M)]
        assert numbers == list(range(len(numbers))) and len(numbers) > 20, (name, len(numbers))
    for line in shown_lines(machine):
        assert line.count("talker") <= 1 and (line.count("| ") <= 1 or "CPU" in line), line
    assert ("\x1b" in machine.console) == color


def test_colors_differ(talk):
    machine = talk({f"t{n}": "only=talker every=100 for=1000" for n in range(5)}, color=True)
    assert machine.wait() == 0
    colors = {name: set(re.findall(rf"\x1b\[(\d+)m{name}\|", machine.console)) for name in (f"t{n}" for n in range(5))}
    assert all(len(found) == 1 for found in colors.values()), colors
    assert len(set.union(*colors.values())) == 5
    assert "31" not in set.union(*colors.values()), "red is for alerts"


# --- forgeries -----------------------------------------------------------------------------------------------------------

def forged(machine):
    """Lines that look like the hypervisor's, another capsule's or the monitor's, and say that they are not."""
    return [line for line in shown_lines(machine) if "FORGED" in line and not re.match(r"forge[|:] ", line)]


@pytest.mark.parametrize("color", [False, True], ids=["plain", "color"])
def test_forgeries(talk, color):
    """Whatever it writes stays behind its own label, and no byte of it steers the terminal."""
    machine = talk({"forge": "only=forge", "victim": "only=talker every=20 for=1000"}, color=color)
    assert machine.wait() == 0
    assert forged(machine) == []
    assert "victim) stopped" in machine.console.replace("(forge", "")
    assert not re.search(r"^\[-\] CPU \d: Capsule 1 \(victim\) stopped", "\n".join(shown_lines(machine)), re.M)
    rest = BOLD.sub("", COLOR.sub("", "".join(machine.said)).replace("\r\x1b[K", ""))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", rest.replace("\r\n", "\n")), "a byte that steers"
    for n in range(16):
        assert any(line.endswith(f"forge forge was number {n}") for line in shown_lines(machine)), n


def test_forgeries_in_the_log_of_the_monitor(talk):
    """What a capsule has printed, shown in the monitor: the same holds."""
    machine = talk({"forge": "only=forge for=60000", "keeper": "only=density"})
    machine.expect("forge was number 15", 30)
    before = len("".join(machine.said))
    rows = Monitor(machine).command("log forge")
    shown = "".join(machine.said)[before:]
    assert any("FORGED" in row for row in rows)
    assert all(row.startswith("forge") for row in rows if "FORGED" in row), rows
    assert "\x1b[2J" not in shown and "\x1b]" not in shown and "\x9b" not in shown


# --- floods --------------------------------------------------------------------------------------------------------------

def test_flood(talk):
    """A capsule that writes as fast as it can: the other's lines all come, and soon; so does what the monitor says."""
    machine = talk({"flood": "only=storm storm=console", "talk": "only=talker every=50"}, smp=2)
    machine.expect("talker talk line 0 of many", 30)
    begin = time.monotonic()
    machine.expect("talker talk line 40 of many", 60)
    assert time.monotonic() - begin < 20
    numbers = [int(n) for n in re.findall(r"^talk\| talker talk line (\d+) of many", "\n".join(shown_lines(machine)), re.M)]
    assert numbers == list(range(len(numbers)))
    monitor = Monitor(machine)
    with monitor:
        assert {"flood", "talk"} <= set(monitor.list())
        monitor.request("kill", "flood")
    machine.expect("Capsule 1 .flood. stopped", 30)


def test_flood_unseen(talk):
    """In the monitor nobody sees the flood: it goes on, the oldest bytes go, and they are counted."""
    machine = talk({"flood": "only=storm storm=console", "keeper": "only=density"})
    machine.expect("storm of the console", 30)
    with Monitor(machine) as monitor:
        first = monitor.stat("flood")
        time.sleep(2)
        second = monitor.stat("flood")
    assert second["dropped"] > first["dropped"] and second["printed"] > first["printed"]
    machine.expect("flood: .* bytes of output are lost here", 30)


def test_flood_beside_the_log(talk):
    """The hypervisor's own lines come whatever a guest prints."""
    machine = talk({"flood": "only=storm storm=console", "bad": "only=fail how=failure after=1000", "keeper": "only=density"})
    machine.expect(rf"{LOG}Capsule 2 \(bad\) stopped: the guest reported a failure", 60)


# --- keys ----------------------------------------------------------------------------------------------------------------

def test_focus(talk):
    """Input goes to one capsule: the first, then those that keys choose; Ctrl-] n, p, and numbers."""
    machine = talk({"one": "only=echo", "two": "only=echo", "three": "only=echo"}, smp=2)
    for name in ("one", "two", "three"):
        machine.expect("echo (one|two|three) listens", 30)

    def heard(name, text):
        machine.send(f"{text}\r")
        machine.expect(rf'echo (\w+) heard "{text}"', 10)
        assert machine.match[1] == name

    heard("one", "a")
    for key, name in [("n", "two"), ("n", "three"), ("n", "one"), ("p", "three"), ("2", "two"), ("1", "one"), ("3", "three")]:
        machine.send(ESCAPE + key)
        machine.expect(f"input goes to {name}", 10)
        heard(name, f"after-{key}")
    machine.send(f"x{ESCAPE}{ESCAPE}y\r")
    machine.expect('echo three heard "x.y"', 10)
    machine.send(ESCAPE + "b")
    machine.expect("echo three break", 10)
    machine.send(ESCAPE + "?")
    machine.expect("sends a BREAK", 10)
    machine.send(ESCAPE + "7")
    machine.expect("no capsule 7", 10)
    for name in ("three", "one", "two"):
        machine.send(f"{ESCAPE}{('one', 'two', 'three').index(name) + 1}end\r")
        machine.expect(rf"\({name}\) stopped", 10)
    assert machine.wait() == 0


def test_solo(talk):
    """Alone on the screen, byte for byte; the others write unseen, and are back with Ctrl-] a."""
    machine = talk({"one": "only=talker every=50", "two": "only=talker every=50"}, smp=2)
    machine.expect(r"two\| talker two line", 30)
    machine.send(ESCAPE + "s")
    machine.expect("the terminal is that of one alone", 10)
    before = len(machine.said)
    for _ in range(20):
        machine.expect(r"\ntalker one line \d+ of many\r?\n", 10)
    alone = "".join(machine.said[before:])
    assert "two" not in alone and "one| " not in alone
    machine.send(ESCAPE + "a")
    machine.expect(r"two\| talker two line", 10)
    machine.expect(r"one\| talker one line", 10)


def test_manager_has_the_terminal(talk):
    """With a manager among several capsules it starts as the manager's own."""
    machine = talk({"one": "only=talker every=50", "boss": "only=talker every=50"}, boss={"manager": True})
    for _ in range(10):
        machine.expect(r"\ntalker boss line \d+ of many\r?\n", 30)
    assert "talker one" not in machine.console


def test_deaf_guest(talk):
    """One that reads nothing can't take the keys from the operator."""
    machine = talk({"deaf": "only=density", "echo": "only=echo"})
    machine.expect("echo echo listens", 30)
    machine.send("x" * 20000)
    machine.send(ESCAPE + "n")
    machine.expect("input goes to echo", 30)
    machine.send("hello\r")
    machine.expect('heard "hello"', 10)


def test_paste(talk):
    """A thousand lines at once, to the one in focus, while another talks."""
    machine = talk({"echo": "only=echo", "talk": "only=talker every=10"}, smp=2)
    machine.expect("echo echo listens", 30)
    count = 300
    machine.send("".join(f"line-{n}\r" for n in range(count)))
    machine.expect(f'heard "line-{count - 1}"', 60)
    assert [int(n) for n in re.findall(r'heard "line-(\d+)"', machine.console)] == list(range(count))


# --- the monitor ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def monitor(talk):
    machine = talk({"debian-a": "only=density", "debian-b": "only=density", "worker": "only=worker every=200"}, smp=2)
    machine.expect("worker worker 0 t=", 30)
    monitor = Monitor(machine)
    monitor.enter()
    return monitor


def types(monitor, keys, pattern):
    """Keys, as they are typed, and what then must be in the line."""
    monitor.keys(keys)
    monitor.machine.expect(pattern, 10)


def test_monitor_help(monitor):
    """Each command has a line, and more with its name."""
    rows = monitor.command("help")
    for name in ("list", "info", "start", "stop", "kill", "restart", "pause", "resume", "create", "destroy", "focus", "log",
                 "stat", "regs", "mem", "harts", "loglevel", "reboot", "poweroff", "help"):
        assert any(re.match(rf"\s*{name}\b", row) for row in rows), name
        assert monitor.command(f"help {name}")


def test_monitor_editing(monitor):
    """Backspace, arrows, home and end, delete a word, a line: what is executed is what is seen."""
    left, right, home, end = "\x1b[D", "\x1b[C", "\x1b[H", "\x1b[F"
    monitor.keys("lisx\x7ft\r")
    monitor.machine.expect("debian-a", 10)
    monitor.machine.expect(re.escape(PROMPT), 10)
    monitor.keys(f"ist{home}l{end}x{left}{right}\x7f\r")
    monitor.machine.expect("debian-b", 10)
    monitor.machine.expect(re.escape(PROMPT), 10)
    monitor.keys("nonsense words\x17\x17\x15list\r")
    monitor.machine.expect("worker", 10)
    monitor.machine.expect(re.escape(PROMPT), 10)
    monitor.keys("kill worker\x03")
    monitor.machine.expect(re.escape(PROMPT), 10)
    assert monitor.state("worker") == "running"


def test_monitor_history(monitor):
    up, down = "\x1b[A", "\x1b[B"
    monitor.command("info worker")
    monitor.command("harts")
    monitor.keys(f"{up}{up}\r")
    monitor.machine.expect(r"Capsule \d+ \(worker\)", 10)
    monitor.machine.expect(re.escape(PROMPT), 10)
    monitor.keys(f"{up}{up}{down}\r")
    monitor.machine.expect(r"Capsule \d+ \(worker\)", 10)


def test_monitor_completion(monitor):
    """Tab completes commands and names as far as they are the same, and shows the choices."""
    monitor.keys("inf\tdeb\t")
    monitor.machine.expect("info debian-", 10)
    monitor.keys("\t\t")
    monitor.machine.expect(r"debian-a\s+debian-b", 10)
    monitor.keys("b\r")
    monitor.machine.expect(r"Capsule \d+ \(debian-b\)", 10)


def test_monitor_mistakes(monitor):
    """Said, and nothing is done."""
    for line in ("nonsense", "info", "info nobody", "start worker", "kill", "kill a b", "loglevel loud", "regs worker 77",
                 "x" * 60):
        assert monitor.command(line), line
    assert monitor.state("worker") == "running"


def test_monitor_shows(monitor):
    """list, info, stat, regs, mem, harts, log: of those that are there."""
    assert list(monitor.list()) == ["debian-a", "debian-b", "worker"]
    assert monitor.list()["worker"]["state"] == "running"
    assert any("64 KiB" in row for row in monitor.command("info worker"))
    stat = monitor.stat("worker")
    assert stat["CPU time"] > 0 and stat["exits"] > 0 and stat["printed"] > 10 and stat["starts"] == 1
    assert any(re.match(r" *pc ", row) for row in monitor.command("regs worker"))
    rows, free = monitor.memory()
    assert rows["worker"]["ram"] == 64 << 10 and "free" in free
    assert len([row for row in monitor.command("harts") if re.match(r" *[01] ", row)]) == 2
    assert any("worker worker 0 t=" in row for row in monitor.command("log worker"))
    with monitor.visit():
        monitor.keys("log\r")
        monitor.machine.expect("Welcome to diosix", 10)


def test_monitor_focus(monitor):
    monitor.keys("focus debian-b\r")
    monitor.machine.expect("input goes to debian-b", 10)


def test_monitor_poweroff(monitor):
    """Asks, since capsules run; then does it."""
    rows = monitor.command("poweroff")
    assert any("again" in row for row in rows)
    monitor.keys("poweroff\r")
    assert monitor.machine.wait(20) == 0


def test_monitor_long_line(monitor):
    """More keys than a line has room for: they are refused, and the line can be given up."""
    monitor.keys("x" * 2000)
    monitor.keys("\x03")
    monitor.machine.expect(r"\^C|\n" + re.escape(PROMPT), 20)
    assert monitor.state("worker") == "running"


def test_monitor_reboot(talk):
    """QEMU 10: PMP of 7.2's harts survives a reset, locked entries and all."""
    machine = talk({"worker": "only=worker every=200"}, qemu="10")
    machine.expect("worker worker 0 t=", 30)
    monitor = Monitor(machine)
    monitor.enter()
    monitor.command("reboot")
    monitor.keys("yes\r")
    machine.expect("Welcome to diosix", 30)
    machine.expect("worker worker 0 t=", 30)


def test_monitor_beside_linux(boot):
    """A shell in raw mode, the monitor and back: nothing of the shell's line is lost."""
    machine = boot(manifest(capsule("only")), smp=2)
    machine.prompt(120)
    machine.send("echo ab")
    with Monitor(machine) as monitor:
        assert monitor.state("only") == "running"
    machine.sendline("cd")
    machine.expect("abcd\r", 20)
    machine.sendline("poweroff")
    assert machine.wait() == 0
