/* SPDX-License-Identifier: MIT
 *
 * Emulates misaligned loads and stores byte by byte. All guests are little-endian: the policy bits allow no other.
 */
#include "trap/misaligned.h"

/* A 32-bit value in a 64-bit floating-point register has all bits above it set. */
#define NAN_BOX UINT64_C(0xffffffff00000000)

static unsigned long read_x(const struct guest_accessor *guest, unsigned reg)
{
    return reg == 0 ? 0 : guest->get_x(guest->context, reg);
}

unsigned long access_address(const struct instruction *insn, const struct guest_accessor *guest)
{
    return read_x(guest, insn->rs1) + (unsigned long)(long)insn->offset;
}

static bool load_bytes(const struct instruction *insn, const struct guest_accessor *guest, unsigned long address,
                       uint64_t *raw, struct guest_fault *fault)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < insn->width; i++) {
        uint8_t byte = 0;
        unsigned long cause = 0;
        if (!guest->load_byte(guest->context, address + i, &byte, &cause)) {
            *fault = (struct guest_fault){.cause = cause, .value = address + i};
            return false;
        }
        bytes |= (uint64_t)byte << (8 * i);
    }
    *raw = bytes;
    return true;
}

static bool store_bytes(const struct instruction *insn, const struct guest_accessor *guest, unsigned long address,
                        uint64_t raw, struct guest_fault *fault)
{
    for (unsigned i = 0; i < insn->width; i++) {
        unsigned long cause = 0;
        if (!guest->store_byte(guest->context, address + i, (uint8_t)(raw >> (8 * i)), &cause)) {
            *fault = (struct guest_fault){.cause = cause, .value = address + i};
            return false;
        }
    }
    return true;
}

static void finish_load(const struct instruction *insn, const struct guest_accessor *guest, uint64_t raw)
{
    if (insn->kind == INSN_FP_LOAD) {
        guest->set_f(guest->context, insn->rd, insn->width == 4 ? raw | NAN_BOX : raw);
    } else if (insn->rd != 0) {
        guest->set_x(guest->context, insn->rd, load_extend(insn, raw));
    }
}

enum misaligned_result misaligned_emulate(const struct instruction *insn, const struct guest_accessor *guest,
                                          unsigned long trapped, struct guest_fault *fault)
{
    const bool load = insn->kind == INSN_LOAD || insn->kind == INSN_FP_LOAD;
    const bool store = insn->kind == INSN_STORE || insn->kind == INSN_FP_STORE;
    if (!load && !store) {
        return MISALIGNED_UNKNOWN;
    }
    const unsigned long address = access_address(insn, guest);
    if (address != trapped) {
        return MISALIGNED_CHANGED;
    }

    uint64_t raw = 0;
    if (load) {
        if (!load_bytes(insn, guest, address, &raw, fault)) {
            return MISALIGNED_FAULT;
        }
        finish_load(insn, guest, raw);
        return MISALIGNED_DONE;
    }
    raw = insn->kind == INSN_STORE ? read_x(guest, insn->rs2) : guest->get_f(guest->context, insn->rs2);
    return store_bytes(insn, guest, address, raw, fault) ? MISALIGNED_DONE : MISALIGNED_FAULT;
}
