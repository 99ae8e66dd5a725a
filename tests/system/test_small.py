# SPDX-License-Identifier: MIT
"""The small 64-bit kernel: the 32-bit guest's configuration, for tests of many capsules."""
import re

import linux as checks


def test_shell(linux):
    checks.shell_answers(linux("rv64-small"), 2, smp=2)


def test_many_capsules(linux):
    """Sixteen capsules of 16 MiB on two harts: each comes up, and asks to be switched off."""
    guest = linux("rv64-small")
    names = [f"small-{number}" for number in range(16)]
    machine = guest.machine(*[guest.capsule(name, memory="16M", bootargs="quiet diosix.poweroff") for name in names],
                            smp=2, mem="512M")
    assert machine.wait(timeout=180) == 0
    off = re.findall(r"^\[-\].*\((small-\d+)\) stopped: power off requested", machine.console, re.M)
    assert sorted(off) == sorted(names)
