"""Entry point of the frozen program: ``hermes``, or the script that starts the bundled broker."""

import os
import sys

# PyInstaller's bootloader sets it to the bundle; every child process gets the original instead. What is bundled finds
# its libraries by RPATH (hermes.spec).
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original

if sys.argv[1:2] == ["--child-exec"]:
    from hermes.broker import child_exec

    child_exec.main(sys.argv[2:])
else:
    from hermes.cli.main import main

    sys.exit(main())
