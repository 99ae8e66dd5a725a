/* SPDX-License-Identifier: MIT
 *
 * SBI HSM and SRST: states, their changes, and the addresses and types that are refused.
 */
#include "sbi_world.h"

static const unsigned long bad_entries[] = {
    0,
    2,
    RAM_BASE - 2,
    RAM_BASE - 1,
    RAM_BASE + 1,
    RAM_BASE + 0x101,
    RAM_BASE + RAM_SIZE - 1, /* odd, and half outside */
    RAM_BASE + RAM_SIZE,
    RAM_BASE + RAM_SIZE + 2,
    0x10000000, /* a device */
    ~0ul,
    ~0ul - 1,
    ~0ul >> 1,
};

/* --- start --- */

static void test_start(void **state)
{
    (void)state;
    atomic_store(&world.vcpus[2].hsm, SBI_HSM_STOPPED);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_HSM, SBI_HSM_START, 2, RAM_BASE + 0x202, 0x77);
    assert_int_equal(world.starts, 1);
    assert_ptr_equal(world.started, &world.vcpus[2]);
    assert_int_equal(world.entry, RAM_BASE + 0x202);
    assert_int_equal(world.argument, 0x77);
    assert_int_equal(world.state_at_start, SBI_HSM_START_PENDING);
}

static void test_start_at_the_edges_of_ram(void **state)
{
    (void)state;
    static const unsigned long entries[] = {RAM_BASE, RAM_BASE + RAM_SIZE - 2};
    for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
        atomic_store(&world.vcpus[0].hsm, SBI_HSM_STOPPED);
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_HSM, SBI_HSM_START, 0, entries[i], 0);
    }
    assert_int_equal(world.starts, 2);
}

/* Only a stopped vCPU is started, and nothing is written into another. */
static void test_start_in_other_states(void **state)
{
    (void)state;
    for (unsigned hsm = SBI_HSM_STARTED; hsm <= SBI_HSM_RESUME_PENDING; hsm++) {
        if (hsm == SBI_HSM_STOPPED) {
            continue;
        }
        atomic_store(&world.vcpus[3].hsm, hsm);
        EXPECT(hsm == SBI_HSM_STARTED ? SBI_ERR_ALREADY_AVAILABLE : SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM,
               SBI_HSM_START, 3, RAM_BASE, 0);
        assert_int_equal(atomic_load(&world.vcpus[3].hsm), hsm);
    }
    EXPECT(SBI_ERR_ALREADY_AVAILABLE, 0, SBI_EXT_HSM, SBI_HSM_START, CALLER, RAM_BASE, 0);
    assert_nothing_done();
}

static void test_start_of_unknown_harts(void **state)
{
    (void)state;
    static const unsigned long bad[] = {4, 31, 32, 64, 0x80000000, ~0ul, ~0ul >> 1};
    for (unsigned id = 0; id < CAPSULE_VCPUS_MAX; id++) {
        atomic_store(&world.vcpus[id].hsm, SBI_HSM_STOPPED);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_START, bad[i], RAM_BASE, 0);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_STATUS, bad[i], 0, 0);
    }
    /* Hart ids count at full width: this one isn't 2. */
    if (XLEN == 64) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_START, high_bit(32) | 2, RAM_BASE, 0);
    }
    assert_nothing_done();
}

static void test_start_at_bad_addresses(void **state)
{
    (void)state;
    atomic_store(&world.vcpus[2].hsm, SBI_HSM_STOPPED);
    for (size_t i = 0; i < ARRAY_LENGTH(bad_entries); i++) {
        EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_HSM, SBI_HSM_START, 2, bad_entries[i], 0);
        assert_int_equal(atomic_load(&world.vcpus[2].hsm), SBI_HSM_STOPPED);
    }
    if (XLEN == 64) {
        EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_HSM, SBI_HSM_START, 2, high_bit(32) | RAM_BASE, 0);
    }
    assert_nothing_done();
}

/* Several mistakes at once: first the hart, then the address, then the state. */
static void test_start_order_of_checks(void **state)
{
    (void)state;
    EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_START, 9, 1, 0);
    EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_HSM, SBI_HSM_START, 3, 1, 0);
    assert_nothing_done();
}

/* --- stop, status, suspend --- */

static void test_stop(void **state)
{
    (void)state;
    assert_int_equal(ecall(SBI_EXT_HSM, SBI_HSM_STOP, 0, 0, 0), OUTCOME_STOP);
    assert_int_equal(world.offs, 1);
    assert_int_equal(world.state_at_off, SBI_HSM_STOP_PENDING);
    assert_int_equal(caller()->context.pc, PC);
}

static void test_status(void **state)
{
    (void)state;
    for (unsigned hsm = SBI_HSM_STARTED; hsm <= SBI_HSM_RESUME_PENDING; hsm++) {
        atomic_store(&world.vcpus[3].hsm, hsm);
        EXPECT(SBI_SUCCESS, (long)hsm, SBI_EXT_HSM, SBI_HSM_STATUS, 3, 0, 0);
    }
    EXPECT(SBI_SUCCESS, SBI_HSM_STARTED, SBI_EXT_HSM, SBI_HSM_STATUS, CALLER, 0, 0);
    assert_nothing_done();
}

/* Retentive: the address is not looked at, and the call's answer is ready before the vCPU can be woken. */
static void test_suspend_retentive(void **state)
{
    (void)state;
    assert_int_equal(ecall(SBI_EXT_HSM, SBI_HSM_SUSPEND, SBI_HSM_SUSPEND_RETENTIVE, ~0ul, 5), OUTCOME_YIELD);
    assert_int_equal(world.suspends, 1);
    assert_false(world.non_retentive);
    assert_int_equal(world.context_at_leave.x[REG_A0], SBI_SUCCESS);
    assert_int_equal(world.context_at_leave.x[REG_A1], 0);
    assert_int_equal(world.context_at_leave.pc, PC + 4);
    assert_memory_equal(&world.context_at_leave, &caller()->context, sizeof(world.context_at_leave));
}

static void test_suspend_non_retentive(void **state)
{
    (void)state;
    assert_int_equal(ecall(SBI_EXT_HSM, SBI_HSM_SUSPEND, SBI_HSM_SUSPEND_NON_RETENTIVE, RAM_BASE + 4, 5),
                     OUTCOME_YIELD);
    assert_int_equal(world.suspends, 1);
    assert_true(world.non_retentive);
    assert_int_equal(world.entry, RAM_BASE + 4);
    assert_int_equal(world.argument, 5);
    for (size_t i = 0; i < ARRAY_LENGTH(bad_entries); i++) {
        EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_HSM, SBI_HSM_SUSPEND, SBI_HSM_SUSPEND_NON_RETENTIVE, bad_entries[i],
               0);
    }
    assert_int_equal(world.suspends, 1);
}

static void test_suspend_types(void **state)
{
    (void)state;
    static const unsigned long bad[] = {1,          0x0fffffff, 0x10000000, 0x7fffffff, 0x80000001,
                                        0x8fffffff, 0x90000000, 0xffffffff, ~0ul};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_SUSPEND, bad[i], RAM_BASE, 0);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_SUSPEND, bad[i], 1, 0);
    }
    assert_nothing_done();
    if (XLEN == 64) { /* the upper half of a 32-bit parameter doesn't count */
        unsigned long high = high_bit(32) | high_bit(63);
        assert_int_equal(ecall(SBI_EXT_HSM, SBI_HSM_SUSPEND, high, 0, 0), OUTCOME_YIELD);
        assert_int_equal(ecall(SBI_EXT_HSM, SBI_HSM_SUSPEND, high | 0x80000000, RAM_BASE, 0), OUTCOME_YIELD);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_HSM, SBI_HSM_SUSPEND, high | 1, RAM_BASE, 0);
    }
}

/* --- SRST --- */

static void test_resets(void **state)
{
    (void)state;
    static const struct {
        unsigned long type, reason;
        enum stop_reason expected;
    } rows[] = {
        {SBI_SRST_SHUTDOWN, 0, STOP_POWER_OFF}, {SBI_SRST_SHUTDOWN, 1, STOP_FAILURE},
        {SBI_SRST_COLD_REBOOT, 0, STOP_RESET},  {SBI_SRST_COLD_REBOOT, 1, STOP_RESET},
        {SBI_SRST_WARM_REBOOT, 0, STOP_RESET},  {SBI_SRST_WARM_REBOOT, 1, STOP_RESET},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        unsigned long high = XLEN == 64 ? high_bit(32) | high_bit(63) : 0;
        world.stops = 0;
        assert_int_equal(ecall(SBI_EXT_SRST, SBI_SRST_RESET, rows[i].type, rows[i].reason, 0), OUTCOME_STOP);
        assert_int_equal(world.stop_reason, rows[i].expected);
        assert_int_equal(ecall(SBI_EXT_SRST, SBI_SRST_RESET, rows[i].type | high, rows[i].reason | high, 0),
                         OUTCOME_STOP);
        assert_int_equal(world.stop_reason, rows[i].expected);
        assert_int_equal(world.stops, 2);
    }
}

static void test_bad_resets(void **state)
{
    (void)state;
    static const unsigned long types[] = {3, 0x7fffffff, 0xefffffff, 0xf0000000, 0xffffffff, ~0ul};
    static const unsigned long reasons[] = {2, 0xdfffffff, 0xe0000000, 0xf0000000, 0xffffffff, ~0ul};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_SRST, SBI_SRST_RESET, types[i], 0, 0);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_SRST, SBI_SRST_RESET, types[i], reasons[i], 0);
        for (unsigned long type = 0; type < 3; type++) {
            EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_SRST, SBI_SRST_RESET, type, reasons[i], 0);
        }
    }
    assert_nothing_done();
}

#define TEST(name) cmocka_unit_test_setup(name, world_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_start_at_the_edges_of_ram),
        TEST(test_start_in_other_states),
        TEST(test_start_of_unknown_harts),
        TEST(test_start_at_bad_addresses),
        TEST(test_start_order_of_checks),
        TEST(test_stop),
        TEST(test_status),
        TEST(test_suspend_retentive),
        TEST(test_suspend_non_retentive),
        TEST(test_suspend_types),
        TEST(test_resets),
        TEST(test_bad_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
