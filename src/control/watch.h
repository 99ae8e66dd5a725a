/* SPDX-License-Identifier: MIT
 *
 * What managers' clients look at for longer: consoles, the log, events.
 */
#ifndef CONTROL_WATCH_H
#define CONTROL_WATCH_H

/* Once at boot: those who wait are told of output and of events from now on. */
void watch_init(void);

#endif
