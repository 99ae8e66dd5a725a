/* SPDX-License-Identifier: MIT
 *
 * Which interrupts are pending while they are masked. sip says so, but QEMU 7.2 shows VS-mode nothing of it except the
 * software interrupt, though the others are delivered. There an interrupt is let in for a moment, and put back.
 */
#include "guest.h"

static bool blind; /* sip hides what is pending */

/* Leaves the interrupt pending. */
static bool put_off(struct hart *hart, unsigned long number)
{
    (void)hart;
    csr_clear(sie, BIT(number));
    return true;
}

static bool comes_if_let(unsigned number)
{
    struct hart *hart = this_hart();
    bool (*handler)(struct hart *, unsigned long) = hart->on_interrupt;
    unsigned long was_on = csr_read(sstatus) & STATUS_SIE, enabled = csr_read(sie);
    csr_clear(sstatus, STATUS_SIE);
    unsigned long before = hart->interrupts[number];
    hart->on_interrupt = put_off;
    csr_write(sie, BIT(number));
    csr_set(sstatus, STATUS_SIE); /* taken here or not at all */
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, enabled);
    hart->on_interrupt = handler;
    bool came = hart->interrupts[number] != before;
    hart->interrupts[number] = before;
    csr_set(sstatus, was_on);
    return came;
}

bool is_pending(unsigned number)
{
    bool shown = (csr_read(sip) & BIT(number)) != 0;
    return shown || (blind && number != SOFT && comes_if_let(number));
}

void pending_start(void)
{
    uint64_t end = now() + milliseconds(1000);
    sbi_set_timer(0);
    while (!comes_if_let(TIMER) && now() < end) {
    }
    blind = comes_if_let(TIMER) && (csr_read(sip) & BIT(TIMER)) == 0;
    sbi_set_timer(~0ull);
    if (blind) {
        note("sip does not show that the timer interrupt is pending, though it comes");
        const char *expected = argument_text("sip");
        if (expected == NULL || !has_word(expected, "blind")) {
            check(false, "sip is blind, and bootargs don't say that this was to be expected (sip=blind)");
        }
    }
}
