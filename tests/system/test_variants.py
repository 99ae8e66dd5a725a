# SPDX-License-Identifier: MIT
"""Harts that no QEMU has: the hypervisor is built so that it finds less than there is, and must do with that. Such parts
exist: the H extension of privileged specification 1.11, without henvcfg, menvcfg and senvcfg; harts with few VMIDs or none;
machines on which only some harts have H."""
import pytest

from test_broken_builds import Broken, build

PROBE, HYPERVISOR = "src/arch/riscv/probe.c", "src/arch/riscv/hypervisor.c"
VMIDS = "features->vmid_bits = count_ones(now & identifiers);"
VARIANTS = {
    "privileged-1.11": [
        (PROBE, "features->menvcfg = csr_try_read(CSR_MENVCFG, scratch);", "features->menvcfg = false;"),
        (PROBE, "features->senvcfg = csr_try_read(CSR_SENVCFG, scratch);", "features->senvcfg = false;"),
    ],
    "no-henvcfg": [
        (HYPERVISOR, "features->henvcfg = features->menvcfg &&", "features->henvcfg = false && features->menvcfg &&"),
    ],
    "no-time": [
        (PROBE, "features->time_csr = csr_try_read(CSR_TIME, scratch);", "features->time_csr = false;"),
        (PROBE, "features->sstc = (bits & ENVCFG_STCE) != 0", "features->sstc = false && (bits & ENVCFG_STCE) != 0"),
    ],
    "no-vmids": [(HYPERVISOR, VMIDS, "features->vmid_bits = 0;")],
    "two-vmids": [(HYPERVISOR, VMIDS, "features->vmid_bits = 1;")],
}


@pytest.mark.parametrize("name,qemu", [("privileged-1.11", "7.2"), ("privileged-1.11", "10"), ("no-henvcfg", "10"),
                                       ("no-time", "7.2"), ("no-vmids", "10"), ("two-vmids", "7.2")])
def test_poorer_harts(linux, tmp_path, name, qemu):
    """Three capsules on two harts, so that harts change capsules all the time."""
    elf = build(tmp_path, Broken(name, VARIANTS[name], "", ""))
    guest = linux("rv64-small", isolation="hyp", qemu=qemu)
    names = ["one", "two", "three"]
    machine = guest.machine(*[guest.capsule(name, memory="32M", bootargs="quiet diosix.poweroff") for name in names], smp=2,
                            kernel=elf)
    assert machine.wait(timeout=120) == 0
    for capsule in names:
        assert f"({capsule}): isolation hyp," in machine.console
        assert f"({capsule}) stopped: power off requested" in machine.console
    assert ("_sstc" in machine.console) == ("vmids" in name)


@pytest.mark.parametrize("qemu", ["7.2", "10"])
def test_mixed_harts(linux, product, qemu):
    """Every other hart hides that it has H: capsules in hyp and in pmp run side by side, each kind on its harts."""
    guest = linux("rv64-small", isolation="hyp", qemu=qemu)
    rows = [("here", "auto", 3), ("there", "pmp", 3)]
    machine = guest.machine(*[guest.capsule(name, vcpus=vcpus, isolation=isolation, memory="64M",
                                            bootargs="quiet diosix.poweroff")
                              for name, isolation, vcpus in rows], smp=4,
                            kernel=product("rv64/diosix.elf", "DEBUG=1"), append="fault=mixed loglevel=info")
    machine.expect("Isolation: 2 of 4 harts serve capsules in hyp, the rest those in pmp")
    assert machine.wait(timeout=240) == 0
    assert "(here): isolation hyp," in machine.console and "(there): isolation pmp," in machine.console
    assert machine.console.count("stopped: power off requested") == 2
