# SPDX-License-Identifier: MIT
"""The same capsule on many machines: which Linux × isolation × emulator and its harts × harts × vCPUs × memory. By default
every pair of values is met in some test; with -m exhaustive all combinations run."""
import itertools

import pytest

from harness import pairwise, row_id
from linux import boots

# What QEMU's harts are like, by the name that test ids have: its version, its model (rv64 or rv32 if none), further words.
HOSTS = {
    "7.2": ("7.2", None, ""),
    "7.2,nosstc": ("7.2", None, "sstc=off"),
    "7.2,v": ("7.2", None, "v=true"),
    "10": ("10", None, ""),
    "10,nosstc": ("10", None, "sstc=off"),
    "10,v": ("10", None, "v=true"),
    "10,nosvadu": ("10", None, "svadu=off"),
    "10,max": ("10", "max", ""),
}
CHOICES = {
    "guest": ["rv64", "rv64-small", "rv32"],
    "isolation": ["pmp", "hyp", "pmp-on-h"],
    "host": list(HOSTS),
    "smp": [1, 2, 4, 8],
    "vcpus": [1, 2, 4, 8],
    "mem": ["256M", "1G", "4G"],
}
CAPSULE_MEMORY = {"256M": "128M", "1G": "256M", "2G": "1G", "4G": "2G"}
QUICK = [
    {"guest": "rv64", "isolation": "pmp", "host": "7.2,nosstc", "smp": 1, "vcpus": 1, "mem": "256M"},
    {"guest": "rv64", "isolation": "hyp", "host": "10", "smp": 2, "vcpus": 4, "mem": "1G"},
]
ALL = [dict(zip(CHOICES, values)) for values in itertools.product(*CHOICES.values())]


def boots_row(linux, row):
    version, model, words = HOSTS[row["host"]]
    guest = linux(row["guest"], isolation=row["isolation"], qemu=version, cpu=words)
    memory = "2G" if guest.xlen == 32 and row["mem"] == "4G" else row["mem"]
    boots(guest, row["vcpus"], memory=CAPSULE_MEMORY[memory], smp=row["smp"], mem=memory, model=model)


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
