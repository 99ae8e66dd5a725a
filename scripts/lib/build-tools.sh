# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# How the recipes of build-linux.sh and build-busybox.sh run other people's makefiles, and how they check what
# configuration came out. To be sourced after common.sh.

# shellcheck disable=SC2034  # used by the recipes
CROSS_PREFIX=riscv64-linux-gnu-

# quiet_make ARGUMENTS...: make, with nothing of ours in its environment: `make run XLEN=32` and the like leave
# variables there that these makefiles know too.
quiet_make() {
    env -i PATH="$PATH" HOME="$HOME" LC_ALL=C KCONFIG_NOTIMESTAMP=1 nice make "$@" </dev/null
}

# check_config WANTED CONFIG: every setting of file WANTED must be in CONFIG: an option that depends on others that are
# off, or that is gone from this version, is dropped without a word.
check_config() {
    local lost
    lost="$(grep -xE 'CONFIG_.*|# CONFIG_[A-Za-z0-9_]+ is not set' "$1" | sort -u | comm -23 - <(sort -u "$2"))"
    [ -z "$lost" ] || die "settings that did not take effect: ${lost//$'\n'/, }"
}
