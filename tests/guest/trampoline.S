/* SPDX-License-Identifier: MIT
 *
 * What QEMU starts instead of the hypervisor when that lies elsewhere: linked at the start of RAM, where QEMU always
 * begins, it sends every hart to the address that a test put into target, with the tree that the test put into tree.
 * 1 for the tree: the one that QEMU passed. Both are 8 bytes that `-device loader,addr=,data=` fills; see
 * tests/system/edges.py.
 */
#include "asm.h"

    .section .text
    .globl _start
_start:
    lla t0, _start
    LOAD t1, 0x100(t0) /* target */
    LOAD t2, 0x108(t0) /* tree */
    li t3, 1
    beq t2, t3, 1f
    mv a1, t2
1:  fence rw, rw
    fence.i
    jr t1
    .org 0x100 /* where the file ends: files that QEMU loads must not overlap */
