"""Ablations of the CGA U-Net: the rows of the paper's Table 4 as changes to configs/cga.py.

    python -m brainjax.main --mode=crossvalidate --config=configs/cga.py:ablation \
        --workdir=runs/ablation
    python -m brainjax.main --mode=crossvalidate --config=configs/cga.py:paper_ablation \
        --workdir=runs/table4 --config.data.root=MICCAI_BraTS_2019_Data_Training

run all eight; ``--variant=baseline --variant=intra`` chooses, ``--mode=train`` takes one split
instead of folds. ``configs/cga.py:ablation_intra_class4`` is one row alone, ``paper_ablation_...``
and ``released_ablation_...`` with those recipes.
"""

import runpy

ROWS = {  # folder name: the paper's name, then intra, inter, and what else differs
    "baseline": ("Baseline", False, False, {}),
    "intra": ("Baseline + Intra", True, False, {}),
    "intra_class1": ("Baseline + Intra (class1)", True, False, {"model.intra_classes": (1,)}),
    "intra_class2": ("Baseline + Intra (class2)", True, False, {"model.intra_classes": (2,)}),
    "intra_class4": ("Baseline + Intra (class4)", True, False, {"model.intra_classes": (3,)}),
    "inter": ("Baseline + Inter", False, True, {}),
    "minus_inter": ("Baseline - Inter", False, True, {"objective.inter_sign": -1}),
    "intra_inter": ("Baseline + Intra + Inter", True, True, {}),
}
# BraTS 2019 training set, five folds; ET, WT, TC. Table 4: means of Dice in per cent and of the
# 100 % Hausdorff distance in mm; Table 5: their standard deviations, which lacks one row.
DICE = {
    "baseline": (74.47, 88.35, 79.75),
    "intra": (78.60, 90.07, 81.66),
    "intra_class1": (77.16, 89.92, 81.17),
    "intra_class2": (77.64, 89.03, 82.30),
    "intra_class4": (77.96, 89.56, 80.91),
    "inter": (78.09, 89.33, 82.54),
    "minus_inter": (73.71, 87.57, 78.21),
    "intra_inter": (79.21, 89.8, 83.46),
}
HD100_MM = {
    "baseline": (29.860, 52.748, 28.481),
    "intra": (18.173, 35.034, 25.300),
    "intra_class1": (23.448, 40.934, 24.253),
    "intra_class2": (22.962, 50.669, 24.042),
    "intra_class4": (24.021, 46.688, 27.859),
    "inter": (18.783, 45.704, 19.938),
    "minus_inter": (35.674, 53.793, 29.140),
    "intra_inter": (17.418, 32.440, 19.833),
}
DICE_SD = {
    "baseline": (30.28, 7.47, 13.68),
    "intra": (29.14, 6.71, 10.41),
    "intra_class1": (26.75, 6.57, 13.56),
    "intra_class2": (28.21, 6.80, 14.87),
    "intra_class4": (28.17, 6.11, 12.70),
    "inter": (29.25, 7.23, 12.81),
    "intra_inter": (27.71, 6.43, 12.11),
}
HD100_SD_MM = {
    "baseline": (23.38, 25.91, 25.48),
    "intra": (21.60, 22.19, 20.16),
    "intra_class1": (17.56, 24.33, 17.80),
    "intra_class2": (21.49, 25.24, 23.69),
    "intra_class4": (16.42, 26.58, 17.75),
    "inter": (20.17, 25.97, 22.26),
    "intra_inter": (16.15, 21.49, 20.23),
}


def get_config(variant="ablation"):
    """All rows, or one alone as ``ablation_<row>``; ``paper_`` or ``released_`` in front."""
    recipe, _, row = variant.partition("ablation")
    row = row.removeprefix("_")
    if row and row not in ROWS:
        raise ValueError(
            f"{variant} does not exist; after ablation_ comes one of {', '.join(ROWS)}"
        )
    base = runpy.run_path(__file__.replace("_ablations.py", ".py"))["get_config"]
    config = base(recipe.removesuffix("_") or "demo")
    if row:
        config.update_from_flattened_dict(changes(row))
        return config
    config.variants = tuple((name, tuple(changes(name).items())) for name in ROWS)
    config.published = tuple((name, ROWS[name][0], printed(name)) for name in ROWS)
    return config


def changes(row):
    """What a row changes, dotted names to values."""
    _, intra, inter, more = ROWS[row]
    return {"model.intra": intra, "model.inter": inter, **more}


def printed(row):
    """The paper's figures of a row as (name, ET, WT, TC)."""
    tables = {"dice": DICE, "dice_sd": DICE_SD, "hd100_mm": HD100_MM, "hd100_mm_sd": HD100_SD_MM}
    return tuple((name, *table[row]) for name, table in tables.items() if row in table)
