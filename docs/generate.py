"""The reference manual, docs/reference/, out of the grammar.

``docs/generate.py`` writes it; with ``--check`` it changes nothing, names the stale files and exits 1 if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from avish.schema.load import schema
from avish.schema.model import Field, Message, ObjectType, Schema
from avish.schema.types import Bool, Enum, Ref, Text, Type

REFERENCE = Path(__file__).resolve().parent / "reference"
APPLIED = {"dataplane": "yes", "stored": "no"}
_VERBS = (("configure ", "debug "), "show ", "delete ")
NOTE = "<!-- Written by docs/generate.py from grammar/. Do not edit. -->"


def pages(grammar: Schema) -> dict[str, str]:
    """The text of every page, by file name."""
    made = {f"{item.name}.md": "\n".join(object_page(item, grammar)) + "\n" for item in grammar.objects()}
    made["index.md"] = "\n".join(index_page(grammar)) + "\n"
    made["commands.md"] = "\n".join(commands_page(grammar)) + "\n"
    return made


def index_page(grammar: Schema) -> Iterator[str]:
    """The list of object types, and how their pages are read."""
    yield from [NOTE, "# Reference", "", "[Commands and the words of the shell](commands.md).", ""]
    yield from ["## Object types", "", "| Type | What it is |", "|---|---|"]
    for name, (verb, word, text) in sorted(grammar.index.items()):
        yield f"| [{_typed(verb, word)}]({name}.md) | {_cell(text)} |"
    yield from [
        "",
        "## How to read a page",
        "",
        "Each mode of the shell has a section and a table. The heading is what the prompt shows in that mode.",
        "",
        "- **Type**: what may be typed. *list*: the field may be given several times.",
        "- **Default**: what a new object holds when the field is not given. *required*: it must be given.",
        "  *filled in*: the controller chooses a value when none is given. *read only*: it cannot be set.",
        "- **Acts**: *yes* when the field changes how packets are forwarded in this release.",
        "  *no* when it is kept and shown only.",
    ]


def object_page(item: ObjectType, grammar: Schema) -> Iterator[str]:
    """The page of one object type: what it is, then a table for each of its modes."""
    verb, word, _ = grammar.index[item.name]
    typed = _typed(verb, word)
    yield from [NOTE, f"# {typed}", "", f"{item.help}.", ""]
    edits, shows, deletes = ([c for c in _commands(item) if c.startswith(v)] for v in _VERBS)
    yield from (
        f"- {what}: {', '.join(f'`{c}`' for c in found)}."
        for what, found in (("Edit", edits), ("Show", shows))
        if found
    )
    if deletes:
        yield f"- Delete: `{deletes[0]}`."
    elif item.names:
        yield f"- There is one for every [{item.names}]({item.names}.md), under the same name. It cannot be deleted."
    elif item.singleton:
        yield "- There is always exactly one, without a name. It cannot be deleted."
    else:
        yield "- It cannot be deleted."
    yield f"- REST: `/api/{item.name}`. Type name in messages: {item.title}. Belongs to: {item.scope}."
    yield from _modes(item, item.name, acts=True)


def _modes(message: Message, path: str, *, acts: bool) -> Iterator[str]:
    """The table of a message, then those of the messages inside it; ``acts``: the message itself is acted on."""
    yield from ["", f"## {path}", "", "| Field | Type | Default | Acts | What it does |", "|---|---|---|---|---|"]
    for field in message.fields.values():
        applied = APPLIED[field.applied if acts else "stored"]
        yield f"| `{field.name}` | {_type(field)} | {_default(field)} | {applied} | {_help(field)} |"
    for field in message.fields.values():
        if field.message is not None:
            yield from _modes(field.message, f"{path}:{field.name}", acts=acts and field.applied == "dataplane")


def _type(field: Field) -> str:
    text = _message(field) if field.message is not None else _leaf(field.leaf)
    if not field.list:
        return text
    limits = [f"at least {field.min_items}"] if field.min_items else []
    limits += [f"at most {field.max_items}"] if field.max_items else []
    return f"{', '.join(['list', *limits])}: {text}"


def _message(field: Field) -> str:
    key = field.nested.key
    return f"mode, one per {' and '.join(f'`{name}`' for name in key)}" if field.list and key else "mode"


def _leaf(leaf: Type) -> str:
    if isinstance(leaf, Enum):
        return "one of " + ", ".join(f"`{word}`" for word in leaf.words())
    if isinstance(leaf, Ref):
        return f"name of a {leaf.to}, not looked up" if leaf.loose else f"name of a [{leaf.to}]({leaf.to}.md)"
    if isinstance(leaf, Bool):
        return "True or False"
    if type(leaf) is Text:
        return "text"
    return _cell(leaf.describe())


def _default(field: Field) -> str:
    if field.read_only:
        return "*read only*"
    if field.default is not None:
        values = field.default if field.list else [field.default]
        return ", ".join(f"`{_shown(field, value)}`" for value in values)
    if field.auto:
        return "*filled in*"
    return "*required*" if field.required else ""


def _shown(field: Field, value: object) -> str:
    text = field.leaf.format(value)
    return text.lower() if isinstance(field.leaf, Enum) else text


def _help(field: Field) -> str:
    text = _cell(field.help)
    return f"{text}. Deprecated since {field.deprecated}" if field.deprecated else text


def commands_page(grammar: Schema) -> Iterator[str]:
    """Every command, and the words of the shell."""
    yield from [NOTE, "# Commands", "", "## Words of the shell", "", "| Word | What it does |", "|---|---|"]
    yield from (f"| `{word}` | {_cell(text)} |" for word, text in sorted(grammar.words.items()))
    yield from ["", "## For every object type", "", "| Command | What it does |", "|---|---|"]
    for item in sorted(grammar.objects(), key=lambda item: item.name):
        verbs = "<br>".join(f"`{one}`" for one in _commands(item))
        yield f"| {verbs} | [{_cell(item.help)}]({item.name}.md) |"
    yield from ["", "## What the engines are doing", "", "| Command | What it shows |", "|---|---|"]
    yield from (f"| `{' '.join(one.path)}` | {_cell(one.help)} |" for one in grammar.commands)


def _commands(item: ObjectType) -> list[str]:
    """The commands of an object type, as a person reads them."""
    return [path.replace(f"<{item.word}>", "NAME") for path, _ in item.commands]


def _typed(verb: str, word: str) -> str:
    return f"debug {word}" if verb == "debug" else word


def _cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def stale(made: dict[str, str], folder: Path) -> list[str]:
    """Names of files under ``folder`` that differ from ``made``, are missing there, or should not be there."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def write(made: dict[str, str], folder: Path) -> list[str]:
    """Bring ``folder`` up to date; the names of the files that changed."""
    folder.mkdir(exist_ok=True)
    changed = stale(made, folder)
    for name in changed:
        if name in made:
            (folder / name).write_text(made[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: docs/generate.py [--check]", file=sys.stderr)
        return 2
    made = pages(schema())
    if not arguments:
        print(f"docs/reference: {len(write(made, REFERENCE))} of {len(made)} pages written")
        return 0
    old = stale(made, REFERENCE)
    for name in old:
        print(f"docs/reference/{name} is stale; run: python docs/generate.py", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
