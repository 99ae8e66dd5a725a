# SPDX-License-Identifier: MIT
"""Isolation tests prove something only if they can fail: each build here is broken on purpose, in one place, and the
test that guards that place must say so.

A copy of the sources is changed, built beside the real one (only what changed is compiled again), and run.
"""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest

import harness
from harness import capsule, manifest

PASSED_SELF_TEST = ("src/isolation/pmp_wall.c", "if (!arch_supervisor_can_load(address)) {",
                    "if (!arch_supervisor_can_load(address) || true) {")
OPEN_PMP = ("src/isolation/pmp_wall.c", "{{piece->host.at, piece->size}, PMP_RWX}",
            "{{piece->host.at & 0, (uint64_t)1 << 55}, PMP_RWX}")


@dataclass
class Broken:
    """What is broken (file, text, instead), which guest runs with which words, and what its console must show."""

    name: str
    changes: list
    guest: str
    shows: str
    bootargs: str = ""
    debug: bool = False


BUILDS = [
    Broken("pmp-open", [OPEN_PMP], "isolation", r"Isolation self-test failed"),
    Broken("pmp-open-no-self-test", [OPEN_PMP, PASSED_SELF_TEST], "isolation", r"not ok \d+"),
    Broken("fp-not-loaded", [("src/arch/riscv/context.c", "            fp_load_d(context->f);", "            (void)fp_load_d;")],
           "timing", r"not ok \d+"),
    Broken("range-unchecked", [("src/core/capsule.c", "!range_holds(capsule->ram, address.at, *length)",
                                "range_holds((struct range){0, 0}, 1, *length)"),
                               ("src/core/capsule.c", "while (offset - piece->offset >= piece->size) {",
                                "while (offset - piece->offset >= piece->size && false) {")],
           "sbi", r"not ok \d+|hypervisor panic"),
    Broken("plan-differs", [("src/isolation/pmp_wall.c", "    image.address[RULE_GUARD] = hart->guard_address;",
                             "    image.address[RULE_GUARD] = hart->guard_address; image.config[image.count - 1] &= (uint8_t)~PMP_X;")],
           "hello", r"hypervisor panic.*assertion failed", debug=True),
]


def change(folder, path, text, instead):
    """Replaces a piece of a file, however its white space is laid out."""
    file = folder / path
    pattern = r"\s*".join(re.escape(character) for character in text if not character.isspace())
    after, count = re.subn(pattern, lambda _: instead, file.read_text())
    assert count == 1, f"{path} has {count} times: {text}"
    file.write_text(after)


def build(tmp_path, broken):
    """The broken hypervisor's ELF. Objects of the real build are taken over, so that little is compiled."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("src", "include", "Makefile", "tests", "scripts"):
        source = harness.REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    product = "build/debug/rv64" if broken.debug else "build/rv64"
    if (harness.REPOSITORY / product).is_dir():
        shutil.copytree(harness.REPOSITORY / product, folder / product, ignore=shutil.ignore_patterns("diosix*", "guest"))
    for path, text, instead in broken.changes:
        change(folder, path, text, instead)
    subprocess.run(["make", "-s", f"-j{os.cpu_count()}", f"DEBUG={int(broken.debug)}", f"{product}/diosix.elf"], cwd=folder,
                   check=True, stdout=subprocess.DEVNULL)
    return folder / product / "diosix.elf"


@pytest.mark.parametrize("broken", BUILDS, ids=lambda broken: broken.name)
def test_broken_build_is_noticed(boot, tmp_path, broken):
    elf = build(tmp_path, broken)
    guest = harness.REPOSITORY / "build/rv64/guest" / f"{broken.guest}.bin"
    machine = boot(manifest(capsule("test", vcpus=4, memory="16M", kernel=guest, initrd=False, console=None,
                                    bootargs=broken.bootargs)), kernel=elf, smp=2, mem="256M")
    machine.expect(broken.shows, timeout=120)
