# SPDX-License-Identifier: MIT
"""The same capsule on many machines: harts × vCPUs × memory × QEMU × timer extension. By default every pair of
values is met in some test; with -m exhaustive all combinations run."""
import itertools

import pytest

from harness import capsule, manifest, pairwise, row_id

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


def boots(boot, row):
    setup = {"smp": row["smp"], "mem": row["mem"], "qemu": row["qemu"], "cpu": f"h=off,sstc={row['sstc']}"}
    machine = boot(manifest(capsule(vcpus=row["vcpus"], memory=CAPSULE_MEMORY[row["mem"]], bootargs="diosix.poweroff")), **setup)
    machine.expect("diosix-guest: up", timeout=120)
    machine.expect(rf"diosix-guest: nproc {row['vcpus']}\r")
    assert machine.wait() == 0


@pytest.mark.quick
@pytest.mark.parametrize("row", QUICK, ids=row_id)
def test_matrix_quick(boot, row):
    boots(boot, row)


@pytest.mark.parametrize("row", pairwise(**CHOICES), ids=row_id)
def test_matrix(boot, row):
    boots(boot, row)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", ALL, ids=row_id)
def test_matrix_exhaustive(boot, row):
    boots(boot, row)
