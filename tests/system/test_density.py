# SPDX-License-Identifier: MIT
"""Many small capsules at once, and what each costs."""
import re

import pytest

from harness import isolated, manifest, usually
from many import Progress, many
from monitor import Monitor

COUNT = 200
CAPSULE_LIMIT = 16 << 10  # bytes of the host beside its RAM and stage-2 tables
VCPU_LIMIT = 8 << 10
CORNERS = {"pmp": isolated("pmp"), "hyp": isolated("hyp"), "hyp-qemu10": isolated("hyp", qemu="10"),
           "rv32": isolated("pmp", xlen=32)}


@pytest.mark.parametrize("corner", usually(CORNERS, ["pmp", "hyp"]))
def test_density(boot, product, corner):
    """They all come up, in 1 GiB on four harts, and all wake again; a worker among them gets on with its work."""
    setup = CORNERS[corner]
    nodes = [many(product, f"d{n}", "only=density wakings=2", setup) for n in range(COUNT)]
    machine = boot(manifest(*nodes, many(product, "w", "only=worker", setup)), smp=4, mem="1G", **setup)
    woke = set()
    while len(woke) < COUNT:
        machine.expect(r"woke (d\d+) 2 times", 120)
        woke.add(machine.match[1])
    assert len(set(re.findall(r"up (d\d+) 64 KiB", machine.console))) == COUNT
    machine.expect(r"worker w 0 t=", 30)
    Progress(machine.console)
    with Monitor(machine) as monitor:
        rows, free = monitor.memory()
    of_one = {key: rows["d0"][key] for key in ("ram", "tables", "overhead")}
    print(f"{corner}: {COUNT} capsules; each: {of_one}; {free}")
    assert of_one["ram"] == 64 << 10 and of_one["overhead"] <= CAPSULE_LIMIT + VCPU_LIMIT
    assert len(rows) == COUNT + 1


@pytest.mark.parametrize("words", ["", "v=on,vlen=256"], ids=["plain", "vector"])
def test_cost(boot, product, words):
    """What a capsule and a vCPU more cost, by the monitor's figures."""
    setup = isolated("pmp", words)
    nodes = [many(product, f"v{vcpus}", "only=density", setup, vcpus=vcpus, memory="128K") for vcpus in (1, 9, 17)]
    machine = boot(manifest(*nodes), smp=2, mem="512M", **setup)
    for vcpus in (1, 9, 17):
        machine.expect("up v", 30)
    rows, _ = Monitor(machine).memory()
    vcpu = (rows["v17"]["overhead"] - rows["v1"]["overhead"]) / 16
    of_capsule = rows["v1"]["overhead"] - (4 << 10)  # its one vCPU has a page
    print(f"a capsule: {of_capsule:.0f} bytes, a vCPU: {vcpu:.0f} bytes")
    assert vcpu <= VCPU_LIMIT and of_capsule <= CAPSULE_LIMIT


@pytest.mark.exhaustive
def test_all_of_them_work(boot, product):
    """Hundreds that compute share the harts: each gets somewhere, and no checksum is wrong."""
    setup = isolated("pmp")
    nodes = [many(product, f"w{n}", "only=worker every=0 for=20000", setup) for n in range(COUNT)]
    machine = boot(manifest(*nodes), smp=4, mem="1G", **setup)
    assert machine.wait(240) == 0
    progress = Progress(machine.console)
    done = [points[-1][1] for points in progress.points.values()]
    assert len(done) == COUNT and min(done) > 0
    print(f"{COUNT} workers: {min(done)} to {max(done)} units each")
