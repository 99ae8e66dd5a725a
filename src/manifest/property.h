/* SPDX-License-Identifier: MIT
 *
 * Inside manifest/ only: one property of a capsule being read. A value's type is only known by its length; every reader
 * refuses what is not of its type or range, and leaves what it would set alone then.
 */
#ifndef MANIFEST_PROPERTY_H
#define MANIFEST_PROPERTY_H

#include "manifest/manifest.h"

/* The property, and where it leads. */
struct reading {
    const struct manifest *manifest;
    struct capsule_config *config;
    struct device_config *device; /* whose property it is; NULL: the capsule's own */
    struct refusal *refusal;
    const char *property;
    const uint8_t *value; /* in the blob: only 4-byte aligned at best */
    size_t length;
};

/* Guest-physical addresses have at most this many bits: Sv32x4 reaches 34, the others as far as a PMP entry. */
static inline unsigned manifest_address_bits(void)
{
    return XLEN == 32 ? 34 : 56;
}

/* Every refusal of a property names the capsule, the device if it is one's, the property and the reason. Returns error.
 */
enum dx_error property_wrong(const struct reading *r, enum dx_error error, const char *pattern, ...)
    __attribute__((format(printf, 3, 4)));

[[nodiscard]] enum dx_error property_cell(const struct reading *r, uint32_t *cell);
/* least and most are good values too. */
[[nodiscard]] enum dx_error property_cell_within(const struct reading *r, uint32_t least, uint32_t most,
                                                 uint32_t *cell);
/* <…> is 32 bits, /bits/ 64 <…> and <high low> are 64. */
[[nodiscard]] enum dx_error property_number(const struct reading *r, uint64_t *number);
/* NUL-terminated, in the blob. */
[[nodiscard]] enum dx_error property_string(const struct reading *r, const char **string);
enum { PROPERTY_CHOICES = 3 };
/* One of these words: its index. */
[[nodiscard]] enum dx_error property_choice(const struct reading *r, const char *const words[PROPERTY_CHOICES],
                                            unsigned *choice);
[[nodiscard]] enum dx_error property_flag(const struct reading *r, bool *flag);
/* Bytes, or a reference to an image: blob is where either of two properties, such as kernel and kernel-image, puts what
 * it found. */
[[nodiscard]] enum dx_error property_data(const struct reading *r, struct blob *blob, const uint8_t *bytes,
                                          size_t length);
[[nodiscard]] enum dx_error property_image(const struct reading *r, struct blob *blob);

/* Names that are spoken for: whoever relies on one must not run as if it were honoured. */
[[nodiscard]] enum dx_error property_reserved(const struct reading *r);

/* One row per property that a kind of node may have, with its reader. */
struct property_row {
    const char *name;
    enum dx_error (*read)(const struct reading *r);
};
enum { PROPERTY_ROWS_MAX = 32 };
/* Reads each property of the node by its row. One that has none, or is there twice, is refused; dtc's own are skipped.
 * Uses r->property, value and length. */
[[nodiscard]] enum dx_error properties_read(struct reading *r, int node, const struct property_row *rows, size_t count);

/* capsule_properties.c: all of a capsule's own, into r->config. */
[[nodiscard]] enum dx_error capsule_properties_read(struct reading *r, int node);

#endif
