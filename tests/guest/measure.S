/* SPDX-License-Identifier: MIT
 *
 * The guest of scripts/measure: says when it was entered, and how long each of a few services takes. It is as small as
 * it can be, so that what is measured is the hypervisor: a few hundred bytes, position-independent, no stack, and two or
 * three instructions of its own around each call. The script multiplies ticks by the instructions in a tick.
 *
 * Each line is "measure: NAME TICKS ROUNDS", both hexadecimal. It runs on any SBI firmware, at both word sizes.
 */
#define ROUNDS 10000
#define ROUNDS_OF_OUTPUT 4000

#define SBI_BASE   0x10
#define SBI_TIME   0x54494d45
#define SBI_IPI    0x735049
#define SBI_RFENCE 0x52464e43
#define SBI_DBCN   0x4442434e
#define SBI_SRST   0x53525354
#define UART_LSR   0x10000005

#define SOFT  2    /* sie, sip */
#define TIMER 0x20

/* s0: this hart's id; s1: ticks when the loop began; s2: rounds left. Between begin and end stands one round. */
.macro begin name, rounds=ROUNDS
    li      s2, \rounds
    rdtime  s1
round_\name:
.endm
.macro end name, rounds=ROUNDS
    addi    s2, s2, -1
    bnez    s2, round_\name
    rdtime  s3
    sub     s3, s3, s1
    li      s4, \rounds
    lla     s5, 101f
    call    report
    .pushsection .rodata
101: .asciz "\name"
    .popsection
.endm
.macro call_number extension, function
    li      a7, \extension
    li      a6, \function
.endm

    .text
    .globl _start
_start:
    rdtime  s3                          /* the guest's first instruction: ticks since reset */
    mv      s0, a0
    csrw    sie, zero
    lla     t0, interrupt
    csrw    stvec, t0
    li      s4, 1
    lla     s5, reset
    call    report

    begin   loop
    end     loop

    begin   read_time
    rdtime  t0
    end     read_time

    call_number SBI_BASE, 0
    begin   base_call
    ecall
    end     base_call

    call_number 0x0a0a0a0a, 0
    begin   unknown_call
    ecall
    end     unknown_call

    call_number SBI_TIME, 0
    begin   set_timer
    li      a0, -1
    srli    a0, a0, 1                   /* far away; on RV32 a1 is the high word */
    ecall
    end     set_timer

    call_number SBI_RFENCE, 1
    begin   remote_fence_self
    li      a0, 1
    mv      a1, s0
    li      a2, 0
    li      a3, -1                      /* all addresses, as Linux says it */
    ecall
    end     remote_fence_self

    /* Interrupts are taken from here on; s6 counts them. */
    li      t0, SOFT | TIMER
    csrw    sie, t0
    csrsi   sstatus, 2

    call_number SBI_IPI, 0
    li      s6, 0
    begin   self_ipi
    li      a0, 1
    mv      a1, s0
    ecall
    end     self_ipi
    lla     s5, taken_soft
    call    check_taken

    call_number SBI_TIME, 0
    li      s6, 0
    begin   timer_interrupt
    li      a0, 0
    li      a1, 0
    ecall
    end     timer_interrupt
    lla     s5, taken_timer
    call    check_taken
    csrw    sie, zero

    li      t0, UART_LSR
    begin   uart_read
    lbu     t1, 0(t0)
    end     uart_read

    call_number SBI_BASE, 3             /* is there a debug console? */
    li      a0, SBI_DBCN
    ecall
    beqz    a1, off
    call_number SBI_DBCN, 2
    begin   dbcn_byte, ROUNDS_OF_OUTPUT
1:  li      a0, '.'
    ecall
    bnez    a0, 1b
    end     dbcn_byte, ROUNDS_OF_OUTPUT

off:
    call_number SBI_SRST, 0
    li      a0, 0
    li      a1, 0
    ecall
2:  j       2b

/* The interrupt of an IPI is cleared here, a timer's by putting it off: the second call of that round. */
    .balign 4
interrupt:
    addi    s6, s6, 1
    csrr    t0, scause
    addi    t0, t0, -5                  /* timer; the topmost bit is lost in the shift */
    slli    t0, t0, 1
    beqz    t0, 3f
    csrci   sip, SOFT
    sret
3:  li      a0, -1
    li      a1, -1
    ecall
    sret

/* s5: name, s3: ticks, s4: rounds. Keeps a6 and a7; clobbers a0, a1, t0 to t6. */
report:
    mv      t3, ra
    mv      t5, a6
    mv      t6, a7
    li      a7, 1                       /* SBI 0.1: console_putchar, which every firmware has */
    mv      t4, s5
    lla     s5, prefix
    call    text
    mv      s5, t4
    call    text
    mv      t1, s3
    call    number
    mv      t1, s4
    call    number
    li      a0, '\n'
    ecall
    mv      a6, t5
    mv      a7, t6
    jr      t3

text:
    lbu     a0, 0(s5)
    beqz    a0, 4f
    ecall
    addi    s5, s5, 1
    j       text
4:  ret

/* A blank and t1's low 32 bits, in hexadecimal. */
number:
    li      a0, ' '
    ecall
    li      t2, 28
5:  srl     a0, t1, t2
    andi    a0, a0, 15
    addi    a0, a0, '0'
    li      t0, '9'
    ble     a0, t0, 6f
    addi    a0, a0, 'a' - '0' - 10
6:  ecall
    addi    t2, t2, -4
    bgez    t2, 5b
    ret

/* Says how many interrupts came, as rounds of a line without ticks. */
check_taken:
    li      s3, 0
    mv      s4, s6
    j       report

    .section .rodata
prefix:      .asciz "measure: "
reset:       .asciz "reset_to_guest"
taken_soft:  .asciz "self_ipi_taken"
taken_timer: .asciz "timer_interrupt_taken"
