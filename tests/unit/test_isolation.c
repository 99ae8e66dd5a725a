/* SPDX-License-Identifier: MIT
 *
 * Which harts serve what, which isolation a capsule gets, on machines whose harts all have H, none, or some; and what
 * the log says of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "fake_arch.h"
#include "isolation/isolation.h"
#include "support.h"

enum { HARTS = 5, LOG_MAX = 16384 };

/* hgatp.MODE values that exist for this word size and for the other: Sv32x4, Sv39x4, Sv48x4. */
#define MODES       (XLEN == 32 ? 1U << 1 : 1U << 8 | 1U << 9)
#define OTHER_MODES (XLEN == 32 ? 1U << 8 | 1U << 9 : 1U << 1)
#define LEAST       (XLEN == 32 ? "Sv32x4" : "Sv39x4")

static struct hart machine_harts[HARTS];
static struct refusal refusal;
static char text[LOG_MAX];
static size_t logged; /* bytes of the log that are older than this test */

static int setup(void **state)
{
    (void)state;
    fake_arch_reset();
    memset(machine_harts, 0, sizeof(machine_harts));
    log_set_level(LOG_INFO);
    log_copy(text, sizeof(text));
    logged = strlen(text);
    return 0;
}

/* A hart for each letter: h has H, m has H without any stage-2 mode that fits, - has none. */
static void machine(const char *kinds)
{
    hart_count = 0;
    for (const char *kind = kinds; *kind != '\0'; kind++) {
        struct hart *hart = &machine_harts[hart_count];
        hart->index = hart_count;
        hart->features.pmp = (struct pmp_features){.entries = 16, .granule_log = 2};
        hart->arch.is_virtual = *kind != '-';
        hart->features.stage2_modes = *kind == 'h' ? MODES : OTHER_MODES;
        hart->kind = *kind == 'h' ? HART_PMP : HART_HYP; /* wrong until isolation_start */
        harts[hart_count++] = hart;
    }
}

static const char *log_now(void)
{
    log_copy(text, sizeof(text));
    return text + logged;
}

/* --- harts --- */

static void test_start(void **state)
{
    (void)state;
    static const struct {
        const char *machine;
        bool mixed;
        const char *kinds; /* p or h for each hart */
        enum isolation_wish by_default;
    } rows[] = {
        {"-", false, "p", ISOLATION_PMP},        {"---", false, "ppp", ISOLATION_PMP},
        {"h", false, "h", ISOLATION_HYP},        {"hhhh", false, "hhhh", ISOLATION_HYP},
        {"-h", false, "ph", ISOLATION_HYP},      {"h--h-", false, "hpphp", ISOLATION_HYP},
        {"m", false, "p", ISOLATION_PMP},        {"hm", false, "hp", ISOLATION_HYP},
        {"hhhhh", true, "hphph", ISOLATION_HYP}, {"h", true, "h", ISOLATION_HYP},
        {"----", true, "pppp", ISOLATION_PMP},   {"-h-h", true, "pppp", ISOLATION_PMP},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        machine(rows[n].machine);
        isolation_start(rows[n].mixed);
        uint32_t counts[HART_KINDS] = {0};
        for (uint32_t hart = 0; hart < hart_count; hart++) {
            const enum hart_kind expected = rows[n].kinds[hart] == 'h' ? HART_HYP : HART_PMP;
            assert_int_equal(harts[hart]->kind, expected);
            counts[expected]++;
        }
        assert_memory_equal(hart_kind_count, counts, sizeof(counts));
        assert_int_equal(isolation_default(), rows[n].by_default);
    }
}

static void expect_lines(const char *kinds, const char *lines)
{
    setup(NULL);
    machine(kinds);
    isolation_start(false);
    assert_string_equal(log_now(), lines);
}

static void test_log(void **state)
{
    (void)state;
    char lines[400];
    expect_lines("--", "[-] CPU 0: Isolation: pmp (16 entries, 4-byte granule)\n");
    snprintf(lines, sizeof(lines), "[-] CPU 0: Isolation: hyp (%s)\n", LEAST);
    expect_lines("hhh", lines);
    snprintf(lines, sizeof(lines),
             "[-] CPU 0: Isolation: hyp (%s), on the harts that have H\n"
             "[-] CPU 0: Isolation: pmp (16 entries, 4-byte granule), on the other harts\n"
             "[-] CPU 0: Isolation: 2 of 5 harts serve capsules in hyp, the rest those in pmp\n",
             LEAST);
    expect_lines("-h--h", lines);
}

/* The entries and granule are those of a hart that serves pmp. */
static void test_log_looks_at_the_right_hart(void **state)
{
    (void)state;
    machine("h-");
    machine_harts[0].features.pmp = (struct pmp_features){.entries = 64, .granule_log = 12};
    machine_harts[1].features.pmp = (struct pmp_features){.entries = 8, .granule_log = 5};
    isolation_start(false);
    assert_non_null(strstr(log_now(), "pmp (8 entries, 32-byte granule), on the other harts\n"));
}

/* The stage 2 that all harts have which need one; what the others say of theirs does not count. */
static void test_log_of_modes(void **state)
{
    (void)state;
    if (XLEN == 32) {
        return; /* there is but one */
    }
    machine("hhm");
    machine_harts[0].features.stage2_modes = 1U << 9 | 1U << 8;
    machine_harts[1].features.stage2_modes = 1U << 9 | 1U << 10;
    isolation_start(false);
    assert_non_null(strstr(log_now(), "Isolation: hyp (Sv48x4), on the harts that have H\n"));
    machine_harts[0].features.stage2_modes = 1U << 8;
    isolation_start(false);
    assert_non_null(strstr(log_now(), "Isolation: hyp (no common mode), on the harts that have H\n"));
}

/* --- capsules --- */

static void test_choose(void **state)
{
    (void)state;
    static const struct {
        const char *machine;
        enum isolation_wish wish;
        const struct isolation_ops *isolation; /* NULL: refused */
        enum hart_kind kind;
    } rows[] = {
        {"--", ISOLATION_AUTO, &isolation_pmp, HART_PMP},
        {"--", ISOLATION_PMP, &isolation_pmp, HART_PMP},
        {"--", ISOLATION_HYP, NULL, HART_PMP},
        {"hh", ISOLATION_AUTO, &isolation_hyp, HART_HYP},
        {"hh", ISOLATION_PMP, &isolation_pmp, HART_HYP},
        {"hh", ISOLATION_HYP, &isolation_hyp, HART_HYP},
        {"h-", ISOLATION_AUTO, &isolation_hyp, HART_HYP},
        {"h-", ISOLATION_PMP, &isolation_pmp, HART_PMP},
        {"-h", ISOLATION_HYP, &isolation_hyp, HART_HYP},
        {"mm", ISOLATION_AUTO, &isolation_pmp, HART_PMP},
        {"mm", ISOLATION_HYP, NULL, HART_PMP},
        {"mh", ISOLATION_PMP, &isolation_pmp, HART_PMP},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        struct capsule capsule = {.config = {.name = "guest", .isolation = rows[n].wish}};
        machine(rows[n].machine);
        isolation_start(false);
        const enum dx_error error = isolation_choose(&capsule, &refusal);
        assert_int_equal(error, rows[n].isolation == NULL ? DX_NO_HYP : DX_OK);
        assert_ptr_equal(capsule.isolation, rows[n].isolation);
        assert_int_equal(capsule.hart_kind, rows[n].kind);
        if (error != DX_OK) {
            assert_int_equal(refusal.error, DX_NO_HYP);
            assert_string_equal(refusal.text, "guest: isolation \"hyp\", but no hart has the H extension");
        }
    }
}

/* Whatever is chosen, some hart serves it: no capsule is made that nobody could run. */
static void test_somebody_serves(void **state)
{
    (void)state;
    static const char letters[] = "-hm";
    static const enum isolation_wish wishes[] = {ISOLATION_AUTO, ISOLATION_PMP, ISOLATION_HYP};
    uint64_t seed = 0x150;
    for (unsigned round = 0; round < 2000; round++) {
        char kinds[HARTS + 1] = "";
        const uint32_t count = 1 + test_below(&seed, HARTS);
        for (uint32_t n = 0; n < count; n++) {
            kinds[n] = letters[test_below(&seed, 3)];
        }
        machine(kinds);
        isolation_start(test_below(&seed, 4) == 0);
        struct capsule capsule = {.config.isolation = wishes[test_below(&seed, 3)]};
        if (isolation_choose(&capsule, &refusal) != DX_OK) {
            assert_int_equal(hart_kind_count[HART_HYP], 0);
            assert_int_equal(capsule.config.isolation, ISOLATION_HYP);
            continue;
        }
        assert_true(hart_kind_count[capsule.hart_kind] > 0);
        for (uint32_t n = 0; n < hart_count; n++) {
            assert_true(harts[n]->kind != capsule.hart_kind || capsule.isolation->serves(harts[n]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_start, setup),
        cmocka_unit_test_setup(test_log, setup),
        cmocka_unit_test_setup(test_log_looks_at_the_right_hart, setup),
        cmocka_unit_test_setup(test_log_of_modes, setup),
        cmocka_unit_test_setup(test_choose, setup),
        cmocka_unit_test_setup(test_somebody_serves, setup),
    };
    return cmocka_run_group_tests_name("isolation", tests, NULL, NULL);
}
