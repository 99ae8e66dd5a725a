/* SPDX-License-Identifier: MIT
 *
 * Tables of the instruction forms in forms.S and fp.S.
 */
#include "forms.h"

#define DECLARE(name) unsigned long form_##name(unsigned long a, unsigned long b, unsigned long c)
DECLARE(lb);
DECLARE(lbu);
DECLARE(lh);
DECLARE(lhu);
DECLARE(lw);
DECLARE(lwu);
DECLARE(ld);
DECLARE(lw_offset);
DECLARE(lw_zero);
DECLARE(sb);
DECLARE(sh);
DECLARE(sw);
DECLARE(sd);
DECLARE(sw_offset);
DECLARE(sw_zero);
DECLARE(c_lw);
DECLARE(c_lw_offset);
DECLARE(c_lwsp);
DECLARE(c_sw);
DECLARE(c_sw_offset);
DECLARE(c_swsp);
DECLARE(c_ld);
DECLARE(c_ldsp);
DECLARE(c_sd);
DECLARE(c_sdsp);
DECLARE(amoadd);
DECLARE(amoswap);
DECLARE(amoor);
DECLARE(amomaxu);
DECLARE(lr);
DECLARE(sc);
DECLARE(amoadd_d);
DECLARE(lr_d);
DECLARE(flw);
DECLARE(fld);
DECLARE(c_fld);
DECLARE(fsw);
DECLARE(fsd);
DECLARE(c_fsd);

/* The 64-bit forms come last, so that RV32 leaves them out by count; weak, because there they don't exist. */
#pragma weak form_lwu
#pragma weak form_ld
#pragma weak form_sd
#pragma weak form_c_ld
#pragma weak form_c_ldsp
#pragma weak form_c_sd
#pragma weak form_c_sdsp
#pragma weak form_amoadd_d
#pragma weak form_lr_d

enum { WIDE_INTEGER = 7, WIDE_ATOMIC = 2 };

const struct form integer_forms[] = {
    {"lb", form_lb, 1, .sign = true},
    {"lbu", form_lbu, 1, .store = false},
    {"lh", form_lh, 2, .sign = true},
    {"lhu", form_lhu, 2, .store = false},
    {"lw", form_lw, 4, .sign = true},
    {"lw -2048", form_lw_offset, 4, .sign = true},
    {"c.lw", form_c_lw, 4, .sign = true},
    {"c.lw 124", form_c_lw_offset, 4, .sign = true},
    {"c.lwsp", form_c_lwsp, 4, .sign = true},
    {"sb", form_sb, 1, .store = true},
    {"sh", form_sh, 2, .store = true},
    {"sw", form_sw, 4, .store = true},
    {"sw 2047", form_sw_offset, 4, .store = true},
    {"c.sw", form_c_sw, 4, .store = true},
    {"c.sw 68", form_c_sw_offset, 4, .store = true},
    {"c.swsp", form_c_swsp, 4, .store = true},
    {"lwu", form_lwu, 4, .wide = true},
    {"ld", form_ld, 8, .sign = true, .wide = true},
    {"c.ld", form_c_ld, 8, .sign = true, .wide = true},
    {"c.ldsp", form_c_ldsp, 8, .sign = true, .wide = true},
    {"sd", form_sd, 8, .store = true, .wide = true},
    {"c.sd", form_c_sd, 8, .store = true, .wide = true},
    {"c.sdsp", form_c_sdsp, 8, .store = true, .wide = true},
};
const size_t integer_form_count = COUNT_OF(integer_forms) - (XLEN == 32 ? WIDE_INTEGER : 0);

const struct form atomic_forms[] = {
    {"amoadd.w", form_amoadd, 4, .store = true},
    {"amoswap.w", form_amoswap, 4, .store = true},
    {"amoor.w", form_amoor, 4, .store = true},
    {"amomaxu.w", form_amomaxu, 4, .store = true},
    {"lr.w", form_lr, 4, .sign = true},
    {"sc.w", form_sc, 4, .store = true},
    {"amoadd.d", form_amoadd_d, 8, .store = true, .wide = true},
    {"lr.d", form_lr_d, 8, .sign = true, .wide = true},
};
const size_t atomic_form_count = COUNT_OF(atomic_forms) - (XLEN == 32 ? WIDE_ATOMIC : 0);

const struct form fp_forms[] = {
    {"flw", form_flw, 4, .store = false},     {"fld", form_fld, 8, .store = false},
    {"c.fld", form_c_fld, 8, .store = false}, {"fsw", form_fsw, 4, .store = true},
    {"fsd", form_fsd, 8, .store = true},      {"c.fsd", form_c_fsd, 8, .store = true},
};
const size_t fp_form_count = COUNT_OF(fp_forms);

struct trap try_load(unsigned long address, unsigned width)
{
    catchable form = width == 1 ? form_lbu : width == 2 ? form_lhu : width == 4 ? form_lw : form_ld;
    return catch_trap(form, address, 0, 0);
}

struct trap try_store(unsigned long address, unsigned width, unsigned long value)
{
    catchable form = width == 1 ? form_sb : width == 2 ? form_sh : width == 4 ? form_sw : form_sd;
    return catch_trap(form, address, value, 0);
}

struct trap try_fetch(unsigned long address)
{
    return catch_trap((catchable)(uintptr_t)address, 0, 0, 0);
}

unsigned long must_load(unsigned long address, unsigned width)
{
    struct trap trap = try_load(address, width);
    if (trap.trapped) {
        check(false, "load of %u bytes at 0x%lx: cause %lu", width, address, trap.cause);
    }
    return trap.result & (width < sizeof(long) ? (1ul << width * 8) - 1 : ~0ul);
}

void must_store(unsigned long address, unsigned width, unsigned long value)
{
    struct trap trap = try_store(address, width, value);
    if (trap.trapped) {
        check(false, "store of %u bytes at 0x%lx: cause %lu", width, address, trap.cause);
    }
}
