#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Counts visits, in the database of the other capsule.
printf 'Content-Type: text/plain\r\n\r\n'
visits=$(/usr/bin/redis-cli -h 10.1.0.2 -t 5 incr visits 2>&1) || visits="unknown: $visits"
echo "You are visitor $visits."
