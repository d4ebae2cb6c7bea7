"""Build every distribution that release.toml lists: the sdist from the tree, the wheel from that sdist.

Usage: python tools/build_dists.py FOLDER

FOLDER also gets ``local.txt``, which tells pip and uv (``--constraint``) to take these wheels and no others.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build_dists(folder: Path) -> None:
    """Fill an emptied ``folder`` with an sdist and a wheel of every distribution."""
    packages = tomllib.loads((ROOT / "release.toml").read_text())["packages"]
    shutil.rmtree(folder, ignore_errors=True)
    for package in packages.values():
        # Without isolation: hatchling is installed next to this script already, and need not be for each package.
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT / package["path"]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            sys.exit(f"{package['path']} cannot be built:\n{done.stdout}")
    wheels = {name: next(folder.glob(f"{name.replace('-', '_')}-*.whl")).resolve() for name in packages}
    (folder / "local.txt").write_text("".join(f"{name} @ {wheel.as_uri()}\n" for name, wheel in wheels.items()))


if __name__ == "__main__":
    build_dists(Path(sys.argv[1]))
