"""What tox must not take silently.

An environment that does nothing, a key that means nothing, a Python that is missing (or is not seen, though tox runs on
it), a requirement that a later install has replaced.

tox loads this file because it stands beside tox.ini.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tox.plugin import impl
from tox.tox_env.errors import Fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tox.config.sets import ConfigSet
    from tox.session.state import State
    from tox.tox_env.api import ToxEnv


# The Python that runs tox is one that is there, also where it is not on PATH: in a virtual environment, for example. It
# goes last, so that what is on PATH stays what it is.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).resolve().parent)])


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """In CI a missing interpreter is a failure, unless the command line says otherwise (``-s true``)."""
    del core_conf
    if os.environ.get("CI") and state.conf.options.skip_missing_interpreters == "config":
        state.conf.options.skip_missing_interpreters = "false"


@impl
def tox_before_run_commands(tox_env: ToxEnv) -> None:
    """Fail an environment that would be green without having tried anything."""
    if unknown := [*tox_env.core.unused(), *tox_env.conf.unused()]:
        raise Fail(f"tox.ini: tox knows no {', '.join(unknown)}; these keys of [tox] or [testenv] change nothing")
    if not tox_env.conf["commands"]:
        raise Fail(f"tox.ini has no commands for {tox_env.conf.name}; `tox list` shows the environments that exist")


@impl
def tox_after_run_commands(tox_env: ToxEnv) -> None:
    """Fail an environment that has tried other versions than its ``deps`` say."""
    if replaced := list(_replaced(tox_env)):
        raise Fail(f"{tox_env.conf.name} did not try what its deps say: {'; '.join(replaced)}")


def _replaced(tox_env: ToxEnv) -> Iterator[str]:
    site_packages = str(tox_env.env_site_package_dir())  # type: ignore[attr-defined]
    installed = {canonicalize_name(d.name): d.version for d in metadata.distributions(path=[site_packages])}
    for line in tox_env.conf["deps"].lines():
        wanted = Requirement(line)
        version = installed.get(canonicalize_name(wanted.name))
        if (wanted.marker is None or wanted.marker.evaluate()) and (version is None or version not in wanted.specifier):
            yield f"{line}, but {version or 'nothing'} is installed"
