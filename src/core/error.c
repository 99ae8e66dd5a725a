/* SPDX-License-Identifier: MIT
 *
 * The published errors' causes and cures as text, from the one list in diosix/errors.h.
 */
#include "core/log.h"

#define ERROR_ROW(name, code, error_cause, error_cure) [code] = {.cause = (error_cause), .cure = (error_cure)},
static const struct {
    const char *cause;
    const char *cure;
} errors[] = {DX_ERRORS(ERROR_ROW)};
#undef ERROR_ROW

static bool error_published(enum dx_error error)
{
    return (size_t)error < ARRAY_LENGTH(errors) && errors[error].cause != NULL;
}

const char *error_cause(enum dx_error error)
{
    return error_published(error) ? errors[error].cause : "an error that is not in the list";
}

const char *error_cure(enum dx_error error)
{
    return error_published(error) ? errors[error].cure : "report it";
}
