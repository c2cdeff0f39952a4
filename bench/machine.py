# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about the machine that the figures come from."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import subprocess
import time
from typing import Any

import pybind

_PACKAGES = ("authbind", "nginx-common", "socat", "wrk", "libc6", "musl")


def facts() -> dict[str, Any]:
    """Return kernel, processors, memory, load, versions and the date (UTC)."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "cpu": model.group(1) if model else "unknown",
        "virtual": "hypervisor" in cpuinfo,
        "memory_gib": round(memory()["MemTotal"] / 2**30, 1),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": platform.freedesktop_os_release()["PRETTY_NAME"]
        if hasattr(platform, "freedesktop_os_release")
        else "unknown",
        "versions": {
            "pybind": pybind.__version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in _PACKAGES},
        },
    }


def memory() -> dict[str, int]:
    """Return /proc/meminfo, in bytes."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


def _version(package: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout if found.returncode == 0 else "not installed"
