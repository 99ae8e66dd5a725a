/* SPDX-License-Identifier: MIT
 *
 * Kernels that are packed.
 */
#ifndef CAPSULECTL_UNPACK_H
#define CAPSULECTL_UNPACK_H

#include <stddef.h>
#include <stdint.h>

struct file {
    uint8_t *bytes;
    size_t length;
};

/* The file, unpacked if it is by gzip or zstd, or is an EFI image that unpacks itself by one of them; else as it is.
 * path is for what is said if that fails, and it exits. */
struct file unpack(struct file file, const char *path);

#endif
