"""CGA U-Net (Li et al. 2021, "Category Guided Attention Network for Brain Tumor Segmentation").

``configs/cga.py`` alone is a demonstration on made-up heads: a narrow network,
small patches, under five minutes on two CPU cores. ``:paper`` is the paper's
recipe and ``:released`` that of the authors' code, for BraTS:

    python -m brainjax.main --config=configs/cga.py --workdir=runs/cga
    python -m brainjax.main --config=configs/cga.py:paper --workdir=runs/paper \
        --config.data.root=MICCAI_BraTS_2019_Data_Training
"""

import ml_collections


def get_config(variant="demo"):
    """The numbers of one experiment: ``demo``, ``paper`` or ``released``."""
    if variant not in ("demo", "paper", "released"):
        raise ValueError(f"configs/cga.py:{variant} does not exist; use :demo, :paper or :released")
    demo = variant == "demo"
    released = variant == "released"
    config = ml_collections.ConfigDict()
    config.seed = 0 if not released else 1024

    config.data = dict(
        root="",  # a folder of scans; empty in the demo makes phantoms
        records="",  # where prepared records go; empty is WORKDIR/records
        label_convention="auto",
        modalities=("flair", "t1ce", "t1", "t2"),
        needs_root=not demo,
    )
    config.phantom = dict(cases=30, shape=(64, 64, 64), seed=0)
    config.split = dict(folds=5, fold=0, seed=0)
    config.batches = dict(
        patch_shape=(48, 48, 48) if demo else (128, 128, 128),
        batch_size=2 if demo else 8,
        foreground_fraction=0.5 if demo else 0.0,  # the paper crops uniformly
        workers=0,
    )
    config.augment = dict(
        flip_probability=0.5, intensity_scale=(0.9, 1.1), intensity_shift=(-0.1, 0.1)
    )
    config.model = dict(
        name="cga_unet",
        variant="released" if demo or released else "paper",
        base_width=8 if demo else 16,
        intra=True,
        inter=True,
        dtype="float32" if demo else "bfloat16",
    )
    config.objective = dict(
        dice_weight=1.0,
        attention_weight=20.0 if released else 1.0,
        inter_weight=1.0 if released else 0.1,
        inter_form="released" if released else "paper",
        inter_start_epoch=20,
        cross_entropy_weight=1.0 if demo else 0.0,  # not the paper's: makes short runs converge
    )
    config.optimizer = dict(
        algorithm="amsgrad" if released else "adam",
        learning_rate=3e-3 if demo else 1e-3,
        schedule="polynomial",
        power=0.9,
        warmup_steps=0,
        l2=1e-5,
        clip_norm=12.0 if demo else 0.0,
        average_decay=0.99 if demo else 0.0,
    )
    config.loop = dict(
        steps=360 if demo else 0,
        epochs=0 if demo else (550 if released else 500),
        log_every_steps=20,
        validate_every_steps=120 if demo else 1000,
        save_every_steps=60 if demo else 200,
        patience=0,
        nonfinite_limit=10,
    )
    config.inference = dict(
        mode="sliding_window",  # or "whole_volume", as in the paper
        overlap=0.5,
        patch_batch=1,
        mirror=False,
        small_enhancing_voxels=0 if demo else 500,
        largest_component=False,
    )
    config.evaluation = dict(
        convention="auto", hd95_method="auto", tolerance_mm=1.0, validation_cases=4, test_root=""
    )
    return config
