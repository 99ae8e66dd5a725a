/* SPDX-License-Identifier: MIT
 *
 * A directory of capsules: see autostart.h. DIR/NAME/ has
 *
 *     capsule.dtb, capsule.dts or run    what to make: a capsule file, or the words of `capsulectl run` behind NAME,
 *                                with files from here
 *     after                      names of capsules that must have been started before; may be missing
 *     off                        if it is there, the capsule isn't started
 *     keep                       if it is there, `autostart --keep` starts it again whenever it has stopped
 *
 * Each is made by a process of its own, so that a mistake in one stops those alone that come after it.
 */
#include "autostart.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capsulectl.h"
#include "capsules.h"
#include "create.h"

enum { WORDS_MAX = 64, AFTER_MAX = 16, NAMES_MAX = 256, SHORT_LIFE = 10 /* seconds */, PAUSE_MAX = 60 };

enum fate { WAITS, STARTED, FAILED };

struct entry {
    char name[DX_CONTROL_NAME];
    char after[AFTER_MAX][DX_CONTROL_NAME];
    unsigned after_count;
    enum fate fate;
    bool is_kept;
    time_t started; /* again, the last time */
    unsigned pause; /* seconds before the next time */
};

struct entries {
    struct entry entry[NAMES_MAX];
    unsigned count;
};

/* --- what there is ----------------------------------------------------------------------------------------------- */

static bool is_there(const char *directory, const char *name, const char *file)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s/%s", directory, name, file);
    return access(path, R_OK) == 0;
}

static void read_after(const char *directory, struct entry *entry)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s/after", directory, entry->name);
    FILE *file = fopen(path, "r");
    while (file != NULL && entry->after_count < AFTER_MAX &&
           fscanf(file, "%31s", entry->after[entry->after_count]) == 1) {
        entry->after_count++;
    }
    if (file != NULL) {
        fclose(file);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void read_entries(const char *directory, struct entries *entries)
{
    DIR *names = opendir(directory);
    if (names == NULL) {
        die(EXIT_USAGE, "%s: %s", directory, strerror(errno));
    }
    for (struct dirent *found; (found = readdir(names)) != NULL;) {
        const char *name = found->d_name;
        const bool is_capsule = is_there(directory, name, "capsule.dtb") || is_there(directory, name, "capsule.dts") ||
                                is_there(directory, name, "run");
        if (name[0] == '.' || !is_capsule || is_there(directory, name, "off")) {
            continue;
        }
        if (entries->count == NAMES_MAX || strlen(name) >= DX_CONTROL_NAME) {
            die(EXIT_USAGE, "%s/%s: a name has at most %d characters, and there are at most %d", directory, name,
                DX_CONTROL_NAME - 1, NAMES_MAX);
        }
        struct entry *entry = &entries->entry[entries->count++];
        strcpy(entry->name, name);
        entry->is_kept = is_there(directory, name, "keep");
        read_after(directory, entry);
    }
    closedir(names);
    qsort(entries->entry, entries->count, sizeof(entries->entry[0]), by_name);
}

/* --- one of them ------------------------------------------------------------------------------------------------- */

/* Words, by spaces, with "double quotes" for those that have some, but for #comments; they lie in text. */
static unsigned split(char *text, char **words)
{
    unsigned count = 0;
    while (*(text += strspn(text, " \t\n")) != '\0') {
        if (*text == '#') {
            text += strcspn(text, "\n");
            continue;
        }
        const bool quoted = *text == '"';
        char *end = quoted ? strchr(text + 1, '"') : text + strcspn(text, " \t\n");
        if (end == NULL || count == WORDS_MAX) {
            die(EXIT_USAGE, "run: %s", end == NULL ? "a quote has no end" : "too many words");
        }
        words[count++] = text + (quoted ? 1 : 0);
        text = end + (*end == '\0' ? 0 : 1);
        *end = '\0';
    }
    return count;
}

static void run_from_file(struct link *link, char *name)
{
    static char text[8192];
    char *words[WORDS_MAX + 2] = {name};
    FILE *file = fopen("run", "r");
    const size_t length = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    if (length == 0 || length == sizeof(text) - 1) {
        die(EXIT_USAGE, "run: %s", length == 0 ? "it can't be read, or is empty" : "it is too long");
    }
    text[length] = '\0';
    (void)split(text, words + 1);
    run_verb(link, words);
}

/* In a process of its own, which ends here. */
static _Noreturn void start_it(const char *directory, char *name)
{
    struct link link;
    char tree[] = "capsule.dtb";
    if (chdir(directory) != 0 || chdir(name) != 0) {
        die(EXIT_USAGE, "%s/%s: %s", directory, name, strerror(errno));
    }
    link_open(&link);
    if (access(tree, R_OK) != 0) {
        strcpy(tree, "capsule.dts");
    }
    if (access(tree, R_OK) != 0) {
        run_from_file(&link, name);
    } else {
        create_and_start(&link, tree);
    }
    exit(0);
}

static enum fate start_one(const char *directory, struct entry *entry)
{
    int status = 0;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        start_it(directory, entry->name);
    }
    const bool good = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    if (!good) {
        fprintf(stderr, "capsulectl: autostart: %s was not started\n", entry->name);
    }
    return good ? STARTED : FAILED;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static const struct entry *entry_named(const struct entries *entries, const char *name)
{
    for (unsigned n = 0; n < entries->count; n++) {
        if (strcmp(entries->entry[n].name, name) == 0) {
            return &entries->entry[n];
        }
    }
    return NULL;
}

/* Whether those before it are there: WAITS if one isn't yet, FAILED if one never will be. */
static enum fate those_before(const struct entries *entries, const struct entry *entry)
{
    enum fate fate = STARTED;
    for (unsigned n = 0; n < entry->after_count; n++) {
        const struct entry *before = entry_named(entries, entry->after[n]);
        if (before == NULL || before->fate == FAILED) {
            fprintf(stderr, "capsulectl: autostart: %s: it comes after %s, which %s\n", entry->name, entry->after[n],
                    before == NULL ? "isn't there" : "was not started");
            return FAILED;
        }
        fate = before->fate == WAITS ? WAITS : fate;
    }
    return fate;
}

/* One round; true: somebody's fate was decided. */
static bool go_round(const char *directory, struct entries *entries)
{
    bool moved = false;
    for (unsigned n = 0; n < entries->count; n++) {
        struct entry *entry = &entries->entry[n];
        const enum fate ready = entry->fate == WAITS ? those_before(entries, entry) : WAITS;
        if (ready != WAITS) {
            entry->fate = ready == STARTED ? start_one(directory, entry) : FAILED;
            moved = true;
        }
    }
    return moved;
}

/* Those that the hypervisor has already, whoever made them, are left as they are. */
static void leave_out_existing(struct link *link, struct entries *entries)
{
    const struct rows rows = rows_get(link);
    for (size_t n = 0; n < rows.count; n++) {
        for (unsigned k = 0; k < entries->count; k++) {
            if (strcmp(rows.row[n].name, entries->entry[k].name) == 0) {
                printf("%s: is there already, %s\n", rows.row[n].name, state_name(rows.row[n].state));
                entries->entry[k].fate = STARTED;
            }
        }
    }
    free(rows.row);
}

/* --- keeping them up ---------------------------------------------------------------------------------------------- */

/* After a second; after longer, if it stops again and again. */
static void start_again(struct link *link, struct entry *entry, const struct dx_control_row *row)
{
    const struct dx_control_request request = {.what = DX_CONTROL_START, .id = row->id};
    const bool is_short = entry->started != 0 && time(NULL) - entry->started < SHORT_LIFE + (time_t)entry->pause;
    size_t bytes;
    entry->pause = is_short ? entry->pause * 2 : 1;
    entry->pause = entry->pause > PAUSE_MAX ? PAUSE_MAX : entry->pause;
    printf("%s: %s (%s): it is started again in %u s\n", row->name, state_name(row->state), row->last_stop,
           entry->pause);
    fflush(stdout);
    sleep(entry->pause);
    entry->started = time(NULL);
    (void)link_ask(link, DX_CONTROL_REQUEST, &request, sizeof(request), &bytes); /* it may run again already */
}

static void look_after(struct link *link, struct entries *entries)
{
    const struct rows rows = rows_get(link);
    for (size_t n = 0; n < rows.count; n++) {
        const bool is_down = rows.row[n].state == DX_CONTROL_STOPPED || rows.row[n].state == DX_CONTROL_CRASHED;
        for (unsigned k = 0; k < entries->count && is_down; k++) {
            struct entry *entry = &entries->entry[k];
            if (entry->is_kept && entry->fate == STARTED && strcmp(entry->name, rows.row[n].name) == 0) {
                start_again(link, entry, &rows.row[n]);
            }
        }
    }
    free(rows.row);
}

static _Noreturn void keep(struct link *link, struct entries *entries)
{
    struct dx_control_events message = {.after = DX_CONTROL_NEWEST, .how = 0};
    struct dx_control_events_reply reply;
    link_get(link, DX_CONTROL_EVENTS, &message, sizeof(message), &reply, sizeof(reply));
    message.how = DX_CONTROL_WAIT;
    for (;;) {
        message.after = reply.last; /* what happens from here on is told, if it isn't seen */
        look_after(link, entries);
        link_get(link, DX_CONTROL_EVENTS, &message, sizeof(message), &reply, sizeof(reply));
    }
}

int autostart_verb(struct link *link, char **arguments)
{
    static struct entries entries;
    const bool keeps = arguments[0] != NULL && strcmp(arguments[0], "--keep") == 0;
    arguments += keeps ? 1 : 0;
    const char *directory = arguments[0] == NULL ? AUTOSTART_DIRECTORY : arguments[0];
    int status = 0;
    read_entries(directory, &entries);
    leave_out_existing(link, &entries);
    link_close(link);
    while (go_round(directory, &entries)) {
    }
    for (unsigned n = 0; n < entries.count; n++) {
        if (entries.entry[n].fate == WAITS) {
            fprintf(stderr, "capsulectl: autostart: %s was not started: it comes after itself\n",
                    entries.entry[n].name);
        }
        status = entries.entry[n].fate == STARTED ? status : EXIT_REFUSED;
    }
    if (keeps) {
        fflush(stdout);
        link_open(link);
        keep(link, &entries);
    }
    return status;
}
