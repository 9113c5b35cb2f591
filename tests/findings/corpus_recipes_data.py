"""Real runs with a fault in their data: its order, its number, its captions.

for recipe in DATA_RECIPES: print(recipe.name, recipe.text, len(recipe.setups))
"""

from dataclasses import replace

from tests.findings.corpus_recipe import HELD_MODEL, Recipe, each
from tests.findings.corpus_runs import Setup

PERIODICITY = (
    Recipe(
        "sorted by colour, never shuffled",
        "tune",
        "pairs in order of the picture's background, the same each epoch: the loss has the epoch's period",
        each(
            Setup(order="by_colour", shuffle="none", num_pairs=960, steps=240),
            {},
            {"max_lr": 3e-4, "seed": 1},
            {"num_pairs": 1280, "width": 32, "seed": 2},
            {"batch_size": 16, "steps": 400, "log_steps": 3, "max_lr": 5e-4, "seed": 3},
        ),
        ("loss_periodicity",),
    ),
    Recipe(
        "sorted within shards of 800",
        "tune",
        "each shard is sorted by colour and nothing is shuffled: the loss has the shard's period",
        each(
            Setup(order="shards_by_colour:800", shuffle="none", num_pairs=8000, steps=250),
            {},
            {"max_lr": 3e-4, "width": 64, "seed": 1},
            {"batch_size": 20, "steps": 320, "seed": 2},
        ),
        ("loss_periodicity",),
    ),
    Recipe(
        "sorted by caption, never shuffled",
        "held-out",
        "pairs in order of their captions' tokens, the same each epoch",
        each(
            replace(
                HELD_MODEL, order="by_caption", shuffle="none", num_pairs=1500, batch_size=50, steps=180, log_steps=1
            ),
            {},
            {"max_lr": 3e-4, "num_pairs": 1000, "seed": 21},
            {"max_lr": 2e-3, "half_size": True, "patch_px": 12, "steps": 240, "log_steps": 2, "seed": 22},
            {"num_pairs": 2000, "batch_size": 25, "steps": 400, "log_steps": 4, "seed": 23},
            {"num_pairs": 1100, "batch_size": 64, "steps": 150, "seed": 24},
        ),
        ("loss_periodicity",),
    ),
    Recipe(
        "sorted within shards of 640",
        "held-out",
        "sorted shards of ten batches, two epochs",
        each(
            replace(HELD_MODEL, order="shards_by_colour:640", shuffle="none", num_pairs=6400, batch_size=64, steps=200),
            {"log_steps": 1},
            {"log_steps": 1, "max_lr": 4e-4, "seed": 21},
            {"batch_size": 32, "steps": 300, "width": 48, "seed": 22},
        ),
        ("loss_periodicity",),
    ),
    Recipe(
        "drawings in the set's own order, sorted by colour",
        "held-out",
        "few pairs of another source, sorted, repeated many times",
        each(
            Setup(source="openmoji", order="by_colour", shuffle="none", num_pairs=600, batch_size=24, seed=25),
            {"steps": 300, "log_steps": 2},
        ),
        ("loss_periodicity",),
    ),
    Recipe(
        "random order, never shuffled",
        "tune",
        "pairs in a random order that is the same each epoch: harmless but for the memory of what came when",
        each(Setup(shuffle="none", num_pairs=1600, steps=250), {}, {"max_lr": 3e-4, "seed": 1}),
        allowed=("loss_periodicity",),
    ),
    Recipe(
        "random order, never shuffled, larger",
        "held-out",
        "as above with a larger model and set",
        each(
            replace(HELD_MODEL, shuffle="none", num_pairs=2600, batch_size=48, steps=180, log_steps=1), {}, {"seed": 21}
        ),
        allowed=("loss_periodicity",),
    ),
)

FEW_PAIRS = (
    Recipe(
        "few pairs, many epochs",
        "tune",
        "256 to 512 scenes, repeated until they are known by heart",
        each(
            Setup(num_pairs=256, steps=280, log_steps=3),
            {},
            {"num_pairs": 512, "steps": 360, "width": 64},
            {"num_pairs": 384, "max_lr": 3e-3, "num_evals": 20},
            {"batch_size": 64, "steps": 200, "num_val": 1024},
            {"layers": 2, "num_pairs": 320, "decay": "constant"},
            {"num_pairs": 128, "batch_size": 24, "steps": 320, "seed": 4},
        ),
    ),
    Recipe(
        "few drawings",
        "held-out",
        "some 1,000 to 3,000 drawings, whose names say nothing on those that validate",
        each(
            Setup(
                source="openmoji", half_size=False, patch_px=16, width=64, heads=4, batch_size=40, steps=260, seed=30
            ),
            {"log_steps": 2},
            {"num_pairs": 1000, "log_steps": 4, "max_lr": 5e-4},
            {"num_pairs": 2000, "width": 48, "num_evals": 25, "seed": 31},
            {"half_size": True, "patch_px": 12, "max_lr": 2e-3, "seed": 32},
            {"weight_decay": 0.0, "decay": "linear", "num_pairs": 1500, "seed": 33},
        ),
    ),
    Recipe(
        "wrong captions learned by heart",
        "held-out",
        "captions belong to other pictures, and the set is small enough to be learned all the same",
        each(
            replace(HELD_MODEL, damage="wrong_pairs", num_pairs=200, batch_size=50, steps=300, log_steps=3),
            {},
            {"num_pairs": 150, "seed": 21},
        ),
        allowed=("stuck_at_chance",),
    ),
    Recipe(
        "few full-size scenes",
        "held-out",
        "400 to 700 scenes at 48 px over tens of epochs",
        each(
            replace(HELD_MODEL, num_pairs=400, batch_size=40, steps=300, log_steps=3),
            {},
            {"num_pairs": 700, "steps": 400, "log_steps": 5, "seed": 21},
            {"num_pairs": 500, "max_lr": 2.5e-3, "width": 48, "num_evals": 30, "seed": 22},
        ),
    ),
    Recipe(
        "validation on training pairs",
        "tune",
        "few pairs, and the validation is part of them: it looks better than it is, which its curve doesn't say",
        each(Setup(num_pairs=800, leaks=True, steps=240), {}, {"width": 64, "seed": 1}),
    ),
    Recipe(
        "validation on training pairs, larger",
        "held-out",
        "as above with more pairs and a larger model",
        each(
            replace(HELD_MODEL, num_pairs=1500, leaks=True, batch_size=48, steps=180), {}, {"seed": 22, "max_lr": 2e-3}
        ),
    ),
)

WRONG_DATA = (
    Recipe(
        "wrong captions",
        "tune",
        "every picture has another's caption, so that nothing can be learned",
        each(
            Setup(damage="wrong_pairs", steps=160),
            {},
            {"max_lr": 3e-4, "batch_size": 64, "steps": 100},
            {"max_lr": 3e-3, "width": 32, "seed": 1},
        ),
        ("stuck_at_chance",),
        is_hopeless=True,
    ),
    Recipe(
        "black pictures",
        "tune",
        "all pictures are read as black, in training and validation",
        each(
            Setup(damage="black", damage_val=True, steps=140), {}, {"max_lr": 3e-4, "seed": 1}, {"width": 64, "seed": 2}
        ),
        ("stuck_at_chance", "embedding_collapse"),
        ("vanished_gradients",),
        is_hopeless=True,
    ),
    Recipe(
        "one caption for all",
        "held-out",
        "every picture is given the same caption, in training and validation",
        each(
            replace(HELD_MODEL, damage="same_caption", damage_val=True, batch_size=40, steps=120, log_steps=1),
            {},
            {"max_lr": 3e-4, "layers": 2, "seed": 21},
            {"max_lr": 3e-3, "half_size": True, "patch_px": 12, "seed": 22},
        ),
        ("stuck_at_chance", "embedding_collapse"),
        ("vanished_gradients",),
        is_hopeless=True,
    ),
    Recipe(
        "wrong names of drawings",
        "held-out",
        "drawings with each other's names, for less than two epochs",
        each(
            Setup(source="openmoji", damage="wrong_pairs", width=64, batch_size=40, steps=110, log_steps=1, seed=26),
            {},
            {"max_lr": 2e-3, "seed": 27},
        ),
        ("stuck_at_chance",),
        is_hopeless=True,
    ),
    Recipe(
        "wrong captions at full size",
        "held-out",
        "scenes at 48 px with each other's captions, for less than an epoch",
        each(
            replace(HELD_MODEL, damage="wrong_pairs", batch_size=48, steps=130, log_steps=2),
            {},
            {"batch_size": 96, "steps": 80, "log_steps": 1, "seed": 21},
        ),
        ("stuck_at_chance",),
        is_hopeless=True,
    ),
    Recipe(
        "broken stretches of data",
        "tune",
        "five stretches of the set have captions that are shifted by one, so that the loss jumps there",
        each(
            Setup(damage="bad_blocks:5:96", shuffle="none", num_pairs=8000, steps=240, log_steps=1, max_lr=5e-4),
            {},
            {"seed": 1, "max_lr": 1e-3},
            {"seed": 2, "batch_size": 48, "steps": 160, "damage": "bad_blocks:4:144"},
            {"seed": 3, "width": 64, "damage": "bad_blocks:3:128"},
        ),
        ("loss_spikes",),
    ),
    Recipe(
        "broken files",
        "held-out",
        "some few files' captions are shifted by one, at full size and in other batches",
        each(
            replace(HELD_MODEL, damage="bad_blocks:4:128", shuffle="none", num_pairs=10000, batch_size=64, steps=150),
            {"log_steps": 1},
            {"log_steps": 1, "seed": 21, "damage": "bad_blocks:2:192", "max_lr": 6e-4},
            {"log_steps": 2, "seed": 22, "damage": "bad_blocks:6:256", "batch_size": 40, "steps": 240},
            {"log_steps": 1, "seed": 23, "damage": "bad_blocks:3:96", "batch_size": 24, "steps": 380, "width": 48},
            {"log_steps": 1, "seed": 24, "damage": "bad_blocks:3:160", "half_size": True, "patch_px": 8},
        ),
        ("loss_spikes",),
    ),
)

EASY = (
    Recipe(
        "captions that say the colour alone",
        "tune",
        "captions cut to their last words: learned in some tens of steps, and then there is no more to learn",
        each(
            Setup(damage="tail:5", damage_val=True, steps=240, max_lr=2e-3, num_evals=16),
            {},
            {"seed": 1, "width": 64, "max_lr": 1e-3},
            {"seed": 2, "batch_size": 64, "steps": 180},
            {"seed": 3, "steps": 400, "log_steps": 5, "decay": "linear"},
            {"seed": 4, "layers": 2, "num_val": 1024},
        ),
    ),
    Recipe(
        "captions that say little, full size",
        "held-out",
        "captions cut to their last 3 or 4 words, on larger models and longer budgets",
        each(
            replace(HELD_MODEL, damage="tail:4", damage_val=True, batch_size=40, steps=220, log_steps=3, num_evals=14),
            {},
            {"seed": 21, "max_lr": 2e-3, "num_val": 512},
            {"seed": 22, "batch_size": 20, "steps": 400, "log_steps": 6, "damage": "tail:3"},
            {"seed": 23, "width": 32, "heads": 2, "steps": 320},
        ),
    ),
    Recipe(
        "drawings by one syllable",
        "held-out",
        "names of drawings cut to their first token, learned by heart soon",
        each(
            Setup(source="openmoji", damage="coarse:2", damage_val=True, width=64, batch_size=48, steps=220, seed=27),
            {"num_evals": 14},
            {"num_evals": 20, "max_lr": 2e-3, "seed": 28},
        ),
        allowed=("saturated_early",),
    ),
)

DATA_RECIPES = PERIODICITY + FEW_PAIRS + WRONG_DATA + EASY
