# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervised mode, for programs that do not call the bind of a C library.

start.run() makes the processes. preflight.check() refuses where the mode cannot work.
"""
