# SPDX-License-Identifier: MIT
"""Machines at the edges: harts, extensions, memory sizes, other boards; and those that can't be used, which say why."""
import os
import re

import pytest

from edges import ALERT, alerts, halted, hello, said_hello
from harness import ISOLATIONS, Raw, capsule, isolated, manifest

QEMUS = ["7.2", "10"]


def ready(machine):
    return sorted(map(int, re.findall(r"CPU (\d+): Physical CPU core ready", machine.console)))


def runs(boot, text, **setup):
    machine = boot(text, **setup)
    said_hello(machine)
    assert machine.wait() == 0
    assert alerts(machine) == []
    return machine


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("qemu", QEMUS)
@pytest.mark.parametrize("smp", [1, 2, 3, 8])
def test_harts(boot, product, smp, qemu, isolation):
    machine = runs(boot, manifest(hello(product)), smp=smp, qemu=qemu, **isolated(isolation))
    assert ready(machine) == list(range(smp))


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_many_harts(boot, product, isolation):
    machine = runs(boot, manifest(hello(product, vcpus=32)), smp=32, qemu="10", **isolated(isolation))
    assert ready(machine) == list(range(32))


@pytest.mark.parametrize("model, cpu, qemu", [
    ("rv64", "h=off,sstc=off", "7.2"), ("rv64", "h=off,sstc=off", "10"), ("rv64", "h=off,v=true", "7.2"),
    ("rv64", "h=off,v=true,vlen=256", "10"), ("rv64", "h=off,svadu=on", "10"), ("max", "h=off", "10"),
    ("rva22s64", "pmp=true", "10"), ("rv64", "h=off,smepmp=on", "10"), ("rv64", "h=off,smstateen=on", "10"),
    ("rv64i", "m=on,a=on,c=on,s=on,u=on,zicsr=on,zifencei=on,pmp=on,sv39=on", "10"), ("rv64", "h=off,zkr=on", "10"), ("rv64", "h=off,zicbom=off,zicboz=off", "10"),
    ("sifive-u54", "", "7.2"), ("sifive-u54", "", "10"), ("thead-c906", "", "10"), ("rv64", "h=off,sv48=off,sv57=off", "10"),
    ("rv64", "h=on,sstc=off", "7.2"), ("rv64", "h=on,v=true", "7.2"), ("rv64", "", "10"), ("max", "", "10"),
    ("rva22s64", "pmp=true,h=on", "10"), ("rva23s64", "pmp=true", "10"), ("rv64", "h=on,smepmp=on", "10"),
    ("rv64", "h=on,smstateen=on", "10"), ("rv64", "h=on,svadu=off", "10"), ("rv64", "h=on,svade=on", "10"),
    ("rv64", "h=on,zkr=on", "10"), ("rv64", "h=on,zicbom=off,zicboz=off", "10"), ("rv64", "h=on,sv48=off,sv57=off", "10"),
    ("rv64", "h=on,svpbmt=on,svinval=on,svnapot=on", "7.2"), ("rv64", "h=on,svpbmt=on,svinval=on,sscofpmf=on", "10"),
    ("rv64", "h=on,smaia=on,ssaia=on", "10"), ("rv64", "h=on,smcsrind=on,sscsrind=on", "10"), ("rv64", "h=on,d=off", "10"),
    ("rv64i", "h=on,m=on,a=on,c=on,s=on,u=on,zicsr=on,zifencei=on,pmp=on,sv39=on", "10"),
], ids=lambda value: re.sub(r"\W+", "_", value) or "plain")
def test_extensions(boot, product, model, cpu, qemu):
    """Whatever the harts have or lack beyond what is needed: a guest runs, in the isolation that they offer."""
    machine = runs(boot, manifest(hello(product, vcpus=2)), smp=2, model=model, cpu=cpu, qemu=qemu)
    has_h = re.search(r"ready to roll, type: 64-bit RISC-V, ext: [a-g]*h", machine.console) is not None
    assert f"Capsule 1 (hello): isolation {'hyp' if has_h else 'pmp'}," in machine.console
    assert has_h == ("h=on" in cpu or model == "rva23s64" or (model in ("rv64", "max") and "h=off" not in cpu))


@pytest.mark.parametrize("model, cpu, qemu", [
    ("max", "", "10"), ("rv64", "h=on", "10"), ("rv64", "h=on,sstc=off,v=true", "7.2"), ("rv64", "h=on,smepmp=on", "10"),
    ("rv64", "h=on,smstateen=on", "10"), ("rv64", "h=on,svadu=off", "10"), ("rv64", "h=on,svpbmt=on,svinval=on", "7.2"),
    ("max", "h=off", "10"), ("rv64", "h=off,v=true,vlen=256", "7.2"),
], ids=lambda value: re.sub(r"\W+", "_", value) or "plain")
def test_extensions_rv32(boot, product, model, cpu, qemu):
    """The same with 32 bits."""
    model = model.replace("rv64", "rv32")
    machine = runs(boot, manifest(hello(product, xlen=32, vcpus=2)), xlen=32, smp=2, model=model, cpu=cpu, qemu=qemu)
    assert f"Capsule 1 (hello): isolation {'pmp' if 'h=off' in cpu else 'hyp'}," in machine.console


@pytest.mark.parametrize("cpu", ["h=off,v=true", "h=off,sstc=off"])
@pytest.mark.parametrize("qemu", QEMUS)
def test_linux_extensions(boot, cpu, qemu):
    machine = boot(manifest(capsule(vcpus=2, bootargs="diosix.poweroff")), cpu=cpu, qemu=qemu, smp=2)
    machine.expect("diosix-guest: up", timeout=120)
    assert machine.wait() == 0


@pytest.mark.parametrize("model, cpu", [("max", "h=off"), ("rv64", "h=off,svadu=on"), ("rva22s64", "pmp=true")],
                         ids=["max", "svadu", "rva22"])
def test_linux_on_qemu10(boot, model, cpu):
    """Harts with everything that QEMU 10 has; updating accessed and dirty bits in hardware stays the guest's own affair."""
    machine = boot(manifest(capsule(vcpus=2, bootargs="diosix.poweroff")), model=model, cpu=cpu, qemu="10", smp=2)
    machine.expect("diosix-guest: up", timeout=120)
    assert machine.wait() == 0


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("qemu", QEMUS)
def test_aclint(boot, product, qemu, isolation):
    machine = runs(boot, manifest(hello(product, vcpus=4)), machine="virt,aclint=on", qemu=qemu, **isolated(isolation))
    assert ready(machine) == [0, 1, 2, 3]


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("machine", ["virt", "virt,aclint=on"])
@pytest.mark.parametrize("qemu", QEMUS)
def test_two_sockets(boot, product, qemu, machine, isolation):
    """A CLINT and a PLIC for each socket, memory in two nodes of the tree."""
    nodes = [word for n in range(2) for word in (
        "-object", f"memory-backend-ram,id=ram{n},size=512M", "-numa", f"node,nodeid={n},memdev=ram{n},cpus={2 * n}-{2 * n + 1}")]
    booted = runs(boot, manifest(hello(product, memory="768M", vcpus=4)), machine=machine, qemu=qemu, extra=nodes,
                  **isolated(isolation))
    assert ready(booted) == [0, 1, 2, 3]


@pytest.mark.parametrize("qemu", QEMUS)
def test_linux_on_two_sockets(boot, qemu):
    nodes = [word for n in range(2) for word in (
        "-object", f"memory-backend-ram,id=ram{n},size=512M", "-numa", f"node,nodeid={n},memdev=ram{n},cpus={2 * n}-{2 * n + 1}")]
    machine = boot(manifest(capsule(vcpus=4, bootargs="diosix.poweroff")), qemu=qemu, extra=nodes)
    machine.expect(r"diosix-guest: nproc 4\r", timeout=120)
    assert machine.wait() == 0


def test_interrupt_controller_absent(boot, product):
    """aia=aplic-imsic: there's no PLIC, the console is polled."""
    runs(boot, manifest(hello(product)), machine="virt,aia=aplic-imsic", qemu="10")


@pytest.mark.parametrize("qemu", QEMUS)
def test_sifive_u(boot, product, qemu):
    """Another board: its first hart has no S-mode, its console is SiFive's, and nothing in its tree switches it off."""
    machine = boot(manifest(hello(product, vcpus=8)), machine="sifive_u", smp=5, qemu=qemu)
    said_hello(machine)
    machine.expect("cannot be switched off by software")
    machine.expect(rf"{ALERT}Halted\.\r")
    assert ready(machine) == [1, 2, 3, 4]


# --- harts that can't be used -------------------------------------------------------------------------------------------

REFUSED = {
    "no-pmp": ("rv64", "h=off,pmp=false", "has no PMP entries", "use a hart with enough PMP entries"),
    "no-pmp-behind-h": ("rv64", "h=on,pmp=false", "has no PMP entries", "use a hart with enough PMP entries"),
}


@pytest.mark.parametrize("qemu", QEMUS)
@pytest.mark.parametrize("name", REFUSED)
def test_harts_refused(boot, product, name, qemu):
    """Each hart says what is wrong and what helps, then the machine stops."""
    model, cpu, cause, cure = REFUSED[name]
    machine = boot(manifest(hello(product)), model=model, cpu=cpu, smp=2, qemu=qemu)
    halted(machine, "No hart of this machine can confine a capsule")
    lines = [line for line in alerts(machine) if "is not used" in line]
    assert len(lines) == 2 and all(cause in line and cure in line for line in lines)
    assert "hello" not in machine.console


def test_no_mmu(boot, product):
    machine = boot(manifest(hello(product)), cpu="h=off,mmu=false")
    assert "names no usable hart" in halted(machine, "Host device tree at 0x[0-9a-f]+ refused")


def test_no_supervisor_mode(boot, product):
    """No hart has S-mode: after a moment one that has none speaks up."""
    machine = boot(manifest(hello(product)), model="sifive-e51", cpu="", smp=2)
    assert "names no usable hart" in halted(machine, "Host device tree at 0x[0-9a-f]+ refused")


# --- memory -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mem, qemu", [("128M", "7.2"), ("256M", "7.2"), ("512M", "10"), ("2G", "7.2"), ("3G", "10"),
                                       ("4G", "7.2"), ("8G", "7.2"), ("8G", "10")])
def test_memory(boot, product, mem, qemu):
    """From little to more than fits below 4 GiB; all but a little is there for capsules."""
    megabytes = {"M": 1, "G": 1024}[mem[-1]] * int(mem[:-1])
    machine = runs(boot, manifest(hello(product, memory="120M")), mem=mem, qemu=qemu)
    available = int(re.search(r"Available physical RAM: (\d+) MiB", machine.console)[1])
    assert megabytes - 4 <= available < megabytes


def test_memory_above_4g(boot, product):
    """The tree lies above 4 GiB, and so does the capsule."""
    machine = boot(manifest(hello(product, memory="64M", memory_base=Raw("/bits/ 64 <0x200000000>"))), mem="8G", qemu="10")
    at, tree = said_hello(machine)
    assert at == 0x200000000 and at < tree < at + (64 << 20)
    assert machine.wait() == 0
    assert int(re.search(r"device tree at 0x([0-9a-f]+)", machine.console)[1], 16) > 1 << 32


@pytest.mark.parametrize("mem", ["16M", "64M"])
def test_little_memory(boot, product, mem):
    """Less than QEMU's usual 128 MiB; with 8 MiB and less it can't place its own tree."""
    runs(boot, manifest(hello(product, memory="8M")), mem=mem)


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_capsule_of_everything(boot, product, isolation):
    """A capsule that wants all is told what is free; one that asks for nearly that gets it, in one piece."""
    machine = boot(manifest(hello(product, "all", memory="256M"), hello(product, "most", memory="250M"),
                            hello(product, "rest", memory="1M")), mem="256M", **isolated(isolation))
    said_hello(machine)
    said_hello(machine)
    assert machine.wait() == 0
    reason = r"all: memory of 256 MiB does not fit(?: into 4 pieces)?: 25\d MiB are free"
    assert len(alerts(machine)) == 1 and re.search(reason, alerts(machine)[0])


@pytest.mark.exhaustive
def test_manifest_that_cannot_move(boot, product, tmp_path):
    """500 MB of manifest in 1 GiB: there is no second place for it, so it stays where it is, and capsules go elsewhere."""
    initrd = tmp_path / "initrd"
    initrd.write_bytes(os.urandom(500_000_000))
    text = manifest(hello(product, "small"), capsule("large", kernel=product("rv64/guest/hello.bin"), initrd=initrd,
                                                     memory="512M", console=None))
    machine = boot(text, mem="1G", qemu="7.2")
    said_hello(machine, timeout=120)
    assert machine.wait() == 0
    assert any("large" in line for line in alerts(machine))
