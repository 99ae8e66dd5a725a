/* SPDX-License-Identifier: MIT
 *
 * Hart state management: start, stop, status and suspend, alone, in races and in storms.
 */
#include "sbi.h"

static struct sbi_result start(unsigned long id, unsigned long address, unsigned long opaque)
{
    return sbi(SBI_EXT_HSM, HSM_START, id, address, opaque);
}

static long status(unsigned long id)
{
    struct sbi_result result = sbi(SBI_EXT_HSM, HSM_STATUS, id, 0, 0);
    return result.error == SBI_SUCCESS ? result.value : result.error;
}

static unsigned long own_code(void)
{
    return (unsigned long)(uintptr_t)trap_vector;
}

static void hsm_ids(void)
{
    unsigned long bad[] = {machine.harts + 100,
                           ~0ul,
                           1ul << 31,
                           1ul << (XLEN - 1),
                           XLEN == 64 ? machine.boot_hart | 1ul << (XLEN / 2) : 1000,
                           HARTS_MAX * 100,
                           0ul - 2};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct sbi_result result = start(bad[i], own_code(), 0);
        /* OpenSBI looks at the low 32 bits only */
        case_check(result.error == SBI_ERR_INVALID_PARAM || !on_diosix, "start 0x%lx: %ld", bad[i], result.error);
        case_check(result.value == 0 || !on_diosix, "start 0x%lx: a1 0x%lx", bad[i], (unsigned long)result.value);
        result = sbi(SBI_EXT_HSM, HSM_STATUS, bad[i], 0, 0);
        case_check(result.error == SBI_ERR_INVALID_PARAM || !on_diosix, "status 0x%lx: %ld", bad[i], result.error);
    }
    cases_end("hsm: harts that don't exist");
}

static void hsm_addresses(unsigned long id)
{
    unsigned long addresses[32];
    size_t count = foreign_addresses(addresses, COUNT_OF(addresses));
    for (size_t i = 0; i < count; i++) {
        if (!on_diosix || (in_ram(addresses[i]) && addresses[i] % 2 == 0)) {
            continue;
        }
        struct sbi_result result = start(id, addresses[i], 0);
        case_check(result.error == SBI_ERR_INVALID_ADDRESS, "start at 0x%lx: %ld", addresses[i], result.error);
        case_check(status(id) == SBI_HSM_STOPPED, "start at 0x%lx: state %ld", addresses[i], status(id));
    }
    cases_end("hsm: start addresses outside RAM");
}

static void hsm_entry(void *argument)
{
    *(volatile bool *)argument = true;
}

/* What a started hart finds in its registers (start.S kept them). */
static void hsm_registers(unsigned long id)
{
    volatile bool ran = false;
    memset(harts[id].entry_x, 0xff, sizeof(harts[id].entry_x));
    memset(harts[id].entry_csr, 0xff, sizeof(harts[id].entry_csr));
    same("hsm: start", (unsigned long)hart_run(id, hsm_entry, (void *)(uintptr_t)&ran), SBI_SUCCESS);
    check(hart_wait(id) && ran, "hsm: it runs and stops");
    same("hsm: a0 is the hart id", harts[id].entry_x[10], id);
    same("hsm: a1 is the argument", harts[id].entry_x[11], (unsigned long)(uintptr_t)&harts[id]);
    same("hsm: satp", harts[id].entry_csr[0], 0);
    same("hsm: sstatus.SIE", harts[id].entry_csr[8] & STATUS_SIE, 0);
    for (unsigned long i = 1; i < 32; i++) {
        if (i != 10 && i != 11 && i != 5) { /* t0 is start.S's own here; t0 | stval is not judged */
            case_check(harts[id].entry_x[i] == 0 || !on_diosix, "x%lu 0x%lx", i, harts[id].entry_x[i]);
        }
    }
    cases_end("hsm: registers of a started hart are zero");
}

void sbi_hsm(void)
{
    unsigned long id;
    same("hsm: own state", (unsigned long)status(machine.boot_hart), SBI_HSM_STARTED);
    same("hsm: start of a started hart (self)", (unsigned long)start(machine.boot_hart, own_code(), 0).error,
         (unsigned long)SBI_ERR_ALREADY_AVAILABLE);
    hsm_ids();
    if (other_harts(&id, 1) == 0) {
        skip("hsm: more", "needs two harts");
        return;
    }
    same("hsm: state of a stopped hart", (unsigned long)status(id), SBI_HSM_STOPPED);
    hsm_addresses(id);
    hsm_registers(id);
    hsm_registers(id);
    struct worker worker = {.enable = 0};
    if (worker_start(&worker, &id, "hsm: double start")) {
        same("hsm: state of a running hart", (unsigned long)status(id), SBI_HSM_STARTED);
        same("hsm: start of a running hart", (unsigned long)start(id, own_code(), 0).error,
             (unsigned long)SBI_ERR_ALREADY_AVAILABLE);
        worker_stop(&worker, id, "hsm: double start");
    }
    unsigned long rounds = argument("count", 200);
    for (unsigned long i = 0; i < rounds; i++) {
        volatile bool ran = false;
        long error = hart_run(id, hsm_entry, (void *)(uintptr_t)&ran);
        case_check(error == SBI_SUCCESS && hart_wait(id) && ran, "round %lu: %ld", i, error);
    }
    cases_end("hsm: start and stop again and again");
}

/* --- suspend --- */

static struct sbi_result suspend(unsigned long type, unsigned long address, unsigned long opaque)
{
    return sbi(SBI_EXT_HSM, HSM_SUSPEND, type, address, opaque);
}

static void suspend_types(void)
{
    static const unsigned long bad[] = {1,          0x0fffffff, 0x10000000, 0x7fffffff,
                                        0x80000001, 0x8fffffff, 0x90000000, 0xffffffff};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        long error = suspend(bad[i], own_code(), 0).error;
        case_check(error == SBI_ERR_INVALID_PARAM || !on_diosix, "type 0x%lx: %ld", bad[i], error);
    }
    cases_end("suspend: reserved and platform types");
    unsigned long addresses[32];
    size_t count = on_diosix ? foreign_addresses(addresses, COUNT_OF(addresses)) : 0;
    for (size_t i = 0; i < count; i++) {
        if (!in_ram(addresses[i])) {
            long error = suspend(SBI_HSM_SUSPEND_NON_RETENTIVE, addresses[i], 0).error;
            case_check(error == SBI_ERR_INVALID_ADDRESS, "resume at 0x%lx: %ld", addresses[i], error);
        }
    }
    cases_end("suspend: resume addresses outside RAM");
}

static volatile unsigned long resumes;

static void resumed(void *argument)
{
    (void)argument;
    resumes++;
}

/* Suspends without retention with its own struct as argument, so that it starts again through start.S. */
static void suspender(void *argument)
{
    struct hart *hart = this_hart();
    (void)argument;
    csr_write(sie, BIT(SOFT));
    hart->function = resumed;
    suspend(SBI_HSM_SUSPEND_NON_RETENTIVE, (unsigned long)(uintptr_t)guest_secondary, (unsigned long)(uintptr_t)hart);
    resumes += 1000; /* must not be reached: it resumes elsewhere */
}

static bool wait_status(unsigned long id, long want)
{
    uint64_t end = now() + milliseconds(2000);
    while (status(id) != want && now() < end) {
    }
    return status(id) == want;
}

static void suspend_other(void)
{
    unsigned long id;
    if (other_harts(&id, 1) == 0) {
        skip("suspend: another hart", "needs two harts");
        return;
    }
    resumes = 0;
    same("suspend: hart to suspend starts", (unsigned long)hart_run(id, suspender, NULL), SBI_SUCCESS);
    check(wait_status(id, SBI_HSM_SUSPENDED), "suspend: the other hart is seen suspended (state %ld)", status(id));
    if (on_diosix) {
        long error = start(id, own_code(), 0).error;
        check(error == SBI_ERR_INVALID_PARAM || error == SBI_ERR_ALREADY_AVAILABLE,
              "suspend: start of a suspended hart: %ld", error);
    }
    spin(milliseconds(5));
    same("suspend: it sleeps", resumes, 0);
    same("suspend: remote fence to it", (unsigned long)sbi(SBI_EXT_RFENCE, 1, 1, id, 0).error, SBI_SUCCESS);
    differs(resumes == 0, "suspend: a fence does not end it", (long)resumes);
    same("suspend: interrupt to it", (unsigned long)sbi(SBI_EXT_IPI, 0, 1, id, 0).error, SBI_SUCCESS);
    check(hart_wait(id), "suspend: it wakes and stops");
    same("suspend: it resumed at its address, once", resumes, 1);
    same("suspend: resumed with a0", harts[id].entry_x[10], id);
    same("suspend: resumed with satp", harts[id].entry_csr[0], 0);
    same("suspend: resumed with sstatus.SIE", harts[id].entry_csr[8] & STATUS_SIE, 0);
}

void sbi_hsm_suspend(void)
{
    suspend_types();
    csr_set(sie, BIT(SOFT) | BIT(TIMER));
    csr_set(sip, BIT(SOFT));
    same("suspend: retentive with an interrupt pending returns", (unsigned long)suspend(0, ~0ul, 7).error, SBI_SUCCESS);
    csr_clear(sip, BIT(SOFT));
    for (unsigned long i = 0; i < 50; i++) {
        uint64_t deadline = now() + milliseconds(1);
        sbi_set_timer(deadline);
        unsigned long upper = i % 2 != 0 && XLEN == 64 ? 1ul << (XLEN - 1) | 1ul << (XLEN / 2) : 0; /* to be ignored */
        long error = suspend(SBI_HSM_SUSPEND_RETENTIVE | upper, 0, 0).error;
        case_check(error == SBI_SUCCESS && is_pending(TIMER) && now() >= deadline, "round %lu: %ld", i, error);
    }
    cases_end("suspend: retentive, until the timer");
    csr_write(sie, 0);
    sbi_set_timer(~0ull);
    suspend_other();
}
