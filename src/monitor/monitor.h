/* SPDX-License-Identifier: MIT
 *
 * The operator's monitor: a prompt on the terminal, and what may be typed there. It takes bytes, gives bytes, and does
 * what it was told to in small steps; it knows nothing of the serial port. What it prints is its own text, names of
 * [a-z0-9-] and, of a guest, filtered scroll-back alone.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "core/refusal.h"

/* What the monitor can't do itself. Called by monitor_work with no lock held. Any may be NULL: then the command says
 * that it is not possible here. */
struct monitor_host {
    void (*power_off)(void);
    void (*reboot)(void);
    enum dx_error (*create)(const char *name, struct refusal *refusal); /* a destroyed capsule of the manifest anew */
    bool (*focus)(const char *name); /* the terminal's: input and screen to that capsule, once the monitor is left */
};

/* Once at boot. host stays the caller's and must stay. */
void monitor_init(const struct monitor_host *host);
/* Backspaces and spaces instead of escape sequences: for terminals that know none. */
void monitor_set_plain(bool plain);

/* --- for whoever serves the terminal; under the terminal's lock, or with none --- */
/* None of these logs, takes another lock than the monitor's own (a leaf), or calls anything outside. */

/* The operator has come: a line of greeting, and the prompt. What an earlier visit left undone is given up. */
void monitor_enter(void);
/* One byte of the keyboard. False: the operator has left. While a command runs bytes are kept (some 250) for after it,
 * but for Ctrl-C, which ends it. */
bool monitor_input(uint8_t byte);
/* Moves what there is to say to out, up to size bytes. 0: nothing now. */
size_t monitor_output(char *out, size_t size);
/* True while monitor_work would do something. Then somebody must call it soon though no byte comes in: as long as this
 * holds the terminal keeps its transmit interrupt on. */
bool monitor_has_work(void);
/* True after a monitor_work in which the operator has left, by `quit` or `focus`. */
bool monitor_left(void);

/* --- with no lock held --- */
/* Does one bounded step of what was typed: takes locks, logs, calls the host's functions. Several harts may call it at
 * once: one of them works, the others return. */
void monitor_work(void);

#endif
