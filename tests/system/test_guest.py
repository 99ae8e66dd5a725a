# SPDX-License-Identifier: MIT
"""Torture inside a capsule's Linux (tests/system/guest/tests): with a hart for each vCPU, and with fewer harts; and what the
console of a guest must do."""
import pytest

from harness import ISOLATIONS
from linux import PLACES, interrupt_key_works, panics_and_reboots, prints_64k, reads_paste, survives_torture, torture_rows


@pytest.fixture(params=ISOLATIONS)
def guest(linux, request):
    return linux("rv64", isolation=request.param)


@pytest.mark.parametrize("isolation,place,qemu", torture_rows(
    ("pmp", "shared", "7.2"), ("hyp", "alone", "7.2"), ("hyp", "shared", "10"), ("hyp", "single", "7.2")))
def test_torture(linux, isolation, place, qemu):
    smp, vcpus = PLACES[place]
    survives_torture(linux("rv64", isolation=isolation, qemu=qemu), vcpus, smp=smp)


def test_console_output(guest):
    prints_64k(guest)


@pytest.mark.parametrize("count", [128, 1024])
def test_console_input(guest, count):
    reads_paste(guest, count)


def test_panic(guest):
    panics_and_reboots(guest)


def test_interrupt_key(guest):
    interrupt_key_works(guest)
