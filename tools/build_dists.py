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


def build_dist(source: Path, folder: Path) -> list[Path]:
    """Build an sdist and a wheel of one distribution into a folder of many, and return them."""
    # Without isolation: hatchling is installed next to this script already, and need not be for each package.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / source.name, source]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{source} cannot be built:\n{done.stdout}")
    built = [file.replace(folder / file.name) for file in (folder / source.name).iterdir()]
    (folder / source.name).rmdir()
    return built


def build_dists(folder: Path) -> None:
    """Fill an emptied ``folder`` with an sdist and a wheel of every distribution."""
    packages = tomllib.loads((ROOT / "release.toml").read_text())["packages"]
    shutil.rmtree(folder, ignore_errors=True)
    for package in packages.values():
        build_dist(ROOT / package["path"], folder)
    wheels = {name: next(folder.glob(f"{name.replace('-', '_')}-*.whl")).resolve() for name in packages}
    (folder / "local.txt").write_text("".join(f"{name} @ {wheel.as_uri()}\n" for name, wheel in wheels.items()))


if __name__ == "__main__":
    build_dists(Path(sys.argv[1]))
