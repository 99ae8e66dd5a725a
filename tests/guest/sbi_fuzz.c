/* SPDX-License-Identifier: MIT
 *
 * Random calls with arguments that like pointers. bootargs: seed=, fuzz=CALLS, foreign=ADDRESS of the hypervisor.
 * Left out is what would end the test: shutdown, stopping this hart, starting others anywhere.
 */
#include "sbi.h"

static char scratch[2 * PAGE] __attribute__((aligned(4096)));

static const unsigned long ids[] = {
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    SBI_EXT_BASE,
    SBI_EXT_TIME,
    SBI_EXT_IPI,
    SBI_EXT_RFENCE,
    SBI_EXT_HSM,
    SBI_EXT_SRST,
    SBI_EXT_DBCN,
    0x504d55,
    0x53555350,
    SBI_EXT_STA,
    0x535345,
    0x46574654,
    0x44425452,
    0x4d505859,
    0x4e41434c,
    0x43505043,
};

static unsigned long pick_argument(uint64_t *random)
{
    static unsigned long addresses[32];
    static size_t count;
    if (count == 0) {
        count = foreign_addresses(addresses, COUNT_OF(addresses));
    }
    unsigned long bits = (unsigned long)random64(random);
    switch ((unsigned long)(random64(random) >> 8) % 8) {
    case 0:
        return bits;
    case 1:
        return bits % 16;
    case 2:
        return 0ul - bits % 16;
    case 3:
        return 1ul << bits % XLEN;
    case 4:
        return (unsigned long)(uintptr_t)scratch + bits % sizeof(scratch);
    case 5:
        return (unsigned long)machine.ram_base + (unsigned long)machine.ram_size - bits % 64;
    default:
        return addresses[bits / 64 % count] + bits % 3 * 8;
    }
}

/* Whether the call would end the test or fill the console. */
static bool spares(unsigned long extension, unsigned long function, unsigned long args[6])
{
    unsigned long id = extension & 0xffffffff, low = function & 0xffffffff;
    bool buffer = in_ram(args[1]) && args[2] == 0 && args[0] <= machine.ram_size;
    switch (id) {
    case SBI_EXT_LEGACY_PUTCHAR:
        args[0] = '.';
        return args[1] % 16 != 0;
    case SBI_EXT_LEGACY_SHUTDOWN:
        return true;
    case SBI_EXT_HSM:
        return low == HSM_STOP || low == HSM_SUSPEND || (low == HSM_START && (in_ram(args[1]) || !on_diosix));
    case SBI_EXT_SRST:
        return (args[0] & 0xffffffff) < 3 || (args[0] & 0xffffffff) >= 0xf0000000;
    case SBI_EXT_DBCN:
        args[0] = low == 2 ? '.' : args[0];
        return low == 2 ? args[1] % 16 != 0 : low < 2 && buffer && args[0] > 0;
    case SBI_EXT_STA:
        return in_ram(args[0]) && args[1] == 0; /* what lies there would be overwritten */
    case 4:                                     /* legacy calls by virtual mask, where they exist */
    case 5:
    case 6:
    case 7:
        return !on_diosix;
    case 0x504d55: /* PMU of OpenSBI */
    case 0x53555350:
        return !on_diosix;
    default:
        return false;
    }
}

void sbi_fuzz(void)
{
    uint64_t random = argument("seed", 0x5eed) * 0x9e3779b97f4a7c15ull + 1;
    unsigned long calls = argument("fuzz", 100000);
    unsigned long secret = argument("foreign", 0);
    memset(scratch, '.', sizeof(scratch));
    for (unsigned long i = 0; i < calls; i++) {
        unsigned long args[6], bits = (unsigned long)random64(&random);
        unsigned long extension = bits % 16 == 0 ? (unsigned long)random64(&random) : ids[bits / 16 % COUNT_OF(ids)];
        unsigned long function = bits / 4096 % 16 == 0 ? pick_argument(&random) : bits / 65536 % 9;
        for (size_t j = 0; j < 6; j++) {
            args[j] = pick_argument(&random);
        }
        if (spares(extension, function, args)) {
            continue;
        }
        struct sbi_result result = sbi_call(extension, function, args);
        bool value = extension <= 8 || extension == SBI_EXT_BASE || extension == SBI_EXT_HSM || !on_diosix;
        case_check((result.error <= 0 && result.error >= -10) || extension == 2 || extension == 3 || !on_diosix,
                   "call %lu, 0x%lx/0x%lx: returns 0x%lx", i, extension, function, (unsigned long)result.error);
        case_check(value || result.error == SBI_SUCCESS || result.value == 0, "call %lu, 0x%lx/0x%lx: a1 0x%lx", i,
                   extension, function, (unsigned long)result.value);
        case_check(secret == 0 || extension <= 8 || ((unsigned long)result.value ^ secret) >> 21 != 0,
                   "call %lu, 0x%lx/0x%lx: a1 0x%lx is the hypervisor's", i, extension, function,
                   (unsigned long)result.value);
    }
    for (size_t i = 0; i < sizeof(scratch); i++) {
        case_check(scratch[i] == '.', "scratch byte %lu was written", (unsigned long)i);
    }
    print("\n");
    sbi_set_timer(~0ull);
    csr_clear(sip, BIT(SOFT));
    cases_end("fuzz: random calls");
}
