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
from harness import capsule, isolated, manifest

BOTH = ("7.2", "10")

# Ways to break the wall of PMP, and to keep the tests at boot from noticing.
OPEN_PMP = ("src/isolation/pmp_wall.c", "{{piece->host.at, piece->size}, PMP_RWX}",
            "{{piece->host.at & 0, (uint64_t)1 << 55}, PMP_RWX}")
SHORT_PMP = ("src/isolation/pmp_wall.c", "{{piece->host.at, piece->size}, PMP_RWX}",
             "{{piece->host.at, piece->size - PAGE_SIZE}, PMP_RWX}")
NO_WALL_TEST = [
    ("src/isolation/pmp_wall.c", "if (!arch_supervisor_can_load(address)) {", "if (!arch_supervisor_can_load(address) || true) {"),
    ("src/isolation/pmp_wall.c", "if (!arch_supervisor_can_load((hpa_t){piece.base}) || !arch_supervisor_can_load((hpa_t){range_last(piece)})) {",
     "if (false) {"),
]
# Stage 2 with a page more than the capsule has, at its end.
LARGE_STAGE_2 = [
    ("src/isolation/stage2.c", "done < piece->size;", "done < piece->size + PAGE_SIZE;"),
    ("src/isolation/stage2.c", "host, piece->size - done);", "host, piece->size + PAGE_SIZE - done);"),
]
NO_STAGE_2_TEST = [
    ("src/isolation/hyp.c", "if (last <= UINTPTR_MAX && (!arch_virtual_can_load", "if (false && (!arch_virtual_can_load"),
    ("src/isolation/hyp.c", "if ((first != 0 && first - 1 <= UINTPTR_MAX && arch_virtual_can_load((gpa_t){first - 1})) ||"
     "(last < UINTPTR_MAX && arch_virtual_can_load((gpa_t){last + 1})) || maps(capsule, first - 1) || maps(capsule, last + 1))",
     "if (maps(capsule, 0))"),
]
# The hypervisor would see that the hart does not delegate what it should.
NO_DELEGATION_TEST = [
    ("src/arch/riscv/hypervisor.c", "if ((csr_read(medeleg) & ~csr_read(CSR_HEDELEG)) != 0) {", "if (false) {"),
    ("src/arch/riscv/hypervisor.c", "if (csr_read(CSR_HIDELEG) != VIRTUAL_INTERRUPTS || (csr_read(mideleg)",
     "if ((csr_read(mideleg)"),
]
NO_HEDELEG = ("src/arch/riscv/hypervisor.c", "csr_write(CSR_HEDELEG, DELEGATED_EXCEPTIONS);",
              "csr_write(CSR_HEDELEG, DELEGATED_EXCEPTIONS & ~BIT(CAUSE_LOAD_PAGE));")
NO_HIDELEG = ("src/arch/riscv/hypervisor.c", "csr_write(CSR_HIDELEG, VIRTUAL_INTERRUPTS);",
              "csr_write(CSR_HIDELEG, 0); csr_write(CSR_HIE, VIRTUAL_INTERRUPTS);")
TRIPWIRE = r"hypervisor panic.*HS-mode was entered"


@dataclass
class Broken:
    """What is broken (file, text, instead), which guest runs with which words, and what its console must show."""

    name: str
    changes: list
    guest: str
    shows: str
    bootargs: str = ""
    debug: bool = False
    isolation: str = "pmp"
    qemus: tuple = ("7.2",)
    capsules: int = 1


BUILDS = [
    Broken("pmp-open", [OPEN_PMP], "isolation", r"Isolation self-test failed"),
    Broken("pmp-open-no-self-test", [OPEN_PMP, *NO_WALL_TEST], "isolation", r"not ok \d+"),
    Broken("fp-not-loaded", [("src/arch/riscv/context.c", "            fp_load_d(context->f);", "            (void)fp_load_d;")],
           "timing", r"not ok \d+"),
    Broken("range-unchecked", [("src/core/capsule.c", "!range_holds(capsule->ram, address.at, *length)",
                                "range_holds((struct range){0, 0}, 1, *length)")], "sbi", r"not ok \d+|hypervisor panic"),
    Broken("plan-differs", [("src/isolation/pmp_wall.c", "    image.address[RULE_GUARD] = hart->guard_address;",
                             "    image.address[RULE_GUARD] = hart->guard_address; image.config[image.count - 1] &= (uint8_t)~PMP_X;")],
           "hello", r"hypervisor panic.*assertion failed", debug=True),
    # Something reaches HS-mode, where nothing is: the hart is refused when that is seen in time, else the tripwire stops it.
    Broken("hedeleg", [NO_HEDELEG], "hello", r"Hart \d is not used: its hedeleg", isolation="hyp"),
    Broken("hedeleg-unseen", [NO_HEDELEG, *NO_DELEGATION_TEST], "devices", TRIPWIRE, isolation="hyp", qemus=BOTH),
    Broken("hideleg", [NO_HIDELEG], "hello", r"Hart \d is not used: its hideleg", isolation="hyp"),
    Broken("hideleg-unseen", [NO_HIDELEG, *NO_DELEGATION_TEST], "sbi", TRIPWIRE, isolation="hyp", qemus=BOTH),
    # Either wall stands if the other falls; with both down the guest finds out.
    Broken("hyp-pmp-open", [OPEN_PMP], "isolation", r"Isolation self-test failed.*PMP does not stop", isolation="hyp"),
    Broken("hyp-pmp-open-no-self-test", [OPEN_PMP, *NO_WALL_TEST], "isolation", r"guest: \d+ passed, 0 failed", isolation="hyp",
           qemus=BOTH),
    Broken("stage-2-large", [*LARGE_STAGE_2], "isolation", r"Isolation self-test failed.*stage 2 does not stop", isolation="hyp"),
    Broken("stage-2-large-no-self-test", [*LARGE_STAGE_2, *NO_STAGE_2_TEST], "isolation", r"guest: \d+ passed, 0 failed",
           isolation="hyp", qemus=BOTH),
    Broken("both-open", [OPEN_PMP, *LARGE_STAGE_2], "isolation", r"Isolation self-test failed.*stage 2 does not stop",
           isolation="hyp"),
    Broken("both-open-no-self-test", [OPEN_PMP, *NO_WALL_TEST, *LARGE_STAGE_2, *NO_STAGE_2_TEST], "isolation", r"not ok \d+",
           isolation="hyp", qemus=BOTH),
    # The machine denies a capsule what stage 2 gives it: the capsule is stopped, and not asked again for ever.
    Broken("pmp-short", [SHORT_PMP], "isolation", r"Isolation self-test failed.*the capsule's own RAM", isolation="hyp"),
    Broken("pmp-short-no-self-test", [SHORT_PMP, *NO_WALL_TEST, *NO_STAGE_2_TEST], "isolation",
           r"Capsule 1 \(test\) .*denies the capsule its own RAM", "only=edges", isolation="hyp", qemus=BOTH),
    # What is not switched.
    Broken("hgatp-not-switched", [("src/isolation/hyp.c", "    arch_stage2_load(arch_stage2_word(",
                                   "    if (arch_stage2_read() == 0) arch_stage2_load(arch_stage2_word("), *NO_STAGE_2_TEST],
           "hello", r"hypervisor panic.*assertion failed", debug=True, isolation="hyp", capsules=2),
    Broken("vsatp-not-loaded", [("src/arch/riscv/context.c", "    guest_csr_write(context->is_virtual, GUEST_SATP, context->satp);",
                                 "    (void)context->satp;")], "timing", r"not ok \d+", "only=spaces", isolation="hyp"),
    Broken("vsstatus-not-loaded", [("src/arch/riscv/context.c", "        guest_csr_write(true, GUEST_SSTATUS, context->vsstatus);",
                                    "        (void)context->vsstatus;")], "timing", r"not ok \d+", "only=float", isolation="hyp"),
    Broken("senvcfg-not-loaded", [("src/arch/riscv/context.c", "        csr_write(CSR_SENVCFG, context->senvcfg);",
                                   "        (void)context->senvcfg;")], "timing", r"not ok \d+", "only=csrs", isolation="hyp"),
    Broken("scounteren-not-loaded", [("src/arch/riscv/context.c", "    csr_write(scounteren, context->scounteren);",
                                      "    (void)context->scounteren;")], "timing", r"not ok \d+", "only=csrs", isolation="hyp"),
    Broken("timer-changed", [("src/arch/riscv/context.c", "        arch_virtual_timer_set(context->stimecmp);",
                              "        arch_virtual_timer_set(context->stimecmp & ~UINT64_C(15));")], "timing", r"not ok \d+", "only=csrs", isolation="hyp"),
    Broken("fp-not-loaded-hyp", [("src/arch/riscv/context.c", "            fp_load_d(context->f);", "            (void)fp_load_d;")],
           "timing", r"not ok \d+", "only=float", isolation="hyp", qemus=("10",)),
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
def test_broken_build_is_noticed(boot, product, tmp_path, broken):
    elf = build(tmp_path, broken)
    nodes = [capsule(name, vcpus=4, memory="16M", kernel=product(f"rv64/guest/{broken.guest}.bin"), initrd=False, console=None,
                     bootargs=f"{broken.bootargs} sip=blind") for name in ("test", "second")[:broken.capsules]]
    for qemu in broken.qemus:
        machine = boot(manifest(*nodes), kernel=elf, smp=2, mem="256M", qemu=qemu, **isolated(broken.isolation))
        machine.expect(broken.shows, timeout=120)
