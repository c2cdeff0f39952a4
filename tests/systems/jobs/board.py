# SPDX-License-Identifier: GPL-3.0-or-later
"""On a board of another architecture: pages by Java, Go and nginx, and the time of one bind."""

import re

import pytest
import servers
import world

sources = servers.sources  # a fixture, used here too
# Prints the median time of one bind(2) of port 80, in microseconds.
TIMED = """
import socket, statistics, time
times = []
for _ in range({rounds}):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        begin = time.perf_counter_ns()
        one.bind(("127.0.0.1", 80))
        times.append(time.perf_counter_ns() - begin)
print("median", statistics.median(times) / 1000)
"""
ROUNDS = 100


@pytest.mark.parametrize("server", ["Java", "Caddy (Go)", "nginx", "busybox httpd (static)"])
def test_page(server):
    """A page by {}."""
    page, command = servers.SERVERS[server]
    world.serves(world.as_alice(command), page)


def median(command, user):
    """Run the timed program by a command line of the user's; return its median in microseconds."""
    return float(re.search(r"median ([\d.]+)", world.login(user, command))[1])


def test_time_of_a_bind():
    """One bind by root, by the preload library and by the supervisor."""
    program = world.WEB.parent / "timed.py"
    program.write_text(TIMED.format(rounds=ROUNDS))
    native = median(f"python3 {program}", "root")
    text = f"one bind of port 80 (median of {ROUNDS}): by root {native:.0f} us"
    for mode, words in (("preload", "preload library"), ("supervise", "supervisor")):
        by_pybind = median(f"pybind --mode {mode} --port 80 -- python3 {program}", "alice")
        text += f"; by the {words} {by_pybind:.0f} us, {by_pybind / native:.0f} times that"
    world.figure(text)
