# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the last run of each job on each system, and the tables of docs/systems.md."""

import json
import pathlib

from .catalogue import JOBS, SYSTEMS

HERE = pathlib.Path(__file__).resolve().parent
RECORD = HERE / "record.json"
PAGE = HERE.parent.parent / "docs/systems.md"
BEGIN, END = "<!-- tables: make test-systems RECORD=1 -->\n", "<!-- end of the tables -->\n"
SIGNS = {"passed": "yes", "failed": "**no**", "skipped": "-"}
# Why a check of the record fails, and how to repair the fault: {(job, check): words}.
EXPLAINED: "dict[tuple[str, str], str]" = {
    ("life", "After a reboot a SysV script serves"): (
        "systemd has no support for SysV scripts since version 260, and Debian 14 has 262. Use a "
        "unit there (examples/systemd), or another init system"
    )
}


def read(out):
    """Return the results of a job: {"kernel", "release", "python", "checks", "figures"}.

    checks: [{"check": words, "outcome": passed, failed or skipped, "said": reason}]
    figures: [words], which the job measured; the key is missing if there are none
    """
    result = json.loads((out / "about.json").read_text())
    lines = (out / "checks").read_text().splitlines() if (out / "checks").exists() else []
    result["checks"] = [json.loads(line) for line in lines]
    if (out / "figures").exists():
        result["figures"] = (out / "figures").read_text().splitlines()
    return result


def load():
    """Return {system: {job: result}} of the last recorded runs."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def remember(system, job, result):
    """Replace the last result, and write the page again."""
    kept = load()
    # A passed check needs no words; the last lines of a failed one are its reason.
    for check in result["checks"]:
        check["said"] = check["said"][-300:] if check["outcome"] != "passed" else ""
    kept.setdefault(system, {})[job] = result
    RECORD.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(PAGE.read_text(), kept))


def page(text, kept):
    """Return the page's text with its tables replaced by those of `kept`."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + tables(kept) + END + tail


def count(result):
    """Return a cell: "PASSED of JUDGED"."""
    outcomes = [check["outcome"] for check in result["checks"]]
    judged = len(outcomes) - outcomes.count("skipped")
    text = f"{outcomes.count('passed')} of {judged}"
    return f"**{text}**" if "failed" in outcomes else text


def tables(kept):
    """Return the table of systems and jobs, with a table of each job's checks below."""
    systems = [name for name in SYSTEMS if name in kept]
    jobs = [name for name in JOBS if any(name in kept[system] for system in systems)]
    lines = ["", row(["system", "kernel", "Python", "run", *jobs]), row(["---"] * (4 + len(jobs)))]
    for name in systems:
        newest = max(kept[name].values(), key=lambda result: result["date"])
        about = [SYSTEMS[name].words, newest["kernel"], newest["python"], newest["date"]]
        cells = [count(kept[name][job]) if job in kept[name] else "" for job in jobs]
        lines.append(row([*about, *cells]))
    for job in jobs:
        lines += ["", f"### {job}: {JOBS[job].shows}", "", *checks(job, kept, systems)]
    return "\n".join(lines) + "\n\n"


def checks(job, kept, systems):
    """Return the rows of one job's checks, the explanation of each failure, and the figures."""
    ran = [name for name in systems if job in kept[name]]
    outcomes = {
        name: {check["check"]: check for check in kept[name][job]["checks"]} for name in ran
    }
    names = list(dict.fromkeys(check for name in ran for check in outcomes[name]))
    lines = [row(["check", *ran]), row(["---"] * (1 + len(ran)))]
    notes = []
    for check in names:
        found = [outcomes[name].get(check) for name in ran]
        lines.append(row([check, *(SIGNS[one["outcome"]] if one else "" for one in found)]))
        failed = [name for name, one in zip(ran, found) if one and one["outcome"] == "failed"]
        skipped = {one["said"] for one in found if one and one["outcome"] == "skipped"}
        if failed:
            notes.append(f"- {check} ({', '.join(failed)}): {explanation(job, check)}")
        notes += [f"- {check}: {reason.removeprefix('Skipped: ')}." for reason in sorted(skipped)]
    for name in ran:
        notes += [f"- {name}: {words}." for words in kept[name][job].get("figures", ())]
    return [*lines, *([""] if notes else []), *notes]


def explanation(job, check):
    """Return why a check fails and how to repair the fault."""
    return EXPLAINED.get((job, check), "not explained yet.")


def unexplained(kept):
    """Return [(system, job, check)] of the failures without an explanation."""
    return [
        (system, job, check["check"])
        for system, jobs in kept.items()
        for job, result in jobs.items()
        for check in result["checks"]
        if check["outcome"] == "failed" and (job, check["check"]) not in EXPLAINED
    ]


def row(cells):
    """Return a line of a table, with `|` in cells replaced."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
