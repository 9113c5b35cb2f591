"""YAML with the line of every key and value, and numbers as people write them.

    parse(Path("experiments/run1.yaml"), problems=[])  # a Node tree

PyYAML follows YAML 1.1, in which `1e-3` is a string; here it is a number. And `2026-01-31` is a text here, no date.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clipexp.errors import Problem, SpecError

MERGE_KEY = "<<"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_DATE_TAG = "tag:yaml.org,2002:timestamp"
_FLOAT = re.compile(
    r"^[-+]?(\d[\d_]*)(\.[\d_]*)?([eE][-+]?\d+)$|^[-+]?[\d_]*\.\d[\d_]*([eE][-+]?\d+)?$|^[-+]?\d[\d_]*\.$"
)


@dataclass(frozen=True)
class Origin:
    """Where a value came from: `run1.yaml:12`, `--set`, a preset, or the default."""

    text: str
    is_file: bool = True

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Node:
    """A value with its place. `value` is a plain scalar or list, or a mapping of keys to nodes.

    `items` are a list's members with their places.
    """

    value: Any
    origin: Origin
    key_origin: Origin
    items: tuple["Node", ...] = ()


def plain(node: Node) -> Any:
    """The value without places, as plain nested data."""
    if isinstance(node.value, dict):
        return {key: plain(member) for key, member in node.value.items()}
    return node.value


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader, with floats such as 1e-3 and without dates."""


# Rebuilt rather than amended in place: the resolvers are shared with every user of PyYAML in the process.
_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] not in (_FLOAT_TAG, _DATE_TAG)]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes a text that `_Loader` would read as a number."""


_Dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))


def dump(content: Any) -> str:
    """Plain nested data as YAML; `parse` reads it back to the same values."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def parse(path: Path, problems: list[Problem]) -> Node:
    """Read a YAML file whose top is a mapping.

    Args:
        path: the file.
        problems: gets what does not keep the rest from being read: keys that stand twice (the last counts) or as `<<`.

    Raises:
        SpecError: the file is missing, no YAML or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise SpecError([Problem(str(path), f"can't be read ({reason}); give the path of a spec file")]) from error
    return parse_text(text, str(path), problems)


def parse_text(text: str, file: str, problems: list[Problem]) -> Node:
    """`parse`, for a text that stands for `file` in messages."""
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise SpecError([Problem(f"{file}:{line}", f"holds a control character, {found.group()!r}; remove it")])
    loader = _Loader(text)
    try:
        tree = loader.get_single_node()
        node = _node(loader, tree, file, problems) if tree else Node({}, Origin(file), Origin(file))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([Problem(f"{file}:{line}", f"is no valid YAML: {_reason(error)}")]) from error
    except RecursionError as error:
        raise SpecError(
            [Problem(file, "is nested without end; does an alias (*x) stand inside its anchor (&x)?")]
        ) from error
    finally:
        loader.dispose()
    if not isinstance(node.value, dict):
        raise SpecError([Problem(f"{file}:1", "a spec is a mapping of keys to values, such as `name: first`")])
    return node


def _reason(error: yaml.MarkedYAMLError) -> str:
    """The parser's words, with where the construct began and a remedy where one is likely."""
    reason = str(error.problem)
    if (
        error.context
        and error.context_mark
        and error.problem_mark
        and error.context_mark.line < error.problem_mark.line
    ):
        reason += f" ({error.context} from line {error.context_mark.line + 1} on)"
    if "mapping values are not allowed" in reason:
        reason += "; put a text that holds a colon and a space in quotes"
    elif "cannot start any token" in reason:
        reason += "; put a text that starts with it in quotes, and indent with spaces, not tabs"
    return reason


def scalar(text: str) -> Any:
    """A value as the command line gives it: `1e-3` a number, `true` a truth value, `[1, 2]` a list."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()


def _node(loader: Any, tree: yaml.Node, file: str, problems: list[Problem], key: Origin | None = None) -> Node:
    origin = Origin(f"{file}:{tree.start_mark.line + 1}")
    if isinstance(tree, yaml.SequenceNode):
        items = tuple(_node(loader, member, file, problems) for member in tree.value)
        return Node([plain(item) for item in items], origin, key or origin, items)
    if not isinstance(tree, yaml.MappingNode):
        return Node(loader.construct_object(tree, deep=True), origin, key or origin)
    members: dict[Hashable, Node] = {}
    for key_tree, value_tree in tree.value:
        # A key's own text: `on` and `1` are no truth value and no number here.
        name = key_tree.value if isinstance(key_tree, yaml.ScalarNode) else str(loader.construct_object(key_tree, True))
        key_origin = Origin(f"{file}:{key_tree.start_mark.line + 1}")
        if name == MERGE_KEY:
            problems.append(
                Problem(str(key_origin), "<< is not known here; put what is shared in a file, and extend it")
            )
            continue
        if name in members:
            problems.append(Problem(str(key_origin), f"{name} stands here again, after {members[name].key_origin}"))
        members[name] = _node(loader, value_tree, file, problems, key_origin)
    return Node(members, origin, key or origin)
