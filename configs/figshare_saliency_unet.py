"""Saliency by U-Net on the figshare set (paper 2): does a classifier's encoder show the tumour?

    python -m brainjax.main --config=configs/figshare_saliency_unet.py \
        --workdir=runs/saliency_unet --config.data.root=FOLDER

FOLDER as for figshare_cnn; tumour boxes come from its boxes.csv or from the masks in its
.mat files. An autoencoder learns the images beside a frozen path (30 epochs), its encoder
goes on as a classifier (160 epochs), and the classifier's encoder joined to the
autoencoder's decoder shows what the classifier kept. Not stated in the paper: depth,
widths, image size, loss (mean squared error), optimiser (Adam), and whether the
classifier's encoder begins from the autoencoder's (reconstruction.encoder_from).
"""

import ml_collections


def get_config():
    """The numbers of the experiment."""
    config = ml_collections.ConfigDict()
    config.task = "reconstruction"
    config.seed = 0
    config.score = "val/accuracy"
    config.data = dict(
        root="", source="auto", records="", prepare_workers=1, prepare_beam="", split="auto"
    )
    config.made_up = dict(
        layout="figshare", slices_per_class=24, patients=0, slices_per_series=0, seed=0,
        image_size=(64, 64), epochs=40,
    )  # fmt: skip
    config.series = dict(
        modalities=("FLAIR", "T1wCE", "T2w"), channels="stacked", slices_per_series=16,
        excluded_cases=(),
    )  # fmt: skip
    config.images = dict(image_size=(256, 256), channels=3, fit="stretch", crop_to_head=False)
    config.split = dict(
        validation_fraction=0.15, test_fraction=0.063, test_fold=0, validation_fold=0,
        duplicates="together", near_duplicates=True, seed=0,
    )  # fmt: skip
    config.batches = dict(batch_size=16, accumulate=1, threads=1, prefetch_batches=8)
    config.parallel = dict(lift="auto", space=1, shard_parameters=False)
    config.augment = dict(
        flip_left_right=0.0, flip_up_down=0.0, rotation_degrees=0.0, shift=0.0,
        zoom=(1.0, 1.0), stretch=(1.0, 1.0), shear_degrees=0.0, outside="zero",
        contrast=(1.0, 1.0), brightness=0.0, gamma=(1.0, 1.0), blur=(0.0, 0.0), noise_sd=0.0,
        cutout_probability=0.0, cutout_size=(0.1, 0.3), mixup_alpha=0.0, cutmix_alpha=0.0,
        mix_probability=1.0,
    )  # fmt: skip
    config.model = dict(name="saliency_encoder", widths=(32, 64, 128, 256), dtype="float32")
    config.reconstruction = dict(
        epochs=30, snapshot_every_epochs=5, classifier_snapshot_every_epochs=10,
        encoder_from="autoencoder", pictures=2,
    )  # fmt: skip
    config.objective = dict(
        loss="cross_entropy", gamma=2.0, alpha=0.25, label_smoothing=0.0, class_weights=()
    )
    config.optimizer = dict(
        algorithm="adam", learning_rate=1e-3, schedule="constant", power=0.9, warmup_steps=0,
        l2=0.0, l2_layers=(), decoupled_decay=0.0, momentum=0.9, nesterov=False, body_rate=1.0,
        clip_norm=0.0, average_decay=0.0, constant_epochs=7, decay_epochs=7, decay_factor=0.1,
        final_fraction=0.0, cycle_epochs=4.0, plateau_patience=3, plateau_threshold=0.0,
        rate_scaling="none", reference_batch=0,
    )  # fmt: skip
    config.loop = dict(
        steps=0, epochs=160, log_every_steps=100, validate_every_steps=0,
        validate_every_epochs=5, save_every_steps=1000, patience=0, nonfinite_limit=10,
    )  # fmt: skip
    config.evaluation = dict(
        batch_size=32, mirror=False, calibrate=True, bootstrap=1000, permutations=1000,
        by_patient=False,
    )  # fmt: skip
    config.explain = dict(
        methods=(), cases=(), count=200, pictures=8, samples=25, noise=0.15, steps=32, layer="",
        window=0.125, region="WT", curve_steps=16, tolerance=0.05, sanity_cases=16, compare="",
        bootstrap=1000, chunk=32, seed=0,
    )  # fmt: skip
    return config
