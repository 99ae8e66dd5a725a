/* SPDX-License-Identifier: MIT
 *
 * Hart state management in races: several harts start the same one, and all start, stop and suspend at random.
 */
#include "sbi.h"

/* --- the race: each runner tries to start the victim; exactly one may succeed each round --- */
static volatile unsigned long wins, turn, arrived;
static unsigned long victim;

static void victim_run(void *argument)
{
    (void)argument;
}

static void runner(void *argument)
{
    unsigned long last = *(unsigned long *)argument;
    for (unsigned long i = 1; i <= last; i++) {
        while (turn < i) {
        }
        struct hart *hart = &harts[victim];
        long error = sbi(SBI_EXT_HSM, HSM_START, victim, (unsigned long)(uintptr_t)guest_secondary,
                         (unsigned long)(uintptr_t)hart)
                         .error;
        if (error == SBI_SUCCESS) {
            __atomic_add_fetch(&wins, 1, __ATOMIC_SEQ_CST);
        }
        __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    }
}

/* The victim waits for all tries before it stops, so that a second success can only be a real one. */
static void victim_waits(void *argument)
{
    unsigned long runners = *(unsigned long *)argument;
    unsigned long want = turn * runners;
    uint64_t end = now() + milliseconds(5000);
    while (arrived < want && now() < end) {
    }
}

void sbi_hsm_race(void)
{
    unsigned long ids[HARTS_MAX], rounds = argument("count", 200);
    unsigned long others = other_harts(ids, HARTS_MAX);
    if (others < 3) {
        skip("race: several harts start the same one", "needs four harts");
        return;
    }
    unsigned long runners = others - 1;
    victim = ids[others - 1];
    wins = turn = arrived = 0;
    for (unsigned long i = 0; i < runners; i++) {
        case_check(hart_run(ids[i], runner, &rounds) == SBI_SUCCESS, "runner %lu", i);
    }
    harts[victim].id = victim;
    harts[victim].function = victim_waits;
    harts[victim].argument = &runners;
    for (unsigned long i = 1; i <= rounds; i++) {
        fence_all();
        turn = i;
        case_check(reaches(&arrived, i * runners), "round %lu: %lu of %lu tries came back", i, arrived, i * runners);
        case_check(wins == i, "round %lu: %lu starts succeeded", i, wins);
        case_check(hart_wait(victim), "round %lu: the victim did not stop", i);
        wins = i;
    }
    for (unsigned long i = 0; i < runners; i++) {
        case_check(hart_wait(ids[i]), "runner %lu did not stop", i);
    }
    harts[victim].function = victim_run;
    cases_end("race: of several starts exactly one succeeds");
}

/* --- the storm: everybody starts everybody, suspends, stops --- */
static volatile bool storm_over;
static volatile unsigned long storm_starts, storm_runs, storm_bad;

static bool allowed(long error)
{
    return error <= 0 && error >= SBI_ERR_ALREADY_STOPPED;
}

static void storm_round(uint64_t *random)
{
    unsigned long other = machine.hart_id[(size_t)(random64(random) >> 8) % machine.harts];
    unsigned long choice = (unsigned long)(random64(random) >> 8) % 8;
    if (choice < 3 && !storm_over) {
        long error = sbi(SBI_EXT_HSM, HSM_START, other, (unsigned long)(uintptr_t)guest_secondary,
                         (unsigned long)(uintptr_t)&harts[other])
                         .error;
        __atomic_add_fetch(&storm_starts, error == SBI_SUCCESS ? 1 : 0, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&storm_bad, allowed(error) ? 0 : 1, __ATOMIC_SEQ_CST);
    } else if (choice == 3) {
        long state = sbi(SBI_EXT_HSM, HSM_STATUS, other, 0, 0).value;
        __atomic_add_fetch(&storm_bad, state < 0 || state > 6 ? 1 : 0, __ATOMIC_SEQ_CST);
    } else if (choice == 4) {
        sbi(SBI_EXT_IPI, 0, 0, ~0ul, 0);
    } else if (choice == 5 && on_diosix) { /* OpenSBI 1.1 may wait for ever for a hart that is stopping */
        sbi(SBI_EXT_RFENCE, 1, 0, ~0ul, 0);
    } else if (choice == 6) {
        sbi_set_timer(now() + 1000);
        csr_write(sie, BIT(SOFT) | BIT(TIMER));
        sbi(SBI_EXT_HSM, HSM_SUSPEND, SBI_HSM_SUSPEND_RETENTIVE, 0, 0);
        csr_write(sie, 0);
    }
}

static void storm_member(void *argument)
{
    struct hart *hart = this_hart();
    uint64_t random = now() * 2 + hart->id + 1;
    (void)argument;
    __atomic_add_fetch(&storm_runs, 1, __ATOMIC_SEQ_CST);
    for (unsigned long i = 0; i < 8 && !storm_over; i++) {
        storm_round(&random);
    }
}

void sbi_hsm_storm(void)
{
    unsigned long ids[HARTS_MAX], rounds = argument("count", 2000);
    unsigned long others = other_harts(ids, HARTS_MAX);
    uint64_t random = argument("seed", 1);
    if (others == 0) {
        skip("storm: harts start, stop and suspend at random", "needs two harts");
        return;
    }
    storm_over = false;
    storm_starts = storm_runs = storm_bad = 0;
    for (unsigned long i = 0; i < others; i++) {
        harts[ids[i]].id = ids[i];
        harts[ids[i]].function = storm_member;
        harts[ids[i]].on_interrupt = NULL;
    }
    fence_all();
    for (unsigned long i = 0; i < rounds; i++) {
        storm_round(&random);
    }
    storm_over = true;
    fence_all();
    for (unsigned long i = 0; i < others; i++) {
        case_check(hart_wait(ids[i]), "hart %lu does not stop: state %ld", ids[i],
                   sbi(SBI_EXT_HSM, HSM_STATUS, ids[i], 0, 0).value);
    }
    case_check(storm_bad == 0, "%lu answers that are not allowed", storm_bad);
    case_check(storm_runs == storm_starts, "%lu starts succeeded, %lu runs seen", storm_starts, storm_runs);
    case_check(storm_starts > 0, "no start succeeded");
    cases_end("storm: harts start, stop and suspend at random");
    csr_clear(sip, BIT(SOFT));
    sbi_set_timer(~0ull);
}
