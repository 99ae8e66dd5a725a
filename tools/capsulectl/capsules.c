/* SPDX-License-Identifier: MIT
 *
 * Capsules as the hypervisor lists them: see capsules.h.
 */
#include "capsules.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "capsulectl.h"

/* --- capsules ---------------------------------------------------------------------------------------------------- */

struct rows rows_get(struct link *link)
{
    struct rows rows = {NULL, 0};
    struct dx_control_list list = {0};
    for (;;) {
        struct dx_control_list_reply reply;
        size_t bytes;
        if (link_ask(link, DX_CONTROL_LIST, &list, sizeof(list), &bytes) != 0) {
            link_refused(link, bytes);
        }
        memcpy(&reply, link_payload(link), sizeof(reply));
        if (bytes < sizeof(reply) || bytes != sizeof(reply) + reply.count * sizeof(*rows.row)) {
            link_nonsense();
        }
        if (reply.count == 0) {
            return rows;
        }
        rows.row = realloc(rows.row, (rows.count + reply.count) * sizeof(*rows.row));
        if (rows.row == NULL) {
            die(EXIT_LINK, "no memory");
        }
        memcpy(rows.row + rows.count, (const uint8_t *)link_payload(link) + sizeof(reply),
               reply.count * sizeof(*rows.row));
        rows.count += reply.count;
        list.after = rows.row[rows.count - 1].id;
    }
}

const struct dx_control_row *rows_find(const struct rows *rows, const char *name)
{
    struct guess guess = {.typed = name};
    for (size_t n = 0; n < rows->count; n++) {
        char id[12];
        snprintf(id, sizeof(id), "%" PRIu32, rows->row[n].id);
        if (strcmp(rows->row[n].name, name) == 0 || strcmp(id, name) == 0) {
            return &rows->row[n];
        }
        guess_look(&guess, rows->row[n].name);
    }
    guess_die(&guess, EXIT_REFUSED, "capsule", "list");
}

const char *state_name(uint32_t state)
{
    static const char *const names[] = {
        [DX_CONTROL_LOADED] = "loaded",         [DX_CONTROL_STARTING] = "starting",
        [DX_CONTROL_RUNNING] = "running",       [DX_CONTROL_STOPPING] = "stopping",
        [DX_CONTROL_STOPPED] = "stopped",       [DX_CONTROL_CRASHED] = "crashed",
        [DX_CONTROL_PAUSED] = "paused",         [DX_CONTROL_RESTARTING] = "restarting",
        [DX_CONTROL_DESTROYING] = "destroying",
    };
    return state < COUNT(names) ? names[state] : "unknown";
}

static const char *isolation_name(uint32_t isolation)
{
    return isolation == DX_CONTROL_HYP ? "hyp" : isolation == DX_CONTROL_PMP ? "pmp" : "unknown";
}

/* Numbers of JSON are exact up to 53 bits, which is enough for what is counted here. */
static void add_number(cJSON *object, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(object, name, (double)value);
}

void print_json(cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    if (text == NULL) {
        die(EXIT_USAGE, "no memory for the answer");
    }
    fputs(text, stdout);
    cJSON_free(text);
    cJSON_Delete(object);
}

static cJSON *json_of(const struct dx_control_row *row)
{
    cJSON *object = cJSON_CreateObject();
    add_number(object, "id", row->id);
    cJSON_AddStringToObject(object, "name", row->name);
    cJSON_AddStringToObject(object, "state", state_name(row->state));
    cJSON_AddStringToObject(object, "isolation", isolation_name(row->isolation));
    add_number(object, "vcpus", row->vcpus);
    add_number(object, "memory", row->memory);
    add_number(object, "cpu_us", row->cpu_us);
    add_number(object, "starts", row->starts);
    cJSON_AddBoolToObject(object, "self", (row->flags & DX_CONTROL_ITSELF) != 0);
    cJSON_AddBoolToObject(object, "manager", (row->flags & DX_CONTROL_MANAGER) != 0);
    cJSON_AddStringToObject(object, "last_stop", row->last_stop);
    return object;
}

static void print_row(const struct dx_control_row *row)
{
    printf("%3" PRIu32 "%c %-16s %-10s %-3s %4" PRIu32 " %6" PRIu64 " MiB %8.1f s  %s\n", row->id,
           (row->flags & DX_CONTROL_ITSELF) != 0 ? '*' : ' ', row->name, state_name(row->state),
           isolation_name(row->isolation), row->vcpus, row->memory >> 20, (double)row->cpu_us / 1e6, row->last_stop);
}

int list_verb(struct link *link, char **arguments)
{
    const struct rows rows = rows_get(link);
    (void)arguments;
    if (as_json) {
        putchar('[');
        for (size_t n = 0; n < rows.count; n++) {
            fputs(n == 0 ? "\n  " : ",\n  ", stdout);
            print_json(json_of(&rows.row[n]));
        }
        puts("\n]");
        return 0;
    }
    printf(" ID  %-16s %-10s %-3s vCPU     MEMORY        CPU  LAST STOP\n", "NAME", "STATE", "ISO");
    for (size_t n = 0; n < rows.count; n++) {
        print_row(&rows.row[n]);
    }
    return 0;
}

struct dx_control_row capsule_named(struct link *link, const char *name)
{
    const struct rows rows = rows_get(link);
    const struct dx_control_row row = *rows_find(&rows, name);
    free(rows.row);
    return row;
}

/* --- info and stat ----------------------------------------------------------------------------------------------- */

/* Everything about one, and its bootargs. */
struct facts {
    struct dx_control_info_reply info;
    char bootargs[DX_CONTROL_MESSAGE_MAX];
};

static struct facts facts_of(struct link *link, uint32_t id)
{
    const struct dx_control_info message = {.id = id};
    struct facts facts = {.bootargs = ""};
    size_t bytes;
    if (link_ask(link, DX_CONTROL_INFO, &message, sizeof(message), &bytes) != 0) {
        link_refused(link, bytes);
    }
    if (bytes < sizeof(facts.info)) {
        link_nonsense();
    }
    memcpy(&facts.info, link_payload(link), sizeof(facts.info));
    memcpy(facts.bootargs, (const uint8_t *)link_payload(link) + sizeof(facts.info), bytes - sizeof(facts.info));
    if (facts.info.causes > DX_CONTROL_CAUSES_MAX) {
        link_nonsense();
    }
    for (uint32_t n = 0; n < facts.info.causes; n++) {
        facts.info.exits[n].name[DX_CONTROL_CAUSE - 1] = '\0';
    }
    return facts;
}

static uint64_t all_exits(const struct dx_control_info_reply *info)
{
    uint64_t sum = 0;
    for (uint32_t n = 0; n < info->causes; n++) {
        sum += info->exits[n].count;
    }
    return sum;
}

static const char *restart_name(uint32_t restart)
{
    static const char *const names[] = {"never", "on-failure", "always"};
    return restart < COUNT(names) ? names[restart] : "unknown";
}

static void print_facts_json(const struct facts *facts, const char *separator)
{
    const struct dx_control_info_reply *info = &facts->info;
    cJSON *object = json_of(&info->row);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"steal_us", info->steal_us},
        {"interrupts", info->interrupts},
        {"console_out", info->console_out},
        {"console_in", info->console_in},
        {"console_dropped", info->console_dropped},
        {"kernel", info->kernel},
        {"initrd", info->initrd},
        {"overhead", info->overhead},
        {"priority", info->priority},
        {"weight", info->weight},
        {"watchdog_seconds", info->watchdog_seconds},
        {"creator", info->creator},
    };
    for (size_t n = 0; n < COUNT(numbers); n++) {
        add_number(object, numbers[n].name, numbers[n].value);
    }
    cJSON_AddStringToObject(object, "restart", restart_name(info->restart));
    cJSON_AddStringToObject(object, "bootargs", facts->bootargs);
    cJSON *exits = cJSON_AddObjectToObject(object, "exits");
    for (uint32_t n = 0; n < info->causes; n++) {
        add_number(exits, info->exits[n].name, info->exits[n].count);
    }
    printf("%s\n  ", separator);
    print_json(object);
}

static void print_facts(const struct facts *facts)
{
    const struct dx_control_info_reply *info = &facts->info;
    const struct dx_control_row *row = &info->row;
    printf("Capsule %" PRIu32 " (%s): %s\n", row->id, row->name, state_name(row->state));
    printf("  isolation  %s\n  vCPUs      %" PRIu32 "\n", isolation_name(row->isolation), row->vcpus);
    printf("  memory     %.1f MiB, and %.1f KiB for itself\n", (double)row->memory / (1 << 20),
           (double)info->overhead / (1 << 10));
    printf("  kernel     %.1f MiB", (double)info->kernel / (1 << 20));
    if (info->initrd != 0) {
        printf(", initrd %.1f MiB", (double)info->initrd / (1 << 20));
    }
    printf("\n  bootargs   %s\n", facts->bootargs);
    printf("  share      priority %" PRIu32 ", weight %" PRIu32 "\n", info->priority, info->weight);
    printf("  restart    %s\n", restart_name(info->restart));
    if (info->creator != 0) {
        printf("  made by    capsule %" PRIu32 "\n", info->creator);
    }
    printf("  CPU time   %.1f s, waited %.1f s for harts\n", (double)row->cpu_us / 1e6, (double)info->steal_us / 1e6);
    printf("  starts     %" PRIu64 "\n  last stop  %s\n", row->starts,
           row->last_stop[0] == '\0' ? "never" : row->last_stop);
    printf("  interrupts %" PRIu64 "\n  console    %" PRIu64 " bytes out, %" PRIu64 " in\n", info->interrupts,
           info->console_out, info->console_in);
    printf("  exits      %" PRIu64 "\n", all_exits(info));
    for (uint32_t n = 0; n < info->causes; n++) {
        printf("    %-12s %12" PRIu64 "\n", info->exits[n].name, info->exits[n].count);
    }
}

/* Shows each of the names, or all, by those functions. */
static int show(struct link *link, char **names, void (*print)(const struct facts *facts))
{
    const struct rows rows = rows_get(link);
    const char *separator = "";
    for (char **name = names; *name != NULL; name++) { /* a mistake in one, and nothing is shown */
        (void)rows_find(&rows, *name);
    }
    if (as_json) {
        putchar('[');
    }
    for (size_t n = 0; names[0] == NULL ? n < rows.count : names[n] != NULL; n++) {
        const struct dx_control_row *row = names[0] == NULL ? &rows.row[n] : rows_find(&rows, names[n]);
        const struct facts facts = facts_of(link, row->id);
        if (as_json) {
            print_facts_json(&facts, separator);
        } else {
            print(&facts);
        }
        separator = ",";
    }
    if (as_json) {
        puts("\n]");
    }
    free(rows.row);
    return 0;
}

int info_verb(struct link *link, char **arguments)
{
    return show(link, arguments, print_facts);
}

static void print_counts(const struct facts *facts)
{
    const struct dx_control_info_reply *info = &facts->info;
    printf("%3" PRIu32 "%c %-16s %8.1f s %8.1f s %10" PRIu64 " %10" PRIu64 " %9.1f KiB\n", info->row.id,
           (info->row.flags & DX_CONTROL_ITSELF) != 0 ? '*' : ' ', info->row.name, (double)info->row.cpu_us / 1e6,
           (double)info->steal_us / 1e6, all_exits(info), info->interrupts, (double)info->console_out / (1 << 10));
}

int stat_verb(struct link *link, char **arguments)
{
    if (!as_json) {
        printf(" ID  %-16s %10s %10s %10s %10s %13s\n", "NAME", "CPU", "WAITED", "EXITS", "INTERRUPTS", "CONSOLE");
    }
    return show(link, arguments, print_counts);
}

/* --- top --------------------------------------------------------------------------------------------------------- */

enum { TOP_SECONDS = 2, PERCENT = 100 };

/* What it has had since then, of one hart, in per cent. */
static double share_since(const struct rows *before, const struct dx_control_row *row, double seconds)
{
    for (size_t n = 0; n < before->count; n++) {
        if (before->row[n].id == row->id) {
            return (double)(row->cpu_us - before->row[n].cpu_us) / 1e6 / seconds * PERCENT;
        }
    }
    return 0;
}

static void print_top(const struct rows *before, const struct rows *now, double seconds)
{
    if (isatty(STDOUT_FILENO)) {
        fputs("\033[H\033[J", stdout);
    }
    printf(" ID  %-16s %-10s vCPU     MEMORY        CPU  %%HART\n", "NAME", "STATE");
    for (size_t n = 0; n < now->count; n++) {
        const struct dx_control_row *row = &now->row[n];
        printf("%3" PRIu32 "%c %-16s %-10s %4" PRIu32 " %6" PRIu64 " MiB %8.1f s %6.1f\n", row->id,
               (row->flags & DX_CONTROL_ITSELF) != 0 ? '*' : ' ', row->name, state_name(row->state), row->vcpus,
               row->memory >> 20, (double)row->cpu_us / 1e6, share_since(before, row, seconds));
    }
    fflush(stdout);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned whole_number(const char *text)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || end == text || value == 0 || value > 86400) {
        die(EXIT_USAGE, "top: %s: it must be a number from 1 on", text);
    }
    return (unsigned)value;
}

/* Without a terminal once, unless it is said how often. */
int top_verb(struct link *link, char **arguments)
{
    const unsigned seconds = arguments[0] != NULL ? whole_number(arguments[0]) : TOP_SECONDS;
    unsigned left = arguments[0] != NULL && arguments[1] != NULL ? whole_number(arguments[1])
                    : isatty(STDOUT_FILENO)                      ? 0
                                                                 : 1;
    const bool ends = left != 0;
    struct rows before = rows_get(link);
    double then = seconds_now();
    while (!ends || left-- > 0) {
        sleep(seconds);
        const struct rows now = rows_get(link);
        const double when = seconds_now();
        print_top(&before, &now, when - then);
        free(before.row);
        before = now;
        then = when;
    }
    free(before.row);
    return 0;
}
