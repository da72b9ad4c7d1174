"""Print what a project needs, a requirement a line, without building it.

Usage: list_requirements.py pyproject.toml [EXTRA...]
An image installs these before the project's own files are copied, so that a change of code leaves
that layer as it is.
"""

import sys
import tomllib
from pathlib import Path

path, *extras = sys.argv[1:]
project = tomllib.loads(Path(path).read_text())["project"]
print(*project["dependencies"], sep="\n")  # noqa: T201
for extra in extras:
    print(*project["optional-dependencies"][extra], sep="\n")  # noqa: T201
