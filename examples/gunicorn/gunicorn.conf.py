# SPDX-License-Identifier: GPL-3.0-or-later
"""gunicorn on port 80 as an ordinary user.

The administrator grants:  sudo pybindctl grant alice 80
The user starts it:        pybind --port 80 -- gunicorn -c gunicorn.conf.py app:app

The master binds, the workers inherit the socket. Under `pybind --listen --port
80/tcp --` or a .socket unit gunicorn takes the socket that it is given, and
`bind` here is not used.
"""

bind = ["0.0.0.0:80"]  # "[::]:80" for IPv6, which takes the IPv4 port too
workers = 2
