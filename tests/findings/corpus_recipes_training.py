"""Real runs with a fault in how they are trained, or in the machine.

for recipe in TRAINING_RECIPES: print(recipe.name, recipe.text, len(recipe.setups))
"""

from dataclasses import replace

from tests.findings.corpus_recipe import HELD_MODEL, Recipe, each
from tests.findings.corpus_runs import Setup

OPTIMIZER = (
    Recipe(
        "frozen tower",
        "tune",
        "one tower stays as it was drawn",
        each(Setup(), {"frozen": "vision"}, {"frozen": "text"}, {"frozen": "text", "max_lr": 3e-3, "seed": 1}),
    ),
    Recipe(
        "frozen tower, larger",
        "held-out",
        "one tower of a larger model stays as it was drawn",
        each(replace(HELD_MODEL, batch_size=48, steps=150), {"frozen": "vision"}, {"frozen": "text", "seed": 21}),
    ),
    Recipe(
        "huge weight decay",
        "tune",
        "weights shrink by a tenth to a half at each step at the top of the rate",
        each(Setup(steps=180), {"weight_decay": 100.0}, {"weight_decay": 300.0, "seed": 1}, {"weight_decay": 500.0}),
    ),
    Recipe(
        "huge weight decay, deeper",
        "held-out",
        "the same on two layers, in larger batches",
        each(
            replace(HELD_MODEL, layers=2, batch_size=64, steps=110, log_steps=1),
            {"weight_decay": 200.0},
            {"weight_decay": 800.0, "max_lr": 6e-4, "seed": 21},
        ),
    ),
    Recipe(
        "constant rate, tiny batches",
        "tune",
        "a rate that never decays, in batches of 8",
        each(
            Setup(decay="constant", batch_size=8, steps=400, log_steps=4, num_evals=25, max_lr=5e-3),
            {},
            {"max_lr": 1e-2, "seed": 1},
            {"batch_size": 6, "seed": 2},
            {"batch_size": 12, "max_lr": 8e-3, "seed": 3, "width": 32},
            {"max_lr": 7e-3, "seed": 4, "log_steps": 2},
            {"max_lr": 3e-3, "num_pairs": 2000, "batch_size": 4, "seed": 5},
            {"max_lr": 1e-2, "batch_size": 16, "seed": 6, "steps": 300},
        ),
    ),
    Recipe(
        "constant rate, small batches, full size",
        "held-out",
        "a rate that never decays, in batches of 6 to 20, at 48 px",
        each(
            replace(HELD_MODEL, decay="constant", batch_size=10, steps=360, log_steps=3, num_evals=30, num_val=512),
            {"max_lr": 5e-3},
            {"max_lr": 1e-2, "seed": 21},
            {"max_lr": 6e-3, "batch_size": 6, "steps": 450, "seed": 22},
            {"max_lr": 8e-3, "batch_size": 20, "steps": 280, "seed": 23},
            {"max_lr": 7e-3, "width": 32, "heads": 2, "seed": 24, "log_steps": 6},
            {"max_lr": 4e-3, "layers": 2, "seed": 25},
            {"max_lr": 1.2e-2, "batch_size": 16, "seed": 26, "width": 48},
        ),
    ),
)

DIVERGING = (
    Recipe(
        "weight decay past stability",
        "tune",
        "the rate times the decay passes 2 in the warmup, so that steps overshoot 0: weights and gradients explode",
        each(
            Setup(steps=150, warmup_frac=0.3, log_steps=1),
            {"weight_decay": 4000.0},
            {"weight_decay": 3000.0, "seed": 1, "warmup_frac": 0.5},
            {"weight_decay": 2600.0, "seed": 2, "width": 64},
            {"weight_decay": 6000.0, "seed": 3, "batch_size": 64, "steps": 110},
        ),
        expected=("exploding_gradients",),
        allowed=("lr_too_high", "warmup_too_short", "loss_spikes", "noisy_end", "stuck_at_chance"),
    ),
    Recipe(
        "weight decay past stability, unclipped",
        "held-out",
        "the same on a larger model, without clipping, with a linear decay",
        each(
            replace(HELD_MODEL, steps=130, warmup_frac=0.6, log_steps=1, batch_size=40, grad_clip_norm=None),
            {"weight_decay": 5000.0},
            {"weight_decay": 3500.0, "seed": 21, "decay": "linear"},
            {"weight_decay": 2500.0, "seed": 22, "half_size": True, "patch_px": 8},
            {"weight_decay": 8000.0, "seed": 23, "layers": 2, "max_lr": 5e-4},
        ),
        expected=("exploding_gradients",),
        allowed=("lr_too_high", "warmup_too_short", "loss_spikes", "noisy_end", "stuck_at_chance"),
    ),
    Recipe(
        "data that goes bad",
        "tune",
        "from a place on all captions belong to other pictures",
        each(
            Setup(shuffle="none", num_pairs=8000, steps=240),
            {"damage": "bad_from:4000", "max_lr": 4e-3},
            {"damage": "bad_from:5000", "max_lr": 1e-3, "seed": 1},
        ),
        allowed=("exploding_gradients", "loss_spikes", "stuck_at_chance", "vanished_gradients", "lr_too_high"),
    ),
    Recipe(
        "data that goes bad, larger",
        "held-out",
        "the same at full size, later",
        each(
            replace(HELD_MODEL, shuffle="none", num_pairs=9000, batch_size=50, steps=170, log_steps=1),
            {"damage": "bad_from:6000", "max_lr": 3e-3},
            {"damage": "bad_from:5000", "seed": 21},
        ),
        allowed=("exploding_gradients", "loss_spikes", "stuck_at_chance", "vanished_gradients", "lr_too_high"),
    ),
)

SCALE = (
    Recipe(
        "a logit scale that moves too fast",
        "tune",
        "the logit scale has 100 times the rate of the rest, on pairs that are learned by heart",
        each(
            Setup(num_pairs=64, steps=220, num_evals=8, scale_speed=100.0),
            {},
            {"num_pairs": 128, "seed": 1, "scale_speed": 150.0},
            {"num_pairs": 5000, "seed": 2, "scale_speed": 300.0, "max_lr": 2e-3},
        ),
    ),
    Recipe(
        "a logit scale that moves too fast, larger",
        "held-out",
        "the logit scale has 80 to 300 times the rate of the rest, on few pairs or many",
        each(
            replace(HELD_MODEL, batch_size=40, steps=200, log_steps=2, num_evals=12),
            {"scale_speed": 300.0},
            {"scale_speed": 120.0, "num_pairs": 120, "seed": 21},
            {"scale_speed": 80.0, "num_pairs": 80, "max_lr": 2e-3, "seed": 22, "half_size": True, "patch_px": 8},
            {"scale_speed": 250.0, "max_lr": 2e-3, "seed": 23, "batch_size": 64, "steps": 150},
        ),
    ),
    Recipe(
        "wrong captions and a fast logit scale",
        "tune",
        "where nothing can be learned, the best scale is a low one",
        each(
            Setup(damage="wrong_pairs", steps=160, scale_speed=20.0),
            {},
            {"max_lr": 3e-4, "scale_speed": 80.0, "seed": 1},
            {"batch_size": 64, "steps": 110, "seed": 2, "scale_speed": 40.0},
        ),
        ("stuck_at_chance",),
        is_hopeless=True,
    ),
    Recipe(
        "wrong names and a fast logit scale",
        "held-out",
        "drawings with each other's names, or scenes at full size, and a scale that moves fast",
        each(
            replace(HELD_MODEL, damage="wrong_pairs", batch_size=40, steps=130, log_steps=1, scale_speed=30.0),
            {},
            {"seed": 21, "scale_speed": 100.0, "max_lr": 4e-4},
            {"seed": 22, "source": "openmoji", "steps": 90, "scale_speed": 50.0},
        ),
        ("stuck_at_chance",),
        is_hopeless=True,
    ),
)

MACHINE = (
    Recipe(
        "slow reads",
        "tune",
        "each read of the data waits longer than a step computes",
        each(
            Setup(steps=120, log_steps=2, num_evals=8),
            {"wait_s": 0.04},
            {"wait_s": 0.06, "max_lr": 3e-4, "seed": 1},
            {"wait_s": 0.05, "batch_size": 64, "steps": 80, "seed": 2},
            {"wait_s": 0.08, "batch_size": 16, "steps": 100, "log_steps": 1, "seed": 3},
        ),
        ("data_starvation",),
        ("throughput_falling",),
    ),
    Recipe(
        "reads that get slower",
        "held-out",
        "reads begin fast and wait more and more, as from a disk that is filling a cache",
        each(
            replace(HELD_MODEL, batch_size=24, steps=110, log_steps=1, num_evals=8),
            {"wait_grows": 0.0016},
            {"wait_grows": 0.0025, "width": 48, "seed": 21},
        ),
        ("data_starvation", "throughput_falling"),
    ),
    Recipe(
        "slow reads, larger",
        "held-out",
        "reads that wait two to four times as long as a step computes",
        each(
            replace(HELD_MODEL, batch_size=20, steps=100, log_steps=1, num_evals=8),
            {"wait_s": 0.08},
            {"wait_s": 0.06, "half_size": True, "patch_px": 12, "seed": 22},
            {"wait_s": 0.1, "layers": 2, "seed": 23},
        ),
        ("data_starvation",),
        ("throughput_falling",),
    ),
    Recipe(
        "a machine that slows down",
        "tune",
        "steps get longer and longer, up to four times",
        each(
            Setup(steps=150, num_evals=8),
            {"drag": 2.5},
            {"drag": 3.5, "seed": 1},
            {"drag": 3.0, "log_steps": 4, "seed": 2},
        ),
        ("throughput_falling",),
    ),
    Recipe(
        "a larger model on a machine that slows down",
        "held-out",
        "steps get longer and longer, up to five times",
        each(
            replace(HELD_MODEL, batch_size=24, steps=130, log_steps=1, num_evals=8),
            {"drag": 3.0},
            {"drag": 4.0, "half_size": True, "patch_px": 8, "seed": 21},
            {"drag": 2.5, "width": 48, "log_steps": 3, "seed": 22},
        ),
        ("throughput_falling",),
    ),
    Recipe(
        "few pairs to validate on",
        "tune",
        "32 to 64 validation pairs",
        each(Setup(), {"num_val": 32}, {"num_val": 64, "seed": 1}, {"num_val": 48, "max_lr": 2e-3, "seed": 2}),
        ("small_evaluation",),
    ),
    Recipe(
        "few pairs to validate on, larger",
        "held-out",
        "40 to 100 validation pairs",
        each(
            replace(HELD_MODEL, batch_size=40, steps=140, num_evals=14),
            {"num_val": 40},
            {"num_val": 100, "seed": 21},
            {"num_val": 80, "source": "openmoji", "seed": 22},
            {"num_val": 64, "half_size": True, "patch_px": 8, "seed": 23},
        ),
        ("small_evaluation",),
    ),
)

TRAINING_RECIPES = OPTIMIZER + DIVERGING + SCALE + MACHINE
