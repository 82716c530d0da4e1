"""From the YAML of grammar/ to a Schema: linted, compiled once, kept beside the byte code under the YAML's hash."""

from __future__ import annotations

import os
import pickle
import zlib
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
    texts = _read(source)
    if cache_dir is None:
        return _compile(texts)
    code = {name: (PACKAGE / "schema" / name).read_bytes() for name in SHAPERS}
    compiled = cache_dir / f"grammar-{_digest(texts | code):08x}.pickle"
    try:
        return pickle.loads(compiled.read_bytes())  # type: ignore[no-any-return]  # noqa: S301
    except UNREADABLE:
        result = _compile(texts)
        _keep(compiled, pickle.dumps(result))
        return result


def _read(source: Path) -> dict[str, bytes]:
    files: list[os.DirEntry[str]] = []
    for folder in (source, *(source / name for name in FOLDERS)):
        if not folder.is_dir():
            if folder.name in ("messages", "defaults"):
                continue  # a grammar may do without further shared messages and system objects
            raise SchemaError(f"{folder}: no grammar here")
        files += sorted(os.scandir(folder), key=lambda entry: entry.name)
    texts = {
        os.path.relpath(entry.path, source): Path(entry.path).read_bytes()
        for entry in files
        if entry.name.endswith(".yaml")
    }
    if not texts:
        raise SchemaError(f"{source}: no grammar here")
    return texts


def _digest(texts: dict[str, bytes]) -> int:
    digest = 0
    for name, text in texts.items():
        digest = zlib.crc32(text, zlib.crc32(name.encode(), digest))
    return digest


def _compile(texts: dict[str, bytes]) -> Schema:
    from avish.schema.grammar import compile_grammar

    return compile_grammar(texts)


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
