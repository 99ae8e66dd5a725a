/* SPDX-License-Identifier: MIT
 *
 * From a configuration to a capsule, with real memory under it: where its RAM lies, what it has, its devices at work,
 * its first moments; and that a refusal at any step gives back everything (launch.c and machine_parts.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libfdt.h>

#include "control/launch.h"
#include "control/machine_parts.h"
#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "fake_arch.h"
#include "isolation/isolation.h"
#include "support.h"

enum { POOL = 32 * MIB, POOL_ALIGN = 16 * MIB, HZ = 1000000, NANOSECONDS = 12345 };

static uint8_t kernel[5000]; /* no header: a flat binary */
static uint8_t *pool;
static struct machine machine;
static struct machine_hart tree_hart = {.usable = true};
static struct launch_host what;
static struct hart *hart;
static struct refusal refusal;
static struct capsule *capsule;

static void no_ring(struct hart *target)
{
    (void)target;
}

static void no_timer(struct hart *target, uint64_t deadline)
{
    (void)target;
    (void)deadline;
}

static struct capsule_config config_of(uint64_t memory)
{
    struct capsule_config config = {.name = "debian", .vcpus = 2, .memory = memory, .bootargs = "console=ttyS0"};
    config.kernel = (struct blob){kernel, sizeof(kernel)};
    return config;
}

/* All of the pool is free but its first page, so that the lowest fit is not at its start. */
static void give_memory(uint64_t size)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){(uintptr_t)pool + PAGE_SIZE, size - PAGE_SIZE});
    memory_init(&map);
}

static int setup(void **state)
{
    (void)state;
    what = (struct launch_host){.machine = &machine};
    for (unsigned kind = 0; kind < HART_KINDS; kind++) {
        strcpy(what.kinds[kind].isa, XLEN == 64 ? "rv64imafdch_sstc" : "rv32imac");
        strcpy(what.kinds[kind].mmu_type, "riscv,sv39");
    }
    fake_arch_reset();
    hart = hart_this();
    hart->tree = &tree_hart;
    hart->features.pmp = (struct pmp_features){.entries = 16, .granule_log = 2};
    hart->timer_programmed = TIMER_NEVER;
    what.kinds[HART_PMP].features = hart->features;
    atomic_store(&hart->online, true);
    harts[0] = hart;
    hart_count = hart_kind_count[HART_PMP] = 1;
    hart_ops = (struct hart_ops){.ring = no_ring, .ring_clear = no_ring, .timer_set = no_timer};
    machine.timebase_hz = HZ;
    scheduler_init(HZ);
    capsules = NULL;
    capsule = NULL;
    memset(kernel, 0x5a, sizeof(kernel));
    give_memory(POOL);
    launch_init(&what);
    log_set_level(LOG_INFO);
    const struct range guard = {(uintptr_t)pool + POOL, PAGE_SIZE};
    const struct range image = {(uintptr_t)pool + POOL + PAGE_SIZE, PAGE_SIZE};
    return isolation_hart_prepare(hart, guard, image, &refusal) == DX_OK ? 0 : -1;
}

static int make_pool(void **state)
{
    (void)state;
    pool = aligned_alloc(POOL_ALIGN, POOL + POOL_ALIGN);
    return pool == NULL ? -1 : 0;
}

static int free_pool(void **state)
{
    (void)state;
    free(pool);
    return 0;
}

static struct vcpu *run(void)
{
    capsule_start(capsule);
    return (struct vcpu *)(void *)scheduler_next(hart);
}

static jmp_buf asleep;

static void fall_asleep(void)
{
    longjmp(asleep, 1);
}

/* Lets the capsule's stop be committed; the hart goes to sleep over it. */
static void leave(void)
{
    fake_arch.on_wait = fall_asleep;
    if (setjmp(asleep) == 0) {
        scheduler_next(hart);
    }
    fake_arch.on_wait = NULL;
    atomic_store(&hart->idle, false);
}

/* --- making --- */

static void test_create(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(4 * MIB);
    uint64_t before = memory_free_bytes();
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_ptr_equal(capsules, capsule);
    assert_int_equal(capsule_state(capsule), CAPSULE_LOADED);
    assert_true(capsule->id > 0);
    assert_int_equal(capsule->ram.size, 4 * MIB);
    assert_int_equal(capsule->ram.base % (4 * MIB), 0);
    assert_int_equal(capsule->pieces[0].host.at, capsule->ram.base);
    assert_string_equal(capsule->isolation->name, "pmp");
    assert_true(before - memory_free_bytes() > 4 * MIB);
    for (uint32_t id = 0; id < 2; id++) {
        const struct vcpu *vcpu = capsule_vcpu(capsule, id);
        assert_int_equal((uintptr_t)vcpu % 64, 0);
        assert_int_equal(vcpu->id, id);
        assert_ptr_equal(vcpu->capsule, capsule);
        assert_int_equal(vcpu->hsm, SBI_HSM_STOPPED);
        assert_int_equal(vcpu->run, RUN_OFF);
        assert_null(vcpu->context.vector);
    }
    char log[4096];
    char line[160];
    log_copy(log, sizeof(log));
    snprintf(
        line, sizeof(line),
        "Created capsule: ID %u (debian), physical RAM base 0x%llx, size 4 MiB, 2 vCPUs\n[-] CPU 0: Supervisor kernel "
        "entry: 0x%llx\n",
        (unsigned)capsule->id, (unsigned long long)capsule->ram.base, (unsigned long long)capsule->plan.entry);
    assert_non_null(strstr(log, line));
}

static void test_list_is_in_order(void **state)
{
    (void)state;
    struct capsule *made[3];
    const struct capsule_config config = config_of(2 * MIB);
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(capsule_create(&config, &made[n], &refusal), DX_OK);
        assert_int_equal(made[n]->id, made[0]->id + n);
    }
    assert_ptr_equal(capsules, made[0]);
    assert_ptr_equal(made[0]->next, made[1]);
    assert_ptr_equal(made[1]->next, made[2]);
    assert_null(made[2]->next);
}

static void test_vectors(void **state)
{
    (void)state;
    what.kinds[HART_PMP].features.vector = true;
    what.kinds[HART_PMP].features.vlenb = 24; /* odd sizes keep the vCPUs apart all the same */
    const struct capsule_config config = config_of(2 * MIB);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    const uint8_t *first = capsule_vcpu(capsule, 0)->context.vector;
    assert_true(first >= (uint8_t *)(capsule_vcpu(capsule, 0) + 1));
    assert_true(first + 32 * 24 <= (uint8_t *)capsule_vcpu(capsule, 1));
}

/* --- where RAM lies --- */

static void test_places(void **state)
{
    (void)state;
    const uint64_t start = (uintptr_t)pool;
    const uint64_t align = XLEN == 32 ? 4 * MIB : 2 * MIB;
    static const struct {
        uint64_t memory, align; /* 0: the usual one */
    } cases[] = {
        {8 * MIB, 8 * MIB},   /* a power of two at its own multiple, if there is one: one PMP entry */
        {64 * KIB, 64 * KIB}, /* small ones too */
        {24 * MIB, 0},        /* anything else where no superpage straddles its edge */
        {3 * MIB + PAGE_SIZE, 0},
        {12 * KIB, 0},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        give_memory(POOL);
        const struct capsule_config config = config_of(cases[n].memory);
        uint64_t wanted = cases[n].align != 0 ? cases[n].align : align;
        enum dx_error error = capsule_create(&config, &capsule, &refusal);
        if (cases[n].memory == 12 * KIB && error == DX_TOO_LARGE) {
            continue; /* the kernel and its tree don't fit; the place was found */
        }
        assert_int_equal(error, DX_OK);
        assert_int_equal(capsule->ram.base, align_up(start + PAGE_SIZE, wanted));
        capsules = NULL;
    }
}

/* No room at a power of two's own multiple: then at the usual one, with two PMP entries. */
static void test_second_choice(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(16 * MIB);
    give_memory(28 * MIB);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(capsule->ram.base, (uintptr_t)pool + (XLEN == 32 ? 4 * MIB : 2 * MIB));
}

static void test_fixed_place(void **state)
{
    (void)state;
    struct capsule_config config = config_of(4 * MIB);
    config.has_memory_base = true;
    config.memory_base = (uintptr_t)pool + 8 * MIB;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(capsule->ram.base, config.memory_base);
    struct capsule *second;
    assert_int_equal(capsule_create(&config, &second, &refusal), DX_NO_MEMORY); /* it isn't free any more */
    assert_non_null(strstr(refusal.text, "debian: memory-base 0x"));
    static const uint64_t bad[] = {0, PAGE_SIZE, UINT64_MAX - PAGE_SIZE + 1, 1ull << 55};
    for (size_t n = 0; n < ARRAY_LENGTH(bad); n++) {
        config.memory_base = bad[n];
        assert_int_equal(capsule_create(&config, &second, &refusal), DX_NO_MEMORY);
    }
    assert_null(capsule->next);
}

/* --- refusals, which leave nothing behind --- */

static void expect_refusal(const struct capsule_config *config, enum dx_error error, const char *text)
{
    uint64_t before = memory_free_bytes();
    assert_int_equal(capsule_create(config, &capsule, &refusal), error);
    assert_int_equal(refusal.error, error);
    assert_non_null(strstr(refusal.text, text));
    assert_int_equal(memory_free_bytes(), before);
    assert_null(capsules);
}

static void test_refusals(void **state)
{
    (void)state;
    struct capsule_config config = config_of(4 * MIB);
    config.isolation = ISOLATION_HYP;
    expect_refusal(&config, DX_NO_HYP, "debian: isolation \"hyp\", but no hart has the H extension");
    config = config_of(1024ull * MIB);
    expect_refusal(&config, DX_NO_MEMORY, "1024 MiB does not fit: 3");
    config = config_of(4 * MIB);
    config.has_kernel_offset = true;
    config.kernel_offset = 4 * MIB;
    uint64_t before = memory_free_bytes();
    assert_int_not_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(memory_free_bytes(), before);
    config = config_of(4 * MIB);
    hart->features.pmp.entries = 2; /* no entry is left for the capsule's RAM */
    expect_refusal(&config, DX_NO_PMP, "PMP entries");
}

/* Memory ends at each step in turn: at every size that is too small nothing is lost, and one page more succeeds. */
static void test_memory_ends(void **state)
{
    (void)state;
    struct capsule_config config = config_of(64 * KIB);
    config.vcpus = CAPSULE_VCPUS_MAX;
    unsigned refused = 0;
    for (uint64_t size = 2 * PAGE_SIZE;; size += PAGE_SIZE) {
        give_memory(size);
        uint64_t before = memory_free_bytes();
        enum dx_error error = capsule_create(&config, &capsule, &refusal);
        if (error == DX_OK) {
            break;
        }
        assert_int_equal(error, DX_NO_MEMORY);
        assert_int_equal(memory_free_bytes(), before);
        assert_null(capsules);
        refused++;
        assert_true(size < POOL);
    }
    assert_true(refused > 10);
}

/* --- running --- */

static void test_first_moments(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(4 * MIB);
    launch_seed((const uint8_t *)"entropy", 7);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    memset((void *)(uintptr_t)capsule->ram.base, 0xaa, 4 * MIB);
    const struct vcpu *vcpu = run();
    assert_ptr_equal(vcpu, capsule->vcpus);
    assert_int_equal(vcpu->context.pc, capsule->plan.entry);
    assert_memory_equal((void *)(uintptr_t)capsule->plan.entry, kernel, sizeof(kernel));
    const void *tree = (const void *)(uintptr_t)vcpu->context.x[REG_A1];
    assert_int_equal(fdt_check_full(tree, (size_t)capsule->plan.tree_room), 0);
    int chosen = fdt_path_offset(tree, "/chosen");
    int length = 0;
    assert_true(chosen >= 0);
    const void *seed = fdt_getprop(tree, chosen, "rng-seed", &length);
    assert_int_equal(length, 64);
    uint8_t first[64];
    memcpy(first, seed, sizeof(first));
    assert_string_equal(fdt_getprop(tree, chosen, "bootargs", NULL), "console=ttyS0");
    /* A restart has the same tree but for a fresh seed. */
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_ptr_equal(scheduler_next(hart), &vcpu->context);
    chosen = fdt_path_offset(tree, "/chosen");
    assert_memory_not_equal(fdt_getprop(tree, chosen, "rng-seed", NULL), first, sizeof(first));
    capsule_stop(capsule, STOP_KILLED, "%s", "");
    leave();
}

static void test_tree_without_room(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(4 * MIB);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    capsule->plan.tree_room = 64;
    capsule_start(capsule);
    leave();
    assert_int_equal(capsule_state(capsule), CAPSULE_CRASHED);
}

/* --- devices --- */

static struct device *find(uint64_t address, unsigned width)
{
    struct device *device = device_bus_find(&capsule->bus, (gpa_t){address}, width);
    assert_non_null(device);
    return device;
}

static uint64_t read(uint64_t address, unsigned width)
{
    return device_read(find(address, width), (gpa_t){address}, width);
}

static void write(uint64_t address, unsigned width, uint64_t value)
{
    device_write(find(address, width), (gpa_t){address}, width, value);
}

static uint64_t nanoseconds(void)
{
    return NANOSECONDS;
}

static struct vcpu *running_guest(void)
{
    const struct capsule_config config = config_of(4 * MIB);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    return run();
}

static void end_guest(void)
{
    capsule_stop(capsule, STOP_KILLED, "%s", "");
    leave();
}

enum { UART = 0x10000000, PLIC = 0x0c000000, RTC = 0x101000, SYSCON = 0x100000, UART_IER = 1, UART_IRQ = 10 };

/* From the terminal's byte through UART and PLIC to the vCPU's interrupt, and back. */
static void test_console_interrupt(void **state)
{
    (void)state;
    const struct vcpu *vcpu = running_guest();
    write(UART + UART_IER, 1, 1);
    write(PLIC + 4 * UART_IRQ, 4, 1);
    write(PLIC + 0x2000 + 0x80, 4, 1 << UART_IRQ); /* context 1: vCPU 0 in S-mode */
    assert_true(console_port_feed(&capsule->console, 'k'));
    console_port_notify(&capsule->console);
    assert_int_equal(atomic_load(&vcpu->external), 1);
    scheduler_next(hart);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_EXTERNAL));
    assert_int_equal(read(PLIC + 0x201004, 4), UART_IRQ);
    assert_int_equal(read(UART, 1), 'k');
    write(PLIC + 0x201004, 4, UART_IRQ);
    scheduler_next(hart);
    assert_int_equal(fake_arch.virtual_pending, 0);
    /* With the interrupt up at a reset, the next life begins without. */
    assert_true(console_port_feed(&capsule->console, 'l'));
    console_port_notify(&capsule->console);
    capsule_stop(capsule, STOP_RESET, "%s", "");
    scheduler_next(hart);
    assert_int_equal(atomic_load(&vcpu->external), 0);
    assert_int_equal(fake_arch.virtual_pending, 0);
    assert_int_equal(read(UART + UART_IER, 1), 0);
    assert_false(console_port_has_input(&capsule->console));
    end_guest();
}

/* Whoever waits for the console's room is told. */
static void test_console_waiters(void **state)
{
    (void)state;
    struct vcpu *vcpu = running_guest();
    uint8_t byte;
    while (console_port_put(&capsule->console, 'x')) {
    }
    atomic_fetch_or(&capsule->console_waiters, 1);
    vcpu_block(vcpu);
    leave();
    assert_int_equal(atomic_load(&vcpu->run), RUN_BLOCKED);
    assert_int_equal(console_port_drain(&capsule->console, &byte, 1), 1);
    console_port_notify(&capsule->console);
    assert_int_equal(atomic_load(&capsule->console_waiters), 0);
    assert_ptr_equal(scheduler_next(hart), &vcpu->context);
    end_guest();
}

static void test_power_switch(void **state)
{
    (void)state;
    running_guest();
    write(SYSCON, 4, 0x7777);
    scheduler_next(hart);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING); /* again */
    write(SYSCON, 4, 0x5555);
    leave();
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

static void test_clock(void **state)
{
    (void)state;
    machine_parts_set_clock(NULL);
    running_guest();
    assert_int_equal(read(RTC, 4), 0);
    machine_parts_set_clock(nanoseconds);
    assert_int_equal(read(RTC, 4), NANOSECONDS);
    machine_parts_set_clock(NULL);
    end_guest();
}

static uint64_t from_ticks(void)
{
    return fake_arch.time * (1000000000u / HZ);
}

/* The alarm of the capsule's clock is a timer on the hart that set it, and an interrupt when it is due. */
static void test_alarm(void **state)
{
    (void)state;
    enum { ALARM_LOW = 0x08, ALARM_HIGH = 0x0c, IRQ_ENABLED = 0x10, CLEAR_ALARM = 0x14, RTC_IRQ = 11 };
    running_guest();
    machine_parts_set_clock(from_ticks);
    fake_arch.time = 1000;
    write(RTC + IRQ_ENABLED, 4, 1);
    write(PLIC + 4 * RTC_IRQ, 4, 1);
    write(PLIC + 0x2080, 4, 1 << RTC_IRQ);
    write(RTC + ALARM_HIGH, 4, 0);
    write(RTC + ALARM_LOW, 4, 3000 * (1000000000u / HZ));
    uint64_t due = timer_heap_next(&hart->timers);
    assert_true(due >= 3000 && due <= 3001);
    fake_arch.time = due;
    timer_heap_run(&hart->timers, due);
    assert_int_equal(read(PLIC + 0x1000, 4), 1 << RTC_IRQ);
    /* One that is taken back, and one that is further away than the hypervisor's clock counts. */
    write(RTC + ALARM_LOW, 4, 9000 * (1000000000u / HZ));
    write(RTC + CLEAR_ALARM, 4, 1);
    assert_int_equal(timer_heap_next(&hart->timers), TIMER_NEVER);
    write(RTC + ALARM_HIGH, 4, 0x7fffffff);
    write(RTC + ALARM_LOW, 4, 0);
    due = timer_heap_next(&hart->timers);
    assert_true(due > fake_arch.time && due <= fake_arch.time + 366ull * 86400 * HZ);
    write(RTC + CLEAR_ALARM, 4, 1);
    machine_parts_set_clock(NULL);
    end_guest();
}

/* RAM where the windows usually are: they move beyond it, all together. */
static void test_windows_move(void **state)
{
    (void)state;
    static const struct {
        struct range ram;
        uint64_t moved;
    } cases[] = {
        {{0x80000000, 0x10000000}, 0},      {{0x20000000, 0x10000000}, 0},          {{0, 0x08000000}, 0x20000000},
        {{0x1ffff000, 0x1000}, 0x20000000}, {{0x10000000, 0x20000000}, 0x40000000}, {{0, 0x20000000}, 0x20000000},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        struct capsule *fake = calloc(1, sizeof(*fake));
        fake->config.vcpus = 1;
        fake->ram = cases[n].ram;
        capsule = fake;
        assert_int_equal(machine_parts_create(fake, &refusal), DX_OK);
        static const uint64_t windows[] = {UART, PLIC, RTC, SYSCON};
        for (size_t window = 0; window < ARRAY_LENGTH(windows); window++) {
            struct range place = find(windows[window] + cases[n].moved, 1)->window;
            assert_int_equal(place.base, windows[window] + cases[n].moved);
            assert_false(range_overlaps(place, fake->ram));
        }
        machine_parts_destroy(fake);
        machine_parts_destroy(fake); /* once more does nothing */
        free(fake);
    }
}

/* A place on the bus that is taken is refused, and names the device. */
static void test_bus_is_taken(void **state)
{
    (void)state;
    struct capsule *fake = calloc(1, sizeof(*fake));
    struct device squatter = {.window = {UART, 0x1000}};
    fake->config.vcpus = 1;
    fake->ram = (struct range){0x80000000, MIB};
    assert_int_equal(device_bus_add(&fake->bus, &squatter), DX_OK);
    assert_int_equal(machine_parts_create(fake, &refusal), DX_OVERLAP);
    assert_non_null(strstr(refusal.text, "uart"));
    machine_parts_destroy(fake);
    free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_create, setup),
        cmocka_unit_test_setup(test_list_is_in_order, setup),
        cmocka_unit_test_setup(test_vectors, setup),
        cmocka_unit_test_setup(test_places, setup),
        cmocka_unit_test_setup(test_second_choice, setup),
        cmocka_unit_test_setup(test_fixed_place, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_memory_ends, setup),
        cmocka_unit_test_setup(test_first_moments, setup),
        cmocka_unit_test_setup(test_tree_without_room, setup),
        cmocka_unit_test_setup(test_console_interrupt, setup),
        cmocka_unit_test_setup(test_console_waiters, setup),
        cmocka_unit_test_setup(test_power_switch, setup),
        cmocka_unit_test_setup(test_clock, setup),
        cmocka_unit_test_setup(test_alarm, setup),
        cmocka_unit_test_setup(test_windows_move, setup),
        cmocka_unit_test_setup(test_bus_is_taken, setup),
    };
    return cmocka_run_group_tests_name("launch", tests, make_pool, free_pool);
}
