/* SPDX-License-Identifier: MIT
 *
 * Illegal instructions: WFI, waiting for a reservation, reading the time; everything else is the guest's.
 */
#include "trap_world.h"

enum {
    WFI = 0x10500073,
    WRS_NTO = 0x00d00073,
    RDTIME_A1 = 0xc01025f3,  /* csrrs a1, time, x0 */
    RDTIMEH_A1 = 0xc81025f3, /* csrrs a1, timeh, x0 */
    RDTIME_X0 = 0xc0102073,
    CSRW_TIME = 0xc0159073,  /* csrrw x0, time, a1 */
    CSRSI_TIME = 0xc010e073, /* csrrsi x0, time, 1 */
    RDHPM3_A1 = 0xc03025f3,
};

static void illegal(uint32_t bits)
{
    code(bits);
    trap(CAUSE_ILLEGAL, bits);
}

static void test_wfi_sleeps(void **state)
{
    (void)state;
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    code(WFI);
    fake_arch.trap_value = WFI;
    fake_arch.on_wait = NULL;
    vcpu_set_timer(guest, TIMER_NEVER);
    fake_arch.on_wait = world_wait;
    jmp_buf here;
    core.sleeper = &here;
    if (setjmp(here) == 0) {
        trap_handle(&guest->context, CAUSE_ILLEGAL);
        fail();
    }
    core.sleeper = NULL;
    assert_int_equal(atomic_load(&guest->run), RUN_WAITING);
    assert_int_equal(guest->context.pc, CODE + 4);
    vcpu_post(guest, EVENT_IPI);
    assert_ptr_equal(next(0), guest);
    assert_int_equal(guest->context.pc, CODE + 4); /* and not 8 */
}

/* With something pending that sie enables it goes on at once, whatever SIE is. */
static void test_wfi_with_something_pending(void **state)
{
    (void)state;
    fake_arch.virtual_enabled = BIT(IRQ_S_TIMER);
    fake_arch.virtual_pending = BIT(IRQ_S_TIMER) | BIT(IRQ_S_SOFT);
    unsigned saves = fake_arch.saves;
    illegal(WFI);
    assert_went_on(4);
    assert_int_equal(fake_arch.saves, saves);
}

static void test_wfi_in_user_mode(void **state)
{
    (void)state;
    guest->context.status = 0;
    illegal(WFI);
    assert_reflected(CAUSE_ILLEGAL, WFI);
}

static void test_wrs(void **state)
{
    (void)state;
    illegal(WRS_NTO);
    assert_went_on(4);
    assert_int_equal(atomic_load(&guest->run), RUN_LOADED);
    /* With somebody else to run, that one runs. */
    world_hart_count(1);
    struct capsule *other = make_capsule(1, 1);
    capsule_start(other);
    const struct arch_context *runs = &guest->context;
    for (unsigned n = 0; n < 10 && runs == &guest->context; n++) { /* a step of filling for each turn */
        code(WRS_NTO);
        fake_arch.trap_value = WRS_NTO;
        runs = trap_handle(&guest->context, CAUSE_ILLEGAL);
        assert_int_equal(guest->context.pc, CODE + 4);
    }
    assert_ptr_equal(runs, other->vcpus);
}

static void test_time(void **state)
{
    (void)state;
    fake_arch.supervisor_may_read_time = true;
    core.now = 0x123456789abcdef0;
    timer_cancel(&core.harts[0].slice);
    illegal(RDTIME_A1);
    assert_went_on(4);
    assert_int_equal(guest->context.x[REG_A1], (unsigned long)core.now);
    illegal(RDTIME_X0);
    assert_went_on(4);
    if (XLEN == 32) {
        illegal(RDTIMEH_A1);
        assert_went_on(4);
        assert_int_equal(guest->context.x[REG_A1], 0x12345678);
    } else {
        illegal(RDTIMEH_A1);
        assert_reflected(CAUSE_ILLEGAL, RDTIMEH_A1);
    }
    core.now = 1000;
}

/* scounteren is the guest's kernel's to say. */
static void test_time_in_user_mode(void **state)
{
    (void)state;
    fake_arch.supervisor_may_read_time = true;
    guest->context.status = 0;
    illegal(RDTIME_A1);
    assert_reflected(CAUSE_ILLEGAL, RDTIME_A1);
    fake_arch.user_may_read_time = true;
    illegal(RDTIME_A1);
    assert_went_on(4);
}

static void test_other_csrs(void **state)
{
    (void)state;
    static const uint32_t others[] = {
        CSRW_TIME, CSRSI_TIME, RDHPM3_A1, 0x300025f3 /* mstatus */, 0x3b0025f3 /* pmpaddr0 */,
        0x600025f3 /* hstatus */};
    fake_arch.supervisor_may_read_time = fake_arch.user_may_read_time = true;
    for (size_t n = 0; n < ARRAY_LENGTH(others); n++) {
        illegal(others[n]);
        assert_reflected(CAUSE_ILLEGAL, others[n]);
    }
}

static void test_garbage(void **state)
{
    (void)state;
    static const uint32_t garbage[] = {0xffffffff, 0x30200073 /* mret */, 0x0000000b /* custom-0 */, 0xffff};
    for (size_t n = 0; n < ARRAY_LENGTH(garbage); n++) {
        illegal(garbage[n]);
        assert_reflected(CAUSE_ILLEGAL, garbage[n]);
    }
}

/* Harts that don't say which instruction it was: it is read. */
static void test_value_unknown(void **state)
{
    (void)state;
    fake_arch.supervisor_may_read_time = true;
    code(RDTIME_A1);
    trap(CAUSE_ILLEGAL, 0);
    assert_went_on(4);
    code(0xffffffff);
    trap(CAUSE_ILLEGAL, 0);
    assert_reflected(CAUSE_ILLEGAL, 0xffffffff);
    code(0); /* really 0 */
    trap(CAUSE_ILLEGAL, 0);
    assert_reflected(CAUSE_ILLEGAL, 0);
    guest->context.pc = DEVICE;
    trap(CAUSE_ILLEGAL, 0);
    assert_reflected(CAUSE_FETCH_ACCESS, DEVICE);
}

/* --- virtual instructions: what S-mode may do, and VS-mode not --- */

/* A guest in VS-mode; what the hart reports of the instruction is not relied on. */
static void virtual_instruction(uint32_t bits, unsigned long value)
{
    guest->context.is_virtual = true;
    code(bits);
    trap(CAUSE_VIRTUAL_INSTRUCTION, value);
}

/* To the guest it was always an illegal instruction, and the value the instruction at pc. */
static void test_virtual_instructions_are_illegal(void **state)
{
    (void)state;
    static const uint32_t others[] = {
        0x600025f3,                    /* csrr a1, hstatus */
        0x680025f3,                    /* csrr a1, hgatp */
        0x62000073,                    /* hfence.gvma */
        0x22000073,                    /* hfence.vvma */
        0x6c05c5f3,                    /* hlv.w a1, (a1) */
        0x10200073,                    /* sret, as from VU-mode */
        RDHPM3_A1,  CSRW_TIME, 0x4501, /* a short one */
    };
    static const unsigned long reported[] = {0, WFI, 0x12345678};
    for (size_t n = 0; n < ARRAY_LENGTH(others) * ARRAY_LENGTH(reported); n++) {
        const uint32_t bits = others[n / ARRAY_LENGTH(reported)];
        virtual_instruction(bits, reported[n % ARRAY_LENGTH(reported)]);
        assert_reflected(CAUSE_ILLEGAL, bits);
        assert_int_equal(guest->context.sepc, CODE);
    }
    virtual_instruction(RDTIME_A1, RDTIME_A1); /* the guest's own scounteren forbids it */
    assert_reflected(CAUSE_ILLEGAL, RDTIME_A1);
    guest->context.pc = DEVICE; /* and one that can't be read any more */
    trap(CAUSE_VIRTUAL_INSTRUCTION, WFI);
    assert_reflected(CAUSE_FETCH_ACCESS, DEVICE);
}

/* WFI traps as one (hstatus.VTW), whatever the hart reports. */
static void test_virtual_wfi(void **state)
{
    (void)state;
    static const unsigned long reported[] = {WFI, 0, 0x12345678};
    fake_arch.virtual_enabled = fake_arch.virtual_pending = BIT(IRQ_S_TIMER);
    for (size_t n = 0; n < ARRAY_LENGTH(reported); n++) {
        virtual_instruction(WFI, reported[n]);
        assert_went_on(4);
    }
    fake_arch.virtual_enabled = 0;
    code(WFI);
    jmp_buf here;
    core.sleeper = &here;
    if (setjmp(here) == 0) {
        trap_handle(&guest->context, CAUSE_VIRTUAL_INSTRUCTION);
        fail();
    }
    core.sleeper = NULL;
    assert_int_equal(atomic_load(&guest->run), RUN_WAITING);
    assert_int_equal(guest->context.pc, CODE + 4);
}

static void test_virtual_wfi_in_user_mode(void **state)
{
    (void)state;
    guest->context.status = 0;
    virtual_instruction(WFI, WFI);
    assert_reflected(CAUSE_ILLEGAL, WFI);
}

/* A value that is stale says WFI, but something else stands at pc: nobody goes to sleep over it. */
static void test_stale_value(void **state)
{
    (void)state;
    static const uint32_t stale[] = {WFI, WRS_NTO};
    for (size_t n = 0; n < ARRAY_LENGTH(stale); n++) {
        code(0xffffffff);
        trap(CAUSE_ILLEGAL, stale[n]);
        assert_reflected(CAUSE_ILLEGAL, stale[n]);
        assert_false(core.harts[0].reschedule);
    }
    virtual_instruction(0xffffffff, WFI);
    assert_reflected(CAUSE_ILLEGAL, 0xffffffff);
}

static void test_virtual_wrs(void **state)
{
    (void)state;
    virtual_instruction(WRS_NTO, 0);
    assert_went_on(4);
    guest->context.status = 0; /* programs wait like this too */
    virtual_instruction(WRS_NTO, WRS_NTO);
    assert_went_on(4);
}

static void test_virtual_time(void **state)
{
    (void)state;
    fake_arch.supervisor_may_read_time = true;
    virtual_instruction(RDTIME_A1, 0);
    assert_went_on(4);
    assert_int_equal(guest->context.x[REG_A1], (unsigned long)core.now);
    guest->context.status = 0;
    virtual_instruction(RDTIME_A1, RDTIME_A1);
    assert_reflected(CAUSE_ILLEGAL, RDTIME_A1);
    fake_arch.user_may_read_time = true;
    virtual_instruction(RDTIME_A1, RDTIME_A1);
    assert_went_on(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRAP_TEST(test_wfi_sleeps),
        TRAP_TEST(test_wfi_with_something_pending),
        TRAP_TEST(test_wfi_in_user_mode),
        TRAP_TEST(test_wrs),
        TRAP_TEST(test_time),
        TRAP_TEST(test_time_in_user_mode),
        TRAP_TEST(test_other_csrs),
        TRAP_TEST(test_garbage),
        TRAP_TEST(test_value_unknown),
        TRAP_TEST(test_virtual_instructions_are_illegal),
        TRAP_TEST(test_virtual_wfi),
        TRAP_TEST(test_virtual_wfi_in_user_mode),
        TRAP_TEST(test_stale_value),
        TRAP_TEST(test_virtual_wrs),
        TRAP_TEST(test_virtual_time),
    };
    return cmocka_run_group_tests_name("illegal", tests, NULL, NULL);
}
