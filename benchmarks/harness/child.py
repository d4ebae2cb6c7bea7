"""The process of one contender: takes the sizes of turns on standard input and answers with figures, line by line."""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from pathlib import Path

from benchmarks.harness.model import Place, Prepare
from benchmarks.harness.processes import unwind_on_sigterm


def main() -> None:
    """Serve turns until the input ends."""
    unwind_on_sigterm()
    module, given = sys.argv[1], json.loads(sys.argv[2])
    # What a contender prints goes to the log, like its errors.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    place = Place(**{**given, "folder": Path(given["folder"])})
    prepare: Prepare = importlib.import_module(f"benchmarks.contenders.{module}").contender
    with prepare(place) as measure:
        answers.write("ready\n")
        for line in sys.stdin:
            answers.write(json.dumps(dict(measure(int(line)))) + "\n")


if __name__ == "__main__":
    main()
