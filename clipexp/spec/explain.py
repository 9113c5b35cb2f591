"""From pydantic's findings to what a person can act on: the line, what is wrong, and the nearest valid key.

explain(validation_error.errors()[0], tree, RunSpec)
# Problem("run1.yaml:12", "optim.max_lrr is unknown; did you mean max_lr?")
"""

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from clipexp.errors import Problem
from clipexp.spec.shape import Model, all_paths, description_by_key, kinds
from clipexp.spec.yaml_lines import Node


def explain(detail: ErrorDetails, tree: Node, root: Model) -> Problem:
    """One of pydantic's findings about a `root`, at its line."""
    node, parent, path = _find(detail, tree)
    dotted, near_key = ".".join(path).replace(".[", "["), str(node.key_origin)
    match detail["type"]:
        case "extra_forbidden":
            return Problem(near_key, f"{dotted} is unknown{_instead(path, _kind(parent), root)}")
        case "missing":
            return Problem(near_key, f"{dotted} is missing; {_meaning(path, _kind(node), root)}")
        case "union_tag_not_found":
            return Problem(near_key, f"{dotted}.kind is missing; it is {_listed(kinds(root, path))}")
        case "union_tag_invalid":
            node, variants = node.value["kind"], kinds(root, path)
            message = f"{dotted}.kind must be {_listed(variants)}{_given(node)}{_close(node, variants)}"
        case "model_type" | "model_attributes_type":
            message = f"{dotted} must be a mapping{_given(node)}; {_example(path, node, root)}"
        case "inconsistent" if isinstance(node.value, dict):
            return Problem(near_key, f"{dotted} {detail['msg']}")
        case _:
            message = f"{dotted} {_reason(detail, node)}"
    return Problem(str(node.origin), message)


def _reason(detail: ErrorDetails, node: Node) -> str:
    """What is wrong with a plain value, for which neither its place nor its siblings matter."""
    match detail["type"]:
        case "inconsistent":
            return detail["msg"]
        case "too_short":
            return "is empty; name one at least"
        case "dict_type":
            reason, remedy = "must be a mapping", ""
        case "literal_error":
            choices = str(detail["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            reason, remedy = f"must be {_listed(choices)}", _close(node, choices)
        case "string_type" if isinstance(node.value, bool | int | float):
            reason, remedy = "must be a text", "; put it in quotes"
        case "string_pattern_mismatch":
            reason, remedy = "must be letters, digits, '.', '_' and '-', beginning with a letter or digit", ""
        case _:
            told = detail["msg"].replace("Input should be ", "must be ").replace("a valid string", "a text")
            reason, remedy = f"{told[:1].lower()}{told[1:]}", ""
    return f"{reason}{_given(node)}{remedy}"


def _find(detail: ErrorDetails, tree: Node) -> tuple[Node, Node, list[str]]:
    """The node that a finding is about (or, if that is not there, what it is missed in), its parent and its path."""
    location = [str(part) for part in detail["loc"]]
    if key := detail.get("ctx", {}).get("key"):
        location += str(key).split(".")
    node, parent, path = tree, tree, list[str]()
    for part in location:
        if isinstance(node.value, dict) and part in node.value:
            node, parent = node.value[part], node
            path.append(part)
        elif node.items and part.isdigit():
            node, parent = node.items[int(part)], node
            path.append(f"[{part}]")
        elif _kind(node) != part:  # pydantic names the variant in between
            path.append(part)
    return node, parent, path


def _kind(node: Node) -> Any:
    return node.value["kind"].value if isinstance(node.value, dict) and "kind" in node.value else None


def _given(node: Node) -> str:
    match node.value:
        case None:
            return ", but is empty"
        case dict():
            return ", but is a mapping"
        case bool():
            return f", but is {str(node.value).lower()}"
        case _:
            return f", but is {node.value!r}"


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _close(node: Node, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(node.value), choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _instead(path: list[str], kind: Any, root: Model) -> str:
    """What to write for an unknown key: a sibling if one is near, else a key of another section, else what there is."""
    siblings = sorted(description_by_key(root, path[:-1], kind))
    if near := difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6):
        return f"; did you mean {near[0]}?"
    elsewhere = set(all_paths(root)) - {".".join(path)}
    leaves = {dotted.split(".")[-1] for dotted in elsewhere}
    if near := difflib.get_close_matches(path[-1], leaves, n=1, cutoff=0.75):
        matches = [dotted for dotted in elsewhere if dotted.split(".")[-1] == near[0]]
        return f"; did you mean {_listed(sorted(matches, key=lambda dotted: (dotted.count('.'), dotted)))}?"
    of_kind = f" with kind {kind}" if kind else ""
    return f"{of_kind}; valid keys: {', '.join(siblings)}" if siblings else ""


def _meaning(path: list[str], kind: Any, root: Model) -> str:
    description = description_by_key(root, path[:-1], kind).get(path[-1], "")
    return f"{description[:1].lower()}{description[1:]}".rstrip(".") or "add it"


def _example(path: list[str], node: Node, root: Model) -> str:
    """What a mapping at a path may look like."""
    if variants := kinds(root, path):
        return f"write {{kind: {node.value if node.value in variants else variants[0]}}}"
    return f"its keys are {', '.join(sorted(description_by_key(root, path)))}"
