/* SPDX-License-Identifier: MIT
 *
 * Makes refusals: an error from the published list with its one line of text.
 */
#include "core/refusal.h"

#include "lib/format.h"

enum dx_error refuse(struct refusal *refusal, enum dx_error error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refusal->error = error;
    format_list(refusal->text, sizeof(refusal->text), format, arguments);
    va_end(arguments);
    return error;
}
