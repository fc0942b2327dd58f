"""nchan, the publish-subscribe module of nginx, in one worker."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import DATA, Broadcaster, line
from bench.load.swarm import HttpSource
from bench.processes import Child, NotInstalledError, accepts, free_port, running

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
SEARCHED = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin"

# Nothing is kept for latecomers, as in the other contenders: a message lives for those who are there
CONFIGURATION = """\
load_module {module};
daemon off;
master_process on;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /pub {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 100; }}
        location = /ws {{ nchan_subscriber websocket; nchan_channel_id bench; nchan_subscriber_first_message newest; }}
    }}
}}
"""


@contextlib.contextmanager
def nchan() -> Iterator[Broadcaster]:
    """Start nginx, stop it at the end. Raises `NotInstalledError` if it or the module is missing."""
    nginx = shutil.which("nginx", path=SEARCHED)
    if nginx is None or not MODULE.exists():
        raise NotInstalledError("nchan is missing: apt-get install nginx-light libnginx-mod-nchan")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-nchan-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the worker is another user under root
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(module=MODULE, folder=folder, port=port))
        command = [nginx, "-c", str(configuration), "-e", str(folder / "error.log")]
        with running(command, output=folder / "output") as child:
            child.wait_until(lambda: accepts(port), "nginx does not listen")
            yield _broadcaster(child, port)


def _broadcaster(child: Child, port: int) -> Broadcaster:
    return Broadcaster("nchan", child, port, HttpSource(port, "/pub", line(DATA), ("Content-Type: text/plain",)))
