/* SPDX-License-Identifier: MIT
 *
 * The base extension, what is preserved over a call, unknown calls, legacy calls, reset with bad parameters.
 */
#include "registers.h"
#include "sbi.h"

static const struct {
    const char *name;
    unsigned long id, functions;
} extensions[] = {
    {"BASE", SBI_EXT_BASE, 7}, {"TIME", SBI_EXT_TIME, 1}, {"IPI", SBI_EXT_IPI, 1},   {"RFENCE", SBI_EXT_RFENCE, 7},
    {"HSM", SBI_EXT_HSM, 4},   {"SRST", SBI_EXT_SRST, 1}, {"DBCN", SBI_EXT_DBCN, 3}, {"STA", SBI_EXT_STA, 1},
};

void sbi_base(void)
{
    struct sbi_result version = sbi(SBI_EXT_BASE, 0, 0, 0, 0);
    same("base: spec version's error", (unsigned long)version.error, SBI_SUCCESS);
    check((version.value & ~0x7fffffffl) == 0, "base: spec version 0x%lx has bit 31 clear",
          (unsigned long)version.value);
    differs(version.value == SBI_SPEC_VERSION, "base: spec version", version.value);
    differs(sbi(SBI_EXT_BASE, 1, 0, 0, 0).value == SBI_IMPL_ID, "base: implementation id",
            sbi(SBI_EXT_BASE, 1, 0, 0, 0).value);
    for (unsigned long function = 2; function < 7; function++) {
        if (function != 3) {
            case_check(sbi(SBI_EXT_BASE, function, 0, 0, 0).error == SBI_SUCCESS, "function %lu", function);
        }
    }
    cases_end("base: implementation version and machine ids succeed");
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        struct sbi_result probe = sbi(SBI_EXT_BASE, 3, extensions[i].id, 0, 0);
        case_check(probe.error == SBI_SUCCESS && (probe.value == 1 || (!on_diosix && probe.value >= 0)),
                   "probe %s: %ld, %ld", extensions[i].name, probe.error, probe.value);
    }
    static const unsigned long absent[] = {0x0a000005, 0x09000000, 0xffffffff, 0x4e41434c, 0x12345678, 0x7fffffff};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        struct sbi_result probe = sbi(SBI_EXT_BASE, 3, absent[i], 0, 0);
        case_check(probe.error == SBI_SUCCESS && probe.value == 0, "probe 0x%lx: %ld, %ld", absent[i], probe.error,
                   probe.value);
    }
    cases_end("base: probe");
}

/* One call between patterned registers; all but a0 and a1 must come back. */
static unsigned long preserved(unsigned long extension, unsigned long function, unsigned long salt, bool legacy)
{
    unsigned long in[32], out[32];
    for (unsigned long i = 0; i < 32; i++) {
        in[i] = (i + 1) * 0x01030507ul + salt * 0x10001ul;
    }
    in[10] = in[11] = in[12] = in[13] = in[14] = in[15] = 0; /* a0 … a5: harmless for every call */
    in[16] = function;
    in[17] = extension;
    if (extension == SBI_EXT_TIME || extension == SBI_EXT_LEGACY_SET_TIMER) {
        in[10] = in[11] = ~0ul;
    }
    sbi_patterned(in, out);
    for (unsigned long i = 1; i < 32; i++) {
        if (i != 10 && (i != 11 || legacy) && in[i] != out[i]) {
            return i;
        }
    }
    return 0;
}

static void registers_fp(void)
{
    static uint64_t in[32], out[32];
    if (!field_works(STATUS_FS)) {
        skip("registers: floating point", "no F or D");
        return;
    }
    for (size_t i = 0; i < 32; i++) {
        in[i] = 0x3ff0000000000000ull + i * 0x0001010101010101ull;
    }
    fp_load(in);
    for (unsigned long i = 0; i < 1000; i++) {
        sbi(SBI_EXT_BASE, i % 7, 0, 0, 0);
    }
    fp_store(out);
    check(memcmp(in, out, sizeof(in)) == 0, "registers: floating point over 1000 calls");
}

void sbi_registers(void)
{
    static const struct {
        unsigned long extension, function;
        bool legacy;
    } calls[] = {
        {SBI_EXT_BASE, 0, false},
        {SBI_EXT_BASE, 3, false},
        {SBI_EXT_BASE, 99, false},
        {SBI_EXT_TIME, 0, false},
        {SBI_EXT_IPI, 0, false},
        {SBI_EXT_RFENCE, 0, false},
        {SBI_EXT_RFENCE, 1, false},
        {SBI_EXT_RFENCE, 2, false},
        {SBI_EXT_RFENCE, 3, false},
        {SBI_EXT_HSM, 2, false},
        {SBI_EXT_HSM, 0, false},
        {SBI_EXT_DBCN, 0, false},
        {SBI_EXT_DBCN, 1, false},
        {SBI_EXT_STA, 1, false},
        {0x12345678, 0, false},
        {SBI_EXT_SRST, 1, false},
        {0, 0, true},
        {3, 0, true},
        {2, 0, true},
    };
    unsigned long rounds = argument("count", 200);
    for (unsigned long i = 0; i < rounds; i++) {
        for (size_t j = 0; j < COUNT_OF(calls); j++) {
            unsigned long bad = preserved(calls[j].extension, calls[j].function, i, calls[j].legacy);
            case_check(bad == 0, "x%lu changed by call 0x%lx/%lu", bad, calls[j].extension, calls[j].function);
        }
    }
    cases_end("registers: x1 to x31 but a0 and a1 are preserved");
    registers_fp();
    sbi_set_timer(~0ull);
    csr_clear(sip, BIT(SOFT));
}

void sbi_unknown(void)
{
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        static const unsigned long functions[] = {0xbad, 7, 0x7fffffff, 0x80000000, 0xffffffff};
        for (size_t j = 0; j < COUNT_OF(functions); j++) {
            struct sbi_result result = sbi(extensions[i].id, functions[j], 0, 0, 0);
            case_check(result.error == SBI_ERR_NOT_SUPPORTED || (!on_diosix && functions[j] == 7), "%s/0x%lx: %ld",
                       extensions[i].name, functions[j], result.error);
            case_check(result.value == 0 || !on_diosix, "%s/0x%lx: a1 0x%lx", extensions[i].name, functions[j],
                       (unsigned long)result.value);
        }
    }
    static const unsigned long ids[] = {0x09,       0x0f,       0x11,       0x0a000005, 0x09000000,
                                        0x53555350, 0x4e41434c, 0x44425452, 0x4d505859, 0xffffffff,
                                        0x7fffffff, 0x80000000, 0x48534d00, 0x43505043, 0x41414141};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        struct sbi_result result = sbi(ids[i], 0, ~0ul, ~0ul, ~0ul);
        case_check(result.error == SBI_ERR_NOT_SUPPORTED, "0x%lx: %ld", ids[i], result.error);
        /* in the legacy range a1 may stay as it was */
        case_check(result.value == 0 || (result.value == -1 && ids[i] < 0x10) || !on_diosix, "0x%lx: a1 0x%lx", ids[i],
                   (unsigned long)result.value);
    }
    cases_end("unknown: extensions and functions are not supported");
    for (unsigned long function = 3; function < 7; function++) {
        struct sbi_result result = sbi(SBI_EXT_RFENCE, function, 1, machine.boot_hart, 0);
        case_check(result.error == SBI_ERR_NOT_SUPPORTED, "function %lu: %ld", function, result.error);
    }
    cases_end("unknown: hypervisor fences are not supported");
    if (XLEN == 64) {
        long error = sbi(SBI_EXT_BASE + (1ul << 16 << 16), 0, 0, 0, 0).error;
        check(error == SBI_SUCCESS || error == SBI_ERR_NOT_SUPPORTED, "unknown: extension 1 << 32 | BASE: %ld", error);
    }
}

/* An ecall from user mode is the guest's own business. */
void sbi_user(void)
{
    static const uint32_t code[] = {
        0x535258b7, 0x35488893, /* a7 = SRST, in two steps (lui, addi) */
        0x00000813,             /* a6 = 0 */
        CODE_ECALL, CODE_RET,
    };
    struct trap trap = run_user(code, COUNT_OF(code), SBI_SRST_SHUTDOWN, 0);
    same("user: ecall from user mode comes to the guest", trap.cause, ECALL_U);
    static const uint32_t base[] = {0x01000893, 0x00000813, CODE_ECALL, CODE_RET}; /* a7 = 16, a6 = 0 */
    trap = run_user(base, COUNT_OF(base), 1, 2);
    same("user: BASE from user mode comes to the guest", trap.cause, ECALL_U);
    same("user: with stval 0", trap.value, 0);
}

void sbi_legacy(void)
{
    static const struct {
        const char *name;
        unsigned long id;
        bool offered;
    } calls[] = {
        {"clear_ipi", 3, true}, {"send_ipi", 4, false},    {"fence_i", 5, false},
        {"sfence", 6, false},   {"sfence_asid", 7, false},
    };
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        long error = sbi(calls[i].id, 0, 0, 0, 0).error;
        case_check(error == SBI_ERR_NOT_SUPPORTED || (calls[i].offered && error >= 0) || !on_diosix, "%s: %ld",
                   calls[i].name, error);
    }
    cases_end("legacy: clear_ipi works or not, the ones by virtual mask are not offered");
    sbi(1, 0, '#', 0, 0);
    sbi(1, 0, ' ', 0, 0);
    sbi(1, 0, 'p' | 1ul << (XLEN - 1), 0, 0);
    sbi(1, 0, '\n', 0, 0);
    check(true, "legacy: putchar returns");
    long character = sbi(2, 0, 0, 0, 0).error;
    check(character >= -2 && character < 256, "legacy: getchar: %ld", character);
    sbi(0, 0, 0, 0, 0); /* a1 is 0 too, for RV32's high word */
    spin(milliseconds(1));
    check(is_pending(TIMER), "legacy: set_timer 0 makes the timer pending");
    sbi(0, 0, ~0ul, ~0ul, 0);
    check(!is_pending(TIMER), "legacy: set_timer -1 clears it");
}

void sbi_reset(void)
{
    static const struct {
        unsigned long type, reason;
    } bad[] = {
        {3, 0},          {0xefffffff, 0}, {0x7fffffff, 0}, {0, 2},          {0, 0xdfffffff},
        {1, 0x7fffffff}, {2, 0x80000000}, {3, 3},          {0x80000000, 0},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct sbi_result result = sbi(SBI_EXT_SRST, 0, bad[i].type, bad[i].reason, 0);
        case_check(result.error == SBI_ERR_INVALID_PARAM || (!on_diosix && result.error < 0),
                   "type 0x%lx reason 0x%lx: %ld", bad[i].type, bad[i].reason, result.error);
    }
    for (unsigned long vendor = 0xf0000000; vendor <= 0xf0000001; vendor++) {
        long error = sbi(SBI_EXT_SRST, 0, vendor, 0, 0).error;
        case_check(error == SBI_ERR_NOT_SUPPORTED || error == SBI_ERR_INVALID_PARAM, "type 0x%lx: %ld", vendor, error);
    }
    cases_end("reset: bad types and reasons are refused");
}
