# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws what was measured as SVG files. Needs Debian's python3-matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Callable

import matplotlib as mpl
from matplotlib import ticker

from .figures import AGAIN, quantity
from .parts import bind, decision, kernel, launch, memory, parallel, serving

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    from .figures import Outcome, Series

_LIGHT = {"ink": "#1f2328", "grid": "#d1d9e0", "pybind": "#0969da", "supervised": "#8250df",
          "authbind": "#bc4c00", "kernel": "#1a7f37", "other": "#6e7781"}  # fmt: skip
_DARK = {"ink": "#e6edf3", "grid": "#3d444d", "pybind": "#58a6ff", "supervised": "#bc8cff",
         "authbind": "#f0883e", "kernel": "#3fb950", "other": "#9198a1"}  # fmt: skip
_WIDTH = 7.2  # inches
_MARKERS = {"pybind": "o", "supervised": "s", "authbind": "^", "kernel": "v", "other": "D"}


def draw(part: str, found: Outcome, machine: dict[str, Any], results: pathlib.Path) -> None:
    """Write RESULTS/PART.svg, which suits a light and a dark page."""
    svg = io.StringIO()
    with mpl.rc_context(_style()):
        figure = _DRAWN[part](found)
        figure.text(0.995, 0.005, _caption(machine), ha="right", va="bottom", size=7.5)
        # No date and no random names: the same figures give the same file.
        figure.savefig(svg, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = svg.getvalue().replace("</style>", f"{_dark_rules()}</style>", 1)
    (results / f"{part}.svg").write_text(text)


def _dark_rules() -> str:
    """Return the CSS that repaints a drawing where the reader prefers dark pages.

    matplotlib writes each colour into a style attribute, which only !important overrules. A
    viewer that does not know the media query shows the light colours.
    """
    rules = "\n".join(
        f'[style*="{paint}: {_LIGHT[name]}"] {{{paint}: {_DARK[name]} !important}}'
        for name in _LIGHT
        for paint in ("fill", "stroke")
    )
    return f"\n@media (prefers-color-scheme: dark) {{\n{rules}\n}}\n"


def _style() -> dict[str, Any]:
    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        _LIGHT["ink"],
    )
    return {
        **ink, "grid.color": _LIGHT["grid"], "axes.axisbelow": True, "axes.spines.top": False,
        "axes.spines.right": False, "font.size": 10, "axes.titlesize": 10.5,
        "axes.titlelocation": "left", "legend.frameon": False, "svg.fonttype": "none",
        "svg.hashsalt": "pybind", "savefig.transparent": True, "lines.markersize": 6,
    }  # fmt: skip


def _caption(machine: dict[str, Any]) -> str:
    kind = "virtual CPUs" if machine["virtual"] else "CPUs"
    date = machine["date"].split()[0]
    return f"{machine['kernel'].rsplit(' ', 1)[0]}, {machine['cpus']} {kind}, {date}"


def _kind(way: str) -> str:
    """Return whose colour a way has."""
    for kind in ("supervis", "front"):
        if kind in way:
            return "supervised"
    for kind in ("authbind", "kernel"):
        if kind in way:
            return kind
    return "pybind" if "pybind" in way or "preload" in way else "other"


def _bars(axes: Any, series: Series, names: dict[str, str], factor: float) -> None:
    """Draw a bar for each way from the top down: medians, and the range over the rounds."""
    ways = [way for way in series.values if way != AGAIN and way in names]
    values = [series.median(way) / factor for way in ways]
    low = [value - min(series.values[way]) / factor for value, way in zip(values, ways)]
    high = [max(series.values[way]) / factor - value for value, way in zip(values, ways)]
    places = list(range(len(ways)))
    axes.barh(
        places, values, height=0.62, color=[_LIGHT[_kind(way)] for way in ways],
        xerr=(low, high), error_kw={"ecolor": _LIGHT["ink"], "elinewidth": 1, "capsize": 3},
    )  # fmt: skip
    axes.set_yticks(places, [names[way] for way in ways])
    axes.set_ylim(len(ways) - 0.5, -0.5)  # the first one at the top
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlim(0, max(v + h for v, h in zip(values, high)) * 1.2)
    for place, way, value, more in zip(places, ways, values, high):
        text = quantity(series.median(way), series.unit)
        axes.annotate(text, (value + more, place), (5, 0), textcoords="offset points", va="center")


def _lines(axes: Any, x: Sequence[float], lines: dict[str, tuple[str, list[float]]]) -> None:
    """Draw lines over a logarithmic axis, by label: whose colour it has, and the values."""
    for label, (kind, values) in lines.items():
        axes.plot(x, values, label=label, color=_LIGHT[kind], marker=_MARKERS[kind])
    axes.set_yscale("log")
    axes.grid(axis="both")


def _decades(axis: Any, words: Callable[[float], str]) -> None:
    """Label a logarithmic axis in plain numbers, a short one at 2 and 5 too."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_formatter(ticker.NullFormatter())


def _seconds(value: float) -> str:
    return quantity(value, "s")


def _figure(height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Any, Any]:
    figure, axes = plt.subplots(
        rows, columns, figsize=(_WIDTH, height), constrained_layout=True, **options
    )
    figure.get_layout_engine().set(rect=(0, 0.045, 1, 0.95))
    return figure, axes


def _launch(found: Outcome) -> Any:
    figure, axes = _figure(3.2)
    series = found.find(launch.TITLE)
    _bars(axes, series, {way: way for way in series.values}, 1e-3)
    bare = series.median(series.reference) * 1e3
    for promise, row in zip(found.promises, (4, 5)):
        limit = bare * (promise.at_most or 0)
        axes.plot([limit, limit], [row - 0.42, row + 0.42], color=_LIGHT["ink"], linestyle=":")
    axes.set_title("Launch and end of /bin/true (dotted: promised)")
    axes.set_xlabel("milliseconds")
    return figure


def _bind(found: Outcome) -> Any:
    figure, axes = _figure(3.8)
    main, rest = found.find(bind.MAIN), found.find(bind.REST)
    heaps = [heap for heap in bind.HEAPS_GIB if bind.name_of("preload", heap) in main.values]
    ways = (("authbind", "authbind", main, "authbind"), ("pybind, supervised", "supervised", rest,
            "supervised"), ("pybind, preload", "pybind", main, "preload"),
            ("while pybindd runs", "kernel", rest, "kernel"),
            ("as root, nothing between", "other", rest, "native"))  # fmt: skip
    places = list(range(len(heaps)))
    _lines(axes, places, {
        label: (kind, [series.median(bind.name_of(way, heap)) for heap in heaps])
        for label, kind, series, way in ways
    })  # fmt: skip
    axes.set_xticks(places, [f"{heap} GiB" if heap else "none" for heap in heaps])
    axes.set_xlim(-0.3, len(heaps) - 0.7)
    _decades(axes.yaxis, _seconds)
    axes.set_xlabel("heap of the program, in 4 KiB pages")
    axes.set_ylabel("time, logarithmic")
    axes.set_title("One bind(2) of port 80")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _kernel(found: Outcome) -> Any:
    figure, both = _figure(3.4, 2)
    one, change = found.find(kernel.GRANTED), found.find(kernel.EFFECT)
    ways = (kernel.AUTHBIND, kernel.PRELOAD, kernel.FEW, kernel.NATIVE)
    _bars(both[0], one, {way: way for way in one.values if way in ways}, 1e-6)
    both[0].set_xscale("log")
    both[0].set_xlim(0.1, None)
    both[0].set_title("One bind(2)")
    both[0].set_xlabel("microseconds, logarithmic")
    _bars(both[1], change, {way: way for way in change.values}, 1e-3)
    both[1].set_title("From a change to its effect")
    both[1].set_xlabel("milliseconds, 10,000 files")
    return figure


def _serving(found: Outcome) -> Any:
    figure, rows = _figure(5.6, 2, rows=2, sharey=True)
    for row, at, factor, label in (
        (rows[0], 0, 1e3, "1,000 requests per second"),
        (rows[1], 2, 1e-3, "latency, 99th percentile, ms"),
    ):
        for axes, load in zip(row, serving.LOADS):
            series = found.find(serving.titles_of(load)[at])
            names = {way: way.replace("under pybind,", "under pybind,\n") for way in series.values}
            _bars(axes, series, names, factor)
            axes.set_title(load)
            axes.set_xlabel(label)
    return figure


def _decision(found: Outcome) -> Any:
    figure, both = _figure(3.4, 2, sharey=True)
    wanted = (
        (decision.BY_FILES, decision.FILES, "files", "files in byport/"),
        (decision.BY_LINES, decision.LINES, "lines", "lines of a rule file"),
    )
    for axes, (title, counts, what, label) in zip(both, wanted):
        series = found.find(title)
        _lines(axes, list(counts), {
            helper: (helper, [series.median(decision.name_of(helper, n, what)) for n in counts])
            for helper in ("authbind", "pybind")
        })  # fmt: skip
        axes.set_xscale("log")
        _decades(axes.xaxis, lambda value: f"{value:,.0f}")
        axes.set_xticks(list(counts))
        axes.set_xlabel(f"{label}, logarithmic")
    _decades(both[0].yaxis, _seconds)
    both[0].set_ylabel("time of one helper, logarithmic")
    both[0].set_title("Decision and bind")
    both[1].legend(loc="upper left")
    return figure


def _parallel(found: Outcome) -> Any:
    figure, axes = _figure(3.2)
    series = [found.find(parallel.title_of(count)) for count in parallel.PROCESSES]
    labels = {"preload": "pybind, preload", "supervised": "pybind, supervised",
              "authbind": "authbind"}  # fmt: skip
    _lines(axes, list(parallel.PROCESSES), {
        label: (_kind(label), [one.median(way) for one in series]) for way, label in labels.items()
    })  # fmt: skip
    axes.set_xscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        _decades(axis, lambda value: f"{value:,.0f}")
    axes.set_xlabel("processes that bind at once, logarithmic")
    axes.set_ylabel("binds per second, logarithmic")
    axes.set_title("Processes that bind port 80 at once, each on an address of its own")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _memory(found: Outcome) -> Any:
    figure, axes = _figure(3.0)
    series = found.find(memory.PRIVATE)
    names = {memory.ALONE: "cat alone", memory.PRELOADED: "cat under pybind",
             memory.SUPERVISED: "cat under pybind, supervised", memory.FRONT: "  its front",
             memory.SUPERVISOR: "  its supervisor", memory.AFTER: f"  after {memory.BINDS} binds"}  # fmt: skip
    _bars(axes, series, names, 2**20)
    axes.set_title("Memory that only this process has, while the program runs")
    axes.set_xlabel("MiB, private")
    return figure


_DRAWN: dict[str, Callable[[Outcome], Any]] = {
    "launch": _launch,
    "bind": _bind,
    "kernel": _kernel,
    "serving": _serving,
    "decision": _decision,
    "parallel": _parallel,
    "memory": _memory,
}
