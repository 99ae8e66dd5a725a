# SPDX-License-Identifier: MIT
"""The checks of `make check`, one module for each kind; scripts/check runs them."""
