/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's own command line.
 */
#include "boot/boot.h"

#include <string.h>

#include "core/log.h"

enum { WORD_MAX = 64 };

static void set_isolation(struct boot_options *options, const char *value)
{
    if (strcmp(value, "auto") == 0) {
        options->isolation = ISOLATION_AUTO;
    } else if (strcmp(value, "pmp") == 0) {
        options->isolation = ISOLATION_PMP;
    } else if (strcmp(value, "hyp") == 0) {
        options->isolation = ISOLATION_HYP;
    } else {
        log_alert("isolation=%s is unknown (auto, pmp, hyp): using auto", value);
        options->isolation = ISOLATION_AUTO;
    }
}

static void set_loglevel(struct boot_options *options, const char *value)
{
    (void)options;
    if (strcmp(value, "alert") == 0) {
        log_set_level(LOG_ALERT);
    } else if (strcmp(value, "info") == 0) {
        log_set_level(LOG_INFO);
    } else if (strcmp(value, "debug") == 0) {
        log_set_level(LOG_DEBUG);
    } else {
        log_alert("loglevel=%s is unknown (alert, info, debug): using info", value);
        log_set_level(LOG_INFO);
    }
}

static void set_on_idle(struct boot_options *options, const char *value)
{
    options->halt_when_idle = strcmp(value, "halt") == 0;
    if (!options->halt_when_idle && strcmp(value, "poweroff") != 0) {
        log_alert("on-idle=%s is unknown (poweroff, halt): using poweroff", value);
    }
}

static void set_color(struct boot_options *options, const char *value)
{
    options->no_color = strcmp(value, "off") == 0;
    if (!options->no_color && strcmp(value, "on") != 0) {
        log_alert("color=%s is unknown (on, off): using on", value);
    }
}

static void set_fault(struct boot_options *options, const char *value)
{
    static const char *const faults[] = {
        [FAULT_EARLY] = "early", [FAULT_PANIC] = "panic", [FAULT_STACK] = "stack",
        [FAULT_TRAP] = "trap",   [FAULT_MIXED] = "mixed",
    };
    if (!DIOSIX_DEBUG) {
        log_alert("fault=%s is for debug builds only: ignored", value);
        return;
    }
    for (unsigned n = FAULT_EARLY; n < ARRAY_LENGTH(faults); n++) {
        if (strcmp(value, faults[n]) == 0) {
            options->fault = (enum boot_fault)n;
            return;
        }
    }
    log_alert("fault=%s is unknown (early, panic, stack, trap, mixed): ignored", value);
}

static const struct {
    const char *name; /* with its "=" */
    void (*set)(struct boot_options *options, const char *value);
} known[] = {
    {"isolation=", set_isolation}, {"loglevel=", set_loglevel}, {"on-idle=", set_on_idle},
    {"color=", set_color},         {"fault=", set_fault},
};

static void apply(struct boot_options *options, const char *word)
{
    for (size_t n = 0; n < ARRAY_LENGTH(known); n++) {
        size_t length = strlen(known[n].name);
        if (strncmp(word, known[n].name, length) == 0) {
            known[n].set(options, word + length);
            return;
        }
    }
    log_alert("Unknown word on the command line: %s", word);
}

struct boot_options boot_parse_options(const char *arguments)
{
    struct boot_options options = {.isolation = ISOLATION_AUTO};
    while (*arguments != '\0') {
        char word[WORD_MAX];
        size_t length = 0;
        while (*arguments == ' ') {
            arguments++;
        }
        for (; *arguments != '\0' && *arguments != ' '; arguments++) {
            if (length < sizeof(word) - 1) {
                word[length++] = *arguments;
            }
        }
        word[length] = '\0';
        if (length != 0) {
            apply(&options, word);
        }
    }
    return options;
}
