/* SPDX-License-Identifier: MIT
 *
 * Steal time: where it may be told, where not, and whether it is what the time says.
 */
#include "sbi.h"

enum { SHARED = sizeof(struct sbi_sta_shared) };

static struct sbi_sta_shared shared[2] __attribute__((aligned(64)));

static struct sbi_result set(unsigned long low, unsigned long high, unsigned long flags)
{
    return sbi(SBI_EXT_STA, SBI_STA_SET_SHMEM, low, high, flags);
}

static unsigned long place(void)
{
    return (unsigned long)(uintptr_t)shared;
}

static void refused(long error, unsigned long low, unsigned long high, unsigned long flags)
{
    struct sbi_result result = set(low, high, flags);
    case_check(result.error == error, "0x%lx, high 0x%lx, flags 0x%lx: %ld", low, high, flags, result.error);
    case_check(result.value == 0, "0x%lx: a1 0x%lx", low, (unsigned long)result.value);
}

static void refusals(void)
{
    unsigned long addresses[32], base = (unsigned long)machine.ram_base, end = base + (unsigned long)machine.ram_size;
    size_t count = foreign_addresses(addresses, COUNT_OF(addresses));
    for (size_t i = 0; i < count; i++) {
        if (!in_ram(addresses[i] & ~63ul)) {
            refused(SBI_ERR_INVALID_ADDRESS, addresses[i] & ~63ul, 0, 0);
        }
    }
    for (unsigned long off = 1; off < SHARED; off++) {
        refused(SBI_ERR_INVALID_PARAM, place() + off, 0, 0);
        refused(SBI_ERR_INVALID_PARAM, end - off, 0, 0);
    }
    refused(SBI_ERR_INVALID_ADDRESS, base - SHARED, 0, 0);
    refused(SBI_ERR_INVALID_ADDRESS, end, 0, 0);
    for (unsigned long bit = 0; bit < XLEN; bit++) {
        refused(SBI_ERR_INVALID_ADDRESS, place(), 1ul << bit, 0);
        if (bit < 32) {
            refused(SBI_ERR_INVALID_PARAM, place(), 0, 1ul << bit);
            refused(SBI_ERR_INVALID_PARAM, ~0ul, ~0ul, 1ul << bit);
        }
    }
    refused(SBI_ERR_INVALID_PARAM, ~0ul, 0, 0);
    cases_end("steal: refuses what is not 64 bytes in RAM");
}

/* Lets the hypervisor take this hart away and give it back, some times. */
static void go_and_come(void)
{
    csr_set(sie, BIT(TIMER));
    for (unsigned i = 0; i < 10; i++) {
        sbi_set_timer(now() + milliseconds(2));
        wait_for_interrupt();
        spin(milliseconds(2));
    }
    csr_clear(sie, BIT(TIMER));
    sbi_set_timer(~0ull);
}

static bool all_are(const struct sbi_sta_shared *where, uint8_t byte)
{
    const volatile uint8_t *bytes = (const volatile uint8_t *)where;
    for (size_t i = 0; i < SHARED; i++) {
        if (bytes[i] != byte) {
            return false;
        }
    }
    return true;
}

void sbi_sta(void)
{
    if (sbi(SBI_EXT_BASE, 3, SBI_EXT_STA, 0, 0).value == 0) {
        skip("steal", "no STA");
        return;
    }
    memset(shared, 0x5a, sizeof(shared));
    same("steal: off", (unsigned long)set(~0ul, ~0ul, 0).error, SBI_SUCCESS);
    go_and_come();
    check(all_are(shared, 0x5a), "steal: nothing is written before it is on");
    same("steal: on", (unsigned long)set(place(), 0, 0).error, SBI_SUCCESS);
    check(shared[0].flags == 0 && shared[0].preempted == 0 && shared[0].unused[46] == 0,
          "steal: the 64 bytes are zeroed");
    check(all_are(&shared[1], 0x5a), "steal: and no byte more");
    refusals();
    go_and_come();
    check(all_are(&shared[1], 0x5a), "steal: what was refused is not written");
    check(shared[0].sequence % 2 == 0, "steal: sequence %u is even", (unsigned)shared[0].sequence);
    same("steal: off again", (unsigned long)set(~0ul, ~0ul, 0).error, SBI_SUCCESS);
    memset(shared, 0xa5, sizeof(shared));
    go_and_come();
    check(all_are(&shared[0], 0xa5), "steal: nothing is written when it is off again");
}

/* As a kernel reads it: again, if it changed meanwhile. */
static uint64_t stolen(void)
{
    const volatile struct sbi_sta_shared *from = &shared[0];
    uint32_t sequence;
    uint64_t steal;
    do {
        sequence = from->sequence;
        fence_all();
        steal = from->steal;
        fence_all();
    } while (sequence % 2 != 0 || from->sequence != sequence);
    return steal;
}

/* In this many milliseconds of work on this hart, less than 4000: thousandths of the time that passed. */
static unsigned long share_stolen(unsigned long duration)
{
    const uint64_t begin = now(), before = stolen();
    spin(milliseconds(duration));
    const uint64_t more = stolen() - before, ticks = now() - begin;
    case_check(more >> 32 == 0, "it went back, or far ahead");
    return (unsigned long)more / 1000 / ((unsigned long)ticks / (machine.timebase / 1000));
}

/* All harts work: with more of them than the machine has, each must wait for the others in turn. */
void sbi_sta_grows(void)
{
    static struct worker workers[HARTS_MAX];
    unsigned long ids[HARTS_MAX];
    const size_t others = other_harts(ids, HARTS_MAX);
    const bool own_hart = argument("own-hart", 0) != 0;
    same("steal: on", (unsigned long)set(place(), 0, 0).error, SBI_SUCCESS);
    for (size_t i = 0; i < others; i++) {
        workers[i] = (struct worker){.enable = 0};
        case_check(hart_run(ids[i], worker_run, &workers[i]) == SBI_SUCCESS, "hart %lu", ids[i]);
    }
    for (unsigned round = 0; round < 5; round++) {
        const unsigned long share = share_stolen(200);
        note("%lu of 1000 were stolen", share);
        case_check(own_hart ? share < 200 : share >= 200 && share < 1000, "round %u: %lu of 1000", round, share);
    }
    cases_end("steal: as much as others were given");
    for (size_t i = 0; i < others; i++) {
        worker_stop(&workers[i], ids[i], "steal");
    }
    same("steal: off", (unsigned long)set(~0ul, ~0ul, 0).error, SBI_SUCCESS);
}
