"""Becomes an nginx with Nchan: one worker, in the foreground, with its files in the current directory.

All streams are subscribers of one channel, and what is published there is a broadcast: the best case of Nchan.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

# Where Debian has them; a user's PATH may lack the first.
_SYSTEM_PATH = "/usr/sbin:/sbin"
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_BACKLOG = 4096
# As root, nginx would drop to a user that can't reach the directory; otherwise it ignores `user`.
_CONFIGURATION = """
load_module {module};
user root;
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address} backlog={backlog};
        location = /stream {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
        location = /broadcast {{
            nchan_publisher http;
            nchan_channel_id bench;
            nchan_message_buffer_length 100;
        }}
        location = /health/ready {{ return 200; }}
    }}
}}
"""


def nginx() -> str | None:
    """The path of nginx, or None where it or Debian's Nchan module is missing."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}") if _MODULE.exists() else None


def version() -> str:
    """The versions of Debian's packages."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ", "nginx", "libnginx-mod-nchan"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip().replace(" lib", ", lib")


def _become(program: str) -> None:
    directory = Path.cwd()
    # nginx takes over a socket that listens already, as it does in an upgrade of itself, so no port can be lost to
    # another process between its choice and its use.
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                module=_MODULE,
                directory=directory,
                address=address,
                backlog=_BACKLOG,
                files=os.sysconf("SC_OPEN_MAX"),
            )
        )
        listener.set_inheritable(True)
        print(f"listening on http://{address}", flush=True)
        environment = os.environ | {"NGINX": f"{listener.fileno()};"}
        command = [program, "-p", str(directory), "-c", str(configuration)]
        os.execve(program, command, environment)  # noqa: S606 - the process that is measured is nginx itself


if __name__ == "__main__":
    found = nginx()
    if found is None:
        raise SystemExit("nginx with Nchan is not installed")
    _become(found)
