"""Named SQL blocks from a `.sql` file.

A block begins with `-- name: <identifier>`, the next comment line says its one purpose, the rest is the statement. SQL
stays in files that can be pasted into psql and diffed; nothing ever builds it from strings.
"""

import re
from importlib.resources import files

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The statements of `package`'s file by name. A duplicate name or text before the first block is a bug."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    parts = _HEADER.split(text)
    assert not re.sub(r"^--.*$", "", parts[0], flags=re.MULTILINE).strip(), f"{package}/{file}: text before a name"
    names = parts[1::2]
    assert len(names) == len(set(names)), f"{package}/{file}: a name is used twice"
    return dict(zip(names, (body.strip().rstrip(";") for body in parts[2::2]), strict=True))
