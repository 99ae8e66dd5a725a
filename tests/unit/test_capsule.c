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
    assert_false(capsule_fill(capsule)); /* then comes preparing, in steps too */
    assert_int_equal(core.prepares, 0);
    assert_true(capsule_fill(capsule));
    assert_int_equal(core.prepares, 1);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    check_images();
    atomic_store(&capsule->state, CAPSULE_LOADED);
}

static unsigned further_steps;

/* True again and again once it is done, as preparing comes after it in steps. */
static bool do_further(struct capsule *capsule)
{
    if (further_steps == 0) {
        return true;
    }
    assert_int_equal(capsule->fill_cursor, RAM_SIZE);
    assert_int_equal(core.prepares, 0);
    return --further_steps == 0;
}

/* What the layers above have to fill or scrub comes after RAM, in steps of its own. */
static void test_further_steps(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    static struct capsule_hooks hooks;
    hooks = *capsule->hooks;
    hooks.fill = do_further;
    hooks.scrub = do_further;
    capsule->hooks = &hooks;
    const unsigned steps = (RAM_SIZE + 64 * KIB - 1) / (64 * KIB);
    for (unsigned scrub = 0; scrub < 2; scrub++) {
        bool (*const step)(struct capsule *) = scrub ? capsule_scrub : capsule_fill;
        capsule->fill_cursor = 0;
        core.prepares = 0;
        further_steps = 3;
        atomic_store(&capsule->state, scrub ? CAPSULE_DESTROYING : CAPSULE_FILLING);
        for (unsigned n = 0; n < steps + 2; n++) {
            assert_false(step(capsule));
        }
        assert_true(step(capsule) || (!scrub && step(capsule)));
        assert_int_equal(further_steps, 0);
        assert_int_equal(core.prepares, scrub ? 0 : 1);
    }
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
    assert_false(capsule_fill(capsule));
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
        assert_int_equal(capsule_holds(capsule), 0);
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

/* --- restarts --- */

/* Runs hart 0 as far as the capsule's next life. */
static void lives_again(struct capsule *capsule)
{
    struct vcpu *vcpu = next(0);
    if (vcpu == NULL) { /* it waits: for as long as the hart's timer says */
        assert_int_equal(capsule_state(capsule), CAPSULE_BACKOFF);
        core.now = core.timer[0];
        vcpu = next(0);
    }
    assert_ptr_equal(vcpu, capsule->vcpus);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
}

static void end_life(struct capsule *capsule, enum stop_reason reason)
{
    capsule_stop(capsule, reason, "%s", "");
}

/* Which ends of a life are followed by another. */
static void test_restart_policies(void **state)
{
    (void)state;
    static const struct {
        enum stop_reason reason;
        bool restarts[3]; /* by policy */
        enum capsule_state end;
    } rows[] = {
        {STOP_POWER_OFF, {false, false, true}, CAPSULE_STOPPED}, {STOP_RESET, {true, true, true}, CAPSULE_STOPPED},
        {STOP_FAILURE, {false, true, true}, CAPSULE_STOPPED},    {STOP_CRASH, {false, true, true}, CAPSULE_CRASHED},
        {STOP_WATCHDOG, {false, true, true}, CAPSULE_CRASHED},   {STOP_KILLED, {false, false, false}, CAPSULE_STOPPED},
        {STOP_RESTART, {true, true, true}, CAPSULE_STOPPED},
    };
    struct capsule *capsule = make_capsule(0, 1);
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        for (unsigned policy = RESTART_NEVER; policy <= RESTART_ALWAYS; policy++) {
            capsule->config.restart = (enum restart_policy)policy;
            capsule_start(capsule);
            lives_again(capsule);
            core.now += SHORT_LIFE_SECONDS * (uint64_t)HZ;
            end_life(capsule, rows[n].reason);
            if (rows[n].restarts[policy]) {
                lives_again(capsule);
                core.now += SHORT_LIFE_SECONDS * (uint64_t)HZ;
                end_life(capsule, STOP_KILLED);
                assert_null(next(0));
                assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
            } else {
                assert_null(next(0));
                assert_int_equal(capsule_state(capsule), rows[n].end);
            }
        }
    }
}

/* The first short life is followed by another at once, the next ones after longer and longer waits, the last by none.
 */
static void test_crash_loop(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    uint64_t wait = 0;
    for (unsigned n = 1; n < SHORT_LIVES_MAX; n++) {
        const uint64_t before = core.now;
        end_life(capsule, STOP_RESET);
        lives_again(capsule);
        assert_int_equal(core.now - before, wait * HZ / 1000);
        wait = n == 1 ? BACKOFF_FIRST_MS : MIN(2 * wait, (uint64_t)BACKOFF_LONGEST_MS);
    }
    end_life(capsule, STOP_RESET);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_CRASHED);
    assert_int_equal(log_count("lived less than 10 s 8 times in a row: not started again"), 1);
    assert_int_equal(core.all_stopped, 1);
    /* An operator may start it all the same, and then it has all its lives again. */
    struct refusal refusal;
    assert_int_equal(capsule_request(capsule, REQUEST_START, "the test", &refusal), DX_OK);
    lives_again(capsule);
    end_life(capsule, STOP_RESET);
    assert_ptr_equal(next(0), capsule->vcpus);
}

/* A long life in between, and it doesn't count as a loop. */
static void test_long_lives_are_no_loop(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    for (unsigned n = 0; n < 5 * SHORT_LIVES_MAX; n++) {
        core.now += n % 4 == 0 ? SHORT_LIFE_SECONDS * (uint64_t)HZ : 0;
        end_life(capsule, STOP_RESET);
        lives_again(capsule);
    }
}

/* Whoever waits for his restart can be started now, or not at all. */
static void test_requests_in_back_off(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 1);
    for (unsigned n = 0; n < 2; n++) {
        end_life(capsule, STOP_RESET);
        assert_ptr_equal(next(0), capsule->vcpus);
        end_life(capsule, STOP_RESET);
        assert_null(next(0));
        assert_int_equal(capsule_state(capsule), CAPSULE_BACKOFF);
        assert_int_equal(core.all_stopped, 0);
        const enum capsule_request request = n == 0 ? REQUEST_START : REQUEST_KILL;
        assert_int_equal(capsule_request(capsule, request, "the test", &refusal), DX_OK);
        assert_ptr_equal(next(0), n == 0 ? capsule->vcpus : NULL);
    }
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 1);
    core.now += 10 * HZ;
    assert_null(next(0)); /* the timer comes for nothing */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

/* --- being asked to power off --- */

static unsigned asked_bytes(struct capsule *capsule, char *text)
{
    unsigned count = 0;
    for (int byte = 0; (byte = console_port_get(&capsule->console)) >= 0; count++) {
        text[count] = (char)byte;
    }
    text[count] = '\0';
    return count;
}

/* Three keys, then patience, then the kill. */
static void test_stop_asks_then_kills(void **state)
{
    (void)state;
    char text[16];
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 1);
    const uint64_t before = core.now;
    assert_int_equal(capsule_request(capsule, REQUEST_STOP, "the test", &refusal), DX_OK);
    assert_int_equal(capsule_request(capsule, REQUEST_STOP, "the test", &refusal), DX_OK); /* changes nothing */
    for (const char *key = "suo"; *key != '\0'; key++) {
        assert_ptr_equal(interrupt(0), capsule->vcpus);
        assert_int_equal(asked_bytes(capsule, text), 1);
        assert_int_equal(text[0], *key);
        core.now = core.timer[0];
    }
    assert_int_equal(core.now - before, STOP_GRACE_SECONDS * (uint64_t)HZ);
    assert_null(interrupt(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(log_count("stopped: killed: it did not power off within 15 s"), 1);
}

/* A guest that does as it is asked stays off, whatever its policy. */
static void test_stop_is_obeyed(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 1);
    capsule->config.restart = RESTART_ALWAYS;
    assert_int_equal(capsule_request(capsule, REQUEST_STOP, "the test", &refusal), DX_OK);
    end_life(capsule, STOP_POWER_OFF);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    core.now += 60 * HZ;
    assert_null(next(0));
    assert_int_equal(log_count("it did not power off"), 1); /* the one of the test before: the log's ring goes on */
}

/* --- pausing --- */

static void test_pause_and_resume(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 3);
    struct vcpu *running = run_vcpu(capsule, 1, 1);
    struct vcpu *sleeping = run_vcpu(capsule, 2, 2);
    fake_of(2)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(sleeping);
    assert_null(next(2));
    assert_int_equal(capsule_request(capsule, REQUEST_PAUSE, "the test", &refusal), DX_OK);
    assert_int_equal(capsule_state(capsule), CAPSULE_PAUSED);
    assert_null(next(0));
    assert_null(interrupt(1));
    assert_int_equal(capsule_holds(capsule), 0);
    assert_int_equal(atomic_load(&running->run), RUN_PARKED);
    assert_int_equal(atomic_load(&sleeping->run), RUN_WAITING);
    vcpu_post(sleeping, EVENT_IPI);
    assert_int_equal(atomic_load(&sleeping->run), RUN_PARKED);
    assert_null(next(2));
    assert_int_equal(core.all_stopped, 0);
    assert_int_equal(capsule_request(capsule, REQUEST_PAUSE, "the test", &refusal), DX_WRONG_STATE);
    assert_int_equal(capsule_request(capsule, REQUEST_START, "the test", &refusal), DX_WRONG_STATE);
    assert_int_equal(capsule_request(capsule, REQUEST_RESUME, "the test", &refusal), DX_OK);
    for (unsigned n = 0; n < 3; n++) {
        assert_ptr_equal(next(n), capsule_vcpu(capsule, n));
    }
    assert_int_equal(fake_of(2)->virtual_pending, BIT(IRQ_S_SOFT));
}

/* The pause comes while a hart is about to take the vCPU, the resume before it has parked it. */
static void test_kill_while_paused(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 2);
    run_vcpu(capsule, 1, 1);
    assert_int_equal(capsule_request(capsule, REQUEST_PAUSE, "the test", &refusal), DX_OK);
    assert_null(next(0));
    assert_null(interrupt(1));
    assert_int_equal(capsule_request(capsule, REQUEST_KILL, "the test", &refusal), DX_OK);
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 1);
}

static void test_restart_while_paused(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *capsule = run_capsule(0, 1);
    assert_int_equal(capsule_request(capsule, REQUEST_PAUSE, "the test", &refusal), DX_OK);
    assert_null(next(0));
    assert_int_equal(capsule_request(capsule, REQUEST_RESTART, "the test", &refusal), DX_OK);
    assert_ptr_equal(next(0), capsule->vcpus);
    assert_int_equal(core.prepares, 2);
}

/* --- destroying --- */

/* Everyone passes; asleep or in a guest. */
static void all_pass(void)
{
    for (unsigned n = 0; n < hart_count; n++) {
        if (core.asleep[n] || core.harts[n].current == NULL) {
            (void)next(n);
        } else {
            (void)interrupt(n);
        }
    }
}

static void test_destroy(void **state)
{
    (void)state;
    struct refusal refusal;
    struct capsule *other = run_capsule(1, 1);
    struct capsule *capsule = make_capsule(0, 2);
    capsule_start(capsule);
    assert_ptr_equal(next(1), capsule->vcpus);
    assert_int_equal(capsule_request(capsule, REQUEST_DESTROY, "the test", &refusal), DX_WRONG_STATE);
    memset(core.ram[0], 0xaa, RAM_SIZE);
    capsule_stop(capsule, STOP_KILLED, "%s", "");
    assert_null(next(1));
    assert_int_equal(core.ram[0][RAM_SIZE - 1], 0xaa); /* kept for inspection */
    assert_int_equal(capsule_request(capsule, REQUEST_DESTROY, "the test", &refusal), DX_OK);
    assert_int_equal(capsule_request(capsule, REQUEST_START, "the test", &refusal), DX_WRONG_STATE);
    assert_null(next(1));
    for (size_t n = 0; n < RAM_SIZE; n++) {
        assert_int_equal(core.ram[0][n], 0);
    }
    assert_null(capsule_find("guest0"));
    assert_int_equal(core.detached, 1);
    assert_int_equal(core.discarded, 0); /* harts 0, 2 and 3 may be looking at it */
    assert_int_equal(reaper_waiting(), 1);
    all_pass();
    assert_int_equal(core.discarded, 1);
    assert_int_equal(reaper_waiting(), 0);
    assert_ptr_equal(core.harts[0].current, other->vcpus);
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
        CORE_TEST(test_further_steps),
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
        CORE_TEST(test_restart_policies),
        CORE_TEST(test_crash_loop),
        CORE_TEST(test_long_lives_are_no_loop),
        CORE_TEST(test_requests_in_back_off),
        CORE_TEST(test_stop_asks_then_kills),
        CORE_TEST(test_stop_is_obeyed),
        CORE_TEST(test_pause_and_resume),
        CORE_TEST(test_kill_while_paused),
        CORE_TEST(test_restart_while_paused),
        CORE_TEST(test_destroy),
        CORE_TEST(test_crash),
        CORE_TEST(test_crash_of_unknown_cause),
    };
    return cmocka_run_group_tests_name("capsule", tests, NULL, NULL);
}
