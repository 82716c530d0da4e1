"""From the YAML of grammar/ to a Schema: linted, compiled once, kept beside the byte code until a file changes."""

from __future__ import annotations

import os
import pickle
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from avish.errors import SchemaError
from avish.schema.model import Schema

PACKAGE = Path(__file__).resolve().parent.parent
SHAPERS = ("grammar.py", "commands.py", "tables.py", "place.py", "model.py", "types.py")
"""The code that decides what the compiled form looks like: when it changes, the form is made anew."""
FOR_ALL = 0o644
"""Every user of the machine reads the compiled form that one of them made."""
UNREADABLE = (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, TypeError, ValueError)
"""What a compiled form that is absent, another user's, cut short or foreign raises: it can be made again."""
FOLDERS = ("objects", "commands", "messages", "defaults")


def grammar_dir() -> Path:
    """Where the YAML is: inside the installed package, or beside it in a checkout."""
    inside = PACKAGE / "grammar"
    return inside if inside.is_dir() else PACKAGE.parent / "grammar"


@cache
def schema() -> Schema:
    """The schema of the packaged grammar."""
    return load(grammar_dir(), PACKAGE / "schema" / "__pycache__")


def load(source: Path, cache_dir: Path | None = None) -> Schema:
    """The schema described under ``source``; SchemaError with file and path when it is bad."""
    files = _files(source)
    if cache_dir is None:
        return _compile(source, files)
    compiled = cache_dir / f"grammar-{_stamp([*files, *(PACKAGE / 'schema' / name for name in SHAPERS)]):08x}.pickle"
    try:
        return pickle.loads(compiled.read_bytes())  # type: ignore[no-any-return]  # noqa: S301
    except UNREADABLE:
        result = _compile(source, files)
        _keep(compiled, pickle.dumps(result))
        return result


def _files(source: Path) -> list[os.DirEntry[str]]:
    files: list[os.DirEntry[str]] = []
    for folder in (source, *(source / name for name in FOLDERS)):
        if not folder.is_dir():
            if folder.name in ("messages", "defaults"):
                continue  # a grammar may do without further shared messages and system objects
            raise SchemaError(f"{folder}: no grammar here")
        found = [entry for entry in os.scandir(folder) if entry.name.endswith(".yaml")]
        files += sorted(found, key=lambda entry: entry.name)
    if not files:
        raise SchemaError(f"{source}: no grammar here")
    return files


def _stamp(files: Iterable[os.PathLike[str]]) -> int:
    """A number that is another one when a file is added, taken away or written: reading them all is slower."""
    stamp = 0
    for file in files:
        state = os.stat(file)  # noqa: PTH116  (half of them are no Path)
        stamp = zlib.crc32(f"{os.fspath(file)} {state.st_size} {state.st_mtime_ns}\n".encode(), stamp)
    return stamp


def _compile(source: Path, files: Iterable[os.PathLike[str]]) -> Schema:
    from avish.schema.grammar import compile_grammar

    return compile_grammar({os.path.relpath(file, source): Path(file).read_bytes() for file in files})


def _keep(path: Path, data: bytes) -> None:
    import tempfile  # only needed when the grammar has changed

    try:
        path.parent.mkdir(exist_ok=True)
        for old in path.parent.glob("grammar-*.pickle"):
            old.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
            os.fchmod(file.fileno(), FOR_ALL)
        Path(file.name).replace(path)
    except OSError:
        return  # a read-only installation compiles at each start; it is slower, not wrong
