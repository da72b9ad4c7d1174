"""The Ray workers of this test session, found among all processes of the machine."""

import contextlib
import os
from pathlib import Path


def find_workers(title):
    """Ids of the workers that run something of this title; Ray writes it into their command line.

    Only below this process, which started the session's cluster: others may run their own.
    """
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            titles[int(folder.name)] = (folder / "cmdline").read_text()

    def is_own(process):
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return [
        p for p, text in titles.items() if text.startswith("ray::") and title in text and is_own(p)
    ]
