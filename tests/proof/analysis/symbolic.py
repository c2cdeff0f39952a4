# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs parts of the rule parser on symbols instead of values: symbolic.py BINARY.

angr follows every path of the machine code of agree.c with unknown rules and questions,
and asks a solver whether the helper and plain arithmetic can disagree. So the result
holds for all values. Prints one line of JSON, and exits 1 if an answer is not "never".
"""

import json
import logging
import pathlib
import sys

import angr
import claripy

logging.getLogger("angr").setLevel(logging.ERROR)
logging.getLogger("cle").setLevel(logging.ERROR)

AF_INET, AF_INET6 = 2, 10
RULE, QUESTION, TEXT = 0x10000000, 0x10001000, 0x10002000
RULE_SIZE, QUESTION_SIZE = 48, 28  # struct rule, struct question
TCP, UDP = 44, 45  # offsets in struct rule
LINES = (
    "any,80", "any,0-1023/udp", "10.0.0.1,80", "0.0.0.0/0,80", "10.0.0.0/8,80-90/tcp",
    "10.0.0.0/9:80,90", "10.1.2.3-10.1.4.0,1-65535", "255.255.255.255/32,65535", "::/0,443",
    "::1,22", "2001:db8::/32,80", "fe80::-fe80::ffff,53/udp", "::ffff:1.2.3.4,80",
    "2001:db8::1.2.3.4/128, 80 # x", "# any,80", "", " \t", "any,80,", "10.0.0.1/8,80",
    "10.0.0.2-10.0.0.1,80", "any,65536", "any,90-80", "any,080", "1.2.3,80", "any,80/sctp",
)  # fmt: skip


class Compare(angr.SimProcedure):
    """memcmp(3) of the C standard as one formula, instead of a path for each byte."""

    def run(self, left, right, size):
        """Return -1, 0 or 1."""
        count = self.state.solver.eval_one(size)
        one, other = (self.state.memory.load(address, count) for address in (left, right))
        sign = claripy.If(claripy.ULT(one, other), claripy.BVV(-1, 32), claripy.BVV(1, 32))
        return claripy.If(one == other, claripy.BVV(0, 32), sign)


class Machine:
    """The program, whose functions are called with unknown memory."""

    def __init__(self, path):
        self.project = angr.Project(path, auto_load_libs=False)
        self.project.hook_symbol("memcmp", Compare())
        self.paths = 0

    def never(self, name, arguments, memory, assume):
        """Tell whether function NAME returns 0 on every path; memory: {address: value}."""
        function = self.project.loader.find_symbol(name).rebased_addr
        options = {angr.options.ZERO_FILL_UNCONSTRAINED_REGISTERS}
        state = self.project.factory.call_state(function, *arguments, add_options=options)
        for address, value in memory.items():
            state.memory.store(address, value)
        for constraint in assume(state):
            state.solver.add(constraint)
        manager = self.project.factory.simulation_manager(state)
        manager.run()
        assert not manager.errored, manager.errored
        # Every path must come to its end: angr gave up none.
        assert [stash for stash, states in manager.stashes.items() if states] == ["deadended"], name
        self.paths += len(manager.deadended)
        result = [s.solver.satisfiable([s.regs.eax != 0]) for s in manager.deadended]
        return not any(result)


def number(state, address):
    """Return an int of the program's memory."""
    return state.memory.load(address, 4, endness="Iend_LE")


def questions(state):
    """Return the constraints on a question: its family, a port from 1 on, a truth value."""
    family, port = number(state, QUESTION), number(state, QUESTION + 20)
    udp = state.memory.load(QUESTION + 24, 1)
    return [
        claripy.Or(family == AF_INET, family == AF_INET6),
        port >= 1, claripy.ULE(port, 65535), claripy.ULE(udp, 1),
    ]  # fmt: skip


def rules(state):
    """Return the constraints on a rule and its question."""
    family = number(state, RULE)
    flags = [state.memory.load(RULE + at, 1) for at in (TCP, UDP)]
    return [
        *questions(state),
        claripy.Or(family == 0, family == AF_INET, family == AF_INET6),
        *(claripy.ULE(flag, 1) for flag in flags),
    ]


def unknown(name, size):
    """Return SIZE unknown bytes."""
    return claripy.BVS(name, 8 * size)


def prefixes():
    """Yield (family, length) of every possible prefix."""
    for family, width in ((AF_INET, 32), (AF_INET6, 128)):
        for length in range(width + 1):
            yield family, length


def main(path):
    """Ask all questions."""
    machine = Machine(path)
    question = unknown("question", QUESTION_SIZE)
    found = {}
    memory = {RULE: unknown("rule", RULE_SIZE), QUESTION: question}
    found["covers"] = [machine.never("covers_disagrees", (RULE, QUESTION), memory, rules)]
    print("covers", found["covers"], machine.paths, file=sys.stderr, flush=True)
    found["prefix"] = []
    for family, length in prefixes():
        memory = {RULE: unknown("rule", RULE_SIZE), TEXT: str(length).encode() + b"\0"}
        found["prefix"].append(
            machine.never(
                "prefix_disagrees", (TEXT, length, RULE), memory,
                lambda state, family=family: [number(state, RULE) == family],
            )
        )  # fmt: skip
    print("prefix", found["prefix"].count(True), machine.paths, file=sys.stderr, flush=True)
    found["lines"] = []
    for line in LINES:
        memory = {TEXT: line.encode() + b"\n", QUESTION: question}
        arguments = (TEXT, len(line), QUESTION)
        found["lines"].append(machine.never("line_disagrees", arguments, memory, questions))
        print(line, found["lines"][-1], machine.paths, file=sys.stderr, flush=True)
    good = all(all(answers) for answers in found.values())
    counts = {name: len(answers) for name, answers in found.items()}
    print(json.dumps({**counts, "paths": machine.paths, "proved": good}))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
