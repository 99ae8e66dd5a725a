/* SPDX-License-Identifier: MIT
 *
 * libfdt includes <stdlib.h>, but the files of it that we build use nothing from it beyond NULL and size_t.
 */
#ifndef LIB_INCLUDE_STDLIB_H
#define LIB_INCLUDE_STDLIB_H

#include <stddef.h>

#endif
