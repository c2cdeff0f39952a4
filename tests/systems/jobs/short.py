# SPDX-License-Identifier: GPL-3.0-or-later
"""The shortest job: one page in each mode, a socket handed on, a refusal."""

import world


def test_doctor():
    """`pybindctl doctor` finds nothing broken."""
    world.run("pybindctl", "doctor")


def test_preload():
    """Python's web server, by the preload library."""
    world.serves(world.as_alice(f"pybind --port 80 -- {world.PYTHON}"))


def test_supervised():
    """A static busybox httpd, supervised."""
    world.serves(world.as_alice(f"pybind --port 80 -- {world.BUSYBOX}"))


def test_supervised_by_choice():
    """Python's web server with --mode supervise."""
    world.serves(world.as_alice(f"pybind --mode supervise --port 80 -- {world.PYTHON}"))


def test_nginx():
    """nginx, by the preload library."""
    config = world.WEB.parent / "nginx.conf"
    config.write_text(NGINX)
    world.serves(world.as_alice(f"pybind --port 80 -- /usr/sbin/nginx -c {config}"))


def test_listen():
    """A listening socket, handed on by --listen."""
    world.handed_on()


def test_datagram():
    """A datagram socket on 53/udp."""
    world.datagram()


def test_user_of_root():
    """`pybind --user alice`, by root."""
    world.serves(["pybind", "--user", "alice", "--port", "80", "--", *world.PYTHON.split()])


def test_refused():
    """What was not granted is refused, with the command that grants it."""
    world.refused("pybind --port 81 -- true", "pybindctl grant alice 81")


NGINX = f"""
pid /tmp/nginx.pid; error_log stderr; daemon off; events {{}}
http {{
    access_log off; client_body_temp_path /tmp/nginx1; proxy_temp_path /tmp/nginx2;
    fastcgi_temp_path /tmp/nginx3; uwsgi_temp_path /tmp/nginx4; scgi_temp_path /tmp/nginx5;
    server {{ listen 80; root {world.WEB}; }}
}}
"""
