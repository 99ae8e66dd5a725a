/* SPDX-License-Identifier: MIT
 *
 * One capsule as the manifest asks for it, checked on its own; filled by manifest/manifest.c. Pointers lead into
 * the manifest blob, which stays in memory and is never written.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "lib/address.h"

enum {
    CAPSULE_NAME_MAX = 31, /* characters; [a-z0-9-] */
    CAPSULE_VCPUS_MAX = 32,
    CAPSULES_MAX = 256,
};

enum isolation_wish { ISOLATION_AUTO, ISOLATION_PMP, ISOLATION_HYP };

struct blob {
    const uint8_t *bytes; /* NULL: none */
    size_t length;
};

struct capsule_config {
    char name[CAPSULE_NAME_MAX + 1];
    uint32_t vcpus;  /* 1 … CAPSULE_VCPUS_MAX */
    uint64_t memory; /* bytes; a multiple of PAGE_SIZE, not 0 */
    bool has_memory_base;
    uint64_t memory_base; /* guest-physical */
    enum isolation_wish isolation;
    struct blob kernel; /* required */
    struct blob initrd; /* optional */
    bool has_kernel_offset;
    uint64_t kernel_offset; /* flat binaries: bytes from the start of RAM */
    const char *bootargs;   /* NUL-terminated, "" if none */
    bool manager;
    bool manual;
};

#endif
