/* SPDX-License-Identifier: MIT
 *
 * The host's device tree as the loader passed it: from a blob that isn't trusted to struct machine. The blob is
 * only read, may lie anywhere on 8 bytes, and isn't needed afterwards but for what its owner keeps it for.
 */
#ifndef DT_HOST_TREE_H
#define DT_HOST_TREE_H

#include "core/machine.h"
#include "core/refusal.h"

enum { HOST_TREE_LIMIT = MIB }; /* a limit that serves every machine that we know of */

/* How many bytes the tree at blob has, by its own header; 0 if that isn't a sane tree's or says more than limit. */
size_t host_tree_size(const void *blob, size_t limit);

/* Fills in *machine, all of it. Nothing beyond limit bytes, or what the header says if that is less, is ever read.
 * DX_BAD_TREE: malformed; DX_MISSING: it names no RAM, no usable hart, no timebase or no timer; DX_TOO_MANY: more of
 * something than struct machine holds. A missing console isn't refused: its kind is then MACHINE_UART_NONE. A hart
 * that no timer serves is not usable. Call once, on one hart. */
[[nodiscard]] enum dx_error host_tree_read(const void *blob, size_t limit, struct machine *machine,
                                           struct refusal *refusal);

/* For messages before, or about, a tree that host_tree_read has not accepted: the machine's console if one can be
 * found. False, and kind MACHINE_UART_NONE, if not. The interrupt is not looked for. */
bool host_tree_console(const void *blob, size_t limit, struct machine_uart *uart);

#endif
