# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests does nginx answer on port 80, by the way in which its port was opened?

All servers run at once, each on its own loopback address, and get the load in turn.
Servers run on the first CPU and the load generator on the last, so that the scheduler
does not influence the result. A second nginx of root (AGAIN) shows the noise. An nginx of
nobody without pybind, on an unprivileged port, shows the cost of not being root.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import support

from bench import world
from bench.figures import AGAIN, Outcome, Promise, Series, paired

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 16
LOADS = {
    "connections kept": [],
    "a connection for each request": ["--header", "Connection: close"],
}
_SECONDS = 1  # of one load
_CONNECTIONS = 16
_ROOT, _PRELOAD, _SUPERVISED = (
    "nginx as root",
    "nginx under pybind",
    "nginx under pybind, supervised",
)
_PLAIN = "nginx as nobody, port 8080"
_SOCAT, _PROXY = "behind socat", "behind nginx as a proxy"
_HOSTS = {
    _ROOT: "127.0.0.1", AGAIN: "127.0.0.2", _PRELOAD: "127.0.0.3", _SUPERVISED: "127.0.0.4",
    _SOCAT: "127.0.0.5", _PROXY: "127.0.0.6", _PLAIN: "127.0.0.7",
}  # fmt: skip
_HIGH_PORT = 8080
_NOISE_MAX = 1.1  # with more noise, a result within the spread says little
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream high {{ server {host}:{high}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen {host}:{port};
        location / {{ {does} }}
    }}
}}
"""
_ANSWERS = 'return 200 "%s";' % ("x" * 1023)
_PROXIES = 'proxy_pass http://high; proxy_http_version 1.1; proxy_set_header Connection "";'


class _Answered(NamedTuple):
    """The result of wrk: requests per second, and two percentiles of the latency in seconds."""

    rate: float
    middle: float
    slow: float


def titles_of(load: str) -> tuple[str, str, str]:
    """Return the titles of a load's series: requests per second, latency's median and 99 %."""
    return f"nginx, {load}", f"latency, {load}: median", f"latency, {load}: 99th percentile"


def run(rounds: int) -> Outcome:
    """Measure; ratios are to the server that root started."""
    world.grant(80)
    # Closed connections in TIME_WAIT would use up the client's ports.
    pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").write_text("0")
    series, promises, notes = [], [], []
    with contextlib.ExitStack() as stack:
        for starter in _starters():
            stack.enter_context(starter)
        for load, options in LOADS.items():
            ways = {way: partial(_load, _url(way), options) for way in _HOSTS}
            found = paired(ways, rounds, _ROOT)
            for title, unit, at in zip(titles_of(load), ("1/s", "s", "s"), range(3)):
                values = {way: [answered[at] for answered in them] for way, them in found.items()}
                series.append(Series(title, unit, _ROOT, values))
            rates = series[-3]
            noise, spread = rates.noise(), rates.spread()
            if noise and noise > _NOISE_MAX:
                notes.append(f"{load}: a noisy machine; smaller differences would not be seen")
            promises.append(
                Promise(f"requests per second, {load}: {_PRELOAD} / as root",
                        rates.ratio(_PRELOAD), at_least=1 / (spread or 1))
            )  # fmt: skip
    return Outcome(series, promises, notes)


def _starters() -> list[contextlib.AbstractContextManager[None]]:
    """Return a context manager for each server, which starts the server when it is entered."""
    nobody = {"uid": support.UID, "gid": support.GID}
    root = {"uid": 0, "gid": 0}
    socat = ["/usr/bin/socat", f"TCP-LISTEN:80,bind={_HOSTS[_SOCAT]},reuseaddr,fork,nodelay",
             f"TCP:{_HOSTS[_SOCAT]}:{_HIGH_PORT},nodelay"]  # fmt: skip
    return [
        _nginx(_HOSTS[_ROOT], root),
        _nginx(_HOSTS[AGAIN], root),
        _nginx(_HOSTS[_PRELOAD], nobody, "preload"),
        _nginx(_HOSTS[_SUPERVISED], nobody, "supervised"),
        _nginx(_HOSTS[_PLAIN], nobody, port=_HIGH_PORT),
        _nginx(_HOSTS[_SOCAT], nobody, port=_HIGH_PORT),
        _running(socat, _HOSTS[_SOCAT], 80, root),
        _nginx(_HOSTS[_PROXY], nobody, port=_HIGH_PORT),
        _nginx(_HOSTS[_PROXY], root, does=_PROXIES),
    ]


def _nginx(
    host: str, ids: dict[str, int], way: str = "", port: int = 80, does: str = _ANSWERS
) -> contextlib.AbstractContextManager[None]:
    folder = support.scratch_dir()
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            user="" if ids["uid"] else "user nobody nogroup;",
            folder=folder,
            host=host,
            port=port,
            high=_HIGH_PORT,
            does=does,
        )  # fmt: skip
    )
    nginx = ["/usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", config]
    argv = [*world.wrapper(way, f"{host}:80"), *map(os.fspath, nginx)]
    return _running(argv, host, port, ids)


@contextlib.contextmanager
def _running(argv: list[str], host: str, port: int, ids: dict[str, int]) -> Iterator[None]:
    argv = [*world.pinned(world.FIRST_CPU), *argv]
    with support.server(argv, ready=lambda: support.answers_http(host, port), **ids):
        yield


def _url(way: str) -> str:
    return f"http://{_HOSTS[way]}:{_HIGH_PORT if way == _PLAIN else 80}/"


def _load(url: str, options: list[str]) -> _Answered:
    """Load one server with wrk."""
    wrk = ["wrk", "--threads", "1", "--connections", str(_CONNECTIONS), "--latency",
           "--duration", f"{_SECONDS}s", *options, url]  # fmt: skip
    command = [*world.pinned(world.LAST_CPU), *wrk]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.M)
    latency = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+[mu]?s)$", text, re.M))
    if not rate or len(latency) != 2 or re.search(r"Non-2xx|Socket errors", text):
        raise ChildProcessError(f"{url}: wrk says\n{text}")
    return _Answered(float(rate.group(1)), _seconds(latency["50"]), _seconds(latency["99"]))


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([mu]?s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]
