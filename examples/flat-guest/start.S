/* SPDX-License-Identifier: MIT
 *
 * Where the capsule's vCPU begins: the first byte of the flat binary, hence the first file that is linked. a0 = hart id,
 * a1 = device tree; they go on to guest_main() in guest.c as they are. RAM that the file doesn't fill is zero, as C wants.
 */
    .globl _start
_start:
    lla sp, stack_end
    call guest_main
1:  j 1b

    .bss
    .balign 16
    .space 4096
stack_end:
