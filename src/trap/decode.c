/* SPDX-License-Identifier: MIT
 *
 * The instruction decoder's tables. (Unprivileged specification: chapters 2, 5, 7, 12, 13, 16 and Zcb.)
 *
 * Where two extensions share an encoding, the one that Linux distributions use wins: c.flw and c.fsdsp, not Zclsd's
 * c.ld on RV32 nor Zcmp's cm.push. A caller compares the address that comes out with the one that trapped.
 */
#include "trap/decode.h"

enum { ON_32 = 1, ON_64 = 2, ON_BOTH = 3 };

enum { OPCODE_SYSTEM = 0x73, WHOLE_WFI = 0x10500073, WHOLE_WRS_NTO = 0x00d00073, STACK_POINTER = 2 };

static uint32_t field(uint32_t bits, unsigned low, unsigned count)
{
    return (bits >> low) & ((1U << count) - 1);
}

static bool on_xlen(uint8_t on, unsigned xlen)
{
    return (on & (xlen == 32 ? ON_32 : ON_64)) != 0;
}

/* --- 32-bit loads and stores: opcode (bits 6:0) and funct3 (14:12) tell all --- */

struct full_form {
    uint8_t opcode;
    uint8_t funct3;
    uint8_t on;
    enum instruction_kind kind;
    uint8_t width;
    bool sign_extend;
};

static const struct full_form full_forms[] = {
    {0x03, 0, ON_BOTH, INSN_LOAD, 1, true},      /* lb */
    {0x03, 1, ON_BOTH, INSN_LOAD, 2, true},      /* lh */
    {0x03, 2, ON_BOTH, INSN_LOAD, 4, true},      /* lw */
    {0x03, 3, ON_64, INSN_LOAD, 8, true},        /* ld */
    {0x03, 4, ON_BOTH, INSN_LOAD, 1, false},     /* lbu */
    {0x03, 5, ON_BOTH, INSN_LOAD, 2, false},     /* lhu */
    {0x03, 6, ON_64, INSN_LOAD, 4, false},       /* lwu */
    {0x07, 2, ON_BOTH, INSN_FP_LOAD, 4, false},  /* flw */
    {0x07, 3, ON_BOTH, INSN_FP_LOAD, 8, false},  /* fld */
    {0x23, 0, ON_BOTH, INSN_STORE, 1, false},    /* sb */
    {0x23, 1, ON_BOTH, INSN_STORE, 2, false},    /* sh */
    {0x23, 2, ON_BOTH, INSN_STORE, 4, false},    /* sw */
    {0x23, 3, ON_64, INSN_STORE, 8, false},      /* sd */
    {0x27, 2, ON_BOTH, INSN_FP_STORE, 4, false}, /* fsw */
    {0x27, 3, ON_BOTH, INSN_FP_STORE, 8, false}, /* fsd */
};

static bool is_store(enum instruction_kind kind)
{
    return kind == INSN_STORE || kind == INSN_FP_STORE;
}

/* The 12-bit offset, sign-extended: loads have it in one piece, stores in two. */
static int32_t full_offset(uint32_t bits, bool store)
{
    const uint32_t raw = store ? field(bits, 25, 7) << 5 | field(bits, 7, 5) : field(bits, 20, 12);
    return (int32_t)(raw ^ 0x800) - 0x800;
}

static struct instruction decode_memory(uint32_t bits, unsigned xlen)
{
    for (size_t i = 0; i < ARRAY_LENGTH(full_forms); i++) {
        const struct full_form *form = &full_forms[i];
        if (field(bits, 0, 7) != form->opcode || field(bits, 12, 3) != form->funct3 || !on_xlen(form->on, xlen)) {
            continue;
        }
        const bool store = is_store(form->kind);
        return (struct instruction){
            .kind = form->kind,
            .length = 4,
            .width = form->width,
            .sign_extend = form->sign_extend,
            .rd = store ? 0 : (uint8_t)field(bits, 7, 5),
            .rs1 = (uint8_t)field(bits, 15, 5),
            .rs2 = store ? (uint8_t)field(bits, 20, 5) : 0,
            .offset = full_offset(bits, store),
        };
    }
    return (struct instruction){.kind = INSN_UNKNOWN, .length = 4};
}

/* --- SYSTEM --- */

static struct instruction decode_system(uint32_t bits)
{
    const uint32_t funct3 = field(bits, 12, 3);
    if (bits == WHOLE_WFI) {
        return (struct instruction){.kind = INSN_WFI, .length = 4};
    }
    if (bits == WHOLE_WRS_NTO) {
        return (struct instruction){.kind = INSN_WRS_NTO, .length = 4};
    }
    if ((funct3 & 3) == 0) {
        return (struct instruction){.kind = INSN_UNKNOWN, .length = 4};
    }
    static const enum csr_operation operations[4] = {[1] = CSR_WRITE, [2] = CSR_SET, [3] = CSR_CLEAR};
    const uint8_t source = (uint8_t)field(bits, 15, 5);
    return (struct instruction){
        .kind = INSN_CSR,
        .length = 4,
        .rd = (uint8_t)field(bits, 7, 5),
        .rs1 = source,
        .csr = (uint16_t)field(bits, 20, 12),
        .csr_operation = operations[funct3 & 3],
        .csr_immediate = (funct3 & 4) != 0,
        /* It is the field that counts, not what the register holds. */
        .csr_writes = operations[funct3 & 3] == CSR_WRITE || source != 0,
    };
}

/* --- compressed loads and stores --- */

/* How the offset's bits lie in the half-word: up to three pieces, each moved from one place to another. */
struct piece {
    uint8_t from, count, to;
};

enum layout {
    LAYOUT_WORD,
    LAYOUT_DOUBLE,
    LAYOUT_BYTE,
    LAYOUT_HALF,
    LAYOUT_LWSP,
    LAYOUT_LDSP,
    LAYOUT_SWSP,
    LAYOUT_SDSP
};

static const struct piece layouts[][3] = {
    [LAYOUT_WORD] = {{10, 3, 3}, {6, 1, 2}, {5, 1, 6}},
    [LAYOUT_DOUBLE] = {{10, 3, 3}, {5, 2, 6}},
    [LAYOUT_BYTE] = {{6, 1, 0}, {5, 1, 1}},
    [LAYOUT_HALF] = {{5, 1, 1}},
    [LAYOUT_LWSP] = {{12, 1, 5}, {4, 3, 2}, {2, 2, 6}},
    [LAYOUT_LDSP] = {{12, 1, 5}, {5, 2, 3}, {2, 3, 6}},
    [LAYOUT_SWSP] = {{9, 4, 2}, {7, 2, 6}},
    [LAYOUT_SDSP] = {{10, 3, 3}, {7, 3, 6}},
};

struct short_form {
    uint16_t mask, match; /* of the low half-word; what lies above is the next instruction */
    uint8_t on;
    enum instruction_kind kind;
    uint8_t width;
    bool sign_extend;
    enum layout layout;
};

enum { MASK_FUNCT3 = 0xe003, MASK_ZCB = 0xfc03, MASK_ZCB_HALF = 0xfc43 };

static const struct short_form short_forms[] = {
    {MASK_FUNCT3, 0x2000, ON_BOTH, INSN_FP_LOAD, 8, false, LAYOUT_DOUBLE},  /* c.fld */
    {MASK_FUNCT3, 0x4000, ON_BOTH, INSN_LOAD, 4, true, LAYOUT_WORD},        /* c.lw */
    {MASK_FUNCT3, 0x6000, ON_32, INSN_FP_LOAD, 4, false, LAYOUT_WORD},      /* c.flw */
    {MASK_FUNCT3, 0x6000, ON_64, INSN_LOAD, 8, true, LAYOUT_DOUBLE},        /* c.ld */
    {MASK_ZCB, 0x8000, ON_BOTH, INSN_LOAD, 1, false, LAYOUT_BYTE},          /* c.lbu */
    {MASK_ZCB_HALF, 0x8400, ON_BOTH, INSN_LOAD, 2, false, LAYOUT_HALF},     /* c.lhu */
    {MASK_ZCB_HALF, 0x8440, ON_BOTH, INSN_LOAD, 2, true, LAYOUT_HALF},      /* c.lh */
    {MASK_ZCB, 0x8800, ON_BOTH, INSN_STORE, 1, false, LAYOUT_BYTE},         /* c.sb */
    {MASK_ZCB_HALF, 0x8c00, ON_BOTH, INSN_STORE, 2, false, LAYOUT_HALF},    /* c.sh */
    {MASK_FUNCT3, 0xa000, ON_BOTH, INSN_FP_STORE, 8, false, LAYOUT_DOUBLE}, /* c.fsd */
    {MASK_FUNCT3, 0xc000, ON_BOTH, INSN_STORE, 4, false, LAYOUT_WORD},      /* c.sw */
    {MASK_FUNCT3, 0xe000, ON_32, INSN_FP_STORE, 4, false, LAYOUT_WORD},     /* c.fsw */
    {MASK_FUNCT3, 0xe000, ON_64, INSN_STORE, 8, false, LAYOUT_DOUBLE},      /* c.sd */
    {MASK_FUNCT3, 0x2002, ON_BOTH, INSN_FP_LOAD, 8, false, LAYOUT_LDSP},    /* c.fldsp */
    {MASK_FUNCT3, 0x4002, ON_BOTH, INSN_LOAD, 4, true, LAYOUT_LWSP},        /* c.lwsp */
    {MASK_FUNCT3, 0x6002, ON_32, INSN_FP_LOAD, 4, false, LAYOUT_LWSP},      /* c.flwsp */
    {MASK_FUNCT3, 0x6002, ON_64, INSN_LOAD, 8, true, LAYOUT_LDSP},          /* c.ldsp */
    {MASK_FUNCT3, 0xa002, ON_BOTH, INSN_FP_STORE, 8, false, LAYOUT_SDSP},   /* c.fsdsp */
    {MASK_FUNCT3, 0xc002, ON_BOTH, INSN_STORE, 4, false, LAYOUT_SWSP},      /* c.swsp */
    {MASK_FUNCT3, 0xe002, ON_32, INSN_FP_STORE, 4, false, LAYOUT_SWSP},     /* c.fswsp */
    {MASK_FUNCT3, 0xe002, ON_64, INSN_STORE, 8, false, LAYOUT_SDSP},        /* c.sdsp */
};

static const struct short_form *find_short_form(uint32_t bits, unsigned xlen)
{
    for (size_t i = 0; i < ARRAY_LENGTH(short_forms); i++) {
        if ((bits & short_forms[i].mask) == short_forms[i].match && on_xlen(short_forms[i].on, xlen)) {
            return &short_forms[i];
        }
    }
    return NULL;
}

static int32_t short_offset(uint32_t bits, enum layout layout)
{
    uint32_t offset = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(layouts[layout]); i++) {
        const struct piece *piece = &layouts[layout][i];
        offset |= field(bits, piece->from, piece->count) << piece->to;
    }
    return (int32_t)offset;
}

static struct instruction decode_short(uint32_t bits, unsigned xlen)
{
    const struct instruction unknown = {.kind = INSN_UNKNOWN, .length = 2};
    const struct short_form *form = find_short_form(bits, xlen);
    if (form == NULL) {
        return unknown;
    }
    const bool store = is_store(form->kind);
    const bool on_stack = field(bits, 0, 2) == 2;
    /* Of the forms that name one of x8 … x15 the data register lies in 4:2; stack forms name all 32. */
    const unsigned data_low = on_stack && !store ? 7 : 2;
    const uint32_t data = on_stack ? field(bits, data_low, 5) : field(bits, data_low, 3) + 8;
    if (on_stack && form->kind == INSN_LOAD && data == 0) {
        return unknown; /* c.lwsp and c.ldsp to x0 are reserved */
    }
    return (struct instruction){
        .kind = form->kind,
        .length = 2,
        .width = form->width,
        .sign_extend = form->sign_extend,
        .rd = store ? 0 : (uint8_t)data,
        .rs1 = on_stack ? STACK_POINTER : (uint8_t)(field(bits, 7, 3) + 8),
        .rs2 = store ? (uint8_t)data : 0,
        .offset = short_offset(bits, form->layout),
    };
}

struct instruction decode(uint32_t bits, unsigned xlen)
{
    if (field(bits, 0, 2) != 3) {
        return decode_short(bits, xlen);
    }
    return field(bits, 0, 7) == OPCODE_SYSTEM ? decode_system(bits) : decode_memory(bits, xlen);
}

unsigned long load_extend(const struct instruction *insn, uint64_t raw)
{
    if (insn->sign_extend && insn->width < sizeof(uint64_t)) {
        const uint64_t sign = UINT64_C(1) << (insn->width * 8 - 1);
        raw = (raw ^ sign) - sign;
    }
    return (unsigned long)raw;
}
