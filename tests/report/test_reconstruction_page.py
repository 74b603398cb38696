"""The page about saliency by U-Net, without tumours and with names that mean harm."""

from __future__ import annotations

import numpy as np

from brainjax.report import PicturedSlice, ReconstructionReport, write_reconstruction_report
from brainjax.report.reconstruction_figures import draw_accuracy, draw_saliency

NAMES = ("menin<script>", "gli$o_ma$", "x" * 60)


def pictured(rng, name: str, *, flat: bool = False) -> PicturedSlice:
    def picture() -> np.ndarray:
        return np.zeros((8, 8)) if flat else rng.random((8, 8))

    return PicturedSlice(
        title=f"{name}/1<b>.mat",
        truth=name,
        prediction=name,
        image=picture(),
        box=None,
        sides={side: [picture() - 2, picture() + 2] for side in ("both", "left", "right")},
        joined=picture(),
        maps={"change": picture(), "gradient": picture(), "joined": picture()},
        scores={},
    )


def report(rng, **changes) -> ReconstructionReport:
    given = {
        "title": "run <1>",
        "command": "python -m brainjax.main",
        "config": {"seed": 0},
        "part": "test part, 3 slices",
        "class_names": NAMES,
        "history": [{"epoch": 1, "train/loss": 0.5}, {"epoch": 2, "val/loss": 0.4}],
        "classifier_history": [{"epoch": e, "train/accuracy": 0.5} for e in range(1, 121)],
        "epochs": (1.0, 2.0),
        "errors": {side: [0.2, 0.1] for side in ("both", "left", "right")},
        "classifier_epochs": (1.0,),
        "accuracy": {"training": [0.5], "test part": [0.25]},
        "confusions": (np.eye(3, dtype=int),),
        "pictured": (tuple(pictured(rng, name) for name in NAMES), ()),
        "localisation": (),
        "verdict": (),
        "summary": {},
        "environment": {},
        "notes": ("made-up <i>",),
    }
    return ReconstructionReport(**{**given, **changes})


def test_without_tumours_nothing_is_scored_and_names_are_escaped(rng, tmp_path) -> None:
    files = write_reconstruction_report(tmp_path / "report.html", report(rng))
    names = {file.stem for file in files}
    assert "localisation" not in names
    assert "figure_14_saliency" not in names
    assert {"figure_07_loss", "figure_10_left", "figure_12_confusion"} <= names
    page = (tmp_path / "report.html").read_text()
    assert "No tumour boxes or masks are known" in page
    assert "menin<script>" not in page
    assert "1<b>" not in page
    assert "made-up &lt;i&gt;" in page


def test_flat_maps_and_no_slices_are_drawn_or_left_out(rng) -> None:
    assert draw_saliency([pictured(rng, "glioma", flat=True)], title="flat") is not None
    assert draw_saliency([], title="none") is None
    assert draw_accuracy(report(rng, classifier_history=[])) is None


def test_the_paper_s_window_is_shaded_where_it_was_reached(rng) -> None:
    reached, before = (
        draw_accuracy(
            report(
                rng, classifier_history=[{"epoch": e, "train/accuracy": e / 200} for e in range(n)]
            )
        )
        for n in (160, 20)
    )
    assert reached is not None
    assert before is not None
    assert len(reached.axes[0].patches) == 1
    assert not before.axes[0].patches
