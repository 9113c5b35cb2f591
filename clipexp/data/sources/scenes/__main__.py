"""Draw docs/scenes.png: some scenes with their full captions.

python -m clipexp.data.sources.scenes docs/scenes.png
"""

import sys
import textwrap

from PIL import Image, ImageDraw, ImageFont

from clipexp.data.sources.scenes import Scenes, draw
from clipexp.data.sources.scenes.captions import captions
from clipexp.spec.sources import ScenesSource

COLUMNS, ROWS = 6, 4
SIZE_PX, GAP_PX, TEXT_PX, LINES = 224, 14, 13, 5
FIRST = 200


def contact_sheet(first: int) -> Image.Image:
    """The scenes from number `first` on, in rows, each above its first caption."""
    source = Scenes(ScenesSource(kind="scenes"), SIZE_PX)
    step, height = SIZE_PX + GAP_PX, SIZE_PX + GAP_PX + LINES * (TEXT_PX + 2)
    sheet = Image.new("RGB", (COLUMNS * step + GAP_PX, ROWS * height + GAP_PX), "#eceef1")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for number in range(COLUMNS * ROWS):
        scene = source.scene(first + number)
        left, top = GAP_PX + number % COLUMNS * step, GAP_PX + number // COLUMNS * height
        sheet.paste(draw(scene, SIZE_PX), (left, top))
        for line_idx, line in enumerate(textwrap.wrap(captions(scene.content)[0], 34)[:LINES]):
            pen.text((left, top + SIZE_PX + 4 + line_idx * (TEXT_PX + 2)), line, fill="#22252b", font=font)
    return sheet


if __name__ == "__main__":
    contact_sheet(FIRST).save(sys.argv[1], optimize=True)
