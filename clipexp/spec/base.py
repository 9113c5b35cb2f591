"""What all specs are made of: the base class, marks that say how a field counts, and plain views of one.

    class LossSpec(Spec):
        kind: Annotated[Literal["info_nce"], Field(description="Symmetric InfoNCE.")] = "info_nce"

A field marked `Incidental` leaves the result as it is (names, paths, cadences, the device) and stays out of the hash;
one marked `InHashIfSet` is in it where it is given, so that specs that were written before it was there keep theirs.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class _Mark:
    """Says of a field how it counts in a spec's hash; any other counts as it is."""


Incidental = _Mark()  # never: it does not affect the result
InHashIfSet = _Mark()  # but where it is None


def whole(value: Any) -> Any:
    """A whole number written as a float, such as 2e5, as an int; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(whole), Field(gt=0)]  # 200_000 and 2e5 alike


def listed(value: Any) -> Any:
    """A YAML list as a tuple, and one text as a list of one; anything else as it is."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Spec(BaseModel):
    """The base of all specs: frozen, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def refuse(message: str, key: str = "") -> PydanticCustomError:
    """An error about the field at hand, or about `key`, a dotted path below the spec that raises it."""
    return PydanticCustomError("inconsistent", "{message}", {"message": message, "key": key})


def result_fields(spec: Spec) -> dict[str, Any]:
    """What of a spec affects the result, as plain nested data; see `Incidental` and `InHashIfSet`."""
    kept: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if Incidental not in field.metadata and not (value is None and InHashIfSet in field.metadata):
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return result_fields(value)
    return list(value) if isinstance(value, tuple) else value  # a tuple would not equal what JSON gives back


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys: `{"a": {"b": 1}}` -> `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
