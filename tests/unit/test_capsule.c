/* SPDX-License-Identifier: MIT
 *
 * A capsule's life: what RAM holds at a start, stops for every reason, resets, crashes, and what is logged of them.
 */
#include "core_world.h"

static const uint8_t kernel[100 * KIB] = {[0] = 'K', [100 * KIB - 1] = 'k'};
static const uint8_t initrd[70000] = {[0] = 'I', [69999] = 'i'};

/* --- the checked pointer --- */

static void test_capsule_ram(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    static const struct {
        uint64_t address, length;
        bool good;
    } cases[] = {
        {RAM_BASE, 1, true},
        {RAM_BASE, RAM_SIZE, true},
        {RAM_BASE + RAM_SIZE - 1, 1, true},
        {RAM_BASE, 0, false},
        {RAM_BASE - 1, 1, false},
        {RAM_BASE - 1, 2, false},
        {RAM_BASE, RAM_SIZE + 1, false},
        {RAM_BASE + RAM_SIZE, 1, false},
        {RAM_BASE + RAM_SIZE - 1, 2, false},
        {RAM_BASE, UINT64_MAX, false},
        {RAM_BASE + 8, UINT64_MAX - 7, false}, /* the sum wraps */
        {UINT64_MAX, 1, false},
        {UINT64_MAX - 7, 64, false},
        {RAM_BASE | 1ull << 32, 8, false},
        {0, RAM_BASE + 1ull, false},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        const uint8_t *pointer = capsule_ram(capsule, (gpa_t){cases[n].address}, cases[n].length);
        assert_ptr_equal(pointer, cases[n].good ? core.ram[0] + (cases[n].address - RAM_BASE) : NULL);
    }
}

/* --- RAM in several places --- */

/* In this order in the host; the edges are neither a step's nor an image's. */
enum { EDGE_1 = 0x3000, EDGE_2 = 0x24000 };

static uint8_t *piece_host(size_t n)
{
    static const unsigned whose[] = {1, 2, 0};
    return core.ram[whose[n]] + 0x1000 * n;
}

static struct capsule *make_pieces(void)
{
    static const uint64_t edges[] = {0, EDGE_1, EDGE_2, RAM_SIZE};
    struct capsule *capsule = make_capsule(0, 1);
    for (size_t n = 0; n < 3; n++) {
        capsule->pieces[n] = (struct ram_piece){edges[n], edges[n + 1] - edges[n], {(uintptr_t)piece_host(n)}};
    }
    capsule->piece_count = 3;
    return capsule;
}

static const uint8_t *host_byte(uint64_t offset)
{
    return offset < EDGE_1   ? piece_host(0) + offset
           : offset < EDGE_2 ? piece_host(1) + (offset - EDGE_1)
                             : piece_host(2) + (offset - EDGE_2);
}

static void test_capsule_ram_in_pieces(void **state)
{
    (void)state;
    const struct capsule *capsule = make_pieces();
    static const struct {
        uint64_t offset, length, adjacent; /* adjacent 0: none of it */
    } rows[] = {
        {0, 1, 1},
        {0, EDGE_1, EDGE_1},
        {0, EDGE_1 + 1, EDGE_1},
        {0, RAM_SIZE, EDGE_1},
        {0, RAM_SIZE + 1ull, 0},
        {0, 0, 0},
        {EDGE_1 - 1, 1, 1},
        {EDGE_1 - 1, 2, 1},
        {EDGE_1 - 8, 8, 8},
        {EDGE_1 - 7, 8, 7},
        {EDGE_1, 8, 8},
        {EDGE_1, RAM_SIZE - EDGE_1, EDGE_2 - EDGE_1},
        {EDGE_2 - 1, 1, 1},
        {EDGE_2 - 1, RAM_SIZE - EDGE_2 + 1, 1},
        {EDGE_2, RAM_SIZE - EDGE_2, RAM_SIZE - EDGE_2},
        {EDGE_2, RAM_SIZE - EDGE_2 + 1ull, 0},
        {RAM_SIZE - 1, 1, 1},
        {RAM_SIZE - 1, 2, 0},
        {RAM_SIZE, 1, 0},
        {EDGE_2, UINT64_MAX, 0},
        {UINT64_MAX, 1, 0},
        {0ull - RAM_BASE, 8, 0},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        const gpa_t address = {RAM_BASE + rows[n].offset};
        const void *expected = rows[n].adjacent == 0 ? NULL : host_byte(rows[n].offset);
        uint64_t length = rows[n].length;
        assert_ptr_equal(capsule_ram_part(capsule, address, &length), expected);
        if (expected != NULL) {
            assert_int_equal(length, rows[n].adjacent);
        }
        const bool whole = rows[n].adjacent == rows[n].length;
        assert_ptr_equal(capsule_ram(capsule, address, rows[n].length), whole ? expected : NULL);
    }
}

/* Byte by byte: RAM has no gap and no byte twice, and a walk by parts comes to its end. */
static void test_parts_make_up_the_whole(void **state)
{
    (void)state;
    const struct capsule *capsule = make_pieces();
    for (uint64_t offset = 0; offset < RAM_SIZE; offset++) {
        assert_ptr_equal(capsule_ram(capsule, (gpa_t){RAM_BASE + offset}, 1), host_byte(offset));
    }
    unsigned parts = 0;
    for (uint64_t offset = 0; offset < RAM_SIZE; parts++) {
        uint64_t length = RAM_SIZE - offset;
        assert_non_null(capsule_ram_part(capsule, (gpa_t){RAM_BASE + offset}, &length));
        assert_true(length > 0 && length <= RAM_SIZE - offset);
        offset += length;
    }
    assert_int_equal(parts, 3);
}

/* --- filling --- */

static void plan_images(struct capsule *capsule)
{
    capsule->plan.pieces[0] = (struct load_piece){0x1000, kernel, sizeof(kernel)};
    capsule->plan.pieces[1] = (struct load_piece){0x1000 + sizeof(kernel), initrd, 1}; /* right behind */
    capsule->plan.pieces[2] = (struct load_piece){RAM_SIZE - 69999, initrd + 1, 69999};
    capsule->plan.piece_count = 3;
}

static void check_images(void)
{
    const uint8_t *ram = core.ram[0];
    for (size_t n = 0; n < RAM_SIZE; n++) {
        uint8_t expected = 0;
        if (n >= 0x1000 && n - 0x1000 < sizeof(kernel)) {
            expected = kernel[n - 0x1000];
        } else if (n == 0x1000 + sizeof(kernel)) {
            expected = 'I';
        } else if (n >= RAM_SIZE - 69999) {
            expected = initrd[n - (RAM_SIZE - 69999) + 1];
        }
        assert_int_equal(ram[n], expected);
    }
}

static void test_filling(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    plan_images(capsule);
    memset(core.ram[0], 0xaa, RAM_SIZE); /* what somebody left there */
    atomic_store(&capsule->state, CAPSULE_FILLING);
    for (unsigned step = 1; step <= 3; step++) {
        assert_false(capsule_fill(capsule));
        assert_int_equal(capsule->fill_cursor, step * 64 * KIB);
        assert_int_equal(core.ram[0][step * 64 * KIB], 0xaa); /* no byte more than a step */
        assert_int_equal(core.prepares, 0);
    }
    assert_true(capsule_fill(capsule));
    assert_int_equal(core.prepares, 1);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    check_images();
    atomic_store(&capsule->state, CAPSULE_LOADED);
}

/* Whatever lies in the host around the pieces stays as it is. */
static void test_filling_pieces(void **state)
{
    (void)state;
    struct capsule *capsule = make_pieces();
    plan_images(capsule);
    memset(core.ram, 0xaa, sizeof(core.ram));
    atomic_store(&capsule->state, CAPSULE_FILLING);
    for (unsigned step = 1; step <= 3; step++) {
        assert_false(capsule_fill(capsule));
        assert_int_equal(capsule->fill_cursor, step * 64 * KIB);
        assert_int_equal(*host_byte(step * 64 * KIB), 0xaa);
    }
    assert_true(capsule_fill(capsule));
    static uint8_t linear[RAM_SIZE];
    for (size_t n = 0; n < RAM_SIZE; n++) {
        linear[n] = *host_byte(n);
    }
    memset(piece_host(0), 0xaa, EDGE_1);
    memset(piece_host(1), 0xaa, EDGE_2 - EDGE_1);
    memset(piece_host(2), 0xaa, RAM_SIZE - EDGE_2);
    const uint8_t *all = (const uint8_t *)core.ram;
    for (size_t n = 0; n < sizeof(core.ram); n++) {
        assert_int_equal(all[n], 0xaa);
    }
    memcpy(core.ram[0], linear, RAM_SIZE);
    check_images();
    atomic_store(&capsule->state, CAPSULE_LOADED);
}

/* A plan that says more than there is does not write beyond RAM. */
static void test_filling_is_bounded(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    capsule->plan.pieces[0] = (struct load_piece){RAM_SIZE - 100, kernel, sizeof(kernel)};
    capsule->plan.piece_count = 1;
    memset(core.ram[1], 0xaa, RAM_SIZE);
    atomic_store(&capsule->state, CAPSULE_FILLING);
    while (!capsule_fill(capsule)) {
    }
    assert_int_equal(core.ram[0][RAM_SIZE - 100], 'K');
    assert_int_equal(core.ram[1][0], 0xaa);
    atomic_store(&capsule->state, CAPSULE_LOADED);
}

/* A large one says that it is being filled, since that takes its time; a small one doesn't. */
static void test_filling_is_announced(void **state)
{
    (void)state;
    struct capsule *small = make_capsule(0, 1);
    struct capsule *large = make_capsule(1, 1);
    large->ram.size = (uint64_t)1 << 30;
    capsule_start(small);
    capsule_start(large);
    assert_int_equal(log_count("Capsule 2 (guest1): clearing and loading 1024 MiB of RAM\n"), 1);
    assert_int_equal(log_count("Capsule 1 (guest0): clearing"), 0);
    large->ram.size = RAM_SIZE;
}

static void stop_in_prepare(struct capsule *capsule)
{
    capsule_stop(capsule, STOP_CRASH, "its device tree does not fit");
}

static void test_refused_while_preparing(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 2);
    core.on_prepare = stop_in_prepare;
    capsule_start(capsule);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_CRASHED);
    assert_int_equal(core.all_stopped, 1);
    assert_non_null(strstr(log_text(), "[!] CPU 0: Capsule 1 (guest0) stopped: crashed: its device tree does not fit"));
}

/* --- starting --- */

static void test_start_only_from_rest(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    static const enum capsule_state busy[] = {CAPSULE_FILLING, CAPSULE_RUNNING, CAPSULE_STOPPING, CAPSULE_COMMITTING};
    for (size_t n = 0; n < ARRAY_LENGTH(busy); n++) {
        atomic_store(&capsule->state, busy[n]);
        capsule->fill_cursor = 77;
        capsule_start(capsule);
        assert_int_equal(capsule_state(capsule), busy[n]);
        assert_int_equal(capsule->fill_cursor, 77);
        assert_int_equal(atomic_load(&capsule->vcpus->run), RUN_OFF);
        assert_int_equal(atomic_load(&capsule->loaded), 0);
    }
    static const enum capsule_state rest[] = {CAPSULE_LOADED, CAPSULE_STOPPED, CAPSULE_CRASHED};
    for (size_t n = 0; n < ARRAY_LENGTH(rest); n++) {
        atomic_store(&capsule->state, rest[n]);
        capsule_start(capsule);
        assert_ptr_equal(next(0), capsule->vcpus);
        capsule_stop(capsule, STOP_KILLED, "%s", "");
        assert_null(next(0));
        assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    }
}

/* --- stopping --- */

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        enum stop_reason reason;
        enum capsule_state state;
        const char *line;
    } cases[] = {
        {STOP_POWER_OFF, CAPSULE_STOPPED, "[-] CPU 0: Capsule 1 (guest0) stopped: power off requested: why\n"},
        {STOP_FAILURE, CAPSULE_STOPPED, "[-] CPU 0: Capsule 1 (guest0) stopped: the guest reported a failure: why\n"},
        {STOP_CRASH, CAPSULE_CRASHED, "[!] CPU 0: Capsule 1 (guest0) stopped: crashed: why\n"},
        {STOP_KILLED, CAPSULE_STOPPED, "[-] CPU 0: Capsule 1 (guest0) stopped: killed: why\n"},
    };
    struct capsule *capsule = make_capsule(0, 1);
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        unsigned before = log_count(cases[n].line);
        capsule_start(capsule);
        assert_ptr_equal(next(0), capsule->vcpus);
        capsule_stop(capsule, cases[n].reason, "%s", "why");
        assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
        assert_null(next(0));
        assert_int_equal(capsule_state(capsule), cases[n].state);
        assert_int_equal(core.all_stopped, n + 1);
        assert_int_equal(log_count(cases[n].line), before + 1);
    }
}

static void test_first_reason_counts(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    run_vcpu(capsule, 1, 1);
    capsule_stop(capsule, STOP_POWER_OFF, "first %d", 1);
    capsule_stop(capsule, STOP_CRASH, "second");
    assert_string_equal(capsule->why, "first 1");
    assert_int_equal(core.rings[1], 1);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
    assert_null(interrupt(1));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    capsule_stop(capsule, STOP_CRASH, "third"); /* it isn't running */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

/* From outside, with all of its vCPUs asleep: whoever asks commits. */
static void test_stop_with_nobody_loaded(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    vcpu_set_timer(capsule->vcpus, core.now + 100);
    fake_arch.virtual_enabled = BIT(IRQ_S_TIMER);
    vcpu_wait(capsule->vcpus);
    assert_null(next(0));
    assert_non_null(atomic_load(&capsule->vcpus->timer.heap));
    act_as(3);
    capsule_stop(capsule, STOP_KILLED, "from outside");
    act_as(0);
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_null(atomic_load(&capsule->vcpus->timer.heap));
    core.now += 200;
    assert_null(next(0)); /* its timer doesn't come back to wake it */
    assert_int_equal(atomic_load(&capsule->vcpus->run), RUN_OFF);
}

static void test_stop_while_filling(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    capsule_start(capsule);
    capsule_stop(capsule, STOP_KILLED, "too early");
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_null(next(0));
    assert_int_equal(capsule->fill_cursor, 0);
    capsule_start(capsule);
    assert_ptr_equal(next(0), capsule->vcpus);
}

/* Only when no capsule is alive any more is there nothing left to run. */
static void test_others_live_on(void **state)
{
    (void)state;
    struct capsule *first = run_capsule(0, 1);
    struct capsule *second = make_capsule(1, 1);
    make_capsule(2, 1); /* loaded, never started */
    capsule_start(second);
    assert_ptr_equal(next(1), second->vcpus);
    capsule_stop(first, STOP_POWER_OFF, "%s", "");
    assert_null(next(0));
    assert_int_equal(core.all_stopped, 0);
    act_as(1);
    capsule_stop(second, STOP_POWER_OFF, "%s", "");
    act_as(0);
    assert_null(next(1));
    assert_int_equal(core.all_stopped, 1);
    capsule_set_idle(NULL);
    capsule_start(first);
    assert_ptr_equal(next(0), first->vcpus);
    capsule_stop(first, STOP_POWER_OFF, "%s", "");
    assert_null(next(0));
    assert_int_equal(core.all_stopped, 1);
}

/* --- resets --- */

/* Whatever the former life left (timers, events, waiting fences and console waiters) is gone in the next. */
static void test_reset_forgets(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    plan_images(capsule);
    memset(core.ram[0], 0xaa, RAM_SIZE);
    vcpu_set_timer(capsule->vcpus, core.now + 5);
    fake_of(1)->virtual_enabled = BIT(IRQ_S_EXTERNAL);
    vcpu_wait(vcpu);
    assert_null(next(1));
    vcpu_post(vcpu, EVENT_IPI);
    vcpu_post(capsule->vcpus, EVENT_IPI);
    vcpu_set_external(capsule->vcpus, true);
    atomic_store(&capsule->console_waiters, 3);
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_ptr_equal(next(0), capsule->vcpus);
    check_images();
    assert_int_equal(core.prepares, 2);
    assert_int_equal(fake_arch.virtual_pending, 0);
    assert_int_equal(fake_arch.virtual_enabled, 0);
    assert_false(fake_arch.loaded_resident);
    assert_int_equal(core.timer[0], TIMER_NEVER);
    assert_int_equal(atomic_load(&capsule->console_waiters), 0);
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STOPPED);
    assert_int_equal(atomic_load(&vcpu->pending), 0);
    assert_int_equal(atomic_load(&capsule->started), 1);
    run_vcpu(capsule, 1, 1);
    assert_int_equal(fake_of(1)->virtual_pending, 0);
}

/* A guest that resets itself without end writes a few lines, then one now and then that says how many it kept back. */
static void test_resets_do_not_fill_the_log(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    unsigned before = log_count("stopped: reset");
    for (unsigned n = 0; n < 200; n++) {
        capsule_stop(capsule, STOP_RESET, "%s", "");
        assert_ptr_equal(next(0), capsule->vcpus);
    }
    assert_int_equal(log_count("stopped: reset") - before, LOG_BURST);
    core.now += HZ;
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_ptr_equal(next(0), capsule->vcpus);
    assert_int_equal(log_count("stopped: reset") - before, LOG_BURST + 1);
    assert_int_equal(log_count("190 resets before that were not reported"), 1);
    /* Other ends are always told. */
    for (unsigned n = 0; n < 20; n++) {
        capsule_stop(capsule, STOP_RESET, "%s", "");
        assert_ptr_equal(next(0), capsule->vcpus);
    }
    before = log_count("stopped: killed: at last");
    capsule_stop(capsule, STOP_KILLED, "at last");
    assert_null(next(0));
    assert_int_equal(log_count("stopped: killed: at last") - before, 1);
}

/* Started vCPUs are counted right over stops: slices come and go with them. */
static void test_count_over_resets(void **state)
{
    (void)state;
    world_hart_count(1);
    struct capsule *capsule = run_capsule(0, 3);
    for (unsigned round = 0; round < 3; round++) {
        assert_null(atomic_load(&core.harts[0].slice.heap));
        for (uint32_t id = 1; id < 3; id++) {
            struct vcpu *vcpu = capsule_vcpu(capsule, id);
            atomic_store(&vcpu->hsm, SBI_HSM_START_PENDING);
            vcpu_start(vcpu, RAM_BASE, 0);
        }
        assert_ptr_equal(next(0), capsule->vcpus);
        assert_non_null(atomic_load(&core.harts[0].slice.heap));
        capsule_stop(capsule, STOP_RESET, "%s", "");
        assert_ptr_equal(next(0), capsule->vcpus);
    }
}

/* --- crashes --- */

static void test_crash(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    struct vcpu *vcpu = capsule->vcpus;
    vcpu->context.pc = 0x40001234;
    vcpu->context.x[REG_A0] = 0x4711;
    capsule_crash(vcpu, CAUSE_LOAD_ACCESS, 0x5678, "%s %n what"); /* never a format */
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_CRASHED);
    assert_non_null(strstr(log_text(),
                           "[!] CPU 0: Capsule 1 (guest0) stopped: crashed: load access fault at pc 0x40001234, "
                           "address 0x5678, vCPU 0: %s %n what\n"));
    assert_non_null(strstr(log_text(), "4711"));
}

static void test_crash_of_unknown_cause(void **state)
{
    (void)state;
    static const unsigned long causes[] = {CAUSE_ECALL_M, 14, 16, 19, CAUSE_EXCEPTIONS, ~0ul};
    struct capsule *capsule = make_capsule(0, 1);
    for (size_t n = 0; n < ARRAY_LENGTH(causes); n++) {
        capsule_start(capsule);
        assert_ptr_equal(next(0), capsule->vcpus);
        unsigned before = log_count("stopped: crashed: unknown trap at pc");
        capsule_crash(capsule->vcpus, causes[n], 0, "odd");
        assert_null(next(0));
        assert_int_equal(log_count("stopped: crashed: unknown trap at pc") - before, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_capsule_ram),
        CORE_TEST(test_capsule_ram_in_pieces),
        CORE_TEST(test_parts_make_up_the_whole),
        CORE_TEST(test_filling),
        CORE_TEST(test_filling_pieces),
        CORE_TEST(test_filling_is_bounded),
        CORE_TEST(test_filling_is_announced),
        CORE_TEST(test_refused_while_preparing),
        CORE_TEST(test_start_only_from_rest),
        CORE_TEST(test_reasons),
        CORE_TEST(test_first_reason_counts),
        CORE_TEST(test_stop_with_nobody_loaded),
        CORE_TEST(test_stop_while_filling),
        CORE_TEST(test_others_live_on),
        CORE_TEST(test_reset_forgets),
        CORE_TEST(test_resets_do_not_fill_the_log),
        CORE_TEST(test_count_over_resets),
        CORE_TEST(test_crash),
        CORE_TEST(test_crash_of_unknown_cause),
    };
    return cmocka_run_group_tests_name("capsule", tests, NULL, NULL);
}
