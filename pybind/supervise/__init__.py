# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervised mode: for programs that do not call a C library's bind.

Imported only when it is used. start.run() makes the processes; preflight says
where it cannot work.
"""
