/* SPDX-License-Identifier: MIT
 *
 * Timer and inter-processor interrupts.
 */
#include "sbi.h"

static bool pending_soon(unsigned number)
{
    uint64_t end = now() + milliseconds(1000);
    while (now() < end) {
        if (is_pending(number)) {
            return true;
        }
    }
    return false;
}

static void timer_values(void)
{
    static const struct {
        const char *name;
        uint64_t value;
        bool absolute, pending;
    } rows[] = {
        {"0", 0, true, true},
        {"never", ~0ull, true, false},
        {"1", 1, true, true},
        {"2^63", 1ull << 63, true, false},
        {"now", 0, false, true},
        {"never but one", ~0ull - 1, true, false},
        {"the past", 0ull - 1000, false, true},
        {"the far future", 1ull << 50, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        long error = sbi_set_timer(rows[i].absolute ? rows[i].value : now() + rows[i].value);
        bool pending = rows[i].pending ? pending_soon(TIMER) : is_pending(TIMER);
        case_check(error == SBI_SUCCESS && pending == rows[i].pending, "%s: error %ld, pending %d", rows[i].name, error,
                   pending);
    }
    cases_end("time: what set_timer does to STIP while masked");
}

static void timer_interrupts(void)
{
    struct hart *hart = this_hart();
    unsigned long before = hart->interrupts[TIMER];
    csr_set(sie, BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    uint64_t deadline = now() + milliseconds(5);
    sbi_set_timer(deadline);
    while (hart->interrupts[TIMER] == before && now() < deadline + milliseconds(2000)) {
    }
    uint64_t came = now();
    csr_clear(sstatus, STATUS_SIE);
    same("time: interrupts taken for one deadline", hart->interrupts[TIMER] - before, 1);
    check(came >= deadline, "time: not before its deadline");
    for (unsigned long i = 0; i < 1000; i++) {
        before = hart->interrupts[TIMER];
        csr_set(sstatus, STATUS_SIE);
        sbi_set_timer(0);
        case_check(reaches(&hart->interrupts[TIMER], before + 1), "round %lu", i);
        csr_clear(sstatus, STATUS_SIE);
        case_check(!is_pending(TIMER), "round %lu: still pending", i);
    }
    cases_end("time: 1000 interrupts by set_timer 0");
    csr_clear(sie, BIT(TIMER));
}

void sbi_time(void)
{
    timer_values();
    timer_interrupts();
    sbi_set_timer(now() + milliseconds(2));
    csr_set(sie, BIT(TIMER));
    for (unsigned long i = 0; i < 1000 && !is_pending(TIMER); i++) {
        wait_for_interrupt(); /* may return for nothing */
    }
    check(is_pending(TIMER), "time: wfi with SIE off returns for a timer that is enabled in sie");
    csr_clear(sie, BIT(TIMER));
    sbi_set_timer(~0ull);
    csr_set(sip, BIT(TIMER));
    csr_set(sip, BIT(EXTERNAL));
    check(!is_pending(TIMER) && !is_pending(EXTERNAL), "time: STIP and SEIP are not the guest's to write");
}

static long send(unsigned long mask, unsigned long base)
{
    return sbi(SBI_EXT_IPI, 0, mask, base, 0).error;
}

static void ipi_masks(void)
{
    unsigned long highest = 0, self = machine.boot_hart;
    for (size_t i = 0; i < machine.harts; i++) {
        highest = machine.hart_id[i] > highest ? machine.hart_id[i] : highest;
    }
    const struct {
        const char *name;
        unsigned long mask, base;
        long error;
        bool strict;
    } rows[] = {
        {"nobody", 0, 0, SBI_SUCCESS, false},
        {"nobody from afar", 0, 1000, SBI_SUCCESS, true},
        {"2 from the highest", 2, highest, SBI_ERR_INVALID_PARAM, true},
        {"1 from highest + 1", 1, highest + 1, SBI_ERR_INVALID_PARAM, true},
        {"self and one too many", 1ul | 1ul << (XLEN - 1), self, SBI_ERR_INVALID_PARAM, true},
        {"all ones from 0", ~0ul, 0, SBI_ERR_INVALID_PARAM, true},
        {"1 from XLEN - 1", 1, XLEN - 1, SBI_ERR_INVALID_PARAM, true},
        {"1 from XLEN", 1, XLEN, SBI_ERR_INVALID_PARAM, true},
        {"1 from -2", 1, 0ul - 2, SBI_ERR_INVALID_PARAM, true},
        {"all ones from -2", ~0ul, 0ul - 2, SBI_ERR_INVALID_PARAM, true},
        {"4 from -2: wraps to 0", 4, 0ul - 2, SBI_ERR_INVALID_PARAM, true},
        {"1 from the top bit", 1, 1ul << (XLEN - 1), SBI_ERR_INVALID_PARAM, true},
        {"1 from 2^32", 1, XLEN == 32 ? 1000 : 1ul << (XLEN / 2), SBI_ERR_INVALID_PARAM, true},
    };
    csr_clear(sip, BIT(SOFT));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sbi_result result = sbi(SBI_EXT_IPI, 0, rows[i].mask, rows[i].base, 0);
        case_check(result.error == rows[i].error || (!on_diosix && rows[i].strict), "%s: got %ld want %ld",
                   rows[i].name, result.error, rows[i].error);
        case_check((csr_read(sip) & BIT(SOFT)) == 0 || !on_diosix, "%s: an interrupt came", rows[i].name);
        csr_clear(sip, BIT(SOFT));
    }
    cases_end("ipi: hart masks are checked before anything is sent");
}

void sbi_ipi(void)
{
    unsigned long id;
    struct worker worker = {.enable = BIT(SOFT)};
    ipi_masks();
    same("ipi: to self", (unsigned long)send(1, machine.boot_hart), SBI_SUCCESS);
    check(pending_soon(SOFT), "ipi: to self makes SSIP pending");
    csr_clear(sip, BIT(SOFT));
    check((csr_read(sip) & BIT(SOFT)) == 0, "ipi: SSIP can be cleared");
    csr_set(sip, BIT(SOFT));
    check((csr_read(sip) & BIT(SOFT)) != 0, "ipi: SSIP can be set by the guest itself");
    csr_clear(sip, BIT(SOFT));
    same("ipi: to all with stopped harts among them", (unsigned long)send(0, ~0ul), SBI_SUCCESS);
    check(pending_soon(SOFT), "ipi: all includes self");
    csr_clear(sip, BIT(SOFT));
    if (other_harts(&id, 1) != 0) {
        same("ipi: to a stopped hart", (unsigned long)send(1, id), SBI_SUCCESS);
    }
    if (!worker_start(&worker, &id, "ipi: to another hart")) {
        return;
    }
    spin(milliseconds(5));
    same("ipi: none left over from when the hart was stopped", harts[id].interrupts[SOFT], 0);
    unsigned long rounds = argument("count", 1000);
    for (unsigned long i = 0; i < rounds; i++) {
        unsigned long before = harts[id].interrupts[SOFT];
        long error = send(1, id);
        case_check(error == SBI_SUCCESS && reaches(&harts[id].interrupts[SOFT], before + 1), "round %lu: %ld", i,
                   error);
    }
    cases_end("ipi: each one to another hart arrives");
    worker_stop(&worker, id, "ipi");
}
