"""Tables of an evaluation, for a terminal and for a Markdown file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def as_tables(sections: Sequence[Section]) -> Iterator[Table]:
    """For a terminal."""
    for section in sections:
        table = Table(title=section.title, title_justify="left")
        for number, column in enumerate(section.header):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in section.rows:
            table.add_row(*row)
        yield table


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """For a file; a heading and a table for each section."""
    blocks = []
    for section in sections:
        lines = [
            f"## {section.title}\n",
            _line(section.header),
            _line(["---"] + ["---:"] * (len(section.header) - 1)),
            *(_line(row) for row in section.rows),
        ]
        blocks.append("\n".join(lines))
    return f"# {title}\n\n" + "\n\n".join(blocks) + "\n"


def _line(cells: Sequence[str]) -> str:
    # A category may hold anything; a bar or a line break would end its cell.
    return "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"
