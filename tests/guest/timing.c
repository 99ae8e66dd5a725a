/* SPDX-License-Identifier: MIT
 *
 * Sharing harts: fairness, a clock that never goes back, atomics. And the witness, which lives beside a hostile
 * capsule and says what it noticed. bootargs: duration=MILLISECONDS, count=ROUNDS.
 */
#include "timing.h"
#include "registers.h"

struct member members[HARTS_MAX];
volatile bool over;
static void (*member_function)(struct member *member);

static void member_run(void *argument)
{
    member_function(argument);
}

/* The boot hart takes part too: a timer interrupt ends its turn. */
static bool end_turn(struct hart *hart, unsigned long number)
{
    (void)hart;
    if (number == TIMER) {
        over = true;
        fence_all();
    }
    return false;
}

size_t run_all(void (*function)(struct member *member), unsigned long duration)
{
    unsigned long ids[HARTS_MAX];
    size_t others = other_harts(ids, HARTS_MAX - 1);
    memset(members, 0, sizeof(members));
    over = false;
    member_function = function;
    for (size_t i = 0; i < others; i++) {
        members[i + 1].id = ids[i];
        members[i + 1].index = i + 1;
        case_check(hart_run(ids[i], member_run, &members[i + 1]) == SBI_SUCCESS, "hart %lu did not start", ids[i]);
    }
    members[0].id = machine.boot_hart;
    this_hart()->on_interrupt = end_turn;
    csr_set(sie, BIT(TIMER));
    sbi_set_timer(now() + milliseconds(duration));
    csr_set(sstatus, STATUS_SIE);
    function(&members[0]);
    while (!over) {
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_clear(sie, BIT(TIMER));
    this_hart()->on_interrupt = NULL;
    for (size_t i = 0; i < others; i++) {
        case_check(hart_wait(ids[i]), "hart %lu did not stop", ids[i]);
    }
    return others + 1;
}

/* --- fairness --- */

static void count(struct member *member)
{
    uint64_t last = now();
    while (!over) {
        uint64_t t = now();
        member->longest = t - last > member->longest ? t - last : member->longest;
        last = t;
        member->rounds++;
    }
}

/* Equal vCPUs, equal shares of one hart. Harts are not equal under emulation, where they share a host: bootargs
 * host-harts=N says how many there are. With several the host decides how much is done on each, and nothing is
 * compared. */
void timing_fairness(void)
{
    size_t ran = run_all(count, argument("duration", 2000));
    unsigned long least = ~0ul, most = 0;
    for (size_t i = 0; i < ran; i++) {
        least = members[i].rounds < least ? members[i].rounds : least;
        most = members[i].rounds > most ? members[i].rounds : most;
        note("fairness: hart %lu: %lu rounds, longest gap %lu us", members[i].id, members[i].rounds,
             (unsigned long)members[i].longest / (machine.timebase / 1000000 + 1));
    }
    case_check(least >= (argument("host-harts", 1) > 1 ? 1 : most / 4), "least %lu, most %lu", least, most);
    cases_end("fairness: vCPUs that do the same get the same");
}

/* --- the clock --- */

static volatile uint64_t latest;
static struct lock latest_lock;

static void watch_clock(struct member *member)
{
    while (!over) {
        lock(&latest_lock);
        uint64_t before = latest;
        fence_all();
        uint64_t t = now();
        member->bad += t < before;
        latest = t;
        unlock(&latest_lock);
        member->rounds++;
    }
}

void timing_monotonic(void)
{
    latest = 0;
    size_t ran = run_all(watch_clock, argument("duration", 500));
    for (size_t i = 0; i < ran; i++) {
        case_check(members[i].bad == 0, "hart %lu: time went back %lu times in %lu", members[i].id, members[i].bad,
                   members[i].rounds);
    }
    cases_end("monotonic: time never goes back, whichever hart looks");
}

/* --- atomics --- */

static volatile unsigned long by_amo, by_lr;

static void add_by_lr(volatile unsigned long *counter)
{
    unsigned long value, failed;
    do {
        if (XLEN == 64) {
            __asm__ volatile("lr.d.aq %0, (%2)\n addi %0, %0, 1\n sc.d.rl %1, %0, (%2)"
                             : "=&r"(value), "=&r"(failed)
                             : "r"(counter)
                             : "memory");
        } else {
            __asm__ volatile("lr.w.aq %0, (%2)\n addi %0, %0, 1\n sc.w.rl %1, %0, (%2)"
                             : "=&r"(value), "=&r"(failed)
                             : "r"(counter)
                             : "memory");
        }
    } while (failed != 0);
}

static void add_both(struct member *member)
{
    while (!over) {
        __atomic_add_fetch(&by_amo, 1, __ATOMIC_SEQ_CST);
        add_by_lr(&by_lr);
        member->rounds++;
    }
}

void timing_atomics(void)
{
    by_amo = by_lr = 0;
    size_t ran = run_all(add_both, argument("duration", 500));
    unsigned long total = 0;
    for (size_t i = 0; i < ran; i++) {
        total += members[i].rounds;
    }
    case_check(total == by_amo, "amo: %lu of %lu", by_amo, total);
    case_check(total == by_lr, "lr/sc: %lu of %lu", by_lr, total);
    cases_end("atomics: no increment is lost");
}

/* --- the witness --- */

static unsigned long canary[4][PAGE] __attribute__((aligned(4096)));

static unsigned long canary_value(size_t i)
{
    return (i + 1) * 0x9e3779b1ul;
}

static void witness_round(struct member *member, const uint64_t in[32], bool fp)
{
    static uint64_t out[32];
    for (size_t i = member->rounds % 61; i < COUNT_OF(canary) * PAGE; i += 61) {
        unsigned long got = canary[i / PAGE][i % PAGE];
        case_check(got == canary_value(i), "canary %lu: 0x%lx", (unsigned long)i, got);
    }
    if (fp) {
        fp_store(out);
        case_check(memcmp(in, out, sizeof(out)) == 0, "floating-point registers changed");
    }
    case_check(csr_read(sip) == 0, "interrupts from nowhere: 0x%lx", csr_read(sip));
    case_check(csr_read(sscratch) == (uintptr_t)this_hart(), "sscratch 0x%lx", csr_read(sscratch));
}

/* Runs for a while and looks after its own. Says how far it got, so that the tester can compare. */
void timing_witness(void)
{
    static uint64_t in[32];
    struct member *member = &members[0];
    uint64_t begin = now(), last = begin, end = begin + milliseconds(argument("duration", 5000));
    bool fp = field_works(STATUS_FS);
    for (size_t i = 0; i < COUNT_OF(canary) * PAGE; i++) {
        canary[i / PAGE][i % PAGE] = canary_value(i);
    }
    for (size_t i = 0; i < 32; i++) {
        in[i] = 0x5a5a000000000000ull + i;
    }
    if (fp) {
        fp_load(in);
    }
    while (last < end) {
        witness_round(member, in, fp);
        uint64_t t = now();
        case_check(t >= last, "time went back");
        member->longest = t - last > member->longest ? t - last : member->longest;
        last = t;
        member->rounds++;
    }
    print("witness: %lu rounds, longest %lu us\n", member->rounds,
          (unsigned long)member->longest / (machine.timebase / 1000000 + (machine.timebase < 1000000)));
    cases_end("witness: nothing of it was touched");
}

const struct subtest subtests[] = {
    {"fairness", timing_fairness, false},
    {"monotonic", timing_monotonic, false},
    {"atomics", timing_atomics, false},
    {"wake-timer", timing_wake_timer, false},
    {"wake-masked", timing_wake_masked, false},
    {"wake-ipi", timing_wake_ipi, false},
    {"storm", timing_storm, false},
    {"integer", timing_integer, false},
    {"float", timing_float, false},
    {"vector", timing_vector, false},
    {"csrs", timing_csrs, false},
    {"spaces", timing_spaces, false},
    {"shootdown", timing_shootdown, false},
    {"witness", timing_witness, true},
};
const size_t subtest_count = COUNT_OF(subtests);
