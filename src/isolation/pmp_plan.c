/* SPDX-License-Identifier: MIT
 *
 * Plans PMP entries from ranges, and says what a plan admits. The two halves share no code on purpose: the second
 * checks the first.
 */
#include "isolation/pmp_plan.h"

enum {
    SPACE_BITS = XLEN == 32 ? 34 : 56, /* physical addresses */
    ADDRESS_BITS = SPACE_BITS - 2,     /* of a pmpaddr register */
};

#define SPACE_SIZE   (UINT64_C(1) << SPACE_BITS)
#define ADDRESS_MASK ((UINT64_C(1) << ADDRESS_BITS) - 1)

/* --- planning --- */

static enum dx_error check_rule(const struct pmp_features *features, const struct pmp_rule *rule,
                                struct refusal *refusal)
{
    const unsigned long long base = rule->range.base;
    const unsigned long long size = rule->range.size;
    if (!range_valid(rule->range) || range_last(rule->range) >= SPACE_SIZE) {
        return refuse(refusal, DX_BAD_VALUE, "0x%llx bytes at 0x%llx lie beyond the physical address space", size,
                      base);
    }
    /* Write without read is a reserved encoding, which harts may read as anything. */
    if (rule->rights > PMP_RWX || (rule->rights & PMP_RWX) == PMP_W || (rule->rights & PMP_RWX) == (PMP_W | PMP_X)) {
        return refuse(refusal, DX_BAD_VALUE, "0x%llx: 0x%x are no rights that PMP can give", base, rule->rights);
    }
    const uint64_t granule = UINT64_C(1) << features->granule_log;
    if (((rule->range.base | rule->range.size) & (granule - 1)) != 0) {
        return refuse(refusal, DX_UNALIGNED, "0x%llx bytes at 0x%llx: an edge is no multiple of PMP's granule, 0x%llx",
                      size, base, (unsigned long long)granule);
    }
    return DX_OK;
}

static bool is_napot(struct range r)
{
    return is_power_of_two(r.size) && (r.base & (r.size - 1)) == 0;
}

/* Whether a TOR entry added now would begin at base without an entry before it that says so. */
static bool continues_tor(const struct pmp_image *image, uint64_t base)
{
    if (image->count == 0) {
        return base == 0;
    }
    const uint32_t last = image->count - 1;
    return (image->config[last] & PMP_A_MASK) == PMP_TOR && image->address[last] == base >> 2;
}

static void add_entry(struct pmp_image *image, uint8_t config, uint64_t address)
{
    image->config[image->count] = config;
    image->address[image->count] = (unsigned long)address;
    image->count++;
}

static void add_napot(struct pmp_image *image, struct range range, uint8_t rights)
{
    if (range.size == 4) {
        add_entry(image, rights | PMP_NA4, range.base >> 2);
        return;
    }
    add_entry(image, rights | PMP_NAPOT, (range.base >> 2) | ((range.size >> 3) - 1));
}

static enum dx_error plan_rule(const struct pmp_features *features, const struct pmp_rule *rule, uint32_t limit,
                               struct pmp_image *image, struct refusal *refusal)
{
    const unsigned long long base = rule->range.base;
    /* A TOR entry names the byte after its last: for the last byte of all there is no such address. */
    const uint64_t end = range_last(rule->range) + 1;
    const bool tor = !features->napot_only && end < SPACE_SIZE;
    const bool napot = is_napot(rule->range);
    if (!tor && !napot) {
        return refuse(refusal, DX_NO_PMP, "this hart's PMP cannot express 0x%llx bytes at 0x%llx",
                      (unsigned long long)rule->range.size, base);
    }

    /* Going on from the last TOR costs one entry as NAPOT does, and lets the next range go on in turn. */
    const bool continues = tor && continues_tor(image, base);
    const uint32_t needed = napot || continues ? 1 : 2;
    if (limit - image->count < needed) {
        return refuse(refusal, DX_NO_PMP, "0x%llx: more than the %u PMP entries at hand", base, (unsigned)limit);
    }
    if (napot && !continues) {
        add_napot(image, rule->range, rule->rights);
        return DX_OK;
    }
    if (!continues) {
        add_entry(image, PMP_OFF, base >> 2);
    }
    add_entry(image, rule->rights | PMP_TOR, end >> 2);
    return DX_OK;
}

enum dx_error pmp_plan(const struct pmp_features *features, const struct pmp_rule *rules, size_t count, uint32_t limit,
                       struct pmp_image *image, struct refusal *refusal)
{
    assert(features->entries <= PMP_ENTRIES_MAX && limit <= features->entries);
    assert(features->granule_log >= 2 && features->granule_log <= 63);

    struct pmp_image plan = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        if (rules[i].range.size == 0) {
            continue;
        }
        enum dx_error error = check_rule(features, &rules[i], refusal);
        if (error == DX_OK) {
            error = plan_rule(features, &rules[i], limit, &plan, refusal);
        }
        if (error != DX_OK) {
            return error;
        }
    }
    *image = plan;
    return DX_OK;
}

/* --- judging --- */

/* The bytes first … last that an entry matches; false if it matches none. */
static bool entry_bytes(const struct pmp_image *image, uint32_t entry, uint64_t *first, uint64_t *last)
{
    const uint64_t address = image->address[entry] & ADDRESS_MASK;
    switch (image->config[entry] & PMP_A_MASK) {
    case PMP_TOR: {
        /* The entry before bounds this one even when it is itself off. */
        const uint64_t from = entry == 0 ? 0 : image->address[entry - 1] & ADDRESS_MASK;
        *first = from << 2;
        *last = (address << 2) - 1;
        return from < address;
    }
    case PMP_NA4:
        *first = address << 2;
        *last = *first + 3;
        return true;
    case PMP_NAPOT: {
        /* Adding one carries through the low ones: what it changes, and no more, is free. All ones match everything. */
        const uint64_t free = (address ^ (address + 1)) & ADDRESS_MASK;
        *first = (address & ~free) << 2;
        *last = ((address | free) << 2) | 3;
        return true;
    }
    default:
        return false;
    }
}

uint8_t pmp_rights(const struct pmp_image *image, uint64_t address, uint64_t length)
{
    if (length == 0 || address > UINT64_MAX - (length - 1)) {
        return 0;
    }
    const uint64_t end = address + (length - 1);
    for (uint32_t entry = 0; entry < image->count; entry++) {
        uint64_t first = 0;
        uint64_t last = 0;
        if (!entry_bytes(image, entry, &first, &last) || end < first || last < address) {
            continue;
        }
        /* The first entry to match any byte decides, and fails the access unless it matches all. */
        return first <= address && end <= last ? image->config[entry] & PMP_RWX : 0;
    }
    return 0;
}
