/* SPDX-License-Identifier: MIT
 *
 * The PMP registers: CSR numbers are part of the instruction, so that each has a case of its own.
 */
#include "arch/riscv/pmp.h"
#include "arch/riscv/csr.h"

enum { CONFIG_PER_REGISTER = (int)sizeof(long) }; /* configuration bytes in one pmpcfg register */

#define EIGHT(m, n) m(n##0) m(n##1) m(n##2) m(n##3) m(n##4) m(n##5) m(n##6) m(n##7)
#define EACH_ADDRESS(m)                                                                                                \
    EIGHT(m, 0) EIGHT(m, 01) EIGHT(m, 02) EIGHT(m, 03) EIGHT(m, 04) EIGHT(m, 05) EIGHT(m, 06) EIGHT(m, 07)
#define EACH_CONFIG(m) EIGHT(m, 0) EIGHT(m, 01)

/* The n above are octal: 00 to 077. The assembler reads them alike. */
#define READ_CASE(n)                                                                                                   \
    case n:                                                                                                            \
        return CSR_TRY("csrr %[v], " PMP_CSR(n), *value);
#define WRITE_CASE(n)                                                                                                  \
    case n:                                                                                                            \
        return CSR_TRY("csrw " PMP_CSR(n) ", %[v]", value);

#define PMP_CSR(n) "0x3b0 + " #n
static bool address_read(unsigned entry, unsigned long *value)
{
    switch (entry) {
        EACH_ADDRESS(READ_CASE)
    default:
        return false;
    }
}

static bool address_write(unsigned entry, unsigned long value)
{
    switch (entry) {
        EACH_ADDRESS(WRITE_CASE)
    default:
        return false;
    }
}
#undef PMP_CSR

#define PMP_CSR(n) "0x3a0 + " #n
static bool config_read(unsigned number, unsigned long *value)
{
    switch (number) {
        EACH_CONFIG(READ_CASE)
    default:
        return false;
    }
}

static bool config_write(unsigned number, unsigned long value)
{
    switch (number) {
        EACH_CONFIG(WRITE_CASE)
    default:
        return false;
    }
}
#undef PMP_CSR

/* RV64 has only the even-numbered configuration registers. */
static unsigned config_number(unsigned entry)
{
    return entry / (unsigned)CONFIG_PER_REGISTER * ((unsigned)CONFIG_PER_REGISTER / 4);
}

static uint8_t entry_config(unsigned entry)
{
    unsigned long value = 0;
    if (!config_read(config_number(entry), &value)) {
        return 0;
    }
    return (uint8_t)(value >> (entry % (unsigned)CONFIG_PER_REGISTER * 8));
}

/* An entry exists if its address register keeps some bit of what is written. */
static bool entry_exists(unsigned entry)
{
    unsigned long value = 0;
    bool there = address_write(entry, ~0UL) && address_read(entry, &value) && value != 0;
    if (there) {
        address_write(entry, 0);
    }
    return there;
}

static uint32_t granule_log(void)
{
    unsigned long value = 0;
    address_write(0, ~0UL);
    address_read(0, &value);
    address_write(0, 0);
    return value == 0 ? 63 : (uint32_t)__builtin_ctzl(value) + 2;
}

/* Whether entry 0 takes TOR: parts that implement NAPOT only read something else back. */
static bool takes_tor(void)
{
    unsigned long value = 0;
    config_write(0, PMP_TOR);
    config_read(0, &value);
    config_write(0, 0);
    return (value & PMP_A_MASK) == PMP_TOR;
}

bool pmp_probe(struct pmp_features *features)
{
    *features = (struct pmp_features){.entries = 0};
    for (unsigned entry = 0; entry < PMP_ENTRIES_MAX; entry++) {
        if ((entry_config(entry) & PMP_LOCKED) != 0) {
            return true;
        }
    }
    for (unsigned entry = 0; entry < PMP_ENTRIES_MAX; entry += (unsigned)CONFIG_PER_REGISTER) {
        config_write(config_number(entry), 0);
    }
    while (features->entries < PMP_ENTRIES_MAX && entry_exists(features->entries)) {
        features->entries++;
    }
    if (features->entries > 0) {
        features->granule_log = granule_log();
        features->napot_only = !takes_tor();
    }
    return false;
}

static unsigned long config_word(const struct pmp_image *image, unsigned first)
{
    unsigned long word = 0;
    for (unsigned n = 0; n < (unsigned)CONFIG_PER_REGISTER; n++) {
        if (first + n < image->count) {
            word |= (unsigned long)image->config[first + n] << (n * 8);
        }
    }
    return word;
}

/* Writes to a locked entry's bytes have no effect, so an image may name it again. */
void arch_pmp_load(const struct hart_features *features, const struct pmp_image *image, const struct pmp_image *old)
{
    uint32_t used = MAX(image->count, old == NULL ? features->pmp.entries : old->count);
    used = MIN(used, features->pmp.entries);
    /* All off, then addresses, then rights: at no moment are both the old and the new capsule's RAM open. */
    for (unsigned entry = 0; entry < used; entry += (unsigned)CONFIG_PER_REGISTER) {
        config_write(config_number(entry), 0);
    }
    for (unsigned entry = 0; entry < used; entry++) {
        address_write(entry, entry < image->count ? image->address[entry] : 0);
    }
    for (unsigned entry = 0; entry < used; entry += (unsigned)CONFIG_PER_REGISTER) {
        config_write(config_number(entry), config_word(image, entry));
    }
    __asm__ volatile("sfence.vma x0, x0" : : : "memory");
    if (guests_are_virtual()) {
        arch_fence_stage2();
    }
}

void arch_pmp_read(const struct hart_features *features, struct pmp_image *image)
{
    *image = (struct pmp_image){.count = features->pmp.entries};
    for (unsigned entry = 0; entry < image->count; entry++) {
        address_read(entry, &image->address[entry]);
        image->config[entry] = entry_config(entry);
    }
}

/* trap.S: 1 if the byte could be loaded while mstatus is trial; restores status either way. */
unsigned long supervisor_load_probe(unsigned long address, unsigned long trial, unsigned long status);

bool arch_supervisor_can_load(hpa_t address)
{
    unsigned long status = csr_read(mstatus);
    /* not VS-mode, from which the last trap may have come: that would be a guest-physical address */
    unsigned long trial = (status & ~(MSTATUS_MPP_MASK | MSTATUS_MPV)) | MSTATUS_MPP_SUPERVISOR | MSTATUS_MPRV;
    unsigned long translation = csr_read(satp);
    if (XLEN == 32 && guests_are_virtual()) {
        csr_clear(CSR_MSTATUSH, MSTATUSH_MPV);
    }
    csr_write(satp, 0);
    bool loaded = supervisor_load_probe((unsigned long)address.at, trial, status) != 0;
    csr_write(satp, translation);
    return loaded;
}
