# SPDX-License-Identifier: MIT
"""The same capsule on many machines: harts × vCPUs × memory × QEMU × timer extension. By default every pair of
values is met in some test; with -m exhaustive all combinations run."""
import itertools

import pytest

from harness import pairwise, row_id
from linux import boots

CHOICES = {
    "smp": [1, 2, 4, 8],
    "vcpus": [1, 2, 4, 8],
    "mem": ["256M", "1G", "4G"],
    "qemu": ["7.2", "10"],
    "sstc": ["on", "off"],
}
CAPSULE_MEMORY = {"256M": "128M", "1G": "256M", "4G": "2G"}
QUICK = [
    {"smp": 1, "vcpus": 1, "mem": "256M", "qemu": "7.2", "sstc": "off"},
    {"smp": 2, "vcpus": 4, "mem": "1G", "qemu": "10", "sstc": "on"},
]
ALL = [dict(zip(CHOICES, values)) for values in itertools.product(*CHOICES.values())]


def boots_row(linux, row):
    guest = linux("rv64", qemu=row["qemu"], cpu=f"sstc={row['sstc']}")
    boots(guest, row["vcpus"], memory=CAPSULE_MEMORY[row["mem"]], smp=row["smp"], mem=row["mem"])


@pytest.mark.quick
@pytest.mark.parametrize("row", QUICK, ids=row_id)
def test_matrix_quick(linux, row):
    boots_row(linux, row)


@pytest.mark.parametrize("row", pairwise(**CHOICES), ids=row_id)
def test_matrix(linux, row):
    boots_row(linux, row)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", ALL, ids=row_id)
def test_matrix_exhaustive(linux, row):
    boots_row(linux, row)
