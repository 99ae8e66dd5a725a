/* SPDX-License-Identifier: MIT
 *
 * Registers that each vCPU fills with a pattern of its own, while the harts are shared with others that do the same.
 */
#include "timing.h"
#include "registers.h"

static bool masked(void)
{
    bool was = (csr_read(sstatus) & STATUS_SIE) != 0;
    csr_clear(sstatus, STATUS_SIE);
    return was;
}

static void unmask(bool was)
{
    if (was) {
        csr_set(sstatus, STATUS_SIE);
    }
}

static void report(size_t ran, const char *name)
{
    for (size_t i = 0; i < ran; i++) {
        case_check(members[i].bad == 0, "hart %lu: %lu of %lu rounds bad, first at %lu", members[i].id, members[i].bad,
                   members[i].rounds, members[i].detail);
        case_check(members[i].rounds > 0, "hart %lu did nothing", members[i].id);
    }
    cases_end(name);
}

static void note_bad(struct member *member, unsigned long detail)
{
    if (member->bad++ == 0) {
        member->detail = detail;
    }
}

/* --- x1 to x31 --- */

static void integer_member(struct member *member)
{
    unsigned long in[32], out[32];
    while (!over) {
        for (unsigned long i = 0; i < 32; i++) {
            in[i] = (i + 1) * 0x01000193ul + member->id * 0x10001ul + member->rounds;
        }
        in[31] = 200000; /* turns of the loop: some milliseconds under emulation */
        bool was = masked();
        spin_patterned(in, out);
        unmask(was);
        for (unsigned long i = 1; i < 31; i++) {
            if (in[i] != out[i]) {
                note_bad(member, i);
            }
        }
        member->rounds++;
    }
}

void timing_integer(void)
{
    report(run_all(integer_member, argument("duration", 1000)), "integer: x1 to x30 are each vCPU's own");
}

/* Something for the hypervisor to do: a call, a nap, or time to be preempted in. */
static void disturb(uint64_t *random)
{
    unsigned long choice = (unsigned long)(random64(random) >> 20) % 4;
    if (choice == 0) {
        sbi(SBI_EXT_BASE, 0, 0, 0, 0);
    } else if (choice == 1) {
        sbi(SBI_EXT_RFENCE, 1, 0, ~0ul, 0);
    } else {
        spin((unsigned long)(random64(random) >> 20) % (unsigned long)milliseconds(choice));
    }
}

/* --- f0 to f31 --- */

static uint64_t floats[HARTS_MAX][2][32];

static void float_member(struct member *member)
{
    uint64_t *in = floats[member->index][0], *out = floats[member->index][1], random = now() + member->id;
    while (!over) {
        for (size_t i = 0; i < 32; i++) {
            in[i] = 0x4010000000000000ull + ((uint64_t)member->id << 32) + (member->rounds << 8) + i;
        }
        status_field(STATUS_FS, FIELD_DIRTY);
        fp_load(in);
        csr_write(0x003, (member->rounds + member->id) & 0xff & ~0xe0ul); /* fcsr: flags, rounding mode 0 */
        unsigned long fcsr = csr_read(0x003);
        unsigned long field = (unsigned long)random64(&random) % 4;
        status_field(STATUS_FS, field); /* Off, Initial, Clean or Dirty: the registers are there all the same */
        disturb(&random);
        if ((csr_read(sstatus) & STATUS_FS) != field * BIT(13)) {
            note_bad(member, 1000 + field);
        }
        status_field(STATUS_FS, FIELD_CLEAN);
        fp_store(out);
        if (memcmp(in, out, 32 * sizeof(*in)) != 0) {
            note_bad(member, field);
        }
        if (csr_read(0x003) != fcsr) {
            note_bad(member, 2000 + field);
        }
        member->rounds++;
    }
}

void timing_float(void)
{
    if (!field_works(STATUS_FS)) {
        skip("float", "no F or D");
        return;
    }
    report(run_all(float_member, argument("duration", 1500)), "float: f0 to f31 and fcsr are each vCPU's own");
}

/* --- v0 to v31 --- */

static unsigned char vectors[HARTS_MAX][2][VECTOR_BYTES_MAX];

static void vector_member(struct member *member)
{
    unsigned char *in = vectors[member->index][0], *out = vectors[member->index][1];
    uint64_t random = now() + member->id;
    status_field(STATUS_VS, FIELD_DIRTY);
    unsigned long state[5], after[5];
    vector_state(state);
    unsigned long bytes = 32 * state[0];
    while (!over && bytes <= VECTOR_BYTES_MAX) {
        for (size_t i = 0; i < bytes; i++) {
            in[i] = (unsigned char)(i * 7 + member->id * 31 + member->rounds);
        }
        status_field(STATUS_VS, FIELD_DIRTY);
        vector_load(in);
        vector_set(member->rounds % (8 * state[0]) + member->id);
        csr_write(0x00f, member->rounds % 8); /* vcsr */
        vector_state(state);
        unsigned long field = (unsigned long)random64(&random) % 4;
        status_field(STATUS_VS, field);
        disturb(&random);
        status_field(STATUS_VS, FIELD_CLEAN);
        vector_state(after);
        vector_store(out);
        if (memcmp(in, out, bytes) != 0) {
            note_bad(member, field);
        }
        if (memcmp(state, after, sizeof(state)) != 0) {
            note_bad(member, 1000 + field);
        }
        member->rounds++;
    }
}

void timing_vector(void)
{
    if (!field_works(STATUS_VS)) {
        skip("vector", "no V");
        return;
    }
    report(run_all(vector_member, argument("duration", 1500)),
           "vector: v0 to v31, vl, vtype and vcsr are each vCPU's own");
}

/* --- a supervisor's own CSRs --- */

static unsigned long read_senvcfg(unsigned long a, unsigned long b, unsigned long c)
{
    (void)a, (void)b, (void)c;
    return csr_read(0x10a);
}

/* With Sstc the deadline is the guest's own register. */
static unsigned long read_stimecmp(unsigned long a, unsigned long b, unsigned long c)
{
    (void)a, (void)b, (void)c;
    return csr_read(0x14d);
}

struct optional {
    bool senvcfg, stimecmp;
};

static struct optional find_optional(void)
{
    bool was = masked();
    struct optional has = {!catch_trap(read_senvcfg, 0, 0, 0).trapped,
                           isa_names("sstc") && !catch_trap(read_stimecmp, 0, 0, 0).trapped};
    unmask(was);
    return has;
}

/* Far ahead, and different each time. The boot hart's timer ends the test. */
static void set_optional(const struct member *member, struct optional has, unsigned long salt)
{
    if (has.senvcfg) {
        csr_write(0x10a, salt >> 4 & 1); /* FIOM */
    }
    if (has.stimecmp && member->index != 0) {
        sbi_set_timer(1ull << 60 | (salt & 0xffffff));
    }
}

static bool optional_kept(const struct member *member, struct optional has, unsigned long salt)
{
    unsigned long deadline = (unsigned long)(1ull << 60 | (salt & 0xffffff));
    return (!has.senvcfg || csr_read(0x10a) == (salt >> 4 & 1)) &&
           (!has.stimecmp || member->index == 0 || csr_read(0x14d) == deadline);
}

static void csrs_member(struct member *member)
{
    uint64_t random = now() + member->id;
    struct optional has = find_optional();
    while (!over) {
        bool was = masked();
        unsigned long salt = (unsigned long)random64(&random) & ~3ul & (~0ul >> 1);
        salt &= 0x3ffffffffcul & ~0ul; /* an address that sepc and stval can hold under Sv39 */
        csr_write(sepc, salt);
        csr_write(stval, salt ^ 0xff0);
        csr_write(scause, salt / 4 % 16);
        csr_write(scounteren, salt / 4 % 8);
        csr_set(sip, BIT(SOFT));
        set_optional(member, has, salt);
        disturb(&random);
        if (!optional_kept(member, has, salt)) {
            note_bad(member, 5);
        }
        if (csr_read(sepc) != salt || csr_read(stval) != (salt ^ 0xff0) || csr_read(scause) != salt / 4 % 16) {
            note_bad(member, 1);
        }
        if (csr_read(scounteren) != salt / 4 % 8) {
            note_bad(member, 2);
        }
        if ((csr_read(sip) & BIT(SOFT)) == 0) {
            note_bad(member, 3);
        }
        csr_clear(sip, BIT(SOFT));
        if (csr_read(sscratch) != (uintptr_t)this_hart() || csr_read(stvec) != (uintptr_t)trap_vector) {
            note_bad(member, 4);
        }
        unmask(was);
        member->rounds++;
    }
    csr_write(scounteren, 0);
}

void timing_csrs(void)
{
    report(run_all(csrs_member, argument("duration", 1000)), "csrs: a supervisor's registers are each vCPU's own");
}
