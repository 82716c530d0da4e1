"""THE walk of a line over the tree: it runs, completes, helps and highlights; nothing else reads a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from avish.errors import AnswerError, ParseError
from avish.lang import blocks
from avish.lang.lex import Lexed, Token, lex, words
from avish.lang.tail import Tail, split
from avish.lang.tree import Node, Op, Step, Tree, Value
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Secret, shown

SHOWING = frozenset({"list", "show", "run"})
NAMING = frozenset({"arg", "delete", "open", "show"})


@dataclass(slots=True)
class Walk:
    """Where a line led: operations so far, the node reached, the messages whose modes are open, outermost first."""

    ops: list[Op]
    node: Node
    frames: list[Message]
    entered: int
    """How many of ``frames`` were open when the line began."""
    pipes: list[list[str]] = field(default_factory=list)
    form: str = ""
    """"json" or "yaml": the answer is wanted as one document."""
    api_detail: bool = False
    """The REST calls are to be told."""

    def given(self, kind: str) -> dict[str, Any]:
        """The values of the "arg", "option" or "filter" operations, by word."""
        return {op[1].name: op[2] for op in self.ops if op[0] == kind}


def parse(
    tree: Tree, frames: Sequence[Message], line: str, *, abbreviate: bool = False, block: str | None = None
) -> Walk:
    """The operations of a whole line typed where ``frames`` are open; ParseError says where and what was expected.

    ``block``: the lines that followed a line which announces some (``blocks.wanted``).
    """
    plain = words(line)
    if plain is not None and not abbreviate and "--" not in line:
        try:
            walk = _start(tree, frames)
            for word in plain:
                if not _literal(walk, tree, word) and not _valued(walk, tree, word):
                    _climb(walk, tree, word)
            return _finish(walk, tree)
        except _Unfit:
            pass  # told again below, with the place on the line
    try:
        return _by_tokens(tree, frames, line, block, abbreviate=abbreviate)
    except ParseError as error:
        from avish.lang import secrets  # lines that are right do not need it

        secrets.mask(tree, frames, line, error)
        raise


def _by_tokens(tree: Tree, frames: Sequence[Message], line: str, block: str | None, *, abbreviate: bool) -> Walk:
    """The walk of a line that says where each of its words stands."""
    lexed = lex(line)
    if block is not None:
        return _with_block(tree, frames, lexed, block, abbreviate=abbreviate)
    tail = split(lexed)
    flags = next((i for i, token in enumerate(tail.commands) if _is_flag(token)), 0)
    if flags and not frames and _opens(tree, tail.commands[:flags], abbreviate=abbreviate):
        return _tailed(_flagged(tree, tail.commands, flags, line, abbreviate=abbreviate), tail, line)
    return _ended(tree, frames, tail, line, abbreviate=abbreviate)


def _ended(tree: Tree, frames: Sequence[Message], tail: Tail, line: str, *, abbreviate: bool) -> Walk:
    """The walk of a line without blocks and paths."""
    walk = follow(tree, frames, tail.commands, line=line, abbreviate=abbreviate)
    if walk.node.end is None:
        raise _too_short(walk, line)
    return _tailed(_finish(walk, tree), tail, line)


def _tailed(walk: Walk, tail: Tail, line: str) -> Walk:
    """The walk with what stands behind its command; ParseError where that does not go with it."""
    walk.pipes, walk.form, walk.api_detail = tail.pipes, tail.form, tail.api_detail
    shows = any(op[0] in SHOWING for op in walk.ops)
    if (walk.form and not shows) or (walk.pipes and not shows and ("where",) not in walk.ops):
        extra = tail.extra or Token("|", len(line), len(line))
        raise ParseError(f"{extra.text} goes with a show command", line=line, start=extra.start, end=extra.end)
    return walk


def _is_flag(token: Token) -> bool:
    return token.text.startswith("--") and len(token.text) > 2 and not token.quoted


def _with_block(tree: Tree, frames: Sequence[Message], lexed: Lexed, block: str, *, abbreviate: bool) -> Walk:
    """A line and its block: the value of its last field, or a whole object."""
    announced = blocks.announced(lexed.tokens)
    if announced is None:
        raise ParseError("no lines are expected behind this one", line=lexed.line)
    head = tuple(token for token in lexed.tokens if token.start < announced.start)
    if announced.field:
        value = Token(block, announced.start, len(lexed.line), quoted=True)
        return _ended(tree, frames, Tail((*head, value), []), lexed.line, abbreviate=abbreviate)
    if frames:
        text = "an object is given whole at the top only (save or cancel first)"
        raise ParseError(text, line=lexed.line, start=announced.start, end=len(lexed.line))
    tail = split(Lexed(lexed.line, head))
    walk, kind = _opened(tree, tail.commands, lexed.line, abbreviate=abbreviate)
    _tailed(walk, tail, lexed.line)
    if _is_paths(block):
        from avish.lang import flags  # start-up pays for every import

        return _whole(walk, flags.parse_block(kind, block), replace=False)
    from avish.lang import script

    return _whole(walk, script.parse(kind, block), replace=True)


def _is_paths(block: str) -> bool:
    """Whether the lines of an object are paths (``--name p1``), not a document, which ``---`` may begin."""
    said = (line.lstrip() for line in block.split("\n"))
    first = next((line for line in said if line and not line.startswith("#")), "")
    return first.startswith("--") and not first.startswith("---")


def _opens(tree: Tree, head: Sequence[Token], *, abbreviate: bool) -> bool:
    """Whether the words before a path open an object, or lack nothing but its name."""
    try:
        walk = follow(tree, [], head, line="", abbreviate=abbreviate)
    except ParseError:
        return False  # told by whoever reads the whole line
    value = walk.node.value.op if walk.node.value is not None else None
    return any(op is not None and op[0] == "open" for op in (*walk.ops, walk.node.leave, value))


def _flagged(tree: Tree, tokens: Sequence[Token], first: int, line: str, *, abbreviate: bool) -> Walk:
    """``configure pool p1 --servers.1.ip 10.1.1.1``: an object on one line; the ``first`` of the paths."""
    from avish.lang import flags

    walk, kind = _opened(tree, tokens[:first], line, abbreviate=abbreviate)
    return _whole(walk, flags.parse(kind, tokens[first:], line), replace=False)


def _opened(tree: Tree, head: Sequence[Token], line: str, *, abbreviate: bool) -> tuple[Walk, ObjectType]:
    """The walk of a line that opens an object and does nothing else, and the type of the object."""
    walk = follow(tree, [], head, line=line, abbreviate=abbreviate)
    if walk.node.end is None:
        raise _too_short(walk, line)
    _leave(walk, tree)
    if [op[0] for op in walk.ops] != ["open"]:
        raise ParseError("only an object can be given like this: configure pool NAME ...", line=line, end=len(line))
    return walk, tree.schema.object(walk.ops[0][1])


def _whole(walk: Walk, body: dict[str, Any], *, replace: bool) -> Walk:
    walk.ops += [("body", body, replace), ("save",)]
    walk.frames = []
    return walk


def follow(
    tree: Tree, frames: Sequence[Message], tokens: Sequence[Token], *, line: str, abbreviate: bool = False
) -> Walk:
    """The walk over ``tokens`` without ending the line."""
    walk = _start(tree, frames)
    for token in tokens:
        try:
            _step(walk, tree, token, abbreviate=abbreviate)
        except _Unfit as unfit:
            raise unfit.explain(walk, tree, token, line) from None
    return walk


@dataclass(frozen=True, slots=True)
class Stop:
    """A word of a line, the node it was read at, and the value it was read as; ``fits`` False: it fits nowhere."""

    token: Token
    node: Node
    value: Value | None = None
    fits: bool = True


def trail(tree: Tree, frames: Sequence[Message], tokens: Sequence[Token]) -> Iterator[Stop]:
    """The words of a line as it is typed, up to and with the first that fits nowhere."""
    walk = _start(tree, frames)
    for token in tokens:
        node = walk.node
        try:
            value = _step(walk, tree, token, abbreviate=True)
        except _Unfit:
            yield Stop(token, node, fits=False)
            return
        yield Stop(token, node, value)


def masked(line: str, secrets: Sequence[tuple[int, int]]) -> str:
    """``line`` with every secret made unreadable, as long as before."""
    for start, end in secrets:
        line = line[:start] + "*" * (end - start) + line[end:]
    return line


class _Unfit(Exception):  # noqa: N818  (no error yet: the place is still to be found)
    """A word that fits nowhere; ``reason`` of the value type, or "" for an unknown word."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def explain(self, walk: Walk, tree: Tree, token: Token, line: str) -> ParseError:
        if answer := _not_here(walk, tree, token):
            if walk.node is tree.show:
                return AnswerError(answer, start=token.start, end=token.end)
            return ParseError(answer, line=line, start=token.start, end=token.end)
        expected = expectations(walk.node)
        candidates = [] if token.text in tree.root.words else [*offered(walk.node), *_choices(walk.node)]
        text = self.reason or _unknown(walk, tree, token)
        near = _nearest(token.text.lower(), candidates)
        return ParseError(text, line=line, start=token.start, end=token.end, expected=expected, nearest=near)


def _not_here(walk: Walk, tree: Tree, token: Token) -> str:
    """Why a noun of the original is no word here, or not behind this verb; "" for any other word."""
    if token.quoted or walk.node not in tree.nouns:
        return ""
    word = token.text.lower()
    if any(verb == "show" and noun == word for verb, noun, _ in tree.schema.index.values()):
        return f"a {word} is made by the controller itself: it can only be shown (show {word})"
    return tree.schema.outside.get(word, "")


def _nearest(word: str, candidates: Sequence[str]) -> str:
    """The candidate that was probably meant: one that begins like this, else one spelled like this, else none."""
    import difflib  # lines that are right do not need it

    begun = [one for one in candidates if len(word) > 1 and one.startswith(word)]
    return next(iter(begun or difflib.get_close_matches(word, candidates, n=1)), "")


def _unknown(walk: Walk, tree: Tree, token: Token) -> str:
    if token.quoted:
        return f"no text is expected here: {shown(token.text)}"
    for message in reversed(walk.frames):
        item = message.fields.get(token.text)
        if item is not None and item.read_only:
            return f"{token.text} cannot be set: {item.help.lower()}"
    if walk.frames and walk.node is tree.mode(walk.frames[-1]) and token.text in tree.root.words:
        doable = token.text in tree.root.words["do"].node.words
        remedy = f"do {token.text} ..." if doable else "save or cancel first"
        return f"{shown(token.text)} is not possible inside a mode ({remedy})"
    if not walk.node.words and walk.node.value is None and walk.node.fall is None:
        return f"the command ends before {shown(token.text)}"
    if walk.node.fall is not None:
        return f"{shown(token.text)} is neither True nor False, nor a field that could follow"
    return f"unknown {'field' if walk.node.fields else 'word'} {shown(token.text)}"


def name_place(tree: Tree, frames: Sequence[Message], tokens: Sequence[Token]) -> tuple[int, str]:
    """Which of the tokens is where a line names an object, and of which type; (-1, "") when none is."""
    for number in range(1, len(tokens)):
        try:
            value = follow(tree, frames, tokens[:number], line="").node.value
        except ParseError:
            break
        if value is not None and value.names and value.op[0] in NAMING:
            return number, value.names
    return -1, ""


def _start(tree: Tree, frames: Sequence[Message]) -> Walk:
    node = tree.mode(frames[-1]) if frames else tree.root
    return Walk([], node, list(frames), len(frames))


def _step(walk: Walk, tree: Tree, token: Token, *, abbreviate: bool) -> Value | None:
    """Go on with a word; the value it was taken as, None for a keyword. _Unfit when it is neither."""
    if not token.quoted:
        if _literal(walk, tree, token.text):
            return None
        outer = abbreviate and _outer(walk, tree, token.text, negated=walk.node.negates)
        if abbreviate and not outer and (word := _unique(walk.node, token.text)):
            _literal(walk, tree, word)
            return None
    value = walk.node.value
    if _valued(walk, tree, token.text):
        return value
    if token.quoted and not _is_vain(walk.node):
        raise _Unfit
    if abbreviate:
        _not_ambiguous(walk.node, token.text)
    _climb(walk, tree, token.text)
    return None


def _literal(walk: Walk, tree: Tree, word: str) -> bool:
    node = walk.node
    step = node.words.get(word)
    if step is None and node.fall is not None and word in node.fall.words:
        _leave(walk, tree)
        step = node.fall.words[word]
    if step is None:
        return False
    _take(walk, step)
    return True


def _leave(walk: Walk, tree: Tree) -> None:
    """Go on from the node, or end there: what that means."""
    op = walk.node.leave
    if op is not None:
        walk.ops.append(op)
        if op[0] == "open":
            walk.frames = [tree.schema.object(op[1])]


def _take(walk: Walk, step: Step) -> None:
    if step.op is not None:
        walk.ops.append(step.op)
        if step.op[0] == "enter":
            walk.frames.append(step.op[1].message)
    walk.node = step.node


def _valued(walk: Walk, tree: Tree, text: str) -> bool:
    """Take ``text`` as a value, where one may stand; _Unfit with the type's reason when it is none."""
    value = walk.node.value
    if value is None:
        return False
    try:
        parsed = value.type.parse(text)
    except ValueError as error:
        if walk.node.fields and not _looks_like(text):
            return False
        raise _Unfit(_said(value, str(error))) from None
    walk.ops.append((*value.op, parsed))
    if value.op[0] == "open":
        walk.frames = [tree.schema.object(value.op[1])]
    if value.then is not None:
        walk.ops.append(value.then)
        walk.frames.pop()
    walk.node = value.node
    return True


def _looks_like(text: str) -> bool:
    return any(char.isdigit() for char in text)


def _said(value: Value, reason: str) -> str:
    return f"{value.op[1].name}: {reason}" if len(value.op) > 1 and isinstance(value.op[1], Field) else reason


def _climb(walk: Walk, tree: Tree, word: str) -> None:
    """A field of an outer message: the inner ones are saved first."""
    if _is_vain(walk.node):
        return
    node = walk.node.fall or walk.node
    depth = _outer(walk, tree, word, negated=node.negates) if node.fields or node.negates else 0
    if not depth:
        raise _Unfit
    _leave(walk, tree)
    walk.ops.extend([("save",)] * (len(walk.frames) - depth))
    del walk.frames[depth:]
    walk.entered = min(walk.entered, depth)
    _take(walk, _words(tree, walk.frames[-1], negated=node.negates)[word])


def _is_vain(node: Node) -> bool:
    """Whether the command is complete and refused anyway: what else stands on the line does not matter then."""
    op = node.end[-1] if node.end else ("",)
    return op[0] == "run" and bool(op[1].refused)


def _outer(walk: Walk, tree: Tree, word: str, *, negated: bool) -> int:
    """How many frames stay open when the innermost outer message with a field ``word`` is gone back to; 0: none has."""
    for depth in range(len(walk.frames) - 1, 0, -1):
        if word != "no" and word in _words(tree, walk.frames[depth - 1], negated=negated):
            return depth
    return 0


def _words(tree: Tree, message: Message, *, negated: bool) -> dict[str, Step]:
    """The fields of a message, or what may stand behind its ``no``."""
    words = tree.entry(message).words
    return words["no"].node.words if negated else words


def _finish(walk: Walk, tree: Tree) -> Walk:
    """End the line: what ending means here, and the one-field rule."""
    if walk.node.end is None:
        raise _Unfit
    _leave(walk, tree)
    walk.ops.extend(walk.node.end)
    last = walk.ops[-1] if walk.ops else ("",)
    if last[0] == "set" and len(walk.frames) > max(walk.entered, 1) and last[1].name == walk.frames[-1].only_field:
        walk.ops.append(("save",))
        walk.frames.pop()
    return walk


def _unique(node: Node, prefix: str) -> str:
    """The one word that ``prefix`` abbreviates, or ""."""
    found = _abbreviated(node, prefix)
    return found[0] if len(found) == 1 else ""


def _abbreviated(node: Node, prefix: str) -> list[str]:
    """The words that begin with ``prefix``; those that lead nowhere only when there is no other."""
    found = [(word, step.vain) for word, step in offered(node).items() if word.startswith(prefix)]
    return [word for word, vain in found if not vain] or [word for word, _ in found]


def _not_ambiguous(node: Node, prefix: str) -> None:
    found = _abbreviated(node, prefix)
    if len(found) > 1:
        raise _Unfit(f"{shown(prefix)} is ambiguous: {', '.join(found)}")


def _too_short(walk: Walk, line: str) -> ParseError:
    end = len(line.rstrip())
    usage = walk.node.needs.startswith("Usage")
    text = walk.node.needs if usage else f"the line ends too early: {walk.node.needs} is missing"
    return ParseError(text, line=line, start=end, end=end + 1, expected=expectations(walk.node))


def offered(node: Node) -> dict[str, Step]:
    """The words that may come next, those of ``fall`` included, without hidden spellings."""
    fall = node.fall.words if node.fall is not None else {}
    return {word: step for word, step in {**node.words, **fall, **node.words}.items() if not step.hidden}


def _choices(node: Node) -> tuple[str, ...]:
    return node.value.type.words() if node.value is not None else ()


def expectations(node: Node) -> tuple[str, ...]:
    """What may come next, for an error text: words, and what a value looks like."""
    listed = [*_choices(node), *(word for word, step in offered(node).items() if not step.vain)]
    if node.value is not None and not _choices(node):
        listed.insert(0, node.value.type.describe())
    return tuple(listed)


def secret_due(tree: Tree, frames: Sequence[Message], line: str) -> str:
    """The field whose secret value is missing at the end of the line, or ""."""
    try:
        tokens = lex(line).tokens
        node = follow(tree, frames, tokens, line=line).node
    except ParseError:
        return ""
    if node.value is None or node.end is not None or not isinstance(node.value.type, Secret):
        return ""
    return str(node.value.op[1].name)
