/* SPDX-License-Identifier: MIT
 *
 * Conformance of the supervisor binary interface, and what its rules leave to hostile callers.
 */
#include "sbi.h"

void worker_run(void *worker)
{
    struct worker *w = worker;
    csr_write(sie, w->enable);
    csr_set(sstatus, STATUS_SIE);
    w->ready = true;
    while (!w->stop) {
        w->rounds++;
    }
    csr_clear(sstatus, STATUS_SIE);
}

bool reaches(volatile unsigned long *counter, unsigned long value)
{
    uint64_t end = now() + milliseconds(2000);
    while (*counter < value && now() < end) {
    }
    return *counter >= value;
}

bool worker_start(struct worker *worker, unsigned long *id, const char *name)
{
    if (other_harts(id, 1) == 0) {
        skip(name, "needs two harts");
        return false;
    }
    long error = hart_run(*id, worker_run, worker);
    uint64_t end = now() + milliseconds(5000);
    while (error == SBI_SUCCESS && !worker->ready && now() < end) {
    }
    if (error != SBI_SUCCESS || !worker->ready) {
        check(false, "%s: hart %lu did not start, error %ld", name, *id, error);
        return false;
    }
    return true;
}

void worker_stop(struct worker *worker, unsigned long id, const char *name)
{
    worker->stop = true;
    if (!hart_wait(id)) {
        check(false, "%s: hart %lu did not stop", name, id);
    }
}

size_t foreign_addresses(unsigned long *addresses, size_t most)
{
    unsigned long base = (unsigned long)machine.ram_base, end = base + (unsigned long)machine.ram_size;
    const unsigned long all[] = {
        base - 1,
        base - 8,
        base - PAGE,
        base - 0x200000,
        end,
        end - 1,
        end + 8,
        end + PAGE,
        end + 0x200000,
        0,
        8,
        0x1000,
        0x100000,
        0x02000000,
        0x0200bff8,
        0x0c000000,
        0x10000000,
        0x20000000,
        0ul - 1,
        0ul - 8,
        0ul - PAGE,
        1ul << (XLEN - 1),
        base | 1ul << (XLEN - 1),
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(all) && count < most; i++) {
        addresses[count++] = all[i];
    }
    const char *list = argument_text("foreign"); /* one more, of the hypervisor or another capsule */
    if (list != NULL && count < most) {
        addresses[count++] = argument("foreign", 0);
    }
    return count;
}

const struct subtest subtests[] = {
    {"base", sbi_base, false},
    {"registers", sbi_registers, false},
    {"unknown", sbi_unknown, false},
    {"user", sbi_user, false},
    {"time", sbi_time, false},
    {"ipi", sbi_ipi, false},
    {"fence", sbi_fence, false},
    {"hsm", sbi_hsm, false},
    {"suspend", sbi_hsm_suspend, false},
    {"race", sbi_hsm_race, false},
    {"storm", sbi_hsm_storm, false},
    {"console", sbi_console, false},
    {"legacy", sbi_legacy, false},
    {"reset", sbi_reset, false},
    {"sta", sbi_sta, false},
    {"steal", sbi_sta_grows, true},
    {"fuzz", sbi_fuzz, false},
};
const size_t subtest_count = COUNT_OF(subtests);
