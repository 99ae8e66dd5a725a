/* SPDX-License-Identifier: MIT
 *
 * A guest's memory by its virtual addresses. The tables are the guest's and may change while we look: every address
 * they give is checked against the capsule's RAM before it is used, each time.
 */
#include "isolation/guest_walk.h"
#include "trap/trap.h"

/* What a walk is made for, and where it leaves its memo. */
struct recording {
    const struct capsule *capsule;
    struct walk_memo *memo;
};

static bool read_entry(void *context, gpa_t address, unsigned size, uint64_t *entry)
{
    const struct recording *recording = context;
    struct walk_memo *memo = recording->memo;
    const volatile unsigned long *place = capsule_ram(recording->capsule, address, size);
    if (place == NULL || address.at % size != 0 || size != sizeof(*place) || memo->reads == WALK_LEVELS_MAX) {
        return false; /* of RV32 entries have 4 bytes, of RV64 8 */
    }
    const unsigned long value = *place;
    memo->entry[memo->reads] = place;
    memo->value[memo->reads++] = value;
    *entry = value;
    return true;
}

static unsigned long fault_of(enum guest_access access, bool page)
{
    switch (access) {
    case GUEST_FETCH:
        return page ? CAUSE_FETCH_PAGE : CAUSE_FETCH_ACCESS;
    case GUEST_LOAD:
        return page ? CAUSE_LOAD_PAGE : CAUSE_LOAD_ACCESS;
    case GUEST_STORE:
        break;
    }
    return page ? CAUSE_STORE_PAGE : CAUSE_STORE_ACCESS;
}

enum { RIGHTS_ANY = 1, RIGHTS_USER = 2, RIGHTS_SUM = 4, RIGHTS_MXR = 8, RIGHTS_BITS = 16, RIGHTS_ACCESS = 32 };

static unsigned rights_of(const struct trap *trap, enum guest_access access)
{
    const unsigned long status = arch_virtual_status(&trap->vcpu->context);
    return RIGHTS_ANY | (trap_from_user(trap) ? RIGHTS_USER : 0) | ((status & STATUS_SUM) != 0 ? RIGHTS_SUM : 0) |
           ((status & STATUS_MXR) != 0 ? RIGHTS_MXR : 0) | (trap->untranslated ? RIGHTS_BITS : 0) |
           (unsigned)access * RIGHTS_ACCESS;
}

static struct walk_memo *memo_for(struct vcpu *vcpu, unsigned long page, enum guest_access access)
{
    if (access == GUEST_FETCH) {
        return &vcpu->fetches[page % FETCH_MEMOS];
    }
    /* A device's registers are loaded and stored in turn: the two don't share a memo. */
    return &vcpu->data[(page ^ page >> 4 ^ (access == GUEST_STORE ? DATA_MEMOS / 2 : 0)) % DATA_MEMOS];
}

/* The question is the same, and so is all that the walk has read. */
static bool still_holds(const struct walk_memo *memo, unsigned long page, unsigned long satp, unsigned rights)
{
    if (memo->rights != rights || memo->page != page || memo->satp != satp) {
        return false;
    }
    for (unsigned n = 0; n < memo->reads; n++) {
        if (*memo->entry[n] != memo->value[n]) {
            return false;
        }
    }
    return true;
}

static enum walk_result walk_again(const struct trap *trap, struct walk_memo *memo, unsigned long page, unsigned rights)
{
    struct recording recording = {.capsule = trap->vcpu->capsule, .memo = memo};
    const struct guest_view view = {
        .xlen = (unsigned)XLEN,
        .satp = memo->satp,
        .user = (rights & RIGHTS_USER) != 0,
        .sum = (rights & RIGHTS_SUM) != 0,
        .mxr = (rights & RIGHTS_MXR) != 0,
        .checks_bits = (rights & RIGHTS_BITS) != 0,
        .read_entry = read_entry,
        .context = &recording,
    };
    memo->reads = 0;
    memo->rights = 0;
    memo->page = page;
    enum walk_result walked = guest_walk(&view, (gva_t){page * PAGE_SIZE}, rights / RIGHTS_ACCESS, &memo->place);
    if (walked == WALK_OK) {
        memo->host = capsule_ram(recording.capsule, memo->place, PAGE_SIZE);
        memo->rights = rights;
    }
    return walked;
}

/* The memo for the page, made anew if need be; NULL: reflect what the trap says now. */
static const struct walk_memo *translate_page(struct trap *trap, gva_t address, enum guest_access access)
{
    const unsigned long page = (unsigned long)address.at / PAGE_SIZE;
    const unsigned long satp = arch_virtual_satp();
    const unsigned rights = rights_of(trap, access);
    struct walk_memo *memo = memo_for(trap->vcpu, page, access);
    if (still_holds(memo, page, satp, rights)) {
        return memo;
    }
    memo->satp = satp;
    enum walk_result walked = walk_again(trap, memo, page, rights);
    if (walked != WALK_OK) {
        trap->cause = fault_of(access, walked == WALK_PAGE_FAULT);
        trap->value = address.at;
        return NULL;
    }
    return memo;
}

bool guest_translate(struct trap *trap, gva_t address, enum guest_access access, gpa_t *result)
{
    const struct walk_memo *memo = translate_page(trap, address, access);
    if (memo == NULL) {
        return false;
    }
    result->at = memo->place.at + address.at % PAGE_SIZE;
    return true;
}

/* What is executed at pc, from its half-word on; NULL: reflect what the trap says now. */
static const volatile uint16_t *fetch_from(struct trap *trap, unsigned long pc)
{
    const struct walk_memo *memo = translate_page(trap, (gva_t){pc}, GUEST_FETCH);
    if (memo == NULL) {
        return NULL;
    }
    if (memo->host == NULL || (pc & 1) != 0) {
        trap->cause = CAUSE_FETCH_ACCESS;
        trap->value = pc;
        return NULL;
    }
    return memo->host + pc % PAGE_SIZE / sizeof(*memo->host);
}

bool guest_instruction(struct trap *trap, uint32_t *bits)
{
    const unsigned long pc = trap->vcpu->context.pc;
    const volatile uint16_t *half = fetch_from(trap, pc);
    if (half == NULL) {
        return false;
    }
    *bits = *half;
    if ((*bits & 3) == 3) {
        half = (pc + 2) % PAGE_SIZE == 0 ? fetch_from(trap, pc + 2) : half + 1; /* perhaps on another page */
        if (half == NULL) {
            return false;
        }
        *bits |= (uint32_t)*half << 16;
    }
    return true;
}
