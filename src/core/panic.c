/* SPDX-License-Identifier: MIT
 *
 * Panic: see panic.h. Natively, tests/unit/support.c stands in for this file's panic_at.
 */
#include "core/panic.h"

#include <stdarg.h>

#include "core/hart.h"
#include "lib/format.h"

enum { BACKTRACE_MAX = 16, REG_FP = 8, HALT_TEXT_MAX = 320 };

static void (*output)(char byte);
static void (*switch_off)(void);
static atomic_uint panicking;

void panic_set_output(void (*put)(char byte))
{
    output = put;
}

void panic_set_power_off(void (*power_off)(void))
{
    switch_off = power_off;
}

static void print(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
static void print(const char *pattern, ...)
{
    char line[HALT_TEXT_MAX + 40]; /* with its prefix and its end */
    va_list arguments;
    va_start(arguments, pattern);
    format_list(line, sizeof(line), pattern, arguments);
    va_end(arguments);
    for (const char *c = line; *c != '\0' && output != NULL; c++) {
        output(*c);
    }
}

/* The second hart to panic, or a panic within the panic, only halts. */
static void begin(void)
{
    if (atomic_exchange(&panicking, true)) {
        arch_hart_halt();
    }
    hart_halt_others();
    print("\r\n[!] CPU %lu: ", arch_this_hart()->id);
}

/* Each frame holds {caller's frame pointer, return address} just below its frame pointer; all must lie in the stack. */
static void print_backtrace(unsigned long frame)
{
    unsigned long top = arch_this_hart()->stack_top;
    print("  backtrace:");
    unsigned long bottom = top - 32UL * KIB;
    for (unsigned n = 0; n < BACKTRACE_MAX && frame % sizeof(long) == 0 && frame > bottom && frame <= top; n++) {
        const unsigned long *words = (const unsigned long *)frame;
        print(" 0x%lx", words[-1]);
        frame = words[-2];
    }
    print("\r\n");
}

_Noreturn void panic_at(const char *file, int line, const char *pattern, ...)
{
    char text[160];
    va_list arguments;
    va_start(arguments, pattern);
    format_list(text, sizeof(text), pattern, arguments);
    va_end(arguments);
    begin();
    print("hypervisor panic at %s:%d: %s\r\n", file, line, text);
    print_backtrace((unsigned long)__builtin_frame_address(0));
    arch_hart_halt();
}

_Noreturn void panic_trap(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value)
{
    begin();
    bool stack = value >= arch_this_hart()->guard && value - arch_this_hart()->guard < PAGE_SIZE;
    print("hypervisor panic: trap with cause %lu at 0x%lx, address 0x%lx%s\r\n", cause, pc, value,
          stack ? " (stack overflow)" : "");
    for (unsigned n = 1; n < 32; n++) {
        print("  x%-2u=0x%0*lx%s", n, (int)sizeof(long) * 2, x[n], n % 4 == 0 || n == 31 ? "\r\n" : "");
    }
    print_backtrace(x[REG_FP]);
    arch_hart_halt();
}

_Noreturn void halt_machine(const char *pattern, ...)
{
    char text[HALT_TEXT_MAX];
    va_list arguments;
    va_start(arguments, pattern);
    format_list(text, sizeof(text), pattern, arguments);
    va_end(arguments);
    if (!atomic_exchange(&panicking, true)) {
        hart_halt_others();
        print("[!] CPU %lu: %s\r\n", arch_this_hart()->id, text);
        print("[!] CPU %lu: %s\r\n", arch_this_hart()->id, switch_off != NULL ? "Powering off." : "Halted.");
        if (switch_off != NULL) {
            switch_off();
        }
    }
    arch_hart_halt();
}
