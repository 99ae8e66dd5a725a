/* SPDX-License-Identifier: MIT
 *
 * Addresses and ranges. Guest-physical, host-physical and guest-virtual addresses are different types, so that
 * one cannot be used for another by mistake. All sums of addresses are made here, and none can overflow.
 */
#ifndef LIB_ADDRESS_H
#define LIB_ADDRESS_H

#include "lib/base.h"

typedef struct {
    uint64_t at;
} gpa_t; /* guest-physical; up to 34 bits on RV32 */
typedef struct {
    uint64_t at;
} hpa_t; /* host-physical */
typedef struct {
    unsigned long at;
} gva_t; /* guest-virtual, or guest-physical where the guest's translation is off */

/* Bytes base … base + size − 1. A range that wraps past 2^64 − 1 is not valid; size 0 holds nothing. */
struct range {
    uint64_t base;
    uint64_t size;
};

static inline bool range_valid(struct range r)
{
    return r.size == 0 || r.base <= UINT64_MAX - (r.size - 1);
}

/* True if the size bytes at base all lie in r; size 0 lies in r if base is in it or at its end. */
static inline bool range_holds(struct range r, uint64_t base, uint64_t size)
{
    return base >= r.base && size <= r.size && base - r.base <= r.size - size;
}

static inline bool range_holds_range(struct range outer, struct range inner)
{
    return range_holds(outer, inner.base, inner.size);
}

/* True if some byte lies in both. Both must be valid. */
static inline bool range_overlaps(struct range a, struct range b)
{
    if (a.size == 0 || b.size == 0) {
        return false;
    }
    return a.base <= b.base ? b.base - a.base < a.size : a.base - b.base < b.size;
}

/* The last byte's address; r must be valid and not empty. */
static inline uint64_t range_last(struct range r)
{
    return r.base + (r.size - 1);
}

static inline bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* align is a power of two. Rounding up saturates at the highest multiple that fits 64 bits. */
static inline uint64_t align_down(uint64_t n, uint64_t align)
{
    return n & ~(align - 1);
}

static inline uint64_t align_up(uint64_t n, uint64_t align)
{
    return n > UINT64_MAX - (align - 1) ? align_down(UINT64_MAX, align) : align_down(n + (align - 1), align);
}

/* Host memory that the hypervisor owns or has checked, as a pointer. Never give it a guest's number unchecked. */
static inline void *hpa_pointer(hpa_t address)
{
    return (void *)(uintptr_t)address.at;
}

#endif
