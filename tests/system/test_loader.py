# SPDX-License-Identifier: MIT
"""The hypervisor boots from wherever a loader puts it, and with its manifest inside its own image."""
import re

import pytest

from edges import elsewhere, hello, said_hello
from harness import manifest

ADDRESSES = {
    "middle": 0x84000000,
    "page": 0x84001000,             # aligned to 4 KiB and to nothing more
    "behind": 0x80001000,           # right behind the trampoline, where capsules will be
    "top": 0xBFF80000,              # where it would move to, with 1 GiB
    "near-top": 0xBFF40000,         # over the start of that place
    "above-manifest": 0x8A000000,
}


@pytest.mark.parametrize("place", ADDRESSES)
def test_place(boot, product, place):
    """A flat binary, at an address that is not the one it was linked for."""
    machine = boot(manifest(hello(product, vcpus=2)), **elsewhere(product, ADDRESSES[place]))
    said_hello(machine)
    assert machine.wait() == 0
    assert len(re.findall("ready to roll", machine.console)) == 4
