# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What every script here shares: where the cache is, how to speak, how to publish a file so that nobody
# ever sees half of it, and how to know that a cached product is still the one that was put there.
# To be sourced by bash with `set -euo pipefail`.

# A failure inside $(...) ends that too, as it would outside.
shopt -s inherit_errexit

CACHE="${DIOSIX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/diosix}"
# shellcheck disable=SC2034  # used by the scripts that source this file
REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

say() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# Prints the comment block at the top of the calling script: the one copy of its help.
usage() {
    sed -n '/^# SPDX/d; 2,/^[^#]/ { /^#!/d; s/^# \{0,1\}//p }' "$0"
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is missing: run scripts/setup"
    done
}

# with_lock NAME COMMAND...: runs the command while no other process holds the same name.
# The descriptor is closed in the command's children by nobody: the lock lasts as long as the subshell.
with_lock() {
    local name="$1"
    shift
    mkdir -p "$CACHE/locks"
    (
        flock 9
        "$@"
    ) 9>"$CACHE/locks/$name"
}

# A private scratch directory on the cache's file system, so that a rename from it is atomic; it is removed at exit.
scratch_directory() {
    mkdir -p "$CACHE/tmp"
    mktemp -d "$CACHE/tmp/XXXXXX"
}

# seal DIRECTORY: records the checksum of every file in it, in the directory's SHA256SUMS.
seal() {
    (
        cd "$1" || exit
        find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >.sums.new
        grep -v ' \./\.sums\.new$' .sums.new >SHA256SUMS
        rm .sums.new
    )
}

# sealed DIRECTORY: true when it holds exactly what was sealed.
sealed() {
    [ -s "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --quiet --check SHA256SUMS >/dev/null 2>&1)
}

# publish_directory FROM TO: TO becomes FROM, sealed. Only a directory that we made ourselves is ever replaced.
publish_directory() {
    local from="$1" to="$2"
    if [ -n "$(ls -A "$to" 2>/dev/null)" ] && [ ! -e "$to/SHA256SUMS" ]; then
        die "$to exists and was not made by these scripts: move it away or choose another directory"
    fi
    seal "$from"
    chmod 755 "$from"
    mkdir -p "$(dirname "$to")"
    rm -rf "$to"
    mv -T "$from" "$to"
}

# logged WHAT LINES LOG COMMAND...: runs the command with what it prints appended to the log. If it prints many lines
# (LINES is about how many), every tenth of them is said; if it fails, the last ones are shown and where the rest is.
logged() {
    local what="$1" lines="$2" log="$3"
    shift 3
    if ! "$@" 2>&1 | awk -v log_file="$log" -v what="$(basename "$0"): $what" -v step="$((lines / 10))" '
        { print >>log_file; fflush(log_file) }
        step >= 50 && NR % step == 0 && NR < 10 * step { printf "%s: %d %%\n", what, NR / step * 10; fflush() }
        ' >&2; then
        tail -n 15 "$log" >&2
        die "$what failed: $log has all of it"
    fi
}

# key FILE...: what the cache knows a product by that is made of these.
key() {
    cat "$@" | sha256sum | cut -c 1-16
}
