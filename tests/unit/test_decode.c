/* SPDX-License-Identifier: MIT
 *
 * The decoder against what an assembler makes of each form, and against its own limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "support.h"
#include "trap/decode.h"

enum { ON_32 = 1, ON_64 = 2, BOTH = 3 };

/* clang-format off */
#define LOAD(l, w, s, d, b, o)                                                                                         \
    {.kind = INSN_LOAD, .length = (l), .width = (w), .sign_extend = (s), .rd = (d), .rs1 = (b), .offset = (o)}
#define STORE(l, w, d, b, o) {.kind = INSN_STORE, .length = (l), .width = (w), .rs2 = (d), .rs1 = (b), .offset = (o)}
#define FP_LOAD(l, w, d, b, o) {.kind = INSN_FP_LOAD, .length = (l), .width = (w), .rd = (d), .rs1 = (b), .offset = (o)}
#define FP_STORE(l, w, d, b, o)                                                                                        \
    {.kind = INSN_FP_STORE, .length = (l), .width = (w), .rs2 = (d), .rs1 = (b), .offset = (o)}
#define CSR(d, s, n, op, imm, writes)                                                                                  \
    {.kind = INSN_CSR,                                                                                                 \
     .length = 4,                                                                                                      \
     .rd = (d),                                                                                                        \
     .rs1 = (s),                                                                                                       \
     .csr = (n),                                                                                                       \
     .csr_operation = (op),                                                                                            \
     .csr_immediate = (imm),                                                                                           \
     .csr_writes = (writes)}
#define WFI {.kind = INSN_WFI, .length = 4}
#define WRS_NTO {.kind = INSN_WRS_NTO, .length = 4}
#define UNKNOWN(l) {.kind = INSN_UNKNOWN, .length = (l)}

struct row {
    uint32_t bits;
    uint8_t on;
    struct instruction want;
    const char *text;
};

/* As GNU as and objdump 2.40 have them; Zcb's forms and the reserved ones by hand from the specification. */
static const struct row rows[] = {
    {0xfff58503, BOTH, LOAD(4, 1, true, 10, 11, -1), "lb a0,-1(a1)"},
    {0x7ff11f83, BOTH, LOAD(4, 2, true, 31, 2, 2047), "lh t6,2047(sp)"},
    {0x80042003, BOTH, LOAD(4, 4, true, 0, 8, -2048), "lw zero,-2048(s0)"},
    {0x0082bd83, ON_64, LOAD(4, 8, true, 27, 5, 8), "ld s11,8(t0)"},
    {0x00004783, BOTH, LOAD(4, 1, false, 15, 0, 0), "lbu a5,0(zero)"},
    {0x0016d703, BOTH, LOAD(4, 2, false, 14, 13, 1), "lhu a4,1(a3)"},
    {0xffc56603, ON_64, LOAD(4, 4, false, 12, 10, -4), "lwu a2,-4(a0)"},
    {0x00452507, BOTH, FP_LOAD(4, 4, 10, 10, 4), "flw fa0,4(a0)"},
    {0xff813f87, BOTH, FP_LOAD(4, 8, 31, 2, -8), "fld ft11,-8(sp)"},
    {0xfea58fa3, BOTH, STORE(4, 1, 10, 11, -1), "sb a0,-1(a1)"},
    {0x7ff11fa3, BOTH, STORE(4, 2, 31, 2, 2047), "sh t6,2047(sp)"},
    {0x80042023, BOTH, STORE(4, 4, 0, 8, -2048), "sw zero,-2048(s0)"},
    {0x01b2bfa3, ON_64, STORE(4, 8, 27, 5, 31), "sd s11,31(t0)"},
    {0xfea52027, BOTH, FP_STORE(4, 4, 10, 10, -32), "fsw fa0,-32(a0)"},
    {0x7ff13c27, BOTH, FP_STORE(4, 8, 31, 2, 2040), "fsd ft11,2040(sp)"},
    {0xc0159573, BOTH, CSR(10, 11, 0xc01, CSR_WRITE, false, true), "csrrw a0,time,a1"},
    {0xc0102ff3, BOTH, CSR(31, 0, 0xc01, CSR_SET, false, false), "csrrs t6,time,zero"},
    {0xc810a573, BOTH, CSR(10, 1, 0xc81, CSR_SET, false, true), "csrrs a0,timeh,ra"},
    {0x100fb073, BOTH, CSR(0, 31, 0x100, CSR_CLEAR, false, true), "csrrc zero,sstatus,t6"},
    {0x10403573, BOTH, CSR(10, 0, 0x104, CSR_CLEAR, false, false), "csrrc a0,sie,zero"},
    {0x7c005573, BOTH, CSR(10, 0, 0x7c0, CSR_WRITE, true, true), "csrrwi a0,0x7c0,0"},
    {0x144065f3, BOTH, CSR(11, 0, 0x144, CSR_SET, true, false), "csrrsi a1,sip,0"},
    {0x144fe5f3, BOTH, CSR(11, 31, 0x144, CSR_SET, true, true), "csrrsi a1,sip,31"},
    {0xfff0f673, BOTH, CSR(12, 1, 0xfff, CSR_CLEAR, true, true), "csrrci a2,0xfff,1"},
    {0xc0107073, BOTH, CSR(0, 0, 0xc01, CSR_CLEAR, true, false), "csrrci zero,time,0"},
    {0x10500073, BOTH, WFI, "wfi"},
    {0x00d00073, BOTH, WRS_NTO, "wrs.nto"},
    {0x01d00073, BOTH, UNKNOWN(4), "wrs.sto, which never traps for long"},
    {0x00000073, BOTH, UNKNOWN(4), "ecall"},
    {0x00100073, BOTH, UNKNOWN(4), "ebreak"},
    {0x10200073, BOTH, UNKNOWN(4), "sret"},
    {0x30200073, BOTH, UNKNOWN(4), "mret"},
    {0x12b50073, BOTH, UNKNOWN(4), "sfence.vma a0,a1"},
    {0x0ff0000f, BOTH, UNKNOWN(4), "fence iorw,iorw"},
    {0x0000100f, BOTH, UNKNOWN(4), "fence.i"},
    {0x1005a52f, BOTH, UNKNOWN(4), "lr.w a0,(a1)"},
    {0x18b6352f, ON_64, UNKNOWN(4), "sc.d a0,a1,(a2)"},
    {0x00b6252f, BOTH, UNKNOWN(4), "amoadd.w a0,a1,(a2)"},
    {0x00c58533, BOTH, UNKNOWN(4), "add a0,a1,a2"},
    {0x000000ef, BOTH, UNKNOWN(4), "jal"},
    {0x2108, BOTH, FP_LOAD(2, 8, 10, 10, 0), "c.fld fa0,0(a0)"},
    {0x3ce0, BOTH, FP_LOAD(2, 8, 8, 9, 248), "c.fld fs0,248(s1)"},
    {0x23bc, BOTH, FP_LOAD(2, 8, 15, 15, 64), "c.fld fa5,64(a5)"},
    {0x4188, BOTH, LOAD(2, 4, true, 10, 11, 0), "c.lw a0,0(a1)"},
    {0x5ce0, BOTH, LOAD(2, 4, true, 8, 9, 124), "c.lw s0,124(s1)"},
    {0x43dc, BOTH, LOAD(2, 4, true, 15, 15, 4), "c.lw a5,4(a5)"},
    {0x43bc, BOTH, LOAD(2, 4, true, 15, 15, 64), "c.lw a5,64(a5)"},
    {0x479c, BOTH, LOAD(2, 4, true, 15, 15, 8), "c.lw a5,8(a5)"},
    {0x6188, ON_64, LOAD(2, 8, true, 10, 11, 0), "c.ld a0,0(a1)"},
    {0x7ce0, ON_64, LOAD(2, 8, true, 8, 9, 248), "c.ld s0,248(s1)"},
    {0x603c, ON_64, LOAD(2, 8, true, 15, 8, 64), "c.ld a5,64(s0)"},
    {0x641c, ON_64, LOAD(2, 8, true, 15, 8, 8), "c.ld a5,8(s0)"},
    {0xa108, BOTH, FP_STORE(2, 8, 10, 10, 0), "c.fsd fa0,0(a0)"},
    {0xbc64, BOTH, FP_STORE(2, 8, 9, 8, 248), "c.fsd fs1,248(s0)"},
    {0xa3fc, BOTH, FP_STORE(2, 8, 15, 15, 192), "c.fsd fa5,192(a5)"},
    {0xc188, BOTH, STORE(2, 4, 10, 11, 0), "c.sw a0,0(a1)"},
    {0xdc64, BOTH, STORE(2, 4, 9, 8, 124), "c.sw s1,124(s0)"},
    {0xc3fc, BOTH, STORE(2, 4, 15, 15, 68), "c.sw a5,68(a5)"},
    {0xe188, ON_64, STORE(2, 8, 10, 11, 0), "c.sd a0,0(a1)"},
    {0xfc64, ON_64, STORE(2, 8, 9, 8, 248), "c.sd s1,248(s0)"},
    {0xff9c, ON_64, STORE(2, 8, 15, 15, 56), "c.sd a5,56(a5)"},
    {0x2002, BOTH, FP_LOAD(2, 8, 0, 2, 0), "c.fldsp ft0,0(sp)"},
    {0x3ffe, BOTH, FP_LOAD(2, 8, 31, 2, 504), "c.fldsp ft11,504(sp)"},
    {0x2512, BOTH, FP_LOAD(2, 8, 10, 2, 256), "c.fldsp fa0,256(sp)"},
    {0x3502, BOTH, FP_LOAD(2, 8, 10, 2, 32), "c.fldsp fa0,32(sp)"},
    {0x4082, BOTH, LOAD(2, 4, true, 1, 2, 0), "c.lwsp ra,0(sp)"},
    {0x5ffe, BOTH, LOAD(2, 4, true, 31, 2, 252), "c.lwsp t6,252(sp)"},
    {0x4506, BOTH, LOAD(2, 4, true, 10, 2, 64), "c.lwsp a0,64(sp)"},
    {0x5502, BOTH, LOAD(2, 4, true, 10, 2, 32), "c.lwsp a0,32(sp)"},
    {0x6082, ON_64, LOAD(2, 8, true, 1, 2, 0), "c.ldsp ra,0(sp)"},
    {0x7ffe, ON_64, LOAD(2, 8, true, 31, 2, 504), "c.ldsp t6,504(sp)"},
    {0x6506, ON_64, LOAD(2, 8, true, 10, 2, 64), "c.ldsp a0,64(sp)"},
    {0x7502, ON_64, LOAD(2, 8, true, 10, 2, 32), "c.ldsp a0,32(sp)"},
    {0xa002, BOTH, FP_STORE(2, 8, 0, 2, 0), "c.fsdsp ft0,0(sp)"},
    {0xbffe, BOTH, FP_STORE(2, 8, 31, 2, 504), "c.fsdsp ft11,504(sp)"},
    {0xa0aa, BOTH, FP_STORE(2, 8, 10, 2, 64), "c.fsdsp fa0,64(sp)"},
    {0xc002, BOTH, STORE(2, 4, 0, 2, 0), "c.swsp zero,0(sp)"},
    {0xdffe, BOTH, STORE(2, 4, 31, 2, 252), "c.swsp t6,252(sp)"},
    {0xc0aa, BOTH, STORE(2, 4, 10, 2, 64), "c.swsp a0,64(sp)"},
    {0xd02a, BOTH, STORE(2, 4, 10, 2, 32), "c.swsp a0,32(sp)"},
    {0xe002, ON_64, STORE(2, 8, 0, 2, 0), "c.sdsp zero,0(sp)"},
    {0xfffe, ON_64, STORE(2, 8, 31, 2, 504), "c.sdsp t6,504(sp)"},
    {0xe0aa, ON_64, STORE(2, 8, 10, 2, 64), "c.sdsp a0,64(sp)"},
    {0xf02a, ON_64, STORE(2, 8, 10, 2, 32), "c.sdsp a0,32(sp)"},
    {0x0001, BOTH, UNKNOWN(2), "c.addi zero,0"},
    {0x0048, BOTH, UNKNOWN(2), "c.addi4spn a0,sp,4"},
    {0xa001, BOTH, UNKNOWN(2), "c.j"},
    {0x9002, BOTH, UNKNOWN(2), "c.ebreak"},
    {0x852e, BOTH, UNKNOWN(2), "c.mv a0,a1"},
    {0x8082, BOTH, UNKNOWN(2), "c.jr ra"},
    {0x6108, ON_32, FP_LOAD(2, 4, 10, 10, 0), "c.flw fa0,0(a0)"},
    {0x7ce0, ON_32, FP_LOAD(2, 4, 8, 9, 124), "c.flw fs0,124(s1)"},
    {0x63bc, ON_32, FP_LOAD(2, 4, 15, 15, 64), "c.flw fa5,64(a5)"},
    {0xe108, ON_32, FP_STORE(2, 4, 10, 10, 0), "c.fsw fa0,0(a0)"},
    {0xfc64, ON_32, FP_STORE(2, 4, 9, 8, 124), "c.fsw fs1,124(s0)"},
    {0xe3fc, ON_32, FP_STORE(2, 4, 15, 15, 68), "c.fsw fa5,68(a5)"},
    {0x6002, ON_32, FP_LOAD(2, 4, 0, 2, 0), "c.flwsp ft0,0(sp)"},
    {0x7ffe, ON_32, FP_LOAD(2, 4, 31, 2, 252), "c.flwsp ft11,252(sp)"},
    {0xe002, ON_32, FP_STORE(2, 4, 0, 2, 0), "c.fswsp ft0,0(sp)"},
    {0xfffe, ON_32, FP_STORE(2, 4, 31, 2, 252), "c.fswsp ft11,252(sp)"},
    {0x2001, ON_32, UNKNOWN(2), "c.jal"},
    /* Zcb */
    {0x833c, BOTH, LOAD(2, 1, false, 15, 14, 2), "c.lbu a5,2(a4)"},
    {0x8168, BOTH, LOAD(2, 1, false, 10, 10, 3), "c.lbu a0,3(a0)"},
    {0x8140, BOTH, LOAD(2, 1, false, 8, 10, 1), "c.lbu s0,1(a0)"},
    {0x873c, BOTH, LOAD(2, 2, false, 15, 14, 2), "c.lhu a5,2(a4)"},
    {0x871c, BOTH, LOAD(2, 2, false, 15, 14, 0), "c.lhu a5,0(a4)"},
    {0x877c, BOTH, LOAD(2, 2, true, 15, 14, 2), "c.lh a5,2(a4)"},
    {0x8b3c, BOTH, STORE(2, 1, 15, 14, 2), "c.sb a5,2(a4)"},
    {0x8b5c, BOTH, STORE(2, 1, 15, 14, 1), "c.sb a5,1(a4)"},
    {0x8f3c, BOTH, STORE(2, 2, 15, 14, 2), "c.sh a5,2(a4)"},
    {0x8c00, BOTH, STORE(2, 2, 8, 8, 0), "c.sh s0,0(s0)"},
    {0x8f7c, BOTH, UNKNOWN(2), "reserved beside c.sh"},
    {0x9000, BOTH, UNKNOWN(2), "reserved in Zcb"},
    {0x9c7c, BOTH, UNKNOWN(2), "reserved in Zcb"},
    /* Not on this word size */
    {0x0082bd83, ON_32, UNKNOWN(4), "ld"},
    {0xffc56603, ON_32, UNKNOWN(4), "lwu"},
    {0x01b2bfa3, ON_32, UNKNOWN(4), "sd"},
    /* The same half-word, read by the other word size */
    {0x6188, ON_32, FP_LOAD(2, 4, 10, 11, 0), "c.flw fa0,0(a1)"},
    {0x6002, ON_64, UNKNOWN(2), "c.ldsp zero,0(sp) is reserved"},
    {0xe002, ON_64, STORE(2, 8, 0, 2, 0), "c.sdsp zero,0(sp)"},
    /* Reserved */
    {0x0000, BOTH, UNKNOWN(2), "all zero is illegal"},
    {0x4002, BOTH, UNKNOWN(2), "c.lwsp zero,0(sp)"},
    {0x507e, BOTH, UNKNOWN(2), "c.lwsp zero,252(sp)"},
    {0x00007003, BOTH, UNKNOWN(4), "load, funct3 7"},
    {0x00004023, BOTH, UNKNOWN(4), "store, funct3 4"},
    {0x00007023, BOTH, UNKNOWN(4), "store, funct3 7"},
    {0x00001007, BOTH, UNKNOWN(4), "flh"},
    {0x00004007, BOTH, UNKNOWN(4), "flq"},
    {0x02056007, BOTH, UNKNOWN(4), "vle32.v v0,(a0)"},
    {0x00001027, BOTH, UNKNOWN(4), "fsh"},
    {0x02056027, BOTH, UNKNOWN(4), "vse32.v v0,(a0)"},
    {0x6c05c573, BOTH, UNKNOWN(4), "hlv.d a0,(a1)"},
    {0x10500173, BOTH, UNKNOWN(4), "wfi with a destination"},
    {0x01d00073, BOTH, UNKNOWN(4), "wrs.sto"},
    {0x0010a00f, BOTH, UNKNOWN(4), "cbo.clean (ra)"},
    {0x0000001f, BOTH, UNKNOWN(4), "longer than 32 bits"},
    {0xffffffff, BOTH, UNKNOWN(4), "all ones"},
};
/* clang-format on */

static void check_instruction(const struct row *row, uint32_t bits, unsigned xlen)
{
    const struct instruction got = decode(bits, xlen);
    const struct instruction *want = &row->want;
    const bool same = got.kind == want->kind && got.length == want->length && got.width == want->width &&
                      got.sign_extend == want->sign_extend && got.rd == want->rd && got.rs1 == want->rs1 &&
                      got.rs2 == want->rs2 && got.offset == want->offset && got.csr == want->csr &&
                      got.csr_operation == want->csr_operation && got.csr_immediate == want->csr_immediate &&
                      got.csr_writes == want->csr_writes;
    if (!same) {
        fail_msg("%08x on RV%u: %s: kind %d length %d width %d rd %d rs1 %d rs2 %d offset %ld", (unsigned)bits, xlen,
                 row->text, (int)got.kind, got.length, got.width, got.rd, got.rs1, got.rs2, (long)got.offset);
    }
}

static void test_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if ((rows[i].on & ON_32) != 0) {
            check_instruction(&rows[i], rows[i].bits, 32);
        }
        if ((rows[i].on & ON_64) != 0) {
            check_instruction(&rows[i], rows[i].bits, 64);
        }
    }
}

/* What follows a compressed instruction in memory must not matter. */
static void test_upper_half_ignored_when_compressed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (rows[i].want.length == 2) {
            check_instruction(&rows[i], rows[i].bits | 0xa5a50000U, (rows[i].on & ON_32) != 0 ? 32 : 64);
        }
    }
}

/* Every half-word there is: the length is right, and what comes out is in range. */
static void check_bounds(uint32_t bits, unsigned xlen)
{
    const struct instruction insn = decode(bits, xlen);
    const unsigned length = (bits & 3) == 3 ? 4 : 2;
    assert_int_equal(insn.length, length);
    assert_true(insn.rd < 32 && insn.rs1 < 32 && insn.rs2 < 32);
    assert_true(insn.csr < 4096);
    if (insn.kind == INSN_UNKNOWN || insn.kind == INSN_WFI || insn.kind == INSN_WRS_NTO || insn.kind == INSN_CSR) {
        assert_int_equal(insn.width, 0);
        return;
    }
    assert_true(insn.width == 1 || insn.width == 2 || insn.width == 4 || insn.width == 8);
    assert_true(insn.offset >= -2048 && insn.offset <= 2047);
    if (length == 2) {
        /* The compressed forms scale their offset, and reach the stack or x8 … x15. */
        assert_true(insn.offset >= 0 && insn.offset % insn.width == 0);
        assert_true(insn.rs1 == 2 || (insn.rs1 >= 8 && insn.rs1 <= 15));
    }
    if (insn.kind == INSN_LOAD || insn.kind == INSN_STORE) {
        assert_true(insn.width * 8U <= xlen);
    }
}

static void test_every_half_word(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        check_bounds(bits, 32);
        check_bounds(bits, 64);
        check_bounds(bits | 0xfff00000U, 32);
        check_bounds(bits | 0x7ff00000U, 64);
    }
}

/* --- every half-word, against the specification's own pictures of the forms --- */

/* A form as the specification draws it, bit 15 or 31 first: 0 and 1 are fixed, d is the destination, s the base, t the
 * register stored, and A, B, C … are bits 0, 1, 2 … of the offset. */
struct picture {
    const char *bits;
    uint8_t on;
    enum instruction_kind kind;
    uint8_t width;
    bool sign_extend;
    const char *name;
};

/* clang-format off */
static const struct picture pictures[] = {
    {"001FEDsssHGddd00", BOTH, INSN_FP_LOAD, 8, false, "c.fld"},
    {"010FEDsssCGddd00", BOTH, INSN_LOAD, 4, true, "c.lw"},
    {"011FEDsssCGddd00", ON_32, INSN_FP_LOAD, 4, false, "c.flw"},
    {"011FEDsssHGddd00", ON_64, INSN_LOAD, 8, true, "c.ld"},
    {"100000sssABddd00", BOTH, INSN_LOAD, 1, false, "c.lbu"},
    {"100001sss0Bddd00", BOTH, INSN_LOAD, 2, false, "c.lhu"},
    {"100001sss1Bddd00", BOTH, INSN_LOAD, 2, true, "c.lh"},
    {"100010sssABttt00", BOTH, INSN_STORE, 1, false, "c.sb"},
    {"100011sss0Bttt00", BOTH, INSN_STORE, 2, false, "c.sh"},
    {"101FEDsssHGttt00", BOTH, INSN_FP_STORE, 8, false, "c.fsd"},
    {"110FEDsssCGttt00", BOTH, INSN_STORE, 4, false, "c.sw"},
    {"111FEDsssCGttt00", ON_32, INSN_FP_STORE, 4, false, "c.fsw"},
    {"111FEDsssHGttt00", ON_64, INSN_STORE, 8, false, "c.sd"},
    {"001FdddddEDIHG10", BOTH, INSN_FP_LOAD, 8, false, "c.fldsp"},
    {"010FdddddEDCHG10", BOTH, INSN_LOAD, 4, true, "c.lwsp"},
    {"011FdddddEDCHG10", ON_32, INSN_FP_LOAD, 4, false, "c.flwsp"},
    {"011FdddddEDIHG10", ON_64, INSN_LOAD, 8, true, "c.ldsp"},
    {"101FEDIHGttttt10", BOTH, INSN_FP_STORE, 8, false, "c.fsdsp"},
    {"110FEDCHGttttt10", BOTH, INSN_STORE, 4, false, "c.swsp"},
    {"111FEDCHGttttt10", ON_32, INSN_FP_STORE, 4, false, "c.fswsp"},
    {"111FEDIHGttttt10", ON_64, INSN_STORE, 8, false, "c.sdsp"},
    {"LKJIHGFEDCBAsssss000ddddd0000011", BOTH, INSN_LOAD, 1, true, "lb"},
    {"LKJIHGFEDCBAsssss001ddddd0000011", BOTH, INSN_LOAD, 2, true, "lh"},
    {"LKJIHGFEDCBAsssss010ddddd0000011", BOTH, INSN_LOAD, 4, true, "lw"},
    {"LKJIHGFEDCBAsssss011ddddd0000011", ON_64, INSN_LOAD, 8, true, "ld"},
    {"LKJIHGFEDCBAsssss100ddddd0000011", BOTH, INSN_LOAD, 1, false, "lbu"},
    {"LKJIHGFEDCBAsssss101ddddd0000011", BOTH, INSN_LOAD, 2, false, "lhu"},
    {"LKJIHGFEDCBAsssss110ddddd0000011", ON_64, INSN_LOAD, 4, false, "lwu"},
    {"LKJIHGFEDCBAsssss010ddddd0000111", BOTH, INSN_FP_LOAD, 4, false, "flw"},
    {"LKJIHGFEDCBAsssss011ddddd0000111", BOTH, INSN_FP_LOAD, 8, false, "fld"},
    {"LKJIHGFtttttsssss000EDCBA0100011", BOTH, INSN_STORE, 1, false, "sb"},
    {"LKJIHGFtttttsssss001EDCBA0100011", BOTH, INSN_STORE, 2, false, "sh"},
    {"LKJIHGFtttttsssss010EDCBA0100011", BOTH, INSN_STORE, 4, false, "sw"},
    {"LKJIHGFtttttsssss011EDCBA0100011", ON_64, INSN_STORE, 8, false, "sd"},
    {"LKJIHGFtttttsssss010EDCBA0100111", BOTH, INSN_FP_STORE, 4, false, "fsw"},
    {"LKJIHGFtttttsssss011EDCBA0100111", BOTH, INSN_FP_STORE, 8, false, "fsd"},
};
/* clang-format on */

static uint32_t picture_offset(const char *picture, uint32_t bits)
{
    const size_t length = strlen(picture);
    uint32_t offset = 0;
    for (size_t i = 0; i < length; i++) {
        if (picture[i] >= 'A' && picture[i] <= 'L') {
            offset |= (bits >> (length - 1 - i) & 1) << (picture[i] - 'A');
        }
    }
    return offset;
}

/* The number that stands in the bits of a letter, and how many they are. */
static uint32_t picture_field(const char *picture, uint32_t bits, char letter, unsigned *count)
{
    const size_t length = strlen(picture);
    uint32_t value = 0;
    *count = 0;
    for (size_t i = 0; i < length; i++) {
        if (picture[i] == letter) {
            value = value << 1 | (bits >> (length - 1 - i) & 1);
            *count += 1;
        }
    }
    return value;
}

/* A register of 3 bits is one of x8 … x15; one that the form does not name is the value without. */
static uint8_t picture_register(const char *picture, uint32_t bits, char letter, uint8_t without)
{
    unsigned count;
    const uint32_t number = picture_field(picture, bits, letter, &count);
    return count == 0 ? without : (uint8_t)(count == 3 ? number + 8 : number);
}

static bool picture_fits(const char *picture, uint32_t bits)
{
    const size_t length = strlen(picture);
    if (((bits & 3) == 3) != (length == 32)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const uint32_t bit = bits >> (length - 1 - i) & 1;
        if ((picture[i] == '0' && bit != 0) || (picture[i] == '1' && bit != 1)) {
            return false;
        }
    }
    return true;
}

static struct row picture_row(const struct picture *picture, uint32_t bits)
{
    const bool wide = strlen(picture->bits) == 32;
    const uint32_t offset = picture_offset(picture->bits, bits);
    const struct row row = {
        .bits = bits,
        .text = picture->name,
        .want = {.kind = picture->kind,
                 .length = wide ? 4 : 2,
                 .width = picture->width,
                 .sign_extend = picture->sign_extend,
                 .rd = picture_register(picture->bits, bits, 'd', 0),
                 .rs1 = picture_register(picture->bits, bits, 's', 2),
                 .rs2 = picture_register(picture->bits, bits, 't', 0),
                 .offset = wide && offset >= 2048 ? (int32_t)offset - 4096 : (int32_t)offset},
    };
    return row;
}

/* Loads into x0 are reserved where the stack pointer is the base: those of x registers. */
static bool is_reserved(const struct row *row)
{
    return row->want.length == 2 && row->want.kind == INSN_LOAD && row->want.rs1 == 2 && row->want.rd == 0;
}

/* What these bits are on this word size, by the pictures alone. */
static void check_by_picture(uint32_t bits, unsigned xlen)
{
    struct row row = {.text = "none", .want = UNKNOWN((bits & 3) == 3 ? 4 : 2)};
    unsigned fitting = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(pictures); i++) {
        if ((pictures[i].on & (xlen == 32 ? ON_32 : ON_64)) != 0 && picture_fits(pictures[i].bits, bits)) {
            const struct row found = picture_row(&pictures[i], bits);
            row = is_reserved(&found) ? row : found;
            fitting++;
        }
    }
    assert_true(fitting <= 1);
    check_instruction(&row, bits, xlen);
}

static void test_every_half_word_by_picture(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        if ((bits & 3) != 3) {
            check_by_picture(bits, 32);
            check_by_picture(bits, 64);
        }
    }
}

/* Every opcode and funct3; in each, every value of each field with others at random. */
static void test_every_opcode_by_picture(void **state)
{
    (void)state;
    enum { OPCODE_SYSTEM = 0x73 };
    uint64_t random = UINT64_C(0x6469b05178000005);
    for (uint32_t opcode = 3; opcode < 0x80; opcode += 4) {
        for (uint32_t funct3 = 0; funct3 < 8 && opcode != OPCODE_SYSTEM; funct3++) {
            for (uint32_t field = 0; field < 256; field++) {
                const uint32_t fixed = opcode | funct3 << 12;
                const uint32_t other = (uint32_t)test_random(&random) & 0xffff8f80;
                check_by_picture(fixed | other, 32);
                check_by_picture(fixed | other, 64);
                check_by_picture(fixed | (other & 0xfffff07f) | (field & 31) << 7, 64);
                check_by_picture(fixed | (other & 0xfff07fff) | (field & 31) << 15, 32);
                check_by_picture(fixed | (other & 0xfe0fffff) | (field & 31) << 20, 64);
            }
        }
    }
}

/* --- every CSR instruction --- */

static void check_csr(uint32_t csr, uint32_t funct3, uint32_t rd, uint32_t source)
{
    static const enum csr_operation operations[] = {[1] = CSR_WRITE, [2] = CSR_SET, [3] = CSR_CLEAR};
    const uint32_t operation = funct3 % 4;
    const struct row row = {
        .text = "csr",
        .want = CSR((uint8_t)rd, (uint8_t)source, (uint16_t)csr, operations[operation], funct3 > 4,
                    operation == 1 || source != 0),
    };
    const uint32_t bits = csr << 20 | source << 15 | funct3 << 12 | rd << 7 | 0x73;
    check_instruction(&row, bits, 32);
    check_instruction(&row, bits, 64);
}

static void test_every_csr(void **state)
{
    (void)state;
    static const uint32_t funct3[] = {1, 2, 3, 5, 6, 7};
    for (uint32_t csr = 0; csr < 4096; csr++) {
        for (size_t i = 0; i < ARRAY_LENGTH(funct3); i++) {
            check_csr(csr, funct3[i], 0, 0);
            check_csr(csr, funct3[i], csr % 32, csr / 32 % 32);
        }
    }
    for (uint32_t both = 0; both < 1024; both++) {
        for (size_t i = 0; i < ARRAY_LENGTH(funct3); i++) {
            check_csr(0xc01, funct3[i], both % 32, both / 32);
        }
    }
}

/* Of what else has the SYSTEM opcode, wfi and wrs.nto are known, to the bit. */
static void test_rest_of_system(void **state)
{
    (void)state;
    for (uint32_t upper = 0; upper < 1U << 17; upper++) {
        for (uint32_t funct3 = 0; funct3 < 8; funct3 += 4) {
            const uint32_t bits = upper << 15 | funct3 << 12 | 0x73;
            const bool known = bits == 0x10500073 || bits == 0x00d00073;
            assert_int_equal(decode(bits, 64).kind != INSN_UNKNOWN, known);
            assert_int_equal(decode(bits | 1U << (7 + upper % 5), 32).kind, INSN_UNKNOWN);
        }
    }
}

/* How many half-words are loads and stores follows from the formats: 2^11 for each full form, less on x0. */
static void test_compressed_counts(void **state)
{
    (void)state;
    const unsigned full = 1 << 11;
    const unsigned zcb = (1 << 8) + (1 << 7) + (1 << 7) + (1 << 8) + (1 << 7);
    unsigned count[2] = {0, 0};
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        if ((bits & 3) != 3) {
            count[0] += decode(bits, 32).kind != INSN_UNKNOWN;
            count[1] += decode(bits, 64).kind != INSN_UNKNOWN;
        }
    }
    assert_int_equal(count[0], 12 * full - full / 32 + zcb);     /* c.lwsp to x0 */
    assert_int_equal(count[1], 12 * full - 2 * full / 32 + zcb); /* and c.ldsp */
}

static void test_negative_offsets(void **state)
{
    (void)state;
    for (int32_t offset = -2048; offset <= 2047; offset++) {
        const uint32_t raw = (uint32_t)offset & 0xfff;
        const uint32_t lw = 0x00052503 | raw << 20;
        const uint32_t sw = 0x00a52023 | raw >> 5 << 25 | (raw & 31) << 7;
        assert_int_equal(decode(lw, 32).offset, offset);
        assert_int_equal(decode(sw, 64).offset, offset);
        assert_int_equal(decode(sw, 64).rs2, 10);
    }
}

static void test_load_extend(void **state)
{
    (void)state;
    const uint64_t raw = UINT64_C(0x8182838485868788);
    for (uint8_t width = 1; width <= sizeof(long); width = (uint8_t)(width * 2)) {
        const uint64_t value = width == 8 ? raw : raw & ((UINT64_C(1) << (width * 8)) - 1);
        const uint64_t above = width == 8 ? 0 : ~((UINT64_C(1) << (width * 8)) - 1);
        const struct instruction plain = {.kind = INSN_LOAD, .width = width};
        const struct instruction extends = {.kind = INSN_LOAD, .width = width, .sign_extend = true};
        assert_true(load_extend(&plain, value) == (unsigned long)value);
        assert_true(load_extend(&extends, value) == (unsigned long)(value | above));
        /* A positive value stays as it is either way. */
        assert_true(load_extend(&extends, value >> 1) == (unsigned long)(value >> 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_upper_half_ignored_when_compressed),
        cmocka_unit_test(test_every_half_word),
        cmocka_unit_test(test_every_half_word_by_picture),
        cmocka_unit_test(test_every_opcode_by_picture),
        cmocka_unit_test(test_every_csr),
        cmocka_unit_test(test_rest_of_system),
        cmocka_unit_test(test_compressed_counts),
        cmocka_unit_test(test_negative_offsets),
        cmocka_unit_test(test_load_extend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
