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
#include "core/capsules.h"
#include "core/hart.h"
#include "core/life.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/panic.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "core/steal.h"
#include "device/virtio_blk.h"
#include "diosix/sbi.h"
#include "fake_arch.h"
#include "isolation/isolation.h"
#include "isolation/pmp_plan.h"
#include "monitor/terminal_parts.h"
#include "monitor/terminal.h"
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
    struct capsule_config config = {
        .name = "debian", .vcpus = 2, .memory = memory, .bootargs = "console=ttyS0", .weight = CAPSULE_WEIGHT_USUAL};
    config.kernel = (struct blob){kernel, sizeof(kernel)};
    return config;
}

static void give_memory_from(uint64_t offset, uint64_t size)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){(uintptr_t)pool + offset, size - offset});
    memory_init(&map);
}

/* All of the pool is free but its first page, so that the lowest fit is not at its start. */
static void give_memory(uint64_t size)
{
    give_memory_from(PAGE_SIZE, size);
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
    hart_count = 1;
    isolation_start(false);
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

/* Memory ends at each step in turn: at every size that is too small nothing is lost, and one page more succeeds. With
 * nothing free below RAM the last step of all fails too. */
static void test_memory_ends(void **state)
{
    (void)state;
    struct capsule_config config = config_of(128 * KIB);
    config.vcpus = CAPSULE_VCPUS_MAX;
    config.device_count = 2;
    config.devices[0] = (struct device_config){.name = "disk0", .data = {kernel, 9 * DISK_SECTOR}};
    config.devices[1] = config.devices[0];
    for (uint64_t from = 0; from <= PAGE_SIZE; from += PAGE_SIZE) {
        unsigned refused = 0;
        enum dx_error error = DX_NO_MEMORY;
        capsules = NULL;
        for (uint64_t size = 2 * PAGE_SIZE; error != DX_OK; size += PAGE_SIZE) {
            give_memory_from(from, size);
            uint64_t before = memory_free_bytes();
            error = capsule_create(&config, &capsule, &refusal);
            if (error != DX_OK) {
                assert_int_equal(error, DX_NO_MEMORY);
                assert_int_equal(memory_free_bytes(), before);
                assert_null(capsules);
                refused++;
            }
            assert_true(size < POOL);
        }
        assert_true(refused > 10);
    }
}

/* --- on a machine with H --- */

/* As the pool's start, but in fragments: count of these many bytes, each with as much between it and the next. */
static void give_fragments(unsigned count, uint64_t size)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    for (unsigned n = 0; n < count; n++) {
        memory_map_add(&map, (struct range){(uintptr_t)pool + 2 * n * size, size});
    }
    memory_map_add(&map, (struct range){(uintptr_t)pool + POOL, POOL_ALIGN / 2}); /* for the hypervisor, and tables */
    memory_map_carve(&map, (struct range){(uintptr_t)pool + POOL, 2 * PAGE_SIZE});
    for (uint64_t at = POOL + RAM_ALIGN; at < POOL + POOL_ALIGN; at += RAM_ALIGN) { /* no RAM of capsules there */
        memory_map_carve(&map, (struct range){(uintptr_t)pool + at - PAGE_SIZE, PAGE_SIZE});
    }
    memory_init(&map);
}

static int hyp_setup(void **state)
{
    if (setup(state) != 0) {
        return -1;
    }
    hart->arch.is_virtual = 1;
    hart->features.hypervisor = true;
    hart->features.stage2_modes = XLEN == 32 ? 1U << 1 : 1U << 8;
    hart->features.vmid_bits = 7;
    isolation_start(false);
    what.kinds[HART_HYP].features = hart->features;
    return 0;
}

static void expect_log(const char *text)
{
    static char log[16384];
    log_copy(log, sizeof(log));
    assert_non_null(strstr(log, text));
}

static void test_create_hyp(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(4 * MIB);
    char line[160];
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_string_equal(capsule->isolation->name, "hyp");
    assert_int_equal(capsule->hart_kind, HART_HYP);
    assert_int_equal(capsule->ram.base, 0x80000000);
    assert_int_equal(capsule->piece_count, 1);
    assert_true(capsule->stage2.memory.size != 0);
    assert_true(capsule_vcpu(capsule, 0)->context.is_virtual && capsule_vcpu(capsule, 1)->context.is_virtual);
    snprintf(line, sizeof(line), "Created capsule: ID %u (debian), physical RAM base 0x%llx, size 4 MiB, 2 vCPUs\n",
             (unsigned)capsule->id, (unsigned long long)capsule->pieces[0].host.at);
    expect_log(line);
    snprintf(line, sizeof(line), "Capsule %u (debian): isolation hyp, guest-physical RAM base 0x80000000, 1 piece, ",
             (unsigned)capsule->id);
    expect_log(line);
}

/* In S-mode on such a hart a guest would be in HS-mode: it runs in VS-mode, without stage 2. */
static void test_create_pmp_on_a_hart_with_h(void **state)
{
    (void)state;
    struct capsule_config config = config_of(4 * MIB);
    char line[160];
    config.isolation = ISOLATION_PMP;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_string_equal(capsule->isolation->name, "pmp");
    assert_int_equal(capsule->hart_kind, HART_HYP);
    assert_int_equal(capsule->ram.base, capsule->pieces[0].host.at);
    assert_int_equal(capsule->stage2.memory.size, 0);
    assert_true(capsule_vcpu(capsule, 0)->context.is_virtual);
    snprintf(line, sizeof(line), "Capsule %u (debian): isolation pmp, %u PMP entries, in VS-mode without stage 2\n",
             (unsigned)capsule->id, (unsigned)capsule->pmp.count);
    expect_log(line);
}

/* A capsule is told of what harts of its own kind have, and has room for their vectors. */
static void test_kinds_differ(void **state)
{
    (void)state;
    struct capsule_config config = config_of(4 * MIB);
    strcpy(what.kinds[HART_PMP].isa, XLEN == 64 ? "rv64imac_zba" : "rv32imac_zba");
    strcpy(what.kinds[HART_HYP].isa, XLEN == 64 ? "rv64imac_zbb" : "rv32imac_zbb");
    launch_init(&what);
    what.kinds[HART_HYP].features.vlenb = 16;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(capsule->vcpus->context.vector_size, 32 * 16);
    const struct vcpu *vcpu = run();
    const void *tree = capsule_ram(capsule, (gpa_t){vcpu->context.x[REG_A1]}, capsule->plan.tree_room);
    assert_non_null(tree);
    const char *isa = fdt_getprop(tree, fdt_path_offset(tree, "/cpus/cpu@0"), "riscv,isa", NULL);
    assert_non_null(isa);
    assert_non_null(strstr(isa, "zbb"));
    assert_null(strstr(isa, "zba"));
    capsule_stop(capsule, STOP_KILLED, "%s", "");
    leave();
}

/* As the guest sees it, wherever it lies in the host. */
static void read_guest(uint64_t address, uint8_t *bytes, uint64_t length)
{
    while (length > 0) {
        uint64_t part = length;
        const void *place = capsule_ram_part(capsule, (gpa_t){address}, &part);
        assert_non_null(place);
        memcpy(bytes, place, (size_t)part);
        address += part;
        bytes += part;
        length -= part;
    }
}

/* Fragments of 4 MiB make a capsule of 16, with an initrd across an edge, and its tree in the last. */
static void test_hyp_in_pieces(void **state)
{
    (void)state;
    struct capsule_config config = config_of(16 * MIB);
    static uint8_t initrd[5 * MIB], seen[5 * MIB];
    for (size_t n = 0; n < sizeof(initrd); n++) {
        initrd[n] = (uint8_t)(n * 31 + (n >> 9));
    }
    config.initrd = (struct blob){initrd, sizeof(initrd)};
    memset(pool, 0xaa, POOL);
    give_fragments(4, 4 * MIB);
    const uint64_t before = memory_free_bytes();
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(capsule->piece_count, 4);
    assert_true(before - memory_free_bytes() > 16 * MIB);
    expect_log("guest-physical RAM base 0x80000000, 4 pieces, ");
    for (unsigned life = 0; life < 2; life++) {
        const struct vcpu *vcpu = life == 0 ? run() : (struct vcpu *)(void *)scheduler_next(hart);
        assert_int_equal(vcpu->context.pc, 0x80000000);
        read_guest(capsule->plan.entry, seen, sizeof(kernel));
        assert_memory_equal(seen, kernel, sizeof(kernel));
        read_guest(capsule->plan.initrd.base, seen, sizeof(initrd));
        assert_memory_equal(seen, initrd, sizeof(initrd));
        const void *tree = capsule_ram(capsule, (gpa_t){vcpu->context.x[REG_A1]}, capsule->plan.tree_room);
        assert_int_equal(fdt_check_full(tree, (size_t)capsule->plan.tree_room), 0);
        assert_ptr_equal(tree, (void *)(uintptr_t)(capsule->pieces[3].host.at + capsule->plan.tree_offset - 12 * MIB));
        for (unsigned n = 0; n < 4; n++) { /* between the fragments nothing was written */
            const uint8_t *gap = pool + 2 * n * 4 * MIB + 4 * MIB;
            assert_true(gap[0] == 0xaa && gap[4 * MIB - 1] == 0xaa);
        }
        memset((void *)(uintptr_t)capsule->pieces[2].host.at, 0x77, 4 * MIB); /* the guest at work */
        capsule_stop(capsule, life == 0 ? STOP_RESET : STOP_KILLED, "%s", "");
    }
    leave();
}

/* A place of the guest's own choice, which need not exist in the host. */
static void test_hyp_memory_base(void **state)
{
    (void)state;
    static const uint64_t bases[] = {0, 0x1000, 0x20000000, 0x80200000, 0x80008000};
    for (size_t n = 0; n < ARRAY_LENGTH(bases); n++) {
        struct capsule_config config = config_of(4 * MIB);
        give_memory(POOL);
        capsules = NULL;
        config.has_memory_base = true;
        config.memory_base = bases[n];
        assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
        assert_int_equal(capsule->ram.base, bases[n]);
        const struct vcpu *vcpu = run();
        assert_int_equal(vcpu->context.pc, bases[n]);
        const void *tree = capsule_ram(capsule, (gpa_t){vcpu->context.x[REG_A1]}, capsule->plan.tree_room);
        assert_int_equal(fdt_check_full(tree, (size_t)capsule->plan.tree_room), 0);
        capsule_stop(capsule, STOP_KILLED, "%s", "");
        leave();
    }
}

/* Two capsules at the same guest-physical place are two places of the host. */
static void test_hyp_same_memory_base(void **state)
{
    (void)state;
    struct capsule *made[2];
    struct capsule_config config = config_of(4 * MIB);
    config.has_memory_base = true;
    config.memory_base = 0x40000000;
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(capsule_create(&config, &made[n], &refusal), DX_OK);
        assert_int_equal(made[n]->ram.base, 0x40000000);
    }
    const struct range first = {made[0]->pieces[0].host.at, 4 * MIB};
    const struct range second = {made[1]->pieces[0].host.at, 4 * MIB};
    assert_false(range_overlaps(first, second));
    assert_false(range_overlaps(made[0]->stage2.memory, made[1]->stage2.memory));
}

static void test_hyp_refusals(void **state)
{
    (void)state;
    struct capsule_config config = config_of(1024ull * MIB);
    expect_refusal(&config, DX_NO_MEMORY, "debian: memory of 1024 MiB does not fit into 4 pieces: 3");
    config = config_of(4 * MIB);
    config.has_memory_base = true;
    config.memory_base = 1ull << (XLEN == 32 ? 34 : 41);
    expect_refusal(&config, DX_BAD_VALUE, "debian: memory-base: no stage-2 mode of this machine reaches 0x");
    config = config_of(4 * MIB);
    config.kernel.length = 0;
    config.has_kernel_offset = true;
    config.kernel_offset = 4 * MIB;
    expect_refusal(&config, DX_BAD_VALUE, "kernel-offset");
    config = config_of(4 * MIB);
    hart->features.pmp.entries = 3; /* guard, image, tables, and none for RAM */
    expect_refusal(&config, DX_NO_PMP, "PMP entries");
}

/* Fragments that are too many; and a memory-base at which their edges would not be where large pages have theirs: then
 * the tree could lie across one. In one piece that is allowed. */
static void test_hyp_refusals_of_pieces(void **state)
{
    (void)state;
    struct capsule_config config = config_of(20 * MIB);
    give_fragments(4, 4 * MIB);
    expect_refusal(&config, DX_NO_MEMORY, "debian: memory of 20 MiB does not fit into 4 pieces: ");
    config = config_of(8 * MIB + PAGE_SIZE);
    expect_refusal(&config, DX_NO_MEMORY, "does not fit");
    static const uint64_t bases[] = {0x80008000, 0x80001000, 0x801f8000};
    for (size_t n = 0; n < ARRAY_LENGTH(bases); n++) {
        config = config_of(8 * MIB);
        config.has_memory_base = true;
        config.memory_base = bases[n];
        expect_refusal(&config, DX_NO_MEMORY, "does not fit");
    }
    config.memory_base = 0x80400000;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(capsule->piece_count, 2);
}

/* As test_memory_ends, with tables. */
static void test_hyp_memory_ends(void **state)
{
    test_memory_ends(state);
    assert_string_equal(capsule->isolation->name, "hyp");
}

/* Any capsule on any fragments, made or refused: what is taken is told by what it has, and all of it comes back. */
static void test_hyp_at_random(void **state)
{
    (void)state;
    uint64_t seed = 0x4879;
    unsigned made = 0, pieces = 0;
    for (unsigned round = 0; round < 300; round++) {
        static struct memory map;
        memset(&map, 0, sizeof(map));
        for (uint64_t at = 0; at < POOL; at += RAM_ALIGN) {
            if (test_below(&seed, 8) < 6) {
                memory_map_add(&map, (struct range){(uintptr_t)pool + at, RAM_ALIGN});
            }
        }
        memory_map_carve(&map, (struct range){(uintptr_t)pool + test_below(&seed, POOL), PAGE_SIZE});
        memory_map_add(&map, (struct range){(uintptr_t)pool + POOL + 2 * PAGE_SIZE, test_below(&seed, 64) * PAGE_SIZE});
        memory_init(&map);
        struct capsule_config config = config_of((1 + test_below(&seed, 6)) * (uint64_t)RAM_ALIGN);
        config.memory -= test_below(&seed, 4) == 0 ? PAGE_SIZE * test_below(&seed, 300) : 0;
        config.has_memory_base = test_below(&seed, 3) == 0;
        config.memory_base = test_below(&seed, 100) * (test_below(&seed, 2) == 0 ? (uint64_t)PAGE_SIZE : 8 * MIB);
        config.isolation = test_below(&seed, 8) == 0 ? ISOLATION_PMP : ISOLATION_AUTO;
        const uint64_t before = memory_free_bytes();
        capsules = NULL;
        if (capsule_create(&config, &capsule, &refusal) != DX_OK) {
            assert_true(memory_free_bytes() == before);
            assert_null(capsules);
            continue;
        }
        made++;
        pieces += capsule->piece_count > 1;
        uint64_t sum = 0;
        for (size_t n = 0; n < capsule->piece_count; n++) {
            sum += capsule->pieces[n].size;
        }
        assert_true(sum == config.memory);
        assert_true(before - memory_free_bytes() > sum + capsule->stage2.memory.size);
        assert_non_null(
            capsule_ram(capsule, (gpa_t){capsule->ram.base + capsule->plan.tree_offset}, capsule->plan.tree_room));
    }
    assert_true(made > 50 && pieces > 10);
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

/* Where a vCPU was told of its steal time, and how much, is forgotten with the life. */
static void test_new_life_has_lost_no_time(void **state)
{
    (void)state;
    const struct capsule_config config = config_of(4 * MIB);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    struct vcpu *vcpu = run();
    assert_true(steal_tell(vcpu, (gpa_t){capsule->ram.base + MIB}));
    vcpu->steal_ticks += 77;
    capsule_vcpu(capsule, 1)->sta.on = true;
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_ptr_equal(scheduler_next(hart), &vcpu->context);
    assert_false(vcpu->sta.on || capsule_vcpu(capsule, 1)->sta.on);
    const uint64_t *steal = (const uint64_t *)(uintptr_t)(capsule->ram.base + MIB + 8);
    assert_int_equal(*steal, 0);
    assert_true(steal_tell(vcpu, (gpa_t){capsule->ram.base + MIB}));
    assert_int_equal(*steal, 0);
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
    console_port_show(&capsule->console, true);
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

enum { WATCHDOG = 0x102000, WATCHDOG_CTRL = WATCHDOG + 0x10, WATCHDOG_MODE = WATCHDOG + 0x18, FEED = 0x14af };

static void guest_with_watchdog(uint32_t seconds)
{
    struct capsule_config config = config_of(4 * MIB);
    config.watchdog = true;
    config.watchdog_seconds = seconds;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(timer_heap_next(&hart->timers), TIMER_NEVER);
    fake_arch.time = 1000;
    run();
}

/* Lets the host's time come to the next deadline of the hart, which must be this many seconds away. */
static void wait_for_watchdog(unsigned seconds)
{
    const uint64_t due = timer_heap_next(&hart->timers);
    assert_in_range(due, fake_arch.time + (uint64_t)seconds * HZ, fake_arch.time + (uint64_t)seconds * HZ + 1);
    fake_arch.time = due;
    timer_heap_run(&hart->timers, due);
}

static void test_no_watchdog(void **state)
{
    (void)state;
    running_guest();
    assert_null(device_bus_find(&capsule->bus, (gpa_t){WATCHDOG}, 4));
    machine_parts_resume(capsule);
    machine_parts_silence(capsule);
    end_guest();
}

/* The guest starts it, feeds it, and hangs. */
static void test_watchdog(void **state)
{
    (void)state;
    guest_with_watchdog(0);
    assert_int_equal(timer_heap_next(&hart->timers), TIMER_NEVER);
    write(WATCHDOG_MODE, 4, 0xb1);
    fake_arch.time += 10 * HZ;
    write(WATCHDOG_CTRL, 4, FEED);
    wait_for_watchdog(16);
    leave();
    assert_true(capsule_state(capsule) == CAPSULE_STOPPED || capsule_state(capsule) == CAPSULE_CRASHED);
    expect_log("stopped: watchdog: not fed for 16 s\n");
    machine_parts_silence(capsule);
    assert_int_equal(timer_heap_next(&hart->timers), TIMER_NEVER);
}

static void test_shortest_watchdog(void **state)
{
    (void)state;
    guest_with_watchdog(0);
    write(WATCHDOG_MODE, 4, 0x01);
    fake_arch.time += HZ / 2 + 1;
    timer_heap_run(&hart->timers, fake_arch.time);
    leave();
    expect_log("stopped: watchdog: not fed for 500 ms\n");
    machine_parts_silence(capsule);
}

/* It runs from the first instruction on, in each life. */
static void test_watchdog_from_the_start(void **state)
{
    (void)state;
    guest_with_watchdog(90);
    assert_int_equal(read(WATCHDOG_MODE, 4), 0xb1);
    fake_arch.time += 80 * HZ;
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_non_null(scheduler_next(hart));
    wait_for_watchdog(90);
    leave();
    expect_log("stopped: watchdog: not fed for 90 s\n");
    machine_parts_silence(capsule);
}

/* While the capsule is paused nobody can feed it; when it goes on, the guest has a whole period. */
static void test_watchdog_of_a_paused_capsule(void **state)
{
    (void)state;
    guest_with_watchdog(5);
    assert_true(capsule_move(capsule, CAPSULE_RUNNING, CAPSULE_PAUSED));
    wait_for_watchdog(5);
    wait_for_watchdog(5);
    assert_int_equal(capsule_state(capsule), CAPSULE_PAUSED);
    fake_arch.time += 4 * HZ;
    machine_parts_resume(capsule);
    assert_true(capsule_move(capsule, CAPSULE_PAUSED, CAPSULE_RUNNING));
    wait_for_watchdog(5);
    leave();
    expect_log("stopped: watchdog: not fed for 5 s\n");
    machine_parts_silence(capsule);
}

/* Nothing of a capsule that has stopped is left among a hart's timers. */
static void test_silence(void **state)
{
    (void)state;
    enum { ALARM_LOW = 0x08, ALARM_HIGH = 0x0c };
    machine_parts_set_clock(from_ticks);
    guest_with_watchdog(60);
    write(RTC + ALARM_HIGH, 4, 0x7fffffff);
    write(RTC + ALARM_LOW, 4, 0);
    end_guest();
    machine_parts_silence(capsule);
    assert_int_equal(timer_heap_next(&hart->timers), TIMER_NEVER);
    machine_parts_set_clock(NULL);
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
        fake->config.weight = CAPSULE_WEIGHT_USUAL;
        fake->config.watchdog = true;
        fake->ram = cases[n].ram;
        capsule = fake;
        assert_int_equal(machine_parts_create(fake, &refusal), DX_OK);
        static const uint64_t windows[] = {UART, PLIC, RTC, SYSCON, WATCHDOG};
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
    fake->config.weight = CAPSULE_WEIGHT_USUAL;
    fake->ram = (struct range){0x80000000, MIB};
    assert_int_equal(device_bus_add(&fake->bus, &squatter), DX_OK);
    assert_int_equal(machine_parts_create(fake, &refusal), DX_OVERLAP);
    assert_non_null(strstr(refusal.text, "uart"));
    machine_parts_destroy(fake);
    free(fake);
}

/* --- virtio devices --- */

void panic_set_output(void (*put)(char)) /* the terminal's; it is never called here */
{
    (void)put;
}

static void ring_self(struct hart *target)
{
    (void)target;
    fake_arch.machine_pending |= BIT(IRQ_M_SOFT);
}

static void clear_ring(struct hart *target)
{
    (void)target;
    fake_arch.machine_pending &= ~BIT(IRQ_M_SOFT);
}

static void ask_for(struct capsule *whom, enum capsule_request request)
{
    assert_int_equal(capsule_request(whom, request, "the test", &refusal), DX_OK);
}

enum { DISK_BYTES = 150 * KIB + DISK_SECTOR, VIRTIO = 0x10001000 };
static uint8_t disk_data[DISK_BYTES];

static struct capsule_config config_with_devices(void)
{
    struct capsule_config config = config_of(4 * MIB);
    memset(disk_data, 0x77, sizeof(disk_data));
    config.device_count = 3;
    config.devices[0] = (struct device_config){.name = "rng0", .type = DEVICE_RNG};
    config.devices[1] = (struct device_config){.name = "disk0", .data = {disk_data, sizeof(disk_data)}};
    config.devices[2] = config.devices[1];
    config.devices[2].read_only = true;
    return config;
}

static uint8_t *disk_of(unsigned slot)
{
    struct virtio_blk *blk = CONTAINER_OF(find(VIRTIO + slot * 0x1000, 4), struct virtio_blk, virtio.device);
    assert_int_equal(blk->size, DISK_BYTES);
    return blk->memory;
}

/* Its driver's rings lay in RAM that is filled anew, or given back: nobody may follow them any more. */
static void test_console_forgets_its_driver(void **state)
{
    (void)state;
    struct capsule_config config = config_of(4 * MIB);
    config.device_count = 1;
    config.devices[0] = (struct device_config){.name = "console0", .type = DEVICE_CONSOLE};
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_non_null(run());
    assert_int_equal(read(VIRTIO + 8, 4), 3);
    assert_true(device_write(find(VIRTIO, 4), (gpa_t){VIRTIO + 0x70}, 4, 1));
    assert_int_equal(read(VIRTIO + 0x70, 4), 1);
    capsule_stop(capsule, STOP_KILLED, "%s", "");
    leave();
    assert_int_equal(read(VIRTIO + 0x70, 4), 0);
    assert_true(console_port_feed(&capsule->console, 'x'));
    console_port_notify(&capsule->console);
}

/* In its slot each; each disk a copy of its own, with zeros up to the page's end; entropy only if there is any. */
static void test_virtio_devices(void **state)
{
    (void)state;
    const struct capsule_config config = config_with_devices();
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_null(device_bus_find(&capsule->bus, (gpa_t){VIRTIO}, 4));
    const uint64_t left = memory_free_bytes();
    launch_trust_seed();
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_true(left - memory_free_bytes() >= 4 * MIB + 2 * DISK_BYTES);
    assert_int_equal(read(VIRTIO + 8, 4), 4);
    assert_int_equal(read(VIRTIO + 0x1008, 4), 2);
    assert_int_equal(read(VIRTIO + 0x2008, 4), 2);
    assert_null(device_bus_find(&capsule->bus, (gpa_t){VIRTIO + 0x3000}, 4));
    assert_ptr_not_equal(disk_of(1), disk_of(2));
    assert_non_null(run());
    for (unsigned slot = 1; slot <= 2; slot++) {
        assert_memory_equal(disk_of(slot), disk_data, sizeof(disk_data));
        for (size_t n = DISK_BYTES; n < align_up(DISK_BYTES, PAGE_SIZE); n++) {
            assert_int_equal(disk_of(slot)[n], 0);
        }
    }
}

/* Frames may be on their way to a port that others have found, whose memory is then not given back at once: so they
 * find none of a capsule that may still be refused. */
static void test_ports_open_last(void **state)
{
    static const uint8_t everyone[] = {255, 255, 255, 255, 255, 255};
    (void)state;
    struct network *lan = network_add("launch-lan", NETWORK_MTU_USUAL);
    struct network_port stranger = {.network = lan, .address = {2, 9, 9, 9, 9, 9}};
    struct capsule_config config = config_of(4 * MIB);
    const uint64_t before = memory_free_bytes();
    config.device_count = 2;
    config.devices[0] = (struct device_config){.name = "net0", .type = DEVICE_NET, .network = lan->name};
    config.devices[1] = (struct device_config){.name = "net1", .type = DEVICE_NET, .network = "launch-none"};
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_NOT_FOUND);
    assert_int_equal(memory_free_bytes(), before);
    for (unsigned n = 0; n < NETWORK_PORTS_MAX; n++) {
        assert_null(lan->ports[n]);
    }
    config.devices[1].network = lan->name;
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_int_equal(network_attach(&stranger), DX_OK);
    assert_int_equal(__builtin_popcountll(network_targets(&stranger, everyone)), 2);
    network_detach(&stranger);
}

/* What the guest has written is there after its restart, and nowhere after its end. */
static void test_disks_live_as_long_as_the_capsule(void **state)
{
    (void)state;
    const struct capsule_config config = config_with_devices();
    const uint64_t before = memory_free_bytes();
    hart_ops.ring = ring_self;
    hart_ops.ring_clear = clear_ring;
    reaper_init(NULL);
    assert_int_equal(capsule_create(&config, &capsule, &refusal), DX_OK);
    assert_non_null(run());
    uint8_t *disk = disk_of(1);
    disk[DISK_BYTES - 1] = 0x11;
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_non_null(scheduler_next(hart));
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    assert_int_equal(disk[DISK_BYTES - 1], 0x11);
    assert_int_equal(disk[0], 0x77);
    ask_for(capsule, REQUEST_KILL);
    leave();
    ask_for(capsule, REQUEST_DESTROY);
    leave();
    assert_null(capsules);
    capsule = NULL;
    assert_int_equal(memory_free_bytes(), before);
    for (size_t n = 0; n < align_up(DISK_BYTES, PAGE_SIZE); n++) {
        assert_int_equal(disk[n], 0);
    }
}

/* --- coming and going ---------------------------------------------------------------------------------------- */

enum { CYCLES = 10000, AT_ONCE = 3 };

/* How a life may end. */
enum ending { KILLED, POWERED_OFF, CRASHED, PAUSED_THEN_KILLED, WITH_AN_ALARM, NEVER_BEGUN, ENDINGS };

static void end_life(enum ending ending)
{
    switch (ending) {
    case WITH_AN_ALARM: /* a request that is under way has a timer */
        ask_for(capsule, REQUEST_STOP);
        assert_non_null(hart->timers.root);
        ask_for(capsule, REQUEST_KILL);
        break;
    case KILLED:
        ask_for(capsule, REQUEST_KILL);
        break;
    case POWERED_OFF:
        capsule_stop(capsule, STOP_POWER_OFF, "%s", "");
        break;
    case CRASHED:
        capsule_crash(hart->current, CAUSE_ILLEGAL, 0, "the test");
        break;
    case PAUSED_THEN_KILLED:
        ask_for(capsule, REQUEST_PAUSE);
        leave();
        ask_for(capsule, REQUEST_KILL);
        break;
    case NEVER_BEGUN:
    case ENDINGS:
        break;
    }
}

/* PMP lets its guest reach its RAM as it is now, whoever had that memory before, and no byte beside it. */
static void check_wall(void)
{
    const struct range ram = capsule->ram;
    assert_int_equal(pmp_rights(&fake_arch.pmp, ram.base, (size_t)ram.size), PMP_RWX);
    assert_int_equal(pmp_rights(&fake_arch.pmp, ram.base - 4, 4), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, ram.base + ram.size, 4), 0);
    assert_int_equal(hart->protected_for, capsule->id);
}

static void one_life(struct capsule *whom, enum ending ending)
{
    capsule = whom;
    if (ending != NEVER_BEGUN) {
        assert_ptr_equal(run(), capsule->vcpus);
        check_wall();
        end_life(ending);
        leave();
    }
    const enum capsule_state state = capsule_state(capsule);
    assert_int_equal(state, ending == NEVER_BEGUN ? CAPSULE_LOADED
                            : ending == CRASHED   ? CAPSULE_CRASHED
                                                  : CAPSULE_STOPPED);
}

/* Of several sizes, and some stay for a while, so that memory is used again in other pieces. */
static struct capsule *newcomer(unsigned n)
{
    static uint32_t last_id;
    struct capsule *made;
    struct capsule_config config = config_of((n % 5 + 1) * 64 * KIB);
    snprintf(config.name, sizeof(config.name), "guest%u", n);
    config.watchdog = true;
    config.watchdog_seconds = 5;
    config.vcpus = n % 3 + 1;
    config.device_count = n % 3;
    for (unsigned disk = 0; disk < config.device_count; disk++) {
        config.devices[disk] = (struct device_config){.name = "disk", .data = {kernel, (n % 9 + 1) * DISK_SECTOR}};
    }
    assert_int_equal(capsule_create(&config, &made, &refusal), DX_OK);
    assert_true(n == 0 || made->id > last_id);
    last_id = made->id;
    terminal_attach(made);
    assert_int_not_equal(made->console.slot, CONSOLE_NO_SLOT);
    return made;
}

static void test_ten_thousand_come_and_go(void **state)
{
    (void)state;
    struct capsule *present[AT_ONCE] = {NULL};
    uint64_t seed = 4711;
    const uint64_t before = memory_free_bytes();
    const struct range all = {(uintptr_t)pool + PAGE_SIZE, POOL - PAGE_SIZE};
    hart_ops.ring = ring_self;
    hart_ops.ring_clear = clear_ring;
    reaper_init(NULL);
    what.detach = terminal_detach;
    launch_init(&what);
    log_set_level(LOG_ALERT);
    for (unsigned n = 0; n < CYCLES + AT_ONCE; n++) {
        struct capsule **place = &present[n % AT_ONCE];
        if (*place != NULL) {
            ask_for(*place, REQUEST_DESTROY);
            leave();
        }
        assert_int_equal(reaper_waiting(), 0);
        *place = n < CYCLES ? newcomer(n) : NULL;
        if (*place != NULL) {
            one_life(*place, (enum ending)test_below(&seed, ENDINGS));
        }
    }
    assert_null(capsules);
    assert_null(hart->timers.root);
    assert_null(hart->queue.root);
    assert_true(set_is_empty(&terminal.taken));
    assert_int_equal(terminal.focus, NOBODY);
    for (unsigned n = 0; n < SEATS_MAX; n++) {
        assert_null(terminal.seats[n].capsule);
    }
    assert_int_equal(memory_free_bytes(), before);
    assert_true(memory_take_at(all)); /* in one piece again */
    memory_give(all);
    what.detach = NULL;
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
        cmocka_unit_test_setup(test_create_hyp, hyp_setup),
        cmocka_unit_test_setup(test_create_pmp_on_a_hart_with_h, hyp_setup),
        cmocka_unit_test_setup(test_kinds_differ, hyp_setup),
        cmocka_unit_test_setup(test_hyp_in_pieces, hyp_setup),
        cmocka_unit_test_setup(test_hyp_memory_base, hyp_setup),
        cmocka_unit_test_setup(test_hyp_same_memory_base, hyp_setup),
        cmocka_unit_test_setup(test_hyp_refusals, hyp_setup),
        cmocka_unit_test_setup(test_hyp_refusals_of_pieces, hyp_setup),
        cmocka_unit_test_setup(test_hyp_memory_ends, hyp_setup),
        cmocka_unit_test_setup(test_hyp_at_random, hyp_setup),
        cmocka_unit_test_setup(test_first_moments, setup),
        cmocka_unit_test_setup(test_new_life_has_lost_no_time, setup),
        cmocka_unit_test_setup(test_tree_without_room, setup),
        cmocka_unit_test_setup(test_console_interrupt, setup),
        cmocka_unit_test_setup(test_console_waiters, setup),
        cmocka_unit_test_setup(test_power_switch, setup),
        cmocka_unit_test_setup(test_clock, setup),
        cmocka_unit_test_setup(test_alarm, setup),
        cmocka_unit_test_setup(test_no_watchdog, setup),
        cmocka_unit_test_setup(test_watchdog, setup),
        cmocka_unit_test_setup(test_shortest_watchdog, setup),
        cmocka_unit_test_setup(test_watchdog_from_the_start, setup),
        cmocka_unit_test_setup(test_watchdog_of_a_paused_capsule, setup),
        cmocka_unit_test_setup(test_silence, setup),
        cmocka_unit_test_setup(test_windows_move, setup),
        cmocka_unit_test_setup(test_bus_is_taken, setup),
        cmocka_unit_test_setup(test_virtio_devices, setup),
        cmocka_unit_test_setup(test_ports_open_last, setup),
        cmocka_unit_test_setup(test_console_forgets_its_driver, setup),
        cmocka_unit_test_setup(test_disks_live_as_long_as_the_capsule, setup),
        cmocka_unit_test_setup(test_ten_thousand_come_and_go, setup),
    };
    return cmocka_run_group_tests_name("launch", tests, make_pool, free_pool);
}
