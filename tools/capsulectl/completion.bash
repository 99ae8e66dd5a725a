# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completes verbs, capsules' names and files of capsulectl: to be sourced, or put into
# /usr/share/bash-completion/completions/capsulectl.
_capsulectl() {
    local word="${COMP_WORDS[COMP_CWORD]}" verb="${COMP_WORDS[1]}" at=1
    if [ "$verb" = --json ]; then
        verb="${COMP_WORDS[2]:-}"
        at=2
    fi
    if [ "$COMP_CWORD" = "$at" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(capsulectl help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p') help" -- "$word")
        return
    fi
    case "$verb" in
    create | check | run | autostart | serve-disk)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    info | stat | console | log | start | stop | kill | restart | pause | resume | destroy)
        mapfile -t COMPREPLY < <(compgen -W "$(capsulectl --json list 2>/dev/null | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p')" -- "$word")
        ;;
    esac
}
complete -F _capsulectl capsulectl
