"""The networks that the CGA U-Net is compared with, and the strong baseline of the present day.

``:unet3d``, ``:vnet``, ``:attention_unet``, ``:kiunet3d``, ``:nnunet`` and ``:resenc_unet`` are
narrow networks that run on made-up heads in minutes; with ``_full`` behind they are the
published ones, for scans of your own:

    python -m brainjax.main --config=configs/comparators.py:nnunet --workdir=runs/nnunet
    python -m brainjax.main --config=configs/comparators.py:nnunet_full --workdir=runs/full \
        --config.data.root=MICCAI_BraTS_2019_Data_Training

Region-wise training is ``--config.objective.target=regions``. KiU-Net has to do with smaller
patches: its features are eight times as fine as the image on every axis.
"""

import ml_collections

WIDTHS = {  # narrow and published
    "unet3d": (4, 32),
    "vnet": (4, 16),
    "attention_unet": (8, 16),
    "kiunet3d": (1, 1),
    "nnunet": (8, 32),
    "resenc_unet": (8, 32),
}
NORMS = {"unet3d": "batch", "attention_unet": "batch", "vnet": "none", "kiunet3d": "none"}


def get_config(variant="nnunet"):
    """The numbers of one experiment: a network's name, alone or with ``_full`` behind."""
    name, full = variant.removesuffix("_full"), variant.endswith("_full")
    if name not in WIDTHS:
        raise ValueError(
            f"configs/comparators.py:{variant} does not exist; use "
            f":{', :'.join(WIDTHS)}, or one of them with _full behind"
        )
    isensee = name in ("nnunet", "resenc_unet")  # nnU-Net's own recipe; the rest as CGA U-Net
    unnormed = NORMS.get(name) == "none"
    size = (16 if name == "kiunet3d" else 48) if not full else (64 if name == "kiunet3d" else 128)
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(
        root="", records="", prepare_workers=1, prepare_beam="", label_convention="auto",
        modalities=("flair", "t1ce", "t1", "t2"), needs_root=full,
    )  # fmt: skip
    config.phantom = dict(cases=30, shape=(64, 64, 64), seed=0)
    config.split = dict(folds=5, fold=0, seed=0)
    config.batches = dict(
        patch_shape=(size, size, size), batch_size=2, accumulate=1,
        foreground_fraction=0.33 if full else 0.5, pad_multiple=1,
        workers=0, threads=4, prefetch_batches=4,
    )  # fmt: skip
    config.parallel = dict(lift="auto", space=1, shard_parameters=False)
    config.augment = dict(
        flip_probability=0.5, intensity_scale=(0.9, 1.1), intensity_shift=(-0.1, 0.1),
        intensity_per_row=False, modality_dropout=0.0,
    )  # fmt: skip
    config.model = dict(
        name=name, base_width=WIDTHS[name][full],
        norm=NORMS.get(name, "instance"),  # or batch, group, instance, none
        norm_groups=4,
        deep_supervision=isensee,
        dtype="bfloat16" if full else "float32",
    )  # fmt: skip
    if isensee:
        config.model.stages = 6 if full else 4  # nnU-Net's rule: at least 4 voxels an axis remain
    config.objective = dict(
        dice_weight=1.0, dice_over="batch", cross_entropy_weight=1.0,
        target="classes",  # or "regions": WT, TC and ET by sigmoid
        attention_weight=0.0, inter_weight=0.0, inter_form="paper", inter_sign=1,
        inter_start_epoch=0,  # these four are the CGA U-Net's
    )  # fmt: skip
    config.optimizer = dict(
        algorithm="sgd" if full and isensee else "adam",
        learning_rate=1e-2 if full and isensee else (1e-3 if full or unnormed else 3e-3),
        schedule="polynomial", power=0.9, warmup_steps=0, rate_scaling="none", reference_batch=0,
        momentum=0.99, nesterov=full and isensee,
        l2=3e-5 if full and isensee else 1e-5,
        clip_norm=12.0, average_decay=0.0 if full else 0.99,
    )  # fmt: skip
    config.loop = dict(
        steps=(250_000 if isensee else 0) if full else 200,  # 1000 epochs of 250 batches
        epochs=500 if full and not isensee else 0,
        log_every_steps=20, validate_every_steps=1000 if full else 100,
        save_every_steps=200 if full else 50, patience=0, nonfinite_limit=10,
    )  # fmt: skip
    config.inference = dict(
        mode="sliding_window", patch_shape=(), overlap=0.5 if full else 0.25, patch_batch=0,
        sigma=0.125, crop_to_brain=True, mirror=False, multiple=32, small_enhancing_voxels=0,
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
