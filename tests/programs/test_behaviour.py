# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that treat bind, children, signals and memory in their own way.

The C programs check themselves, and exit with 0 if all is well.
"""

import contextlib
import platform
import subprocess

import launching
import pytest
import support
from launching import build, build_library, run_granted, under_pybind

pytestmark = pytest.mark.usefixtures("grant80")

HEAP_GIB = 4


@pytest.fixture(scope="module")
def binds():
    """Return the program that binds in the ways of many programs."""
    return build("binds.c", "-ldl")


@pytest.fixture(scope="module")
def traces():
    """Return the program that looks for what a bind leaves in its process."""
    return build("traces.c")


@contextlib.contextmanager
def link_local():
    """Give an interface the address fe80::1, usable at once; yield its name."""
    ip = launching.need("ip", "iproute2")
    commands = (
        "link add pbtest0 type veth peer name pbtest1",
        "address add fe80::1/64 dev pbtest0 nodad",
        "link set pbtest0 up",
        "link set pbtest1 up",
    )
    try:
        for command in commands:
            subprocess.run([ip, *command.split()], check=True)
        show = [ip, "-6", "address", "show", "dev", "pbtest0", "tentative"]
        support.wait_for(
            lambda: b"fe80::1/" not in subprocess.run(show, stdout=-1, check=True).stdout,
            "fe80::1 to be usable",
        )
        yield "pbtest0"
    finally:
        subprocess.run([ip, "link", "delete", "pbtest0"], check=False)


@pytest.mark.program("traces.c, closed")
@pytest.mark.parametrize("how", ["loop", "closefrom", "close_range"])
@pytest.mark.hostile("R8")
def test_closes_all_descriptors_first(traces, how):
    """A program without any descriptor binds, whatever number its socket has."""
    run_granted(traces, "closed", how)


@pytest.mark.hostile("R7")
@pytest.mark.program("traces.c, forks")
def test_binds_in_a_child(traces):
    """A child of fork, of a double fork and of vfork binds what its parent opened."""
    run_granted(traces, "forks")


@pytest.mark.hostile("R12")
@pytest.mark.program("traces.c, threads")
def test_threads_bind_while_another_waits_for_children(traces):
    """32 threads bind and re-bind; waitpid(-1), waitid and SIGCHLD meet no stray child."""
    run_granted(traces, "threads", timeout=60)


@pytest.mark.program("traces.c, children")
@pytest.mark.parametrize("mode", ["ignored", "blocked", "subreaper"])
@pytest.mark.hostile("R12")
def test_signals_and_orphans_of_a_bind_do_not_show(traces, mode):
    """SIGCHLD ignored or blocked, or the program a subreaper: bind leaves no trace."""
    run_granted(traces, "children", mode)


@pytest.mark.hostile("R12")
@pytest.mark.program("traces.c, children")
def test_sigchld_ignored_by_the_caller(traces):
    """SIGCHLD that a shell ignores for its program does not break bind."""
    run_granted("/bin/sh", "-c", 'trap "" CHLD; exec "$0" children subreaper', traces)


@pytest.mark.hostile("R12")
@pytest.mark.program("traces.c, children")
def test_pid_one_of_a_pid_namespace(traces):
    """A program that is PID 1 binds and is left no orphan."""
    unshare = launching.need("unshare", "util-linux")
    drop = ["setpriv", "--reuid", str(support.UID), "--regid", str(support.GID)]
    drop += ["--clear-groups", "--inh-caps=-all", "/usr/bin/env"]
    inside = [*drop, *under_pybind(traces, "children", "pid1")]
    result = subprocess.run(
        [unshare, "--pid", "--fork", "--mount-proc", *inside],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=support.PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.program("binds.c, heap")
def test_large_heap(binds):
    """A program with 4 GiB in memory binds, and finds them unchanged."""
    run_granted(binds, "heap", HEAP_GIB)


@pytest.mark.program("binds.c, once")
def test_binds_closes_and_binds_again(binds):
    """The same address can be bound, closed and bound 200 times."""
    run_granted(binds, "once", "200")


@pytest.mark.hostile(40)
@pytest.mark.program("binds.c, lengths")
def test_address_lengths(binds):
    """Every length that bind(2) takes is taken, up to sizeof(struct sockaddr_storage)."""
    run_granted(binds, "lengths")


@pytest.mark.hostile(53)
@pytest.mark.program("binds.c, lengths")
def test_link_local_address_with_scope(binds):
    """A link-local address is bound on the interface that its scope id names."""
    with link_local() as interface:
        run_granted(binds, "lengths", interface)


@pytest.mark.program("shells")
@pytest.mark.parametrize(
    "script",
    [
        "$P",
        "exec $P",
        "sh -c 'sh -c $P'",
        "sh -c 'sh -c \"$P; true\"; true'; $P & wait",
        "exec env nohup sh -c 'exec $P'",
        "(cd /usr; $P | cat)",
        "echo $($P)",
    ],
)
@pytest.mark.hostile("R9")
def test_started_by_chains_of_shells(binds, script):
    """However many shells stand between pybind and the program, it is served."""
    result = run_granted("/usr/bin/env", f"P={binds}", "/bin/sh", "-c", script)
    assert set(result.stdout.split()) == {"bound"}


@pytest.mark.program("binds.c, musl")
def test_musl_program():
    """A program that musl's dynamic loader starts is served like glibc's."""
    launching.need(f"/lib/ld-musl-{platform.machine()}.so.1", "musl")
    program = build("binds.c", compiler="musl-gcc", package="musl-tools")
    assert b"ld-musl" in program.read_bytes()
    assert run_granted(program, "once", "50").stdout == "bound\n"
    assert run_granted("/bin/sh", "-c", "$0; true", program).stdout == "bound\n"


@pytest.mark.program("library.c, module")
def test_bind_from_a_loaded_module(binds):
    """A module that the program opens with dlopen(3) binds."""
    assert run_granted(binds, "once", "3", build_library("MODULE")).stdout == "bound\n"


@pytest.mark.program("library.c, wraps bind")
@pytest.mark.parametrize("order", ["before", "after"])
def test_another_preload_library(order):
    """A preload library that wraps bind itself works, before or behind ours."""
    other = build_library("WRAPS")
    code = (
        "import socket; s = socket.socket(); s.bind(('127.80.0.1', 80)); "
        "print(s.getsockname()[1], s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))"
    )
    listed = {"before": f"{other}:$LD_PRELOAD", "after": f"$LD_PRELOAD:{other}"}[order]
    script = f'LD_PRELOAD="{listed}" exec /usr/bin/python3 -c "$0"'
    result = run_granted("/bin/sh", "-c", script, code)
    assert (result.stdout, result.stderr) == ("80 1\n", "other library called\n")


@pytest.mark.program("library.c, wraps bind")
def test_preload_library_of_the_caller():
    """LD_PRELOAD in the caller's environment stays in force."""
    other = build_library("WRAPS")
    code = "import socket; s = socket.socket(); s.bind(('127.80.0.1', 80))"
    program = under_pybind("/usr/bin/python3", "-c", code)
    result = support.run(["/usr/bin/env", f"LD_PRELOAD={other}", *program])
    assert result.returncode == 0, result.stderr
    assert "other library called\n" in result.stderr


@pytest.mark.hostile("R13")
@pytest.mark.program("binds.c, handler")
def test_bind_in_a_signal_handler(binds):
    """A handler that interrupts a bind may bind too, on an alternate stack."""
    run_granted(binds, "handler")


@pytest.mark.program("binds.c, stack")
def test_bind_on_a_small_stack(binds):
    """A thread with a stack of 16 KiB, or the least of the machine, binds."""
    run_granted(binds, "stack")


@pytest.mark.program("traces.c, descriptors")
def test_descriptor_table_stays_as_it_was(traces):
    """A thousand granted and as many refused binds leave no descriptor behind."""
    run_granted(traces, "descriptors", "1000")
