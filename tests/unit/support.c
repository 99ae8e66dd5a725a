/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's panic for unit tests: prints and aborts, or jumps back to a test that expects it.
 */
#include "support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
