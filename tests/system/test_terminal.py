# SPDX-License-Identifier: MIT
"""The operator's terminal with several Linux capsules, as a person uses it: whose it is at first, the keys, what is seen of
the others, and BREAKs that stock Linux takes for SysRq."""
import re

import pytest

from harness import PROMPT, capsule, isolated, manifest

KEY = "\x1d"


def two(**first):
    return manifest(capsule("one", memory="96M", **first), capsule("two", memory="96M"))


def expect_all(machine, patterns, timeout):
    """Waits for all of the patterns, in whatever order they come."""
    patterns = list(patterns)
    while patterns:
        patterns.pop(machine.expect(patterns, timeout))


@pytest.fixture
def both(boot):
    """Both capsules at their prompts, with labels."""
    machine = boot(two(), **isolated("hyp", smp=2))
    expect_all(machine, [rf"one\| {PROMPT}", rf"two\| {PROMPT}"], 180)
    return machine


def test_labels_and_focus(both):
    """Each line has its capsule's name, and none is cut, whatever the other writes meanwhile."""
    both.sendline("(sleep 4; for n in $(seq 200); do echo line $n of one; done) & echo started")
    both.expect(r"one[|:] started\r", 20)
    both.send(KEY + "n")
    both.expect(r"\[-\] input goes to two\r", 20)
    both.sendline("for n in $(seq 200); do echo line $n of two; done; echo two is through")
    expect_all(both, [r"two\| two is through\r", r"one\| line 200 of one\r"], 60)
    for name in ("one", "two"):
        said = re.findall(rf"^{name}[|:] line (\d+) of {name}$", both.console, re.M)
        assert said == [str(n) for n in range(1, 201)]


def test_alone_hidden_and_seen_again(both):
    """What is written unseen is kept as far as there is room, and nobody waits for it."""
    both.sendline("(sleep 1; while :; do seq 10001 19999; done) &")
    both.send(KEY + "n" + KEY + "s")
    both.expect(r"\[-\] the terminal is that of two alone[^\r]*\r", 20)
    both.sendline("printf '\\033[1m<'; echo '>'")
    both.expect("\x1b\\[1m<>\r", 30)  # its own escape sequences pass
    for pause in (4, 8, 16, 32, 64):  # until the other has had time to write more than fits
        both.shell(f"sleep {pause}", 4 * pause + 30)
        both.send(KEY + "p")
        if both.expect([r"\[-\] one: \d+ bytes of output are lost here\r\n1\d{4}\r\n", r"\n1\d{4}\r\n"], 20) == 0:
            break
        both.send(KEY + "n")
        both.expect("of two alone", 20)
    else:
        raise AssertionError("nothing was lost")
    both.send(KEY + "a")
    both.expect(r"\[-\] input goes to one\r", 20)
    both.sendline("kill %1; echo en''ough")
    both.expect("enough\r", 60)


def test_sysrq(both):
    """BREAK and a letter: Linux syncs, remounts and powers off; the terminal is then still the other's."""
    for letter, answer in (("s", "Emergency Sync"), ("u", "Emergency Remount R/O"), ("o", "Power Off")):
        both.send(KEY + "b" + letter)
        both.expect(rf"sysrq: {answer}", 20)
    both.expect(r"Capsule 1 \(one\) stopped: power off requested\r", 30)
    both.send(KEY + "n")
    both.sendline("echo still he''re")
    both.expect("still here\r", 20)


def test_manager_first(boot):
    """The only manager has the terminal alone; when it stops for good, the others get it."""
    machine = boot(two(manager=True), **isolated("hyp", smp=2))
    machine.prompt(120)
    assert "two| " not in machine.console and "one| " not in machine.console
    machine.sendline("sleep 8; poweroff")
    machine.expect(r"\[-\] input goes to two\r", 60)
    machine.expect(rf"two\| {PROMPT}", 60)
    machine.sendline("poweroff")
    assert machine.wait(60) == 0


def test_colors(boot):
    """With colours: labels in two of them, and a prompt that comes back below the other's lines."""
    setup = isolated("hyp", smp=2)
    machine = boot(two(), **{**setup, "append": setup["append"] + " color=on"})
    expect_all(machine, ["\x1b\\[36mone\\|\x1b\\[0m " + PROMPT, "\x1b\\[32mtwo\\|\x1b\\[0m " + PROMPT], 180)
    machine.sendline("(sleep 2; echo from ba''ck) & sleep 1")
    machine.send(KEY + "n\r")
    machine.expect("from back\r\n\x1b\\[32mtwo\\|\x1b\\[0m " + PROMPT, 60)
