/* SPDX-License-Identifier: MIT
 *
 * The steps of boot, in the order that main.c takes them. All run on the boot hart unless they say otherwise; those
 * that cannot succeed say why and halt the machine.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "control/launch.h"
#include "core/hart.h"
#include "core/machine.h"

/* From the command line in /chosen. */
enum boot_fault { FAULT_NONE, FAULT_EARLY, FAULT_PANIC, FAULT_STACK, FAULT_TRAP, FAULT_MIXED };

struct boot_options {
    enum isolation_wish isolation;
    enum boot_fault fault; /* fault=early, panic, stack, trap, mixed (every other hart hides its
                            * H extension from isolation_start): debug builds only, for tests */
    bool halt_when_idle;   /* on-idle=halt: stay up when no capsule is left */
    bool no_color;         /* color=off: the terminal sends no escape sequences of its own */
};

extern struct machine boot_machine;
extern struct hart boot_hart;

/* boot/home.c: from entry.S while the image is still where the loader put it. Returns where it shall live: the top of
 * RAM, clear of everything that is needed still; or image_start if there is no better place. */
unsigned long boot_choose_home(const void *tree, unsigned long image_start, unsigned long image_end);

/* What the image occupies once it is at home: a power of two at its own multiple, if it could choose. */
struct range boot_image_range(unsigned long image_start, unsigned long image_end);

/* boot/inventory.c: finds the console, reads the host's tree into boot_machine. known: what was read of it before; NULL
 * if nothing was. */
void boot_read_tree(const void *tree, const struct machine *known);
/* Moves tree and manifest to the top of RAM and sets up the machine's memory. old_image: where the image came from;
 * it stays reserved if harts may still be there. Returns the manifest's blob, length 0 if there is none. */
struct blob boot_take_memory(const void *tree, struct range image, struct range old_image, bool old_image_free);

/* boot/devices.c: finds the machine's devices that capsules may be given a part of, and starts them; before capsules
 * are made. True if one gave entropy. */
bool boot_find_devices(void);
/* Opens their interrupts: on the hart that has the PLIC. serve: one of them is here. */
void boot_enable_devices(void);
void boot_serve_device(uint32_t source);

/* boot/harts.c: makes struct hart for each usable hart and calls them. all_here: whether all of them came. */
bool boot_wait_for_harts(uint32_t others);
void boot_start_harts(struct range image);
/* Lets the harts that wait in boot_secondary run guests; the boot hart goes too, and does not return.
 * server calls start_devices before its first guest. */
_Noreturn void boot_run(enum boot_fault fault, struct hart *server, void (*start_devices)(void));
/* From entry.S, on every other hart's own stack. */
_Noreturn void boot_secondary(struct hart *hart);

/* boot/fault.c: makes the hypervisor itself fail as fault says. Returns if fault is none of panic, stack and trap. */
void boot_fault(enum boot_fault fault);

/* boot/options.c: isolation=, loglevel=, on-idle=, fault=; unknown words are reported and ignored. */
struct boot_options boot_parse_options(const char *arguments);

/* boot/capsules.c: creates what the manifest describes, each capsule by itself; at least one should result. */
void boot_create_capsules(struct blob blob, const struct boot_options *options);
/* Starts them, once the terminal is there: what they say has somewhere to go. Harts may be running already. */
void boot_start_capsules(void);
/* At run time: a capsule of the manifest that was refused, or destroyed, anew; LOADED. No lock held. */
[[nodiscard]] enum dx_error boot_create_capsule(const char *name, struct refusal *refusal);
/* On each hart before its first guest: whether the capsules that it serves are really confined. Halts if not. */
void boot_test_isolation(struct hart *hart);
/* Seeds the generator of guests' rng-seeds from the tree and Zkr too. seeded: it has been given something already that
 * nobody can guess. */
void boot_seed(bool seeded);

/* boot/power.c */
void boot_power_init(const struct boot_options *options);
_Noreturn void boot_power_off(void);
/* Restarts the machine; boot_machine.reboot.address must not be 0. */
_Noreturn void boot_reboot(void);
/* No capsule is left to run: powers off, or says that it stays up (on-idle=halt). */
void boot_all_stopped(void);

#endif
