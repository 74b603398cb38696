"""What a network looks at: attributions of one number of its output to its input."""

from brainjax.explain.grad_cam import feature_maps, grad_cam
from brainjax.explain.gradients import (
    gradient,
    gradient_times_input,
    guided_backpropagation,
    guided_relu,
    integrated_gradients,
    smooth_gradient,
)
from brainjax.explain.methods import METHODS, MethodOptions, magnitude
from brainjax.explain.occlusion import occlusion
from brainjax.explain.randomization import layers_in_order, randomisation_cascade
from brainjax.explain.reconstruction import (
    brightness_map,
    change_map,
    compiled_reconstruct,
    join_classifier,
    keep_left,
    keep_right,
)
from brainjax.explain.targets import class_target, in_chunks, region_target

__all__ = [
    "METHODS",
    "MethodOptions",
    "brightness_map",
    "change_map",
    "class_target",
    "compiled_reconstruct",
    "feature_maps",
    "grad_cam",
    "gradient",
    "gradient_times_input",
    "guided_backpropagation",
    "guided_relu",
    "in_chunks",
    "integrated_gradients",
    "join_classifier",
    "keep_left",
    "keep_right",
    "layers_in_order",
    "magnitude",
    "occlusion",
    "randomisation_cascade",
    "region_target",
    "smooth_gradient",
]
