# SPDX-License-Identifier: GPL-3.0-or-later
"""--user: which user the option names, and that user's environment."""

import pytest

from pybind.become import environ_of, resolve
from pybind.errors import UsageError
from pybind.model import Account

ACCOUNT = Account("eve", 7, 8, (8, 9), "/home/\udce4", "/bin/sh")


def test_environment():
    """HOME, SHELL, USER, LOGNAME and MAIL of the caller go, duplicates too; other entries stay."""
    environ = (b"HOME=/root", b"A=\xff", b"odd", b"HOME=/x", b"HOMEPAGE=1", b"MAIL=m", b"USERS=2")
    assert environ_of(ACCOUNT, environ) == (
        b"A=\xff", b"odd", b"HOMEPAGE=1", b"USERS=2",
        b"HOME=/home/\xe4", b"SHELL=/bin/sh", b"USER=eve", b"LOGNAME=eve",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["0", "00", "root", "root:nogroup", "0:65534"])
def test_root_is_refused(text):
    """Uid 0 is refused by every name: --user exists to give root's rights away."""
    with pytest.raises(UsageError, match="is root"):
        resolve(text)


@pytest.mark.parametrize(
    "text", ["-1", "+5:5", " 5:5", "5 :5", "0x5:5", "\u0665:5", "1e3:5", "5:-1"]
)
def test_only_digits_are_numbers(text):
    """Only digits are an id. Any other text is a user name, and no user has these names."""
    with pytest.raises(UsageError, match="there is no"):
        resolve(text)


@pytest.mark.parametrize("text", ["4294967295:5", "5:4294967295", "1" * 5000 + ":5"])
def test_ids_that_setresuid_would_leave_alone(text):
    """setresuid(2) reads the largest number as "do not change this id", so it is refused."""
    with pytest.raises(UsageError, match="ids are 0 to 4294967294"):
        resolve(text)
