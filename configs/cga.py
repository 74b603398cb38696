"""CGA U-Net (Li et al. 2021, "Category Guided Attention Network for Brain Tumor Segmentation").

Alone, a demonstration on made-up heads: under five minutes on two CPU cores. ``:paper`` is the
paper's recipe, ``:released`` the authors' code's; cga_ablations.py has ``:ablation``, Table 4:

    python -m brainjax.main --config=configs/cga.py --workdir=runs/cga
    python -m brainjax.main --config=configs/cga.py:paper --workdir=runs/p --config.data.root=FOLDER
"""

import runpy

import ml_collections


def get_config(variant="demo"):
    """The numbers of one experiment: ``demo``, ``paper``, ``released`` or an ablation."""
    if "ablation" in variant:
        return runpy.run_path(f"{__file__[:-3]}_ablations.py")["get_config"](variant)
    if variant not in ("demo", "paper", "released"):
        raise ValueError(f"configs/cga.py:{variant} does not exist; use :demo, :paper or :released")
    demo, released = variant == "demo", variant == "released"
    config = ml_collections.ConfigDict()
    config.seed = 1024 if released else 0
    config.data = dict(
        root="",  # a folder of scans; empty in the demo makes phantoms
        records="",  # where prepared records go; empty is WORKDIR/records
        prepare_workers=1, prepare_beam="",  # processes, or a Beam runner's options
        label_convention="auto", modalities=("flair", "t1ce", "t1", "t2"), needs_root=not demo,
    )  # fmt: skip
    config.phantom = dict(cases=30, shape=(64, 64, 64), seed=0)
    config.split = dict(folds=5, fold=0, seed=0)
    config.batches = dict(
        patch_shape=(48, 48, 48) if demo else (128, 128, 128),
        batch_size=2 if demo else 8,
        accumulate=1,  # micro-batches that a batch goes through the network in: less memory
        foreground_fraction=0.5 if demo else 0.0,  # the paper crops uniformly
        pad_multiple=8 if released else 1,
        workers=0, threads=4, prefetch_batches=4,
    )  # fmt: skip
    config.parallel = dict(lift="auto", space=1, shard_parameters=False)
    config.augment = dict(
        flip_probability=0.5, intensity_scale=(0.9, 1.1), intensity_shift=(-0.1, 0.1),
        intensity_per_row=released,
        modality_dropout=0.0,  # not the papers'; 0.25 makes a network that bears missing ones
    )  # fmt: skip
    config.model = dict(
        name="cga_unet",
        variant="paper" if variant == "paper" else "released",
        base_width=8 if demo else 16,
        norm="",  # of the variant; or group, batch, instance
        dropout=0.2, intra=True, inter=True,
        intra_classes=(),  # empty: all; (3,) is Table 4's "Intra (class4)"
        attention_from="image",  # or "features", Figure 5's comparison
        deep_supervision=False,  # heads on coarser levels of the decoder
        checkpoint_blocks=False,  # recompute activations: less memory, more time
        dtype="float32" if demo else "bfloat16",
    )  # fmt: skip
    config.objective = dict(
        target="classes",  # or "regions": WT, TC and ET by sigmoid
        dice_weight=1.0, dice_over="batch",
        cross_entropy_weight=1.0 if demo else 0.0,  # not the paper's: makes short runs converge
        attention_weight=20.0 if released else 1.0,
        inter_weight=1.0 if released else 0.1,  # the paper: to the order of the other two
        inter_form="released" if released else "paper",
        inter_sign=1,  # -1 is Table 4's "Baseline - inter"
        inter_start_epoch=10 if demo else 20,
    )  # fmt: skip
    config.optimizer = dict(
        algorithm="amsgrad" if released else "adam",
        learning_rate=3e-3 if demo else 1e-3,
        schedule="constant" if variant == "paper" else "polynomial",
        power=0.9, warmup_steps=0, l2=1e-5,
        rate_scaling="none", reference_batch=0,  # or "linear", "sqrt" of batch_size / reference
        clip_norm=12.0 if demo else 0.0,
        average_decay=0.99 if demo else 0.0,
    )  # fmt: skip
    config.loop = dict(
        steps=200 if demo else 0,
        epochs=0 if demo else (550 if released else 500),
        log_every_steps=20,
        validate_every_steps=100 if demo else 1000,
        save_every_steps=50 if demo else 200,
        patience=0, nonfinite_limit=10,
    )  # fmt: skip
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
    config.explain = dict(
        methods=(), cases=(), count=8, pictures=4, samples=8, noise=0.15, steps=8, layer="",
        window=0.25, region="WT", curve_steps=8, tolerance=0.05, sanity_cases=2, compare="",
        bootstrap=1000, chunk=1, seed=0,
    )  # fmt: skip
    return config
