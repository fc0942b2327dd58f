"""Entry point of the frozen program: ``hermes``, or the script that starts the bundled broker."""

import os
import sys
from pathlib import Path

# PyInstaller's bootloader sets it to the bundle; every child process gets the original instead. What is bundled finds
# its libraries by RPATH (hermes.spec).
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original

# The bundled OpenSSL looks for CA certificates where Debian's package openssl links to them.
# Other systems have one of these files.
CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
if not os.path.exists("/usr/lib/ssl/certs") and (found := next(filter(os.path.exists, CA_FILES), None)):
    os.environ.setdefault("SSL_CERT_FILE", found)

os.environ["PSYCOPG_IMPL"] = "binary"  # never a libpq of the system, whatever is installed there

if sys.argv[1:2] == ["--child-exec"]:
    from hermes.broker import child_exec

    child_exec.main(sys.argv[2:])
else:
    bundle = Path(sys._MEIPASS)  # type: ignore[attr-defined]
    if sys.argv[1:2] == ["serve"] and bundle.parent != Path(sys.executable).resolve().parent:
        # the parent of the one file is the bootloader: without this, Hermes outlives a SIGKILL of it
        from hermes.broker.child_exec import set_parent_death_signal

        set_parent_death_signal(os.getppid())
    try:
        from hermes.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # while the modules are loaded
        sys.exit(130)
