/* SPDX-License-Identifier: MIT
 *
 * The debug console: what it writes and reads, and addresses that it must refuse.
 */
#include "sbi.h"

enum { WRITE = 0, READ = 1, WRITE_BYTE = 2 };

static struct sbi_result call(unsigned long function, unsigned long length, unsigned long low, unsigned long high)
{
    return sbi(SBI_EXT_DBCN, function, length, low, high);
}

static void refused(unsigned long function, unsigned long length, unsigned long low, unsigned long high)
{
    struct sbi_result result = call(function, length, low, high);
    case_check(result.error == SBI_ERR_INVALID_PARAM, "function %lu, %lu bytes at 0x%lx, high 0x%lx: %ld", function,
               length, low, high, result.error);
    case_check(result.value == 0, "function %lu, %lu bytes at 0x%lx: a1 0x%lx", function, length, low,
               (unsigned long)result.value);
}

static void console_ranges(unsigned long function)
{
    unsigned long addresses[32], base = (unsigned long)machine.ram_base, end = base + (unsigned long)machine.ram_size;
    size_t count = foreign_addresses(addresses, COUNT_OF(addresses));
    for (size_t i = 0; i < count; i++) {
        if (!in_ram(addresses[i])) {
            refused(function, 1, addresses[i], 0);
        }
        if (!in_ram(addresses[i]) || !in_ram(addresses[i] + 63)) {
            refused(function, 64, addresses[i], 0);
        }
        refused(function, ~0ul, addresses[i], 0);
    }
    refused(function, 64, end - 8, 0);      /* across the end */
    refused(function, 64, base - 8, 0);     /* across the beginning */
    refused(function, ~0ul, base, 0);       /* longer than there is */
    refused(function, 0ul - base, base, 0); /* up to the very top: base + length wraps to 0 */
    refused(function, 0ul - base + 64, base, 0);
    refused(function, (unsigned long)machine.ram_size + 1, base, 0);
    refused(function, 8, base, 1);
    refused(function, 8, base, ~0ul);
    refused(function, 8, base, 1ul << (XLEN - 1));
    cases_end(function == WRITE ? "console: write refuses what is not in RAM"
                                : "console: read refuses what is not in RAM");
}

void sbi_console(void)
{
    static char line[] = "# console: written by DBCN\n";
    if (sbi(SBI_EXT_BASE, 3, SBI_EXT_DBCN, 0, 0).value == 0) {
        skip("console", "no DBCN");
        return;
    }
    unsigned long at = (unsigned long)(uintptr_t)line, left = sizeof(line) - 1;
    for (unsigned long i = 0; left > 0 && i < 1000; i++) {
        struct sbi_result result = call(WRITE, left, at, 0);
        case_check(result.error == SBI_SUCCESS && result.value >= 0 && (unsigned long)result.value <= left,
                   "write: %ld, %ld", result.error, result.value);
        at += (unsigned long)result.value;
        left -= (unsigned long)result.value;
    }
    case_check(left == 0, "%lu bytes were not written", left);
    cases_end("console: write");
    struct sbi_result empty = call(WRITE, 0, (unsigned long)(uintptr_t)line, 0);
    check(empty.error == SBI_SUCCESS && empty.value == 0, "console: write of nothing: %ld, %ld", empty.error,
          empty.value);
    empty = call(READ, 0, (unsigned long)(uintptr_t)line, 0);
    check(empty.error == SBI_SUCCESS && empty.value == 0, "console: read of nothing: %ld, %ld", empty.error,
          empty.value);
    empty = call(WRITE, 0, 0, ~0ul);
    check(empty.error == SBI_SUCCESS || empty.error == SBI_ERR_INVALID_PARAM,
          "console: write of nothing from nowhere: %ld", empty.error);
    static char buffer[32];
    memset(buffer, 0x5a, sizeof(buffer));
    struct sbi_result read = call(READ, 8, (unsigned long)(uintptr_t)buffer, 0);
    check(read.error == SBI_SUCCESS && read.value >= 0 && read.value <= 8, "console: read: %ld, %ld", read.error,
          read.value);
    for (size_t i = read.error == SBI_SUCCESS ? (size_t)read.value : 0; i < sizeof(buffer); i++) {
        case_check(buffer[i] == 0x5a, "byte %lu", (unsigned long)i);
    }
    cases_end("console: read changes no more than it says");
    same("console: write byte", (unsigned long)call(WRITE_BYTE, '#', 0, 0).error, SBI_SUCCESS);
    empty = call(WRITE_BYTE, '\n' | 1ul << (XLEN - 1) | 0x100, ~0ul, ~0ul);
    check(empty.error == SBI_SUCCESS && empty.value == 0, "console: write byte takes the low 8 bits: %ld, %ld",
          empty.error, empty.value);
    if (on_diosix) {
        console_ranges(WRITE);
        console_ranges(READ);
    }
}
