/* SPDX-License-Identifier: MIT
 *
 * SBI: dispatch, BASE, hart masks, TIME, IPI and RFENCE; and every call against random arguments.
 */
#include "sbi_world.h"

/* --- dispatch --- */

static void test_unknown_calls(void **state)
{
    (void)state;
    static const unsigned long ids[] = {
        0x11,     0x09000000, 0x0a000000, 0x504d55,   0x53555350, 0x43505043, 0x4e41434c, 0x535440,
        0x535442, 0x46574654, 0x535345,   0x44425452, 0x4d505859, 0x7fffffff, 0x80000000, ~0ul,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        EXPECT(SBI_ERR_NOT_SUPPORTED, 0, ids[i], 0, 0, 0, 0);
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_BASE, SBI_BASE_PROBE, ids[i], 0, 0);
    }
    assert_nothing_done();
}

/* The first function id that each extension doesn't have, and wilder ones. */
static void test_unknown_functions(void **state)
{
    (void)state;
    static const struct {
        unsigned long extension, first;
    } rows[] = {{SBI_EXT_BASE, 7}, {SBI_EXT_TIME, 1}, {SBI_EXT_IPI, 1},  {SBI_EXT_RFENCE, 3},
                {SBI_EXT_HSM, 4},  {SBI_EXT_SRST, 1}, {SBI_EXT_DBCN, 3}, {SBI_EXT_STA, 1}};
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        for (unsigned long function = rows[i].first; function < 20; function++) {
            EXPECT(SBI_ERR_NOT_SUPPORTED, 0, rows[i].extension, function, 0, 0, 0);
        }
        EXPECT(SBI_ERR_NOT_SUPPORTED, 0, rows[i].extension, 0xbad, 0, 0, 0);
        EXPECT(SBI_ERR_NOT_SUPPORTED, 0, rows[i].extension, ~0ul, 0, 0, 0);
        EXPECT(SBI_ERR_NOT_SUPPORTED, 0, rows[i].extension, 0x80000000, 0, 0, 0);
    }
    assert_nothing_done();
}

/* Ids are 32 bits wide: RV64's upper halves don't count, in a call and in a probe alike. */
static void test_ids_are_32_bits(void **state)
{
    (void)state;
    if (XLEN == 32) {
        skip();
    }
    unsigned long high = high_bit(32) | high_bit(63);
    EXPECT(SBI_SUCCESS, SBI_IMPL_ID, SBI_EXT_BASE | high, SBI_BASE_IMPL_ID | high, 0, 0, 0);
    EXPECT(SBI_SUCCESS, 1, SBI_EXT_BASE, SBI_BASE_PROBE, SBI_EXT_TIME | high, 0, 0);
}

static void test_table_is_sane(void **state)
{
    (void)state;
    for (size_t i = 0; i < sbi_extension_count; i++) {
        const struct sbi_extension_row *row = &sbi_extensions[i];
        assert_non_null(row->name);
        assert_true(row->first <= row->last);
        assert_true(row->functions->count > 0);
        for (size_t j = 0; j < i; j++) {
            assert_true(row->last < sbi_extensions[j].first || row->first > sbi_extensions[j].last);
        }
    }
}

/* --- BASE --- */

static void test_base(void **state)
{
    (void)state;
    unsigned major = 0, minor = 0, patch = 0;
    assert_int_equal(sscanf(DIOSIX_VERSION, "%u.%u.%u", &major, &minor, &patch), 3);
    hart_this()->features.mvendorid = 0x489;
    hart_this()->features.marchid = (unsigned long)-7;
    hart_this()->features.mimpid = 0x20240101;

    EXPECT(SBI_SUCCESS, 0x02000000, SBI_EXT_BASE, SBI_BASE_SPEC_VERSION, 0, 0, 0);
    EXPECT(SBI_SUCCESS, 5, SBI_EXT_BASE, SBI_BASE_IMPL_ID, 0, 0, 0);
    EXPECT(SBI_SUCCESS, major << 16 | minor << 8 | patch, SBI_EXT_BASE, SBI_BASE_IMPL_VERSION, 0, 0, 0);
    EXPECT(SBI_SUCCESS, 0x489, SBI_EXT_BASE, SBI_BASE_MVENDORID, 0, 0, 0);
    EXPECT(SBI_SUCCESS, -7, SBI_EXT_BASE, SBI_BASE_MARCHID, 0, 0, 0);
    EXPECT(SBI_SUCCESS, 0x20240101, SBI_EXT_BASE, SBI_BASE_MIMPID, 0, 0, 0);
}

static void test_probe(void **state)
{
    (void)state;
    static const unsigned long present[] = {
        SBI_EXT_BASE,
        SBI_EXT_TIME,
        SBI_EXT_IPI,
        SBI_EXT_RFENCE,
        SBI_EXT_HSM,
        SBI_EXT_SRST,
        SBI_EXT_DBCN,
        SBI_EXT_STA,
        0,
        1,
        2,
        3,
        8,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(present); i++) {
        EXPECT(SBI_SUCCESS, 1, SBI_EXT_BASE, SBI_BASE_PROBE, present[i], 0, 0);
    }
    static const unsigned long absent[] = {4, 5, 6, 7, 9, 0xa, 0xf, 0x11, 0x0b000000, SBI_EXT_TIME + 1, ~0ul};
    for (size_t i = 0; i < ARRAY_LENGTH(absent); i++) {
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_BASE, SBI_BASE_PROBE, absent[i], 0, 0);
    }
}

/* --- hart masks --- */

/* The rule said as slowly as possible. */
static bool slow_hart_set(uint32_t vcpus, unsigned long mask, unsigned long base, uint32_t *set)
{
    *set = 0;
    for (unsigned bit = 0; bit < (unsigned)XLEN; bit++) {
        if (base == ~0ul) {
            *set |= bit < vcpus ? (uint32_t)1 << bit : 0;
        } else if ((mask >> bit & 1) != 0) {
            if (base > ~0ul - bit || base + bit >= vcpus) {
                return false;
            }
            *set |= (uint32_t)1 << (base + bit);
        }
    }
    return true;
}

static void check_hart_set(unsigned long mask, unsigned long base)
{
    uint32_t set = 0, expected = 0;
    bool valid = sbi_hart_set(&world.capsule, mask, base, &set);
    assert_int_equal(valid, slow_hart_set(world.capsule.config.vcpus, mask, base, &expected));
    if (valid) {
        assert_int_equal(set, expected);
    }
}

static void test_hart_set_against_slow(void **state)
{
    (void)state;
    static const unsigned long wild[] = {63,         64,   (unsigned)XLEN - 1, (unsigned)XLEN, 127,
                                         0x80000000, ~0ul, ~0ul - 1,           ~0ul >> 1,      ~0ul - 31};
    uint64_t seed = 0x5b1;
    for (uint32_t vcpus = 1; vcpus <= CAPSULE_VCPUS_MAX; vcpus++) {
        world.capsule.config.vcpus = vcpus;
        for (unsigned base = 0; base < 40 + ARRAY_LENGTH(wild); base++) {
            unsigned long b = base < 40 ? base : wild[base - 40];
            for (unsigned bit = 0; bit < (unsigned)XLEN; bit++) {
                check_hart_set(1ul << bit, b);
                check_hart_set(~0ul >> bit, b);
                check_hart_set((unsigned long)test_random(&seed) >> bit, b);
            }
            check_hart_set(0, b);
            check_hart_set(~0ul, b);
        }
    }
}

/* A mask that names one vCPU too many does nothing to the others it names. */
static void test_bad_masks_do_nothing(void **state)
{
    (void)state;
    static const unsigned long bad[][2] = {
        {~0ul, 0}, {0x1f, 0},     {2, 3},        {1, 4},        {1, 63},
        {1, 64},   {1, ~0ul - 1}, {3, ~0ul - 1}, {4, ~0ul - 1}, {1, ~0ul >> 1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_IPI, SBI_IPI_SEND, bad[i][0], bad[i][1], 0);
        for (unsigned long function = 0; function < 3; function++) {
            EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_RFENCE, function, bad[i][0], bad[i][1], 0);
        }
    }
    if (XLEN == 64) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_IPI, SBI_IPI_SEND, high_bit(32) | 1, 0, 0);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_IPI, SBI_IPI_SEND, 1, high_bit(32), 0);
    }
    assert_nothing_done();
}

static void test_empty_masks_succeed(void **state)
{
    (void)state;
    static const unsigned long bases[] = {0, 1, 4, 64, ~0ul - 1};
    for (size_t i = 0; i < ARRAY_LENGTH(bases); i++) {
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0, bases[i], 0);
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0, bases[i], 0);
    }
    assert_nothing_done();
}

static void test_hart_ids(void **state)
{
    (void)state;
    assert_ptr_equal(sbi_hart(&world.capsule, 0), &world.vcpus[0]);
    assert_ptr_equal(sbi_hart(&world.capsule, 3), &world.vcpus[3]);
    static const unsigned long bad[] = {4, 31, 32, 33, 0x80000000, ~0ul, ~0ul >> 1};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_null(sbi_hart(&world.capsule, bad[i]));
    }
    assert_true(XLEN == 32 || sbi_hart(&world.capsule, high_bit(32) | 1) == NULL);
    world.capsule.config.vcpus = CAPSULE_VCPUS_MAX;
    assert_ptr_equal(sbi_hart(&world.capsule, 31), &world.vcpus[31]);
    assert_null(sbi_hart(&world.capsule, 32));
}

/* --- TIME --- */

static void test_set_timer(void **state)
{
    (void)state;
    static const unsigned long values[] = {0, 1, 0x80000000, ~0ul};
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        /* On RV64 a1 is not part of the time; on RV32 it is its upper half. */
        uint64_t expected = XLEN == 32 ? (uint64_t)0x12345678 << 32 | values[i] : values[i];
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_TIME, SBI_TIME_SET_TIMER, values[i], 0x12345678, 0);
        assert_int_equal(world.timers, i + 1);
        assert_true(world.deadline == expected);
    }
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_TIME, SBI_TIME_SET_TIMER, ~0ul, ~0ul, 0);
    assert_true(world.deadline == UINT64_MAX);
}

/* --- IPI --- */

static void test_ipi_to_others(void **state)
{
    (void)state;
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0x3, 2, 0);
    assert_int_equal(world.posted_set, 0xc);
    assert_int_equal(world.posts, 2);
    assert_int_equal(world.posted_events, EVENT_IPI);
    assert_int_equal(fake_arch.virtual_pending, 0);
}

static void test_ipi_to_self_is_direct(void **state)
{
    (void)state;
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 1, CALLER, 0);
    assert_int_equal(world.posts, 0);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT));
}

static void test_ipi_to_all(void **state)
{
    (void)state;
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0, ~0ul, 0);
    assert_int_equal(world.posted_set, 0xd);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT));

    world_make(CAPSULE_VCPUS_MAX);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0xffffffff, 0, 0);
    assert_int_equal(world.posted_set, 0xfffffffd);
}

/* Stopped ones are valid and skipped, suspended ones are woken. */
static void test_ipi_and_states(void **state)
{
    (void)state;
    atomic_store(&world.vcpus[0].hsm, SBI_HSM_STOPPED);
    atomic_store(&world.vcpus[2].hsm, SBI_HSM_SUSPENDED);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0xf, 0, 0);
    assert_int_equal(world.posted_set, 0xc);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_IPI, SBI_IPI_SEND, 0x1, 0, 0);
    assert_int_equal(world.posted_set, 0xc);
}

/* --- RFENCE --- */

static void test_local_fences_stay_local(void **state)
{
    (void)state;
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_FENCE_I, 1 << CALLER, 0, 0);
    assert_int_equal(fake_arch.fences_i, 1);
    assert_int_equal(fake_arch.fences_vma, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 1 << CALLER, 0, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA_ASID, 1, CALLER, 0);
    assert_int_equal(fake_arch.fences_i, 1);
    assert_int_equal(fake_arch.fences_vma, 2);
    assert_int_equal(world.fences, 0);
}

static void test_remote_fences(void **state)
{
    (void)state;
    static const unsigned events[] = {EVENT_FENCE_I, EVENT_FENCE_VMA, EVENT_FENCE_VMA};
    for (unsigned function = 0; function < 3; function++) {
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, function, 0x5, 1, 0x1000);
        assert_int_equal(world.fences, function + 1);
        assert_int_equal(world.fence_set, 0xa);
        assert_int_equal(world.fence_events, events[function]);
    }
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0, ~0ul, 0);
    assert_int_equal(world.fence_set, 0xf);
}

/* A fence that must wait: the answer is complete before any other hart can know of it. */
static void test_fence_that_waits(void **state)
{
    (void)state;
    world.fence_pends = true;
    assert_int_equal(ecall(SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0xf, 0, 0), OUTCOME_YIELD);
    assert_int_equal(world.context_at_leave.x[REG_A0], SBI_SUCCESS);
    assert_int_equal(world.context_at_leave.x[REG_A1], 0);
    assert_int_equal(world.context_at_leave.pc, PC + 4);
    assert_memory_equal(&world.context_at_leave, &caller()->context, sizeof(world.context_at_leave));
}

/* Any range is good: widened, never an error, never walked. */
static void test_fence_ranges(void **state)
{
    (void)state;
    static const unsigned long ranges[][2] = {{0, 0}, {0, ~0ul}, {~0ul, ~0ul}, {~0ul, 2}, {1, 1}, {0x1000, ~0ul - 1}};
    for (size_t i = 0; i < ARRAY_LENGTH(ranges); i++) {
        caller()->context.x[REG_A0 + 3] = ranges[i][1];
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0xf, 0, ranges[i][0]);
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA_ASID, 0xf, 0, ranges[i][0]);
    }
    assert_int_equal(world.fences, 2 * ARRAY_LENGTH(ranges));
}

/* Stopped harts in the mask once made others' implementations answer with an error and broke Linux. */
static void test_fence_and_stopped(void **state)
{
    (void)state;
    atomic_store(&world.vcpus[3].hsm, SBI_HSM_STOPPED);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, 0xf, 0, 0);
    assert_int_equal(world.fences, 1);
}

/* --- everything at once --- */

static unsigned long hostile_argument(uint64_t *seed)
{
    static const unsigned long interesting[] = {
        0,
        1,
        2,
        3,
        4,
        31,
        32,
        63,
        64,
        255,
        256,
        257,
        RAM_BASE,
        RAM_BASE - 1,
        RAM_BASE + 1,
        RAM_BASE + RAM_SIZE,
        RAM_BASE + RAM_SIZE - 1,
        RAM_BASE + RAM_SIZE - 2,
        RAM_SIZE,
        RAM_SIZE + 1,
        0x80000000,
        0xf0000000,
        0xffffffff,
        ~0ul,
        ~0ul - 1,
        ~0ul >> 1,
        ~0ul - 7,
    };
    uint64_t random = test_random(seed);
    unsigned long value = interesting[random % ARRAY_LENGTH(interesting)];
    if ((random >> 32 & 7) == 0) {
        value = (unsigned long)test_random(seed);
    }
    return (random >> 40 & 7) == 0 ? value | high_bit(XLEN - 1) : value;
}

/* Replays with the same seed; sanitizers watch the memory, ecall() the registers. */
static void test_random_calls(void **state)
{
    (void)state;
    uint64_t seed = 0xd105;
    for (unsigned i = 0; i < 200000; i++) {
        size_t pick = (size_t)(test_random(&seed) % (sbi_extension_count + 1));
        unsigned long extension = hostile_argument(&seed);
        if (pick < sbi_extension_count) {
            const struct sbi_extension_row *row = &sbi_extensions[pick];
            extension = row->first + (uint32_t)(test_random(&seed) % (row->last - row->first + 1));
        }
        world.fence_pends = (i & 1) != 0;
        enum outcome outcome = ecall(extension, (unsigned long)(test_random(&seed) % 6), hostile_argument(&seed),
                                     hostile_argument(&seed), hostile_argument(&seed));
        long error = (long)caller()->context.x[REG_A0];
        long value = (long)caller()->context.x[REG_A1];
        assert_true(outcome != OUTCOME_REFLECT);
        if ((uint32_t)extension <= 0xf) {
            assert_int_equal(value, (long)world.before[REG_A1]);
            assert_true(outcome != OUTCOME_SKIP || (error >= SBI_ERR_NOT_SUPPORTED && error <= 255));
        } else if (outcome == OUTCOME_SKIP || outcome == OUTCOME_RESUME) {
            assert_true(error <= 0 && error >= SBI_ERR_ALREADY_AVAILABLE && error != SBI_ERR_FAILED);
            assert_true(error == SBI_SUCCESS || value == 0);
        }
        console_port_drain(&world.capsule.console, (uint8_t[16]){0}, 16);
        atomic_store(&world.vcpus[test_random(&seed) % 4].hsm, (unsigned)(test_random(&seed) % 7));
    }
    assert_true(world.starts > 0 && world.offs > 0 && world.suspends > 0 && world.stops > 0 && world.fences > 0);
}

#define TEST(name) cmocka_unit_test_setup(name, world_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_calls),
        TEST(test_unknown_functions),
        TEST(test_ids_are_32_bits),
        TEST(test_table_is_sane),
        TEST(test_base),
        TEST(test_probe),
        TEST(test_hart_set_against_slow),
        TEST(test_bad_masks_do_nothing),
        TEST(test_empty_masks_succeed),
        TEST(test_hart_ids),
        TEST(test_set_timer),
        TEST(test_ipi_to_others),
        TEST(test_ipi_to_self_is_direct),
        TEST(test_ipi_to_all),
        TEST(test_ipi_and_states),
        TEST(test_local_fences_stay_local),
        TEST(test_remote_fences),
        TEST(test_fence_that_waits),
        TEST(test_fence_ranges),
        TEST(test_fence_and_stopped),
        TEST(test_random_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
