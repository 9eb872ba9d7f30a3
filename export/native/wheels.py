"""Build the wheel of every platform, on one machine of any kind, with the compiler in the package ziglang.

    pip install hatchling ziglang
    python export/native/wheels.py [--out FOLDER] [PLATFORM ...]

Each wheel has the operator library for its platform; without a name, those of all PLATFORMS of build.py are built.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from build import PLATFORMS, WANTED

PROJECT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"of {', '.join(PLATFORMS)}")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="the folder of the wheels")
    arguments = parser.parse_args()
    for unknown in sorted({*arguments.platforms} - PLATFORMS.keys()):
        parser.error(f"no platform is named {unknown}; there are {', '.join(PLATFORMS)}")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(arguments.out.resolve())]
    for platform in arguments.platforms or PLATFORMS:
        done = subprocess.run(command, cwd=PROJECT, env=os.environ | {WANTED: platform}, check=False)
        if done.returncode:
            sys.exit(f"the wheel for {platform} was not built")


if __name__ == "__main__":
    main()
