/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's panic for unit tests: prints and aborts, or jumps back to a test that expects it.
 */
#include "support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/panic.h"

jmp_buf *panic_expected;
char panic_text[256];

void panic_at(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(panic_text, sizeof(panic_text), format, arguments);
    va_end(arguments);

    if (panic_expected != NULL) {
        jmp_buf *jump = panic_expected;
        panic_expected = NULL;
        longjmp(*jump, 1);
    }
    fprintf(stderr, "panic at %s:%d: %s\n", file, line, panic_text);
    abort();
}

void panic_trap(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value)
{
    panic("own trap: x1 0x%lx, cause %lu, pc 0x%lx, value 0x%lx", x[1], cause, pc, value);
}
