/* SPDX-License-Identifier: MIT
 *
 * What QEMU starts instead of the hypervisor when that lies elsewhere: linked at the start of RAM, where QEMU always
 * begins, it sends every hart to the address that a test put into target, with the tree that the test put into tree.
 * 1 for the tree: the one that QEMU passed. Hart number late goes only after that many ticks. All are 8 bytes that
 * `-device loader,addr=,data=` fills; see tests/system/edges.py.
 */
#include "asm.h"

    .section .text
    .globl _start
_start:
    lla t0, _start
    lw t1, 0x110(t0) /* late */
    bne t1, a0, 2f
    lw t1, 0x118(t0) /* ticks */
    csrr t2, time
1:  csrr t3, time
    sub t3, t3, t2
    bltu t3, t1, 1b
2:  LOAD t1, 0x100(t0) /* target */
    LOAD t2, 0x108(t0) /* tree */
    li t3, 1
    beq t2, t3, 3f
    mv a1, t2
3:  fence rw, rw
    fence.i
    jr t1
    .org 0x100 /* where the file ends: files that QEMU loads must not overlap */
