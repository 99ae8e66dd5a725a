/* SPDX-License-Identifier: MIT
 *
 * The subtests of the devices program, and where the capsule's devices are (devices.c, from the tree).
 */
#ifndef GUEST_DEVICES_H
#define GUEST_DEVICES_H

#include "forms.h"
#include "guest.h"

extern unsigned long plic, uart, rtc, syscon; /* window bases; 0: not there */
extern unsigned uart_irq, rtc_irq;

/* Offsets and registers of the PLIC */
enum { PLIC_PENDING = 0x1000, PLIC_ENABLE = 0x2000, PLIC_CONTEXT = 0x200000 };
static inline unsigned long plic_enable(unsigned context)
{
    return plic + PLIC_ENABLE + 0x80ul * context;
}
static inline unsigned long plic_threshold(unsigned context)
{
    return plic + PLIC_CONTEXT + 0x1000ul * context;
}
static inline unsigned long plic_claim(unsigned context)
{
    return plic_threshold(context) + 4;
}
static inline unsigned own_context(void)
{
    return (unsigned)(2 * this_hart()->id + 1);
}

/* Registers of the UART */
enum {
    UART_DATA = 0,
    UART_IER = 1,
    UART_IIR = 2,
    UART_FCR = 2,
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_MSR = 6,
    UART_SCRATCH = 7
};
static inline unsigned long uart_read(unsigned reg)
{
    return must_load(uart + reg, 1) & 0xff;
}
static inline void uart_write(unsigned reg, unsigned long value)
{
    must_store(uart + reg, 1, value);
}
/* Waits for an empty transmitter; false after a second. */
bool uart_drained(void);

void devices_forms(void);
void devices_fault_forms(void);
void devices_misaligned(void);
void devices_holes(void);
void devices_fetch(void);
void devices_plic(void);
void devices_plic_sweep(void);
void devices_plic_race(void);
void devices_uart(void);
void devices_uart_interrupt(void);
void devices_rtc(void);
void devices_alarm(void); /* only when asked for: tests=alarm */
void devices_syscon(void);
void devices_paging(void);
void devices_straddle(void);
void devices_tables(void);
void devices_swap(void);

#endif
