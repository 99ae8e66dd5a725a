/* SPDX-License-Identifier: MIT
 *
 * Traps in general, a guest's accesses to its devices, and its memory by virtual address (trap.c, mmio.c and
 * guest_access.c).
 */
#include "trap_world.h"

/* Encodings: rd or rs2 = a1 (x11), base a0 (x10), offset as given (0 … 31). */
#define LOAD(funct3, offset)  ((uint32_t)((offset) << 20 | 10 << 15 | (funct3) << 12 | 11 << 7 | 0x03))
#define STORE(funct3, offset) ((uint32_t)(11 << 20 | 10 << 15 | (funct3) << 12 | (offset) << 7 | 0x23))
enum { LB, LH, LW, LD, LBU, LHU, LWU, C_LW = 0x410c /* c.lw a1, 0(a0) */, C_SW = 0xc10c };

static unsigned long *a0, *a1;

static int mmio_setup(void **state)
{
    trap_setup(state);
    a0 = &guest->context.x[REG_A0];
    a1 = &guest->context.x[REG_A1];
    *a0 = DEVICE;
    return 0;
}

#define MMIO_TEST(test) cmocka_unit_test_setup_teardown(test, mmio_setup, teardown)

/* --- devices --- */

static void test_loads(void **state)
{
    (void)state;
    static const struct {
        uint32_t bits;
        uint64_t answer;
        long value64, value32;
    } cases[] = {
        {LOAD(LB, 0), 0x80, -128, -128},
        {LOAD(LBU, 0), 0x80, 128, 128},
        {LOAD(LH, 8), 0x8001, -32767, -32767},
        {LOAD(LHU, 8), 0x8001, 0x8001, 0x8001},
        {LOAD(LW, 16), 0x80000001, -0x7fffffff, -0x7fffffff},
        {LOAD(LW, 24), 0x55, 0, 0}, /* the wrong width: reads 0 */
        {LOAD(LB, 31), 0x55, 0, 0}, /* no register there */
    };
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        code(cases[n].bits);
        *a1 = 0x77;
        box.answer = cases[n].answer;
        trap(CAUSE_LOAD_ACCESS, DEVICE);
        assert_went_on(4);
        assert_int_equal((long)*a1, XLEN == 64 ? cases[n].value64 : cases[n].value32);
    }
    assert_int_equal(box.reads, 5);
    assert_int_equal(box.writes, 0);
}

static void test_stores(void **state)
{
    (void)state;
    static const struct {
        uint32_t bits;
        uint64_t written;
    } cases[] = {
        {STORE(0, 0), 0xf8},
        {STORE(1, 8), 0xf6f8},
        {STORE(2, 16), 0xf2f4f6f8},
    };
    *a1 = 0xf2f4f6f8;
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        code(cases[n].bits);
        trap(CAUSE_STORE_ACCESS, DEVICE);
        assert_went_on(4);
        assert_int_equal(box.written, cases[n].written);
    }
    assert_int_equal(box.writes, ARRAY_LENGTH(cases));
}

/* A store that isn't over traps once more, however often that takes, and the guest's other traps come in between. */
static void test_again(void **state)
{
    (void)state;
    *a1 = 4711;
    box.again = 300;
    for (unsigned n = 1; n <= 300; n++) {
        code(STORE(2, 16));
        trap(CAUSE_STORE_ACCESS, DEVICE);
        assert_went_on(0);
        assert_int_equal(box.writes, n);
    }
    trap(CAUSE_STORE_ACCESS, DEVICE);
    assert_went_on(4);
    assert_int_equal(box.written, 4711);
}

static void test_doubles(void **state)
{
    (void)state;
    if (XLEN == 32) {
        code(LOAD(LD, 24)); /* is none there */
        trap(CAUSE_LOAD_ACCESS, 0x123);
        assert_reflected(CAUSE_LOAD_ACCESS, 0x123);
        return;
    }
    box.answer = 0x8899aabbccddeeff;
    code(LOAD(LD, 24));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_went_on(4);
    assert_int_equal(*a1, box.answer);
    code(STORE(3, 24));
    trap(CAUSE_STORE_ACCESS, 0);
    assert_int_equal(box.written, box.answer);
}

static void test_compressed(void **state)
{
    (void)state;
    *a0 = DEVICE + 16;
    box.answer = 0x1234;
    code(C_LW);
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_went_on(2);
    assert_int_equal(*a1, 0x1234);
    code(C_SW);
    trap(CAUSE_STORE_ACCESS, 0);
    assert_went_on(2);
    assert_int_equal(box.written, 0x1234);
}

/* x0 as destination, source and base: it is 0, whatever the context's slot says. */
static void test_x0(void **state)
{
    (void)state;
    guest->context.x[0] = 0xdead;
    code(LOAD(LW, 16) & ~(31u << 7));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_went_on(4);
    assert_int_equal(box.reads, 1);
    code(STORE(2, 16) & ~(31u << 20));
    trap(CAUSE_STORE_ACCESS, 0);
    assert_int_equal(box.written, 0);
    assert_int_equal(guest->context.x[0], 0xdead);
    code(LOAD(LW, 16) & ~(31u << 15));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_LOAD_ACCESS, 16);
}

static void test_nothing_there(void **state)
{
    (void)state;
    static const unsigned long holes[] = {0, DEVICE - 4, DEVICE + DEVICE_SIZE, RAM_BASE - 4, RAM_BASE + RAM_SIZE, -4ul};
    for (size_t n = 0; n < ARRAY_LENGTH(holes); n++) {
        *a0 = holes[n];
        code(LOAD(LW, 0));
        trap(CAUSE_LOAD_ACCESS, 0);
        assert_reflected(CAUSE_LOAD_ACCESS, holes[n]);
        code(STORE(2, 0));
        trap(CAUSE_STORE_ACCESS, 0);
        assert_reflected(CAUSE_STORE_ACCESS, holes[n]);
    }
    /* An instruction that changed since it trapped: the fault is what it is now. */
    code(STORE(2, 0));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_STORE_ACCESS, -4ul);
}

static void test_misaligned_device_access(void **state)
{
    (void)state;
    *a0 = DEVICE + 2;
    code(LOAD(LW, 0));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_LOAD_MISALIGNED, DEVICE + 2);
    code(STORE(2, 0));
    trap(CAUSE_STORE_ACCESS, 0);
    assert_reflected(CAUSE_STORE_MISALIGNED, DEVICE + 2);
    *a0 = DEVICE + DEVICE_SIZE - 2; /* half in, half out */
    code(STORE(2, 0));
    trap(CAUSE_STORE_ACCESS, 0);
    assert_reflected(CAUSE_STORE_MISALIGNED, DEVICE + DEVICE_SIZE - 2);
    assert_int_equal(box.reads + box.writes, 0);
}

/* Atomics, floating point, cache operations, garbage: no device takes them. */
static void test_other_instructions(void **state)
{
    (void)state;
    static const uint32_t others[] = {
        0x100525af, /* lr.w a1, (a0) */
        0x00b5252f, /* amoadd.w a0, a1, (a0) */
        0x00052587, /* flw fa1, 0(a0) */
        0x00b52027, /* fsw fa1, 0(a0) */
        0x0045200f, /* cbo.zero (a0) */
        0x00000013, /* nop: something else by now */
        0xffffffff, 0x0000,
    };
    for (size_t n = 0; n < ARRAY_LENGTH(others); n++) {
        code(others[n]);
        trap(CAUSE_STORE_ACCESS, DEVICE + 16);
        assert_reflected(CAUSE_STORE_ACCESS, DEVICE + 16);
        assert_int_equal(guest->context.sepc, CODE);
    }
    assert_int_equal(box.reads + box.writes, 0);
}

/* --- where the instruction is --- */

static void test_instruction_is_not_in_ram(void **state)
{
    (void)state;
    static const unsigned long places[] = {DEVICE, RAM_BASE - 2, RAM_BASE + RAM_SIZE, -2ul};
    for (size_t n = 0; n < ARRAY_LENGTH(places); n++) {
        guest->context.pc = places[n];
        trap(CAUSE_LOAD_ACCESS, DEVICE);
        assert_reflected(CAUSE_FETCH_ACCESS, places[n]);
    }
    code_at(RAM_BASE + RAM_SIZE - 2, LOAD(LW, 0) & 0xffff); /* its second half lies outside */
    memcpy(guest_byte(RAM_BASE + RAM_SIZE - 2), &(uint16_t){LOAD(LW, 0) & 0xffff}, 2);
    trap(CAUSE_LOAD_ACCESS, DEVICE);
    assert_reflected(CAUSE_FETCH_ACCESS, RAM_BASE + RAM_SIZE);
    code_at(RAM_BASE + RAM_SIZE - 2, C_LW); /* but a short one fits */
    *a0 = DEVICE + 16;
    trap(CAUSE_LOAD_ACCESS, DEVICE);
    assert_int_equal(guest->context.pc, RAM_BASE + RAM_SIZE);
    assert_int_equal(box.reads, 1);
}

/* --- through the guest's tables --- */

enum { VA_CODE = 0x10000, VA_DEVICE = 0x20000 };

static void paged(uint32_t bits)
{
    map_page(VA_CODE, CODE, PTE_R | PTE_X);
    code(bits);
    guest->context.pc = VA_CODE;
    *a0 = VA_DEVICE;
    paging_on();
}

static void test_paged(void **state)
{
    (void)state;
    paged(LOAD(LW, 16));
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_W);
    box.answer = 4711;
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_int_equal(guest->context.pc, VA_CODE + 4);
    assert_int_equal(*a1, 4711);
}

static void test_paged_faults(void **state)
{
    (void)state;
    paged(LOAD(LW, 16));
    trap(CAUSE_LOAD_ACCESS, 0); /* unmapped since it trapped */
    assert_reflected(CAUSE_LOAD_PAGE, VA_DEVICE + 16);
    map_page(VA_DEVICE, DEVICE, PTE_R);
    paged(STORE(2, 16));
    trap(CAUSE_STORE_ACCESS, 0);
    assert_reflected(CAUSE_STORE_PAGE, VA_DEVICE + 16);
    guest->context.pc = VA_CODE + 0x1000; /* code unmapped */
    trap(CAUSE_STORE_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_PAGE, VA_CODE + 0x1000);
    assert_int_equal(box.reads + box.writes, 0);
}

/* What was walked before is only believed while each entry on the way still says the same. */
static void test_walks_are_checked(void **state)
{
    (void)state;
    enum { OTHER_CODE = RAM_BASE + 0x5000, ROOT = RAM_BASE + TABLES };
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_W);
    for (unsigned n = 0; n < 2; n++) { /* the second time from memory */
        paged(LOAD(LW, 16));
        trap(CAUSE_LOAD_ACCESS, 0);
        assert_int_equal(box.reads, n + 1);
    }
    paged(LOAD(LW, 16));
    map_page(VA_DEVICE, RAM_BASE + (64 << 20), PTE_R | PTE_W); /* the leaf: now a hole */
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_LOAD_ACCESS, VA_DEVICE + 16);
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_W);

    paged(LOAD(LW, 16));
    put_entry(ROOT, 0); /* what leads there */
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_PAGE, VA_CODE);

    paged(LOAD(LW, 16)); /* which maps all again */
    fake_arch.satp++;    /* another root: the second level's table */
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_PAGE, VA_CODE);
    assert_int_equal(box.reads, 2);

    paged(STORE(2, 16));
    trap(CAUSE_STORE_ACCESS, 0);
    map_page(VA_CODE, OTHER_CODE, PTE_R | PTE_X); /* other code at the same address, and then in the same place */
    put_entry(OTHER_CODE, LOAD(LW, 16));
    guest->context.pc = VA_CODE;
    trap(CAUSE_STORE_ACCESS, 0);
    assert_int_equal(box.reads, 3);
    put_entry(OTHER_CODE, STORE(2, 16));
    guest->context.pc = VA_CODE;
    trap(CAUSE_STORE_ACCESS, 0);
    assert_int_equal(box.reads, 3);
    assert_int_equal(box.writes, 2);
}

/* User mode with pages of the kernel's, and the other way round with and without SUM. */
static void test_paged_rights(void **state)
{
    (void)state;
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_U);
    paged(LOAD(LW, 16));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DEVICE + 16);
    paged(LOAD(LW, 16));
    guest->context.status |= STATUS_SUM;
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_int_equal(box.reads, 1);
    guest->context.status = 0; /* user mode may not execute the kernel's page */
    paged(LOAD(LW, 16));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_PAGE, VA_CODE);
    map_page(VA_DEVICE, DEVICE, PTE_X); /* execute-only, made readable */
    guest->context.status = STATUS_MPP_S | STATUS_MXR;
    paged(LOAD(LW, 16));
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_int_equal(box.reads, 2);
}

/* Tables that lie outside RAM (the root, or what an entry leads to) are never read: the fault is the access's. */
static void test_tables_outside(void **state)
{
    (void)state;
    paged(LOAD(LW, 16));
    fake_arch.satp = (fake_arch.satp & ~0xffffful) | DEVICE >> 12;
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_ACCESS, VA_CODE);
    paged(LOAD(LW, 16));
    const unsigned shift = XLEN == 64 ? 30 : 22;
    *a0 = 1ul << shift; /* another entry of the root */
    put_entry(RAM_BASE + TABLES + sizeof(long), DEVICE >> 12 << 10 | PTE_V);
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_LOAD_ACCESS, (1ul << shift) + 16);
    paged(STORE(2, 16));
    *a0 = 1ul << shift;
    trap(CAUSE_STORE_ACCESS, 0);
    assert_reflected(CAUSE_STORE_ACCESS, (1ul << shift) + 16);
}

/* An instruction whose halves lie on two pages, the second one missing. */
static void test_instruction_across_pages(void **state)
{
    (void)state;
    const uint32_t bits = LOAD(LW, 16);
    map_page(VA_CODE, CODE, PTE_X);
    map_page(VA_DEVICE, DEVICE, PTE_R);
    paging_on();
    memcpy(guest_byte(CODE + 0xffe), &bits, 2);
    guest->context.pc = VA_CODE + 0xffe;
    *a0 = VA_DEVICE;
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_reflected(CAUSE_FETCH_PAGE, VA_CODE + 0x1000);
    map_page(VA_CODE + 0x1000, RAM_BASE + 0x5000, PTE_X); /* not behind it in memory */
    memcpy(guest_byte(RAM_BASE + 0x5000), (const char *)&bits + 2, 2);
    guest->context.pc = VA_CODE + 0xffe;
    trap(CAUSE_LOAD_ACCESS, 0);
    assert_int_equal(box.reads, 1);
}

/* --- stage 2: the guest knows nothing of it --- */

static int virtual_setup(void **state)
{
    mmio_setup(state);
    guest->context.is_virtual = true;
    return 0;
}

#define VIRTUAL_TEST(test) cmocka_unit_test_setup_teardown(test, virtual_setup, teardown)

static void test_guest_page_faults_at_devices(void **state)
{
    (void)state;
    code(LOAD(LW, 16));
    box.answer = 4711;
    trap(CAUSE_LOAD_GUEST_PAGE, DEVICE + 16);
    assert_went_on(4);
    assert_int_equal(*a1, 4711);
    code(STORE(2, 16));
    trap(CAUSE_STORE_GUEST_PAGE, DEVICE + 16);
    assert_went_on(4);
    assert_int_equal(box.written, 4711);
    paged(LOAD(LW, 16));
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_W);
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_int_equal(guest->context.pc, VA_CODE + 4);
    assert_int_equal(box.reads, 2);
    assert_int_equal(fake_arch.reflections, 0);
}

/* The value is the guest's own address, not where it leads. */
static void test_guest_page_faults_in_holes(void **state)
{
    (void)state;
    enum { HOLE = DEVICE + DEVICE_SIZE };
    *a0 = HOLE;
    code(LOAD(LW, 16));
    trap(CAUSE_LOAD_GUEST_PAGE, HOLE + 16);
    assert_reflected(CAUSE_LOAD_ACCESS, HOLE + 16);
    code(STORE(2, 16));
    trap(CAUSE_STORE_GUEST_PAGE, HOLE + 16);
    assert_reflected(CAUSE_STORE_ACCESS, HOLE + 16);
    paged(LOAD(LW, 16));
    map_page(VA_DEVICE, HOLE, PTE_R | PTE_W);
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_reflected(CAUSE_LOAD_ACCESS, VA_DEVICE + 16);
    paged(STORE(2, 16));
    trap(CAUSE_STORE_GUEST_PAGE, VA_DEVICE + 16);
    assert_reflected(CAUSE_STORE_ACCESS, VA_DEVICE + 16);
    assert_int_equal(box.reads + box.writes, 0);
}

/* What no device takes, and what can't be read any more: an access fault of the trap's kind, never one of stage 2. */
static void test_guest_page_faults_of_others(void **state)
{
    (void)state;
    static const uint32_t others[] = {0x100525af /* lr.w */, 0x00b5252f /* amoadd.w */, 0x00052587 /* flw */, 0x0000};
    for (size_t n = 0; n < ARRAY_LENGTH(others); n++) {
        code(others[n]);
        trap(CAUSE_STORE_GUEST_PAGE, DEVICE + 16);
        assert_reflected(CAUSE_STORE_ACCESS, DEVICE + 16);
        code(others[n]);
        trap(CAUSE_LOAD_GUEST_PAGE, DEVICE + 16);
        assert_reflected(CAUSE_LOAD_ACCESS, DEVICE + 16);
    }
    guest->context.pc = DEVICE;
    trap(CAUSE_LOAD_GUEST_PAGE, DEVICE + 16);
    assert_reflected(CAUSE_FETCH_ACCESS, DEVICE);
    *a0 = DEVICE + 2;
    code(LOAD(LW, 0));
    trap(CAUSE_LOAD_GUEST_PAGE, DEVICE + 2);
    assert_reflected(CAUSE_LOAD_MISALIGNED, DEVICE + 2);
    assert_int_equal(box.reads + box.writes, 0);
}

/* SUM and MXR are those of the guest's own status: in VS-mode that is not what the trap saved. */
static void test_rights_of_virtual_mode(void **state)
{
    (void)state;
    map_page(VA_DEVICE, DEVICE, PTE_R | PTE_U);
    paged(LOAD(LW, 16));
    guest->context.status = STATUS_MPP_S | STATUS_SUM | STATUS_MXR;
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DEVICE + 16);
    paged(LOAD(LW, 16));
    guest->context.status = STATUS_MPP_S;
    guest->context.vsstatus = STATUS_SUM;
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_int_equal(box.reads, 1);
    map_page(VA_DEVICE, DEVICE, PTE_X);
    paged(LOAD(LW, 16));
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DEVICE + 16);
    paged(LOAD(LW, 16));
    guest->context.vsstatus = STATUS_MXR;
    trap(CAUSE_LOAD_GUEST_PAGE, VA_DEVICE + 16);
    assert_int_equal(box.reads, 2);
}

/* --- fetches --- */

/* Whoever denied it, and whether the hart says where or not (0): a fault at what can't be fetched. */
static void test_fetch_from_a_hole(void **state)
{
    (void)state;
    static const unsigned long causes[] = {CAUSE_FETCH_ACCESS, CAUSE_FETCH_GUEST_PAGE};
    static const unsigned long holes[] = {DEVICE, RAM_BASE - 4, RAM_BASE + RAM_SIZE, 0x1000};
    for (size_t n = 0; n < ARRAY_LENGTH(causes) * ARRAY_LENGTH(holes) * 2; n++) {
        const unsigned long hole = holes[n / 4];
        guest->context.pc = hole;
        trap(causes[n / 2 % 2], n % 2 == 0 ? hole : 0);
        assert_reflected(CAUSE_FETCH_ACCESS, hole);
        assert_int_equal(guest->context.sepc, hole);
    }
    /* one half of it: what is at fault is the other */
    const uint16_t half = LOAD(LW, 0) & 0xffff;
    memcpy(guest_byte(RAM_BASE + RAM_SIZE - 2), &half, sizeof(half));
    guest->context.pc = RAM_BASE + RAM_SIZE - 2;
    trap(CAUSE_FETCH_GUEST_PAGE, RAM_BASE + RAM_SIZE);
    assert_reflected(CAUSE_FETCH_ACCESS, RAM_BASE + RAM_SIZE);
    assert_int_equal(guest->context.sepc, RAM_BASE + RAM_SIZE - 2);
}

static void test_fetch_through_tables(void **state)
{
    (void)state;
    enum { VA_HOLE = VA_CODE + 0x1000, VA_NOTHING = VA_CODE + 0x2000 };
    static const unsigned long causes[] = {CAUSE_FETCH_ACCESS, CAUSE_FETCH_GUEST_PAGE};
    for (size_t n = 0; n < ARRAY_LENGTH(causes) * 2; n++) {
        const bool told = n % 2 == 0;
        paged(LOAD(LW, 16));
        map_page(VA_HOLE, DEVICE, PTE_X);
        guest->context.pc = VA_HOLE;
        trap(causes[n / 2], told ? VA_HOLE : 0);
        assert_reflected(CAUSE_FETCH_ACCESS, VA_HOLE);
        guest->context.pc = VA_NOTHING; /* unmapped since it trapped */
        trap(causes[n / 2], told ? VA_NOTHING : 0);
        assert_reflected(CAUSE_FETCH_PAGE, VA_NOTHING);
        fake_arch.satp = (fake_arch.satp & ~0xffffful) | DEVICE >> 12; /* the tables themselves lie in a hole */
        guest->context.pc = VA_CODE;
        trap(causes[n / 2], told ? VA_CODE : 0);
        assert_reflected(CAUSE_FETCH_ACCESS, VA_CODE);
    }
}

/* --- faults in RAM that the capsule has --- */

enum { TRIES = 100 }; /* as mmio.c has it */

/* The last trap ends the capsule. */
static void expect_crash(unsigned long cause, unsigned long value, const char *text)
{
    jmp_buf here;
    fake_arch.trap_value = value;
    core.sleeper = &here;
    if (setjmp(here) == 0) {
        trap_handle(&guest->context, cause);
        fail();
    }
    core.sleeper = NULL;
    assert_int_equal(capsule_state(guest->capsule), CAPSULE_CRASHED);
    assert_non_null(strstr(log_text(), text));
}

/* Another vCPU changed the tables just now: the instruction runs again. But not for ever. */
static void test_retries(void **state)
{
    (void)state;
    static const struct {
        uint32_t bits;
        unsigned long cause;
        const char *text;
    } rows[] = {
        {LOAD(LW, 0), CAUSE_LOAD_ACCESS,
         "crashed: load access fault at pc 0x40002000, address 0x40003000, vCPU 0: the "},
        {STORE(2, 0), CAUSE_STORE_ACCESS, "crashed: store access fault at pc"},
        {LOAD(LW, 0), CAUSE_LOAD_GUEST_PAGE, "crashed: load guest-page fault at pc"},
        {STORE(2, 0), CAUSE_STORE_GUEST_PAGE, "crashed: store guest-page fault at pc"},
        {LOAD(LW, 0), CAUSE_FETCH_ACCESS, "crashed: fetch access fault at pc"},
        {LOAD(LW, 0), CAUSE_FETCH_GUEST_PAGE, "crashed: fetch guest-page fault at pc"},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        if (n != 0) {
            capsule_start(guest->capsule);
            assert_ptr_equal(next(0), guest);
        }
        const unsigned long value = RAM_BASE + 0x3000;
        for (unsigned try = 0; try < TRIES; try++) {
            *a0 = value;
            code(rows[n].bits);
            trap(rows[n].cause, value);
            assert_int_equal(guest->context.pc, CODE); /* neither skipped nor reflected */
        }
        assert_int_equal(fake_arch.reflections, 0);
        expect_crash(rows[n].cause, value, rows[n].text);
        guest->retries = 0;
    }
}

/* Tries count where they follow each other: a guest that faults elsewhere in between is not stuck. */
static void test_retries_elsewhere(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x3000;
    for (unsigned try = 0; try < 3 * TRIES; try++) {
        code_at(CODE + try % 2 * 4, LOAD(LW, 0));
        trap(CAUSE_LOAD_GUEST_PAGE, *a0);
    }
    assert_int_equal(capsule_state(guest->capsule), CAPSULE_RUNNING);
}

/* Nor is one whose instruction was changed between the trap and our look at it: what the hart says of the address is
 * not where this one goes. The hart forgets what it remembers of both. */
static void test_retries_of_another(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x3000;
    code(LOAD(LW, 0));
    fake_arch.fences_i = fake_arch.fences_vma = 0;
    for (unsigned try = 0; try < 3 * TRIES; try++) {
        trap(CAUSE_LOAD_GUEST_PAGE, DEVICE);
        assert_int_equal(guest->context.pc, CODE);
    }
    assert_int_equal(capsule_state(guest->capsule), CAPSULE_RUNNING);
    assert_true(fake_arch.fences_i >= 3 * TRIES && fake_arch.fences_vma >= 3 * TRIES);
    trap(CAUSE_LOAD_GUEST_PAGE, 0); /* a hart that says nothing of the address */
    assert_int_equal(guest->retries, 1);
}

/* --- traps in general --- */

static void test_reflected_causes(void **state)
{
    (void)state;
    static const unsigned long causes[] = {CAUSE_FETCH_MISALIGNED, CAUSE_BREAKPOINT, CAUSE_ECALL_U,
                                           CAUSE_FETCH_PAGE,       CAUSE_LOAD_PAGE,  CAUSE_STORE_PAGE};
    for (size_t n = 0; n < ARRAY_LENGTH(causes); n++) {
        guest->context.pc = CODE;
        trap(causes[n], 0x42);
        assert_reflected(causes[n], 0x42);
        assert_int_equal(guest->context.sepc, CODE);
        assert_int_equal(guest->context.pc, guest->context.stvec);
    }
}

/* Causes that no guest can have, or that nobody knows yet: its capsule ends, and no other. */
static void test_unknown_causes(void **state)
{
    (void)state;
    static const unsigned long causes[] = {CAUSE_ECALL_M,    14, 16,       18, 19,
                                           CAUSE_EXCEPTIONS, 63, ~0ul >> 1 /* top bit off */};
    jmp_buf here;
    for (size_t n = 0; n < ARRAY_LENGTH(causes); n++) {
        if (capsule_state(guest->capsule) != CAPSULE_RUNNING) {
            capsule_start(guest->capsule);
            assert_ptr_equal(next(0), guest);
        }
        core.sleeper = &here;
        if (setjmp(here) == 0) {
            trap_handle(&guest->context, causes[n]);
            fail();
        }
        core.sleeper = NULL;
        assert_int_equal(capsule_state(guest->capsule), CAPSULE_CRASHED);
        assert_int_equal(core.all_stopped, n + 1);
    }
}

static void test_interrupt(void **state)
{
    (void)state;
    vcpu_set_timer(guest, core.now + 10);
    assert_ptr_equal(next(0), guest);
    core.now += 10;
    trap(BIT(XLEN - 1) | IRQ_M_TIMER, 0);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));
    assert_int_equal(guest->context.pc, CODE);
}

static void test_ecall(void **state)
{
    (void)state;
    static const unsigned long causes[] = {CAUSE_ECALL_S, CAUSE_ECALL_VS};
    for (size_t n = 0; n < ARRAY_LENGTH(causes); n++) {
        guest->context.pc = CODE;
        guest->context.x[REG_A7] = SBI_EXT_BASE;
        guest->context.x[REG_A6] = 0;
        trap(causes[n], 0);
        assert_went_on(4);
        assert_int_equal(*a0, SBI_SUCCESS);
    }
}

/* Nothing ever runs in HS-mode. If hardware enters it all the same, the fetch at its vector says so: then the machine
 * stops, whatever stands at pc. */
static void test_hs_mode_was_entered(void **state)
{
    (void)state;
    code(LOAD(LW, 0));
    fake_arch.trap_from_hs = true;
    assert_true(PANICS(trap_handle(&guest->context, CAUSE_FETCH_ACCESS)));
    assert_non_null(strstr(panic_text, "HS-mode was entered"));
    fake_arch.trap_from_hs = false;
}

static void test_own_trap(void **state)
{
    (void)state;
    unsigned long x[32] = {[1] = 0x99};
    assert_true(PANICS(trap_own(x, CAUSE_LOAD_ACCESS, 0x80000000, 0)));
    assert_non_null(strstr(panic_text, "0x99"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MMIO_TEST(test_loads),
        MMIO_TEST(test_stores),
        MMIO_TEST(test_again),
        MMIO_TEST(test_doubles),
        MMIO_TEST(test_compressed),
        MMIO_TEST(test_x0),
        MMIO_TEST(test_nothing_there),
        MMIO_TEST(test_misaligned_device_access),
        MMIO_TEST(test_other_instructions),
        MMIO_TEST(test_instruction_is_not_in_ram),
        MMIO_TEST(test_paged),
        MMIO_TEST(test_paged_faults),
        MMIO_TEST(test_walks_are_checked),
        MMIO_TEST(test_paged_rights),
        MMIO_TEST(test_tables_outside),
        MMIO_TEST(test_instruction_across_pages),
        VIRTUAL_TEST(test_guest_page_faults_at_devices),
        VIRTUAL_TEST(test_guest_page_faults_in_holes),
        VIRTUAL_TEST(test_guest_page_faults_of_others),
        VIRTUAL_TEST(test_rights_of_virtual_mode),
        VIRTUAL_TEST(test_fetch_from_a_hole),
        VIRTUAL_TEST(test_fetch_through_tables),
        VIRTUAL_TEST(test_retries),
        VIRTUAL_TEST(test_retries_elsewhere),
        VIRTUAL_TEST(test_retries_of_another),
        MMIO_TEST(test_reflected_causes),
        MMIO_TEST(test_unknown_causes),
        MMIO_TEST(test_interrupt),
        MMIO_TEST(test_ecall),
        VIRTUAL_TEST(test_hs_mode_was_entered),
        MMIO_TEST(test_own_trap),
    };
    return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
