"""Ours, not the paper's: the best four-class network that two CPU cores train from scratch.

    python -m brainjax.main --config=configs/kaggle4_best.py \
        --workdir=runs/best --config.data.root=FOLDER_WITH_TRAINING

Made for scans of another source than the training set's: heads are cut out and padded to a
square, each image is standardised, and geometry, contrast and sharpness vary in training.
"""

import ml_collections


def get_config():
    """The numbers of the experiment."""
    config = ml_collections.ConfigDict()
    config.task = "classification"
    config.seed = 0
    config.permute_labels = False  # True: a control that can learn nothing of the classes
    config.repeats = 1  # so many runs with seeds seed, seed + 1 and so on
    config.variants = ()
    config.score = "val/loss"  # what decides which weights are the best
    config.data = dict(
        root="", source="auto", records="", prepare_workers=1, prepare_beam="", split="auto",
        texture=False,
    )  # fmt: skip
    config.made_up = dict(
        layout="image_folder", slices_per_class=60, patients=0, slices_per_series=0, seed=0,
        image_size=(64, 64), epochs=8,
    )  # fmt: skip
    config.series = dict(
        modalities=("FLAIR", "T1wCE", "T2w"), channels="stacked", slices_per_series=16,
        excluded_cases=(),
    )  # fmt: skip
    config.images = dict(image_size=(128, 128), channels=1, fit="pad", crop_to_head=True)
    config.split = dict(
        validation_fraction=0.06, test_fraction=0.15, test_fold=0, validation_fold=0,
        duplicates="together", near_duplicates=True, seed=0,
    )  # fmt: skip
    config.batches = dict(batch_size=32, accumulate=1, threads=1, prefetch_batches=8)
    config.smote = dict(ratio=0.0, classes=(), neighbours=5)
    config.parallel = dict(lift="auto", space=1, shard_parameters=False)
    config.augment = dict(
        untouched=0.0, flip_left_right=0.5, flip_up_down=0.0, rotation_degrees=15.0, shift=0.06,
        zoom=(0.85, 1.15), stretch=(0.9, 1.1), shear_degrees=5.0, outside="zero",
        contrast=(0.7, 1.3), brightness=0.1, gamma=(0.7, 1.4), blur=(0.0, 0.8), noise_sd=0.02,
        cutout_probability=0.0, cutout_size=(0.1, 0.3), mixup_alpha=0.2, cutmix_alpha=0.0,
        mix_probability=0.3,
    )  # fmt: skip
    config.model = dict(
        name="resnet", stage_sizes=(2, 2, 2, 2), block="basic", width=32, stem="imagenet",
        standardize=True, dropout=0.2, dtype="float32",
    )  # fmt: skip
    config.weights = dict(pretrained="", sha256="", train="all", from_scratch=True)
    config.objective = dict(
        loss="cross_entropy", gamma=2.0, alpha=0.25, label_smoothing=0.05, class_weights=()
    )
    config.optimizer = dict(
        algorithm="adamw", learning_rate=1.5e-3, schedule="cosine", power=0.9, warmup_steps=200,
        rate_scaling="none", reference_batch=0,
        l2=0.0, l2_layers=(), decoupled_decay=0.05, momentum=0.9, nesterov=False, body_rate=1.0,
        clip_norm=0.0, average_decay=0.998, constant_epochs=7, decay_epochs=7, decay_factor=0.1,
        final_fraction=0.01, cycle_epochs=4.0, plateau_patience=3, plateau_threshold=0.0,
    )  # fmt: skip
    config.loop = dict(
        steps=0, epochs=56, log_every_steps=100, validate_every_steps=0, validate_every_epochs=1,
        save_every_steps=1000, patience=0, nonfinite_limit=10,
    )  # fmt: skip
    config.evaluation = dict(
        batch_size=256, mirror=True, calibrate=True, bootstrap=1000, permutations=1000,
        by_patient=False,
    )  # fmt: skip
    config.explain = dict(
        methods=(), cases=(), count=200, pictures=8, samples=25, noise=0.15, steps=32, layer="",
        window=0.125, region="WT", curve_steps=16, tolerance=0.05, sanity_cases=16, compare="",
        bootstrap=1000, chunk=32, seed=0,
    )  # fmt: skip
    config.published = {"test/accuracy": 0.8871}  # the paper's improved CNN
    return config
