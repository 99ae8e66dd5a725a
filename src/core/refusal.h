/* SPDX-License-Identifier: MIT
 *
 * Why a request cannot be met: a published error and one line that names what was wrong. Made where the error
 * began and handed up unchanged.
 */
#ifndef CORE_REFUSAL_H
#define CORE_REFUSAL_H

#include "lib/base.h"

enum { REFUSAL_TEXT_MAX = 160 };

struct refusal {
    enum dx_error error;
    char text[REFUSAL_TEXT_MAX];
};

/* Fills in *refusal and returns error, so that callers can write: return refuse(r, DX_MISSING, "…"); */
[[nodiscard]] enum dx_error refuse(struct refusal *refusal, enum dx_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
