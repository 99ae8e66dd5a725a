/* SPDX-License-Identifier: MIT
 *
 * Isolation by physical memory protection alone: guest-physical is host-physical, and a hart's PMP admits the RAM of
 * the one capsule that it runs. On a hart with H, where S-mode would be HS-mode and reach what others left there, the
 * guest runs in VS-mode with stage 2 switched off.
 */
#include "core/log.h"
#include "core/memory.h"
#include "isolation/isolation.h"
#include "isolation/pmp_wall.h"

static bool serves(const struct hart *hart)
{
    (void)hart;
    return true; /* whoever passed isolation_hart_prepare */
}

/* A power of two at its own multiple needs one PMP entry, anything else two. */
static bool take_anywhere(uint64_t size, struct range *ram)
{
    const uint64_t natural = is_power_of_two(size) ? MAX(size, (uint64_t)PAGE_SIZE) : (uint64_t)RAM_ALIGN;
    const uint64_t align = size < RAM_ALIGN ? natural : (uint64_t)RAM_ALIGN;
    return (natural > align && memory_take(size, natural, ram)) || memory_take(size, align, ram);
}

static enum dx_error take_ram(struct capsule *capsule, struct refusal *refusal)
{
    const struct capsule_config *config = &capsule->config;
    struct range ram = {config->memory_base, config->memory};
    if (config->has_memory_base && !memory_take_at(ram)) {
        return refuse(refusal, DX_NO_MEMORY,
                      "%s: memory-base 0x%llx size 0x%llx is not free RAM of this machine (pmp: guest-physical is "
                      "host-physical)",
                      config->name, (unsigned long long)ram.base, (unsigned long long)ram.size);
    }
    if (!config->has_memory_base && !take_anywhere(config->memory, &ram)) {
        return refuse(refusal, DX_NO_MEMORY, "%s: memory of %llu MiB does not fit: %llu MiB are free", config->name,
                      (unsigned long long)(config->memory / MIB), (unsigned long long)(memory_free_bytes() / MIB));
    }
    capsule->ram = ram;
    capsule->pieces[0] = (struct ram_piece){.size = ram.size, .host = {ram.base}};
    capsule->piece_count = 1;
    return DX_OK;
}

static void release(struct capsule *capsule)
{
    if (capsule->piece_count != 0) {
        memory_give(capsule->ram);
        capsule->piece_count = 0;
    }
}

static void describe(const struct capsule *capsule)
{
    const bool in_vs_mode = isolation_first_hart(capsule->hart_kind)->arch.is_virtual != 0;
    log_info("Capsule %u (%s): isolation pmp, %u PMP entries%s", (unsigned)capsule->id, capsule->config.name,
             (unsigned)capsule->pmp.count, in_vs_mode ? ", in VS-mode without stage 2" : "");
}

static void enter(struct hart *hart, struct capsule *capsule)
{
    if (hart->arch.is_virtual != 0) {
        arch_stage2_load(0);
    }
    pmp_wall_enter(hart, capsule);
}

static void verify(const struct hart *hart, const struct capsule *capsule)
{
    assert(hart->arch.is_virtual == 0 || arch_stage2_read() == 0);
    pmp_wall_verify(hart, capsule);
}

static enum dx_error self_test(struct hart *hart, struct capsule *capsule, hpa_t other, struct refusal *refusal)
{
    enter(hart, capsule);
    hart->protected_for = 0; /* whatever runs next loads its own */
    return pmp_wall_test(hart, capsule, other, refusal);
}

const struct isolation_ops isolation_pmp = {
    .name = "pmp",
    .serves = serves,
    .take_ram = take_ram,
    .prepare = pmp_wall_plan,
    .release = release,
    .describe = describe,
    .enter = enter,
    .verify = verify,
    .self_test = self_test,
};
