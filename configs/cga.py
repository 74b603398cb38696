"""CGA U-Net (Li et al. 2021, "Category Guided Attention Network for Brain Tumor Segmentation").

Alone, a demonstration on made-up heads: a narrow network, small patches, under five minutes on
two CPU cores. ``:paper`` is the paper's recipe, ``:released`` that of the authors' code:

    python -m brainjax.main --config=configs/cga.py --workdir=runs/cga
    python -m brainjax.main --config=configs/cga.py:paper --workdir=runs/paper \
        --config.data.root=MICCAI_BraTS_2019_Data_Training
"""

import ml_collections


def get_config(variant="demo"):
    """The numbers of one experiment: ``demo``, ``paper`` or ``released``."""
    if variant not in ("demo", "paper", "released"):
        raise ValueError(f"configs/cga.py:{variant} does not exist; use :demo, :paper or :released")
    demo, released = variant == "demo", variant == "released"
    config = ml_collections.ConfigDict()
    config.seed = 1024 if released else 0
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
        accumulate=1,  # micro-batches that a batch goes through the network in: less memory
        foreground_fraction=0.5 if demo else 0.0,  # the paper crops uniformly
        pad_multiple=8 if released else 1,
        workers=0,
        threads=4,
        prefetch_batches=4,
    )
    config.parallel = dict(lift="jit", space=1, shard_parameters=False)
    config.augment = dict(
        flip_probability=0.5, intensity_scale=(0.9, 1.1), intensity_shift=(-0.1, 0.1),
        intensity_per_row=released,
    )  # fmt: skip
    config.model = dict(
        name="cga_unet",
        variant="paper" if variant == "paper" else "released",
        base_width=8 if demo else 16,
        dropout=0.2,
        intra=True,
        inter=True,
        intra_classes=(),  # empty: all; (3,) is Table 4's "Intra (class4)"
        attention_from="image",  # or "features", Figure 5's comparison
        checkpoint_blocks=False,  # recompute activations: less memory, more time
        dtype="float32" if demo else "bfloat16",
    )
    config.objective = dict(
        dice_weight=1.0,
        dice_over="batch",
        cross_entropy_weight=1.0 if demo else 0.0,  # not the paper's: makes short runs converge
        attention_weight=20.0 if released else 1.0,
        inter_weight=1.0 if released else 0.1,  # the paper: to the order of the other two
        inter_form="released" if released else "paper",
        inter_sign=1,  # -1 is Table 4's "Baseline - inter"
        inter_start_epoch=10 if demo else 20,
    )
    config.optimizer = dict(
        algorithm="amsgrad" if released else "adam",
        learning_rate=3e-3 if demo else 1e-3,
        schedule="constant" if variant == "paper" else "polynomial",
        power=0.9,
        warmup_steps=0,
        rate_scaling="none",  # or "linear", "sqrt": with batches.batch_size / reference_batch
        reference_batch=0,
        l2=1e-5,
        clip_norm=12.0 if demo else 0.0,
        average_decay=0.99 if demo else 0.0,
    )
    config.loop = dict(
        steps=200 if demo else 0,
        epochs=0 if demo else (550 if released else 500),
        log_every_steps=20,
        validate_every_steps=100 if demo else 1000,
        save_every_steps=50 if demo else 200,
        patience=0,
        nonfinite_limit=10,
    )
    config.inference = dict(
        mode="sliding_window" if demo else "whole_volume",
        patch_shape=(),  # of the sliding window; empty: that of training
        overlap=0.5, patch_batch=0, sigma=0.125, crop_to_brain=demo, mirror=False, multiple=8,
        small_enhancing_voxels=500 if released else 0,
        largest_component=False, minimum_component_voxels=0,
    )  # fmt: skip
    config.evaluation = dict(
        convention="auto", hd95_method="auto", tolerance_mm=1.0, validation_cases=4, test_root=""
    )
    return config
