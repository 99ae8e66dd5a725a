/* SPDX-License-Identifier: MIT
 *
 * Isolation by physical memory protection: guest-physical is host-physical, and a hart's PMP admits the RAM of the one
 * capsule that it runs. Entries, lowest first: the guard page below the hart's stack (locked, so that M-mode faults
 * on it too), the hypervisor's image (denied, though default deny would do), the capsule's RAM.
 */
#include "isolation/isolation.h"

#include "isolation/pmp_plan.h"

enum { RULE_GUARD, RULE_HYPERVISOR, RULE_RAM, RULES };

static struct range hypervisor_image;
static struct range sample_guard; /* any hart's: all have the same form */

static enum dx_error plan(const struct pmp_features *features, struct range guard, struct range ram,
                          struct pmp_image *image, struct refusal *refusal)
{
    const struct pmp_rule rules[RULES] = {
        [RULE_GUARD] = {guard, 0},
        [RULE_HYPERVISOR] = {hypervisor_image, 0},
        [RULE_RAM] = {ram, PMP_RWX},
    };
    enum dx_error error = pmp_plan(features, rules, RULES, features->entries, image, refusal);
    if (error == DX_OK) {
        image->config[RULE_GUARD] |= PMP_LOCKED;
    }
    return error;
}

enum dx_error pmp_hart_prepare(struct hart *hart, struct range guard, struct range image, struct refusal *refusal)
{
    const struct hart_features *features = &hart->features;
    if (features->hypervisor) {
        return refuse(refusal, DX_HAS_H, "hart %lu has the H extension and it cannot be switched off", hart->arch.id);
    }
    if (features->pmp_locked) {
        return refuse(refusal, DX_NO_PMP, "hart %lu: an earlier boot stage locked PMP entries", hart->arch.id);
    }
    if (features->pmp.entries == 0) {
        return refuse(refusal, DX_NO_PMP, "hart %lu has no PMP entries", hart->arch.id);
    }
    hypervisor_image = image;
    sample_guard = guard;
    enum dx_error error = plan(&features->pmp, guard, (struct range){0, 0}, &hart->loaded_image, refusal);
    if (error != DX_OK) {
        return error;
    }
    hart->guard_address = hart->loaded_image.address[RULE_GUARD];
    arch_pmp_load(features, &hart->loaded_image, NULL);
    return DX_OK;
}

/* The capsule's image for this hart: everyone's but for the guard page. */
static void image_for(const struct hart *hart, const struct capsule *capsule, struct pmp_image *image)
{
    *image = capsule->pmp;
    image->address[RULE_GUARD] = hart->guard_address;
}

static void enter(struct hart *hart, const struct capsule *capsule)
{
    struct pmp_image image;
    image_for(hart, capsule, &image);
    arch_pmp_load(&hart->features, &image, &hart->loaded_image);
    hart->loaded_image = image;
}

/* Not inlined: two images are too much for one frame. */
__attribute__((noinline)) static void compare_registers(const struct hart *hart, const struct pmp_image *planned)
{
    struct pmp_image found;
    arch_pmp_read(&hart->features, &found);
    for (uint32_t n = 0; n < found.count; n++) {
        assert(found.config[n] == (n < planned->count ? planned->config[n] : 0));
        assert(found.address[n] == (n < planned->count ? planned->address[n] : 0));
    }
}

/* Plans anew from the capsule's map, reads the registers back, and compares both with what was loaded. */
static void verify(const struct hart *hart, const struct capsule *capsule)
{
    struct pmp_image planned;
    struct refusal refusal;
    enum dx_error error = plan(&hart->features.pmp, sample_guard, capsule->ram, &planned, &refusal);
    assert(error == DX_OK);
    planned.address[RULE_GUARD] = hart->guard_address;
    compare_registers(hart, &planned);
}

static const struct isolation_ops pmp_ops = {.name = "pmp", .enter = enter, .verify = verify};

enum dx_error pmp_capsule_prepare(struct capsule *capsule, struct refusal *refusal)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        if (atomic_load(&harts[n]->online)) {
            enum dx_error error = plan(&harts[n]->features.pmp, sample_guard, capsule->ram, &capsule->pmp, refusal);
            if (error != DX_OK) {
                return error;
            }
        }
    }
    capsule->isolation = &pmp_ops;
    return DX_OK;
}

enum dx_error pmp_self_test(struct hart *hart, const struct capsule *capsule, hpa_t other, struct refusal *refusal)
{
    enter(hart, capsule);
    hart->protected_for = NULL; /* whatever runs next loads its own */
    const hpa_t closed[] = {
        {hypervisor_image.base},
        {range_last(hypervisor_image)},
        {hart->arch.stack_top - 1},
        other,
        /* the bytes beside the capsule, whatever is there; at an end of the address space: other once more */
        {capsule->ram.base != 0 ? capsule->ram.base - 1 : other.at},
        {range_last(capsule->ram) != UINTPTR_MAX ? range_last(capsule->ram) + 1 : other.at},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(closed); n++) {
        if (arch_supervisor_can_load(closed[n])) {
            return refuse(refusal, DX_NO_PMP, "hart %lu: PMP does not stop S-mode at 0x%llx", hart->arch.id,
                          (unsigned long long)closed[n].at);
        }
    }
    if (!arch_supervisor_can_load((hpa_t){capsule->ram.base}) ||
        !arch_supervisor_can_load((hpa_t){range_last(capsule->ram)})) {
        return refuse(refusal, DX_NO_PMP, "hart %lu: PMP stops S-mode in the capsule's own RAM", hart->arch.id);
    }
    return DX_OK;
}
