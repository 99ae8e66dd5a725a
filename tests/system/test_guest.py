# SPDX-License-Identifier: MIT
"""Torture inside a capsule's Linux (tests/system/guest/tests): with a hart for each vCPU, and with fewer harts; and what the
console of a guest must do."""
import pytest

from linux import interrupt_key_works, panics_and_reboots, prints_64k, reads_paste, survives_torture

PLACES = {"alone": (4, 4), "shared": (2, 4), "single": (1, 1)}


@pytest.mark.parametrize("place", PLACES)
def test_torture(linux, place):
    smp, vcpus = PLACES[place]
    survives_torture(linux("rv64"), vcpus, smp=smp)


def test_console_output(linux):
    prints_64k(linux("rv64"))


@pytest.mark.parametrize("count", [128, 1024])
def test_console_input(linux, count):
    reads_paste(linux("rv64"), count)


def test_panic(linux):
    panics_and_reboots(linux("rv64"))


def test_interrupt_key(linux):
    interrupt_key_works(linux("rv64"))
