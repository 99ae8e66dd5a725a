/* SPDX-License-Identifier: MIT
 *
 * capsulectl: manages capsules from a manager capsule's Linux.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autostart.h"
#include "capsulectl.h"
#include "capsules.h"
#include "create.h"
#include "link.h"
#include "serve.h"
#include "watch.h"

int as_json;

_Noreturn void die(int status, const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    fputs("capsulectl: ", stderr);
    vfprintf(stderr, pattern, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

/* --- mistakes -------------------------------------------------------------------------------------------------------
 */

/* How many single-letter changes lead from one to the other. b has less than DX_CONTROL_NAME characters. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[DX_CONTROL_NAME + 1];
    const size_t length = strlen(b);
    for (size_t n = 0; n <= length; n++) {
        row[n] = (unsigned)n;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0]++;
        for (size_t n = 1; n <= length; n++) {
            unsigned best = diagonal + (a[i] != b[n - 1]);
            best = row[n] + 1 < best ? row[n] + 1 : best;
            best = row[n - 1] + 1 < best ? row[n - 1] + 1 : best;
            diagonal = row[n];
            row[n] = best;
        }
    }
    return row[length];
}

void guess_look(struct guess *guess, const char *name)
{
    const unsigned changes = distance(guess->typed, name);
    if (changes <= 2 && (guess->near == NULL || changes < guess->best)) {
        guess->best = changes;
        guess->near = name;
    }
}

_Noreturn void guess_die(const struct guess *guess, int status, const char *what, const char *how)
{
    if (guess->near != NULL) {
        die(status, "there is no %s %s; did you mean %s?", what, guess->typed, guess->near);
    }
    die(status, "there is no %s %s: `capsulectl %s` shows which there are", what, guess->typed, how);
}

/* --- short verbs ----------------------------------------------------------------------------------------------------
 */

static int version(struct link *link, char **arguments)
{
    (void)arguments;
    link->hello.hypervisor[DX_CONTROL_NAME - 1] = '\0';
    printf("capsulectl " DIOSIX_VERSION ", diosix %s, control protocol %" PRIu32 "\n", link->hello.hypervisor,
           link->hello.version);
    return 0;
}

static int ask_each(struct link *link, char **names, enum dx_control_verb verb)
{
    const struct rows rows = rows_get(link);
    for (char **name = names; *name != NULL; name++) { /* a mistake in one of them, and nothing is asked */
        (void)rows_find(&rows, *name);
    }
    for (; *names != NULL; names++) {
        const struct dx_control_request request = {.what = verb, .id = rows_find(&rows, *names)->id};
        link_get(link, DX_CONTROL_REQUEST, &request, sizeof(request), NULL, 0);
    }
    return 0;
}

/* --- the command line -------------------------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    const char *words;
    const char *help;
    int (*act)(struct link *link, char **arguments); /* NULL: it is a request */
    enum dx_control_verb request;
    int is_alone; /* it doesn't talk to the hypervisor */
} verbs[] = {
    {"list", "", "shows capsules: * is this one", list_verb, 0, 0},
    {"info", "NAME...", "shows all about a capsule", info_verb, 0, 0},
    {"stat", "[NAME...]", "shows what is counted of capsules", stat_verb, 0, 0},
    {"top", "[SECONDS [COUNT]]", "shows who uses the harts, every 2 s, until Ctrl-C", top_verb, 0, 0},
    {"console", "NAME", "attaches to a capsule's console: Ctrl-^ leaves", console_verb, 0, 0},
    {"log", "[-f] [NAME...]", "shows what a capsule has written, or the hypervisor; -f goes on", log_verb, 0, 0},
    {"events", "[--past]", "tells what happens to capsules; --past: what has, and ends", events_verb, 0, 0},
    {"create", "FILE...", "makes a capsule of a capsule file, within the quota", create_verb, 0, 0},
    {"run", RUN_WORDS, "makes a capsule of a kernel, and starts it; -it attaches to its console", run_verb, 0, 0},
    {"serve-disk", SERVE_WORDS, "is the disk served:NAME of this capsule's capsules, from a file, until Ctrl-C",
     serve_verb, 0, 0},
    {"autostart", "[--keep] [DIR]",
     "makes and starts what is in " AUTOSTART_DIRECTORY ", or DIR; --keep: and again what stops there", autostart_verb,
     0, 0},
    {"check", "FILE...", "says what is wrong with a capsule file; sends nothing", check_verb, 0, 1},
    {"quota", "", "shows what this capsule's capsules may cost, and do", quota_verb, 0, 0},
    {"start", "NAME...", "starts what is loaded, stopped or crashed", NULL, DX_CONTROL_START, 0},
    {"stop", "NAME...", "asks the guest to power off, and kills it if it hasn't after 15 s", NULL, DX_CONTROL_STOP_IT,
     0},
    {"kill", "NAME...", "stops at once, whatever the guest does", NULL, DX_CONTROL_KILL, 0},
    {"restart", "NAME...", "kill and start in one", NULL, DX_CONTROL_RESTART, 0},
    {"pause", "NAME...", "its vCPUs stand still until resume", NULL, DX_CONTROL_PAUSE, 0},
    {"resume", "NAME...", "goes on after pause", NULL, DX_CONTROL_RESUME, 0},
    {"destroy", "NAME...", "gives back all that a capsule has that doesn't run", NULL, DX_CONTROL_DESTROY, 0},
    {"version", "", "of this program, the hypervisor and the protocol", version, 0, 0},
};

static void usage(FILE *file)
{
    fputs("usage: capsulectl [--json] VERB [NAME...]\n\nA NAME may be an id too. Verbs:\n", file);
    for (size_t n = 0; n < COUNT(verbs); n++) {
        const bool fits = strlen(verbs[n].words) <= 9;
        fprintf(file, fits ? "  %-9s %-9s %s\n" : "  %-9s %s\n                      %s\n", verbs[n].name,
                verbs[n].words, verbs[n].help);
    }
    fputs("\nThe exit status is 0, 1 if the hypervisor refused it, 2 if the command line makes no sense, 3 if the\n"
          "hypervisor can't be reached.\n",
          file);
}

static const struct verb *find_verb(const char *name)
{
    struct guess guess = {.typed = name};
    for (size_t n = 0; n < COUNT(verbs); n++) {
        if (strcmp(verbs[n].name, name) == 0) {
            return &verbs[n];
        }
        guess_look(&guess, verbs[n].name);
    }
    guess_die(&guess, EXIT_USAGE, "verb", "help");
}

int main(int count, char **arguments)
{
    static struct link link;
    (void)count;
    arguments++;
    if (*arguments != NULL && strcmp(*arguments, "--json") == 0) {
        as_json = 1;
        arguments++;
    }
    if (*arguments == NULL || strcmp(*arguments, "help") == 0 || strcmp(*arguments, "--help") == 0 ||
        strcmp(*arguments, "-h") == 0) {
        usage(*arguments == NULL ? stderr : stdout);
        return *arguments == NULL ? EXIT_USAGE : 0;
    }
    const struct verb *verb = find_verb(*arguments++);
    if (*arguments != NULL && strcmp(*arguments, "--help") == 0) {
        printf("usage: capsulectl %s %s\n%s: %s\n", verb->name, verb->words, verb->name, verb->help);
        return 0;
    }
    const int takes = verb->words[0] != '\0';
    const int needs = takes && verb->words[0] != '[';
    if ((needs && *arguments == NULL) || (!takes && *arguments != NULL)) {
        die(EXIT_USAGE, "usage: capsulectl %s %s", verb->name, verb->words);
    }
    if (!verb->is_alone) {
        link_open(&link);
    }
    return verb->act != NULL ? verb->act(&link, arguments) : ask_each(&link, arguments, verb->request);
}
