"""What is said of a scene.

    captions(content)[0]  # two small red cats to the left of a dog, on a blue background

All captions of a scene are true of it. The first one says everything, and no two contents share it.
"""

from collections.abc import Sequence

from clipexp.data.sources.scenes.content import Content


def captions(content: Content) -> tuple[str, ...]:
    """Five captions: all, all in another order, the places alone, no places, and only what and how many."""
    layout, on = content.layout, content.background.words
    phrases = [group.phrase() for group in content.groups]
    bare = [thing.phrase(num) for thing, num in content.num_by_thing().items()]
    turned = layout.turned.format(*phrases)
    return (
        f"{layout.full.format(*phrases)}, {on}",
        f"{on}, {turned}",
        layout.listed.format(*phrases),
        f"{joined(phrases)} {on}",
        joined(bare),
    )


def joined(phrases: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(part for part in (", ".join(phrases[:-1]), phrases[-1]) if part)
