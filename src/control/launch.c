/* SPDX-License-Identifier: MIT
 *
 * Capsule launch: see launch.h.
 */
#include "control/launch.h"

#include <string.h>

#include "control/machine_parts.h"
#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "diosix/sbi.h"
#include "dt/guest_isa.h"
#include "dt/guest_tree.h"
#include "isolation/isolation.h"
#include "lib/random.h"
#include "manifest/image.h"

enum {
    RAM_ALIGN = XLEN == 32 ? 4 * MIB : 2 * MIB, /* no superpage of the guest's straddles an edge */
    VECTOR_REGISTERS = 32,
    SEED_LENGTH = 64,
};

static struct launch_host host;
static struct {
    struct spinlock lock;
    struct random_state state;
} seeds;
static uint32_t next_id = 1;

void launch_init(const struct launch_host *what)
{
    host = *what;
}

void launch_seed(const uint8_t *bytes, size_t length)
{
    spinlock_take(&seeds.lock);
    random_mix(&seeds.state, bytes, length);
    spinlock_release(&seeds.lock);
}

/* --- what each start needs -------------------------------------------------------------------------------------- */

static void write_tree(struct capsule *capsule)
{
    char isa[GUEST_ISA_MAX];
    uint8_t seed[SEED_LENGTH];
    const struct machine_hart *hart = harts[0]->tree;
    const struct guest_isa_options allowed = {
        .vector = host.features->vector,
        .sstc = host.features->sstc,
        .cbo = host.features->menvcfg,
    };
    guest_isa(host.isa, &allowed, isa, sizeof(isa));
    spinlock_take(&seeds.lock);
    random_bytes(&seeds.state, seed, sizeof(seed));
    spinlock_release(&seeds.lock);
    const struct guest_tree_options options = {
        .isa = isa,
        .mmu_type = host.mmu_type,
        .timebase_hz = host.machine->timebase_hz,
        .cbom_block_size = hart->cbom_block_size,
        .cboz_block_size = hart->cboz_block_size,
        .cbop_block_size = hart->cbop_block_size,
        .seed = seed,
        .seed_length = sizeof(seed),
    };
    gpa_t place = {capsule->ram.base + capsule->plan.tree_offset};
    void *buffer = capsule_ram(capsule, place, capsule->plan.tree_room);
    assert(buffer != NULL);
    int length = guest_tree_write(capsule, &options, buffer, (size_t)capsule->plan.tree_room);
    if (length < 0) {
        capsule_stop(capsule, STOP_CRASH, "its device tree does not fit its room (%d)", length);
    }
}

/* RAM is full: from here on the guest may run. */
static void prepare(struct capsule *capsule)
{
    device_bus_reset(&capsule->bus);
    console_port_reset(&capsule->console);
    write_tree(capsule);
}

/* --- making -------------------------------------------------------------------------------------------------- */

/* For the hart with the longest vectors, whether guests are told of them or not. */
static size_t vector_size(void)
{
    return (size_t)VECTOR_REGISTERS * host.features->vlenb;
}

static size_t vcpu_stride(void)
{
    return (size_t)align_up(sizeof(struct vcpu) + vector_size(), 64);
}

static void make_vcpus(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        vcpu->capsule = capsule;
        vcpu->id = id;
        vcpu->deadline = TIMER_NEVER;
        atomic_store(&vcpu->run, RUN_OFF);
        atomic_store(&vcpu->hsm, SBI_HSM_STOPPED);
        if (host.features->vlenb != 0) {
            vcpu->context.vector = (uint8_t *)(vcpu + 1);
            vcpu->context.vector_size = vector_size();
        }
    }
}

static enum dx_error take_ram(struct capsule *capsule, struct refusal *refusal)
{
    const struct capsule_config *config = &capsule->config;
    struct range ram = {config->memory_base, config->memory};
    if (config->has_memory_base) {
        if (!memory_take_at(ram)) {
            return refuse(refusal, DX_NO_MEMORY,
                          "%s: memory-base 0x%llx size 0x%llx is not free RAM of this machine (pmp: guest-physical is "
                          "host-physical)",
                          config->name, (unsigned long long)ram.base, (unsigned long long)ram.size);
        }
    } else {
        /* A power of two at its own multiple needs one PMP entry, anything else two. */
        uint64_t natural = is_power_of_two(config->memory) ? MAX(config->memory, (uint64_t)PAGE_SIZE) : RAM_ALIGN;
        uint64_t align = config->memory < RAM_ALIGN ? natural : RAM_ALIGN;
        if (!(natural > align && memory_take(config->memory, natural, &ram)) &&
            !memory_take(config->memory, align, &ram)) {
            return refuse(refusal, DX_NO_MEMORY, "%s: memory of %llu MiB does not fit: %llu MiB are free", config->name,
                          (unsigned long long)(config->memory / MIB), (unsigned long long)(memory_free_bytes() / MIB));
        }
    }
    capsule->ram = ram;
    capsule->ram_host = (hpa_t){ram.base};
    return DX_OK;
}

static enum dx_error choose_isolation(struct capsule *capsule, struct refusal *refusal)
{
    if (capsule->config.isolation == ISOLATION_HYP) {
        return refuse(refusal, DX_NOT_SUPPORTED, "%s: isolation \"hyp\"", capsule->config.name);
    }
    return pmp_capsule_prepare(capsule, refusal);
}

/* Everything after the memory for the capsule itself; what it takes hangs on the capsule. */
static enum dx_error build(struct capsule *capsule, struct refusal *refusal)
{
    enum dx_error error = take_ram(capsule, refusal);
    if (error != DX_OK) {
        return error;
    }
    error = choose_isolation(capsule, refusal);
    if (error != DX_OK) {
        return error;
    }
    error = image_plan(&capsule->config, capsule->ram, &capsule->plan, refusal);
    if (error != DX_OK) {
        return error;
    }
    capsule->vcpu_stride = vcpu_stride();
    capsule->vcpus = memory_alloc(capsule->vcpu_stride * capsule->config.vcpus);
    if (capsule->vcpus == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for %u vCPUs", capsule->config.name,
                      (unsigned)capsule->config.vcpus);
    }
    make_vcpus(capsule);
    return machine_parts_create(capsule, refusal);
}

static void discard(struct capsule *capsule)
{
    machine_parts_destroy(capsule);
    if (capsule->vcpus != NULL) {
        memory_free(capsule->vcpus, capsule->vcpu_stride * capsule->config.vcpus);
    }
    if (capsule->ram.size != 0) {
        memory_give(capsule->ram);
    }
    memory_free(capsule, sizeof(*capsule));
}

static void append(struct capsule *capsule)
{
    struct capsule **link = &capsules;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = capsule;
}

enum dx_error capsule_create(const struct capsule_config *config, struct capsule **result, struct refusal *refusal)
{
    struct capsule *capsule = memory_alloc(sizeof(*capsule));
    if (capsule == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for the capsule itself", config->name);
    }
    capsule->config = *config;
    capsule->prepare = prepare;
    atomic_store(&capsule->state, CAPSULE_LOADED);
    console_port_init(&capsule->console, config->name);
    enum dx_error error = build(capsule, refusal);
    if (error != DX_OK) {
        discard(capsule);
        return error;
    }
    capsule->id = next_id++;
    append(capsule);
    log_info("Created capsule: ID %u (%s), physical RAM base 0x%llx, size %llu MiB, %u vCPUs", (unsigned)capsule->id,
             config->name, (unsigned long long)capsule->ram.base, (unsigned long long)(capsule->ram.size / MIB),
             (unsigned)config->vcpus);
    log_info("Supervisor kernel entry: 0x%llx", (unsigned long long)capsule->plan.entry);
    *result = capsule;
    return DX_OK;
}
