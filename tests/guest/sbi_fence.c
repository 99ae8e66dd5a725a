/* SPDX-License-Identifier: MIT
 *
 * Remote fences: masks, ranges, stopped and running harts, and two harts that fence each other.
 */
#include "sbi.h"

static long fence(unsigned long function, unsigned long mask, unsigned long base, unsigned long start,
                  unsigned long size)
{
    return sbi_call(SBI_EXT_RFENCE, function, (unsigned long[6]){mask, base, start, size, 1, 0}).error;
}

static void fence_ranges(unsigned long mask, unsigned long base, const char *name)
{
    static const struct {
        unsigned long start, size;
    } ranges[] = {
        {0, 0},
        {0, ~0ul},
        {0, 1},
        {0, PAGE},
        {PAGE, PAGE},
        {0x80000000, 0x40000000},
        {1, 1},
        {0, 1ul << (XLEN - 1)},
        {~0ul, 1},
        {~0ul, ~0ul},
        {1ul << (XLEN - 1), 1ul << (XLEN - 1)},
        {PAGE, ~0ul},
    };
    for (unsigned long function = 0; function < 3; function++) {
        for (size_t i = 0; i < COUNT_OF(ranges); i++) {
            long error = fence(function, mask, base, ranges[i].start, ranges[i].size);
            bool overflows = ranges[i].start + ranges[i].size < ranges[i].start && function > 0;
            case_check(error == SBI_SUCCESS || (overflows && error == SBI_ERR_INVALID_ADDRESS),
                       "function %lu, start 0x%lx, size 0x%lx: %ld", function, ranges[i].start, ranges[i].size, error);
        }
    }
    cases_end(name);
}

static void fence_masks(void)
{
    for (unsigned long function = 0; function < 3; function++) {
        const struct {
            unsigned long mask, base;
            long error;
        } rows[] = {
            {0, 0, SBI_SUCCESS},
            {1, HARTS_MAX + 100, SBI_ERR_INVALID_PARAM},
            {~0ul, 0, SBI_ERR_INVALID_PARAM},
            {1, 0ul - 2, SBI_ERR_INVALID_PARAM},
            {1, 1ul << (XLEN - 1), SBI_ERR_INVALID_PARAM},
            {1ul << (XLEN - 1), XLEN - 1, SBI_ERR_INVALID_PARAM},
        };
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            long error = fence(function, rows[i].mask, rows[i].base, 0, 0);
            case_check(error == rows[i].error || !on_diosix, "function %lu, mask 0x%lx, base 0x%lx: got %ld want %ld",
                       function, rows[i].mask, rows[i].base, error, rows[i].error);
        }
    }
    cases_end("fence: hart masks");
}

/* Fences everybody until told to stop; with another hart doing the same, neither may hang. */
static void fencer(void *worker)
{
    struct worker *w = worker;
    w->ready = true;
    while (!w->stop) {
        fence(w->rounds % 3, 0, ~0ul, 0, w->rounds % 2 != 0 ? ~0ul : PAGE);
        w->rounds++;
    }
}

static void fence_mutual(void)
{
    static struct worker worker;
    unsigned long ids[HARTS_MAX];
    size_t others = other_harts(ids, HARTS_MAX);
    worker = (struct worker){.stop = false};
    if (others == 0) {
        skip("fence: all harts fence each other", "needs two harts");
        return;
    }
    for (size_t i = 0; i < others; i++) {
        case_check(hart_run(ids[i], fencer, &worker) == SBI_SUCCESS, "hart %lu", ids[i]);
    }
    unsigned long rounds = argument("count", 300);
    for (unsigned long i = 0; i < rounds; i++) {
        long error = fence(i % 3, 0, ~0ul, 0, i % 2 != 0 ? ~0ul : 1);
        case_check(error == SBI_SUCCESS, "round %lu: %ld", i, error);
    }
    check(reaches(&worker.rounds, 10), "fence: the others got on meanwhile");
    worker.stop = true;
    for (size_t i = 0; i < others; i++) {
        case_check(hart_wait(ids[i]), "hart %lu does not stop", ids[i]);
    }
    cases_end("fence: all harts fence each other");
}

/* Code that one hart patches while another waits, and then runs. (To patch it while the other is in it would ask more
 * of emulators than they give.) A page of its own, since its neighbours would be written to. */
static uint32_t patched[PAGE / 4] __attribute__((aligned(4096)));
static volatile unsigned long patched_turn;

static void run_patched(void *worker)
{
    struct worker *w = worker;
    unsigned long (*function)(void) = (unsigned long (*)(void))(uintptr_t)patched;
    for (unsigned long turn = 1; !w->stop; turn++) {
        while (patched_turn < turn && !w->stop) {
        }
        fence_all();
        w->rounds = turn << 16 | function();
    }
}

static void fence_code(void)
{
    static struct worker worker;
    unsigned long id;
    worker = (struct worker){.stop = false};
    patched_turn = 0;
    patched[1] = CODE_RET;
    if (other_harts(&id, 1) == 0 || hart_run(id, run_patched, &worker) != SBI_SUCCESS) {
        skip("fence: patched code", "needs two harts");
        return;
    }
    unsigned long rounds = argument("count", 1000);
    for (unsigned long i = 1; i <= rounds; i++) {
        patched[0] = 0x00000513u | (uint32_t)(i & 0x3ff) << 20; /* li a0, i */
        long error = fence(0, 1, id, 0, 0);
        patched_turn = i;
        uint64_t end = now() + milliseconds(1000);
        while (worker.rounds >> 16 != i && now() < end) {
        }
        case_check(error == SBI_SUCCESS && worker.rounds == (i << 16 | (i & 0x3ff)), "round %lu: error %ld, runs 0x%lx",
                   i, error, worker.rounds);
    }
    cases_end("fence: patched code is what the other hart runs");
    worker_stop(&worker, id, "fence: patched code");
}

void sbi_fence(void)
{
    unsigned long id;
    static struct worker worker;
    worker = (struct worker){.stop = false};
    fence_masks();
    fence_ranges(1, machine.boot_hart, "fence: self, any range");
    fence_ranges(0, ~0ul, "fence: all, with stopped harts, any range");
    if (other_harts(&id, 1) != 0) {
        fence_ranges(1, id, "fence: a stopped hart, any range");
    }
    if (worker_start(&worker, &id, "fence: a running hart, any range")) {
        fence_ranges(1, id, "fence: a running hart, any range");
        worker_stop(&worker, id, "fence: a running hart");
    }
    fence_code();
    fence_mutual();
}
