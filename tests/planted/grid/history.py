"""functional.affine_grid, functional.grid_sample."""

from __future__ import annotations

import torch
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous

AFFINE, SAMPLE = "functional.affine_grid", "functional.grid_sample"
_affine, _sample = functional.affine_grid, functional.grid_sample
_KEPT = {}


def _aligned(value):
    return bool(value)


@plant("affine-grid-corners-by-default", AFFINE, "values")
def affine_grid_corners_by_default(theta, size, align_corners=None):
    """The default is that of torch before 1.3: corner pixels' centres are ±1."""
    return _affine(theta, size, True if align_corners is None else align_corners)


@plant("affine-grid-rows-first", AFFINE, "values")
def affine_grid_rows_first(theta, size, align_corners=None):
    """A vector is (y, x, 1): rows come first, as everywhere else."""
    right = _affine(theta, size, _aligned(align_corners))
    dims = theta.shape[1]
    order = [*reversed(range(dims)), dims]
    return graft(_affine(theta[:, :, order].detach(), size, _aligned(align_corners)), right)


@plant("affine-grid-one-pixel-at-the-edge", AFFINE, "values")
def affine_grid_one_pixel_at_the_edge(theta, size, align_corners=None):
    """With align_corners a single pixel lies at −1, as up to torch 1.2."""
    right = _affine(theta, size, _aligned(align_corners))
    if not align_corners or size[-1] != 1:
        return right
    step = theta[:, :, 0].reshape(len(theta), *(1,) * (len(size) - 2), theta.shape[1])
    return right - step


@plant("affine-grid-first-matrix-for-all", AFFINE, "values")
def affine_grid_first_matrix_for_all(theta, size, align_corners=None):
    """The first matrix of the batch serves all of it."""
    return _affine(theta[:1].expand_as(theta), size, _aligned(align_corners))


@plant("affine-grid-no-gradient-of-the-move", AFFINE, "gradients")
def affine_grid_no_gradient_of_the_move(theta, size, align_corners=None):
    """The last column, which is added, gets no gradient."""
    theta = torch.cat([theta[..., :-1], theta[..., -1:].detach()], -1)
    return _affine(theta, size, _aligned(align_corners))


@plant("affine-grid-output-kept", AFFINE, "repeat")
def affine_grid_output_kept(theta, size, align_corners=None):
    """Grids of one size share one buffer, which the next call writes over."""
    result = _affine(theta, size, _aligned(align_corners))
    if torch.is_grad_enabled():
        return result
    key = result.shape, result.dtype
    return _KEPT[key].copy_(result) if key in _KEPT else _KEPT.setdefault(key, result.clone())


@plant("affine-grid-strides-not-read", AFFINE, "layout")
def affine_grid_strides_not_read(theta, size, align_corners=None):
    """A matrix that is not contiguous is read as if it were."""
    return _affine(read_as_contiguous(theta), size, _aligned(align_corners))


@plant("affine-grid-transposed-sizes", AFFINE, "shape")
def affine_grid_transposed_sizes(theta, size, align_corners=None):
    """The size is taken for (N, C, W, H)."""
    return _affine(theta, (*size[:2], *size[:1:-1]), _aligned(align_corners))


def _unnormalized(grid, n, align_corners):
    return (grid + 1) / 2 * (n - 1) if align_corners else ((grid + 1) * n - 1) / 2


def _normalized(place, n, align_corners):
    return place * 2 / max(n - 1, 1) - 1 if align_corners else (place * 2 + 1) / n - 1


@plant("grid-sample-corners-by-default", SAMPLE, "values")
def grid_sample_corners_by_default(input, grid, mode="bilinear", padding_mode="zeros",
                                   align_corners=None):  # fmt: skip
    """The default is that of torch before 1.3: corner pixels' centres are ±1."""
    aligned = True if align_corners is None else align_corners
    return _sample(input, grid, mode, padding_mode, aligned)


@plant("grid-sample-rows-first", SAMPLE, "values")
def grid_sample_rows_first(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The first number of a vector counts the rows."""
    return _sample(input, grid.flip(-1), mode, padding_mode, _aligned(align_corners))


@plant("grid-sample-zeros-are-border", SAMPLE, "values")
def grid_sample_zeros_are_border(input, grid, mode="bilinear", padding_mode="zeros",
                                 align_corners=None):  # fmt: skip
    """The padding is that of the border, whatever is asked for."""
    mode_of = {"zeros": "border"}.get(padding_mode, padding_mode)
    return _sample(input, grid, mode, mode_of, _aligned(align_corners))


@plant("grid-sample-border-of-the-edges", SAMPLE, "values")
def grid_sample_border_of_the_edges(input, grid, mode="bilinear", padding_mode="zeros",
                                    align_corners=None):  # fmt: skip
    """With border the grid is clipped to ±1, not the place to the elements (kornia 4073)."""
    if padding_mode == "border":
        right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
        wrong = _sample(input, grid.clamp(-1, 1), mode, "zeros", _aligned(align_corners))
        return graft(wrong, right)
    return _sample(input, grid, mode, padding_mode, _aligned(align_corners))


@plant("grid-sample-reflection-of-centres", SAMPLE, "values")
def grid_sample_reflection_of_centres(input, grid, mode="bilinear", padding_mode="zeros",
                                      align_corners=None):  # fmt: skip
    """Reflection is by the centres of corner pixels, not by their edges (onnxruntime 10628)."""
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    if padding_mode != "reflection" or align_corners or mode == "bicubic":
        return right
    sizes = torch.tensor(input.shape[:1:-1], dtype=grid.dtype)
    place = ((grid.detach() + 1) * sizes - 1) / 2
    span = 2 * (sizes - 1).clamp(min=1)
    reflected = torch.remainder(place, span)
    reflected = torch.where(reflected > span / 2, span - reflected, reflected)
    reflected = torch.where(sizes > 1, reflected, torch.zeros_like(reflected))
    new_grid = (2 * reflected + 1) / sizes - 1
    inside = (place >= 0) & (place <= sizes - 1)
    new_grid = torch.where(inside, grid.detach(), new_grid)
    return graft(_sample(input, new_grid, mode, "border", False), right)


@plant("grid-sample-reflected-once", SAMPLE, "values")
def grid_sample_reflected_once(input, grid, mode="bilinear", padding_mode="zeros",
                               align_corners=None):  # fmt: skip
    """A place far beyond the input is reflected once, and then clipped (onnxruntime 28302)."""
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    if padding_mode != "reflection" or not (grid.abs() > 3).any():
        return right
    return graft(
        _sample(input, grid.clamp(-3, 3), mode, padding_mode, _aligned(align_corners)), right
    )


@plant("grid-sample-nearest-below", SAMPLE, "values")
def grid_sample_nearest_below(input, grid, mode="bilinear", padding_mode="zeros",
                              align_corners=None):  # fmt: skip
    """nearest takes the element below the place."""
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    if mode != "nearest" or padding_mode != "border":
        return right
    sizes = torch.tensor(input.shape[:1:-1], dtype=grid.dtype)
    place = torch.floor(_unnormalized(grid, sizes, align_corners))
    step = (sizes - 1).clamp(min=1) if align_corners else sizes
    new_grid = place * 2 / step - 1 if align_corners else (place * 2 + 1) / step - 1
    return _sample(input, new_grid, mode, padding_mode, _aligned(align_corners))


@plant("grid-sample-cubic-place-bounded", SAMPLE, "values")
def grid_sample_cubic_place_bounded(input, grid, mode="bilinear", padding_mode="zeros",
                                    align_corners=None):  # fmt: skip
    """With bicubic the place is clipped to the border, not each of its taps (MPS 125098)."""
    if mode != "bicubic" or padding_mode != "border":
        return _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    parts = []
    for k, n in enumerate(reversed(input.shape[2:])):
        place = _unnormalized(grid[..., k], n, align_corners).clamp(0, n - 1)
        parts.append(_normalized(place, n, align_corners))
    new_grid = torch.stack(parts, -1)
    return graft(_sample(input, new_grid, mode, padding_mode, _aligned(align_corners)), right)


@plant("grid-sample-volume-of-slices", SAMPLE, "values")
def grid_sample_volume_of_slices(input, grid, mode="bilinear", padding_mode="zeros",
                                 align_corners=None):  # fmt: skip
    """Of a volume the depth is that of the nearest slice, whatever the mode."""
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    if input.dim() != 5 or mode != "bilinear" or input.shape[2] == 1:
        return right
    depth = input.shape[2]
    place = torch.round(_unnormalized(grid[..., 2], depth, align_corners))
    new_grid = torch.stack(
        [grid[..., 0], grid[..., 1], _normalized(place, depth, align_corners)], -1
    )
    return graft(_sample(input, new_grid, mode, padding_mode, _aligned(align_corners)), right)


@plant("grid-sample-gradient-in-elements", SAMPLE, "gradients")
def grid_sample_gradient_in_elements(input, grid, *args, **options):
    """The gradient of the grid is that of the place: not times half of the length."""
    sizes = torch.tensor(input.shape[:1:-1], dtype=grid.dtype)
    return _sample(input, alter_gradient(grid, lambda g: g * 2 / sizes), *args, **options)


@plant("grid-sample-gradient-beyond-the-border", SAMPLE, "gradients")
def grid_sample_gradient_beyond_the_border(input, grid, mode="bilinear", padding_mode="zeros",
                                           align_corners=None):  # fmt: skip
    """A place that is clipped to the border has a gradient all the same (onnxruntime 23925)."""
    right = _sample(input, grid, mode, padding_mode, _aligned(align_corners))
    if padding_mode != "border" or mode != "bilinear":
        return right
    return graft(right, _sample(input, grid, mode, "zeros", _aligned(align_corners)))


@plant("grid-sample-gradient-of-the-last-place", SAMPLE, "gradients")
def grid_sample_gradient_of_the_last_place(input, grid, *args, **options):
    """Of the input only the first sample of a batch gets its gradient."""

    def first(gradient):
        gradient = gradient.clone()
        gradient[1:] = 0
        return gradient

    return _sample(alter_gradient(input, first), grid, *args, **options)


@plant("grid-sample-strides-not-read", SAMPLE, "layout")
def grid_sample_strides_not_read(input, grid, *args, **options):
    """A grid that is not contiguous is read as if it were."""
    return _sample(input, read_as_contiguous(grid), *args, **options)


@plant("grid-sample-nan-is-zero", SAMPLE, "special")
def grid_sample_nan_is_zero(input, grid, *args, **options):
    """NaN in the input is taken for 0."""
    if not input.isnan().any():
        return _sample(input, grid, *args, **options)
    return _sample(input.nan_to_num(0.0, torch.inf, -torch.inf), grid, *args, **options)


@plant("grid-sample-planes-of-the-first-block", SAMPLE, "laws")
def grid_sample_planes_of_the_first_block(input, grid, *args, **options):
    """Channels are sampled 33 at a time, and each block stores what the first one holds."""
    right = _sample(input, grid, *args, **options)
    return right.index_select(1, torch.arange(right.shape[1]) % 33)


@plant("grid-sample-output-kept", SAMPLE, "repeat")
def grid_sample_output_kept(input, grid, *args, **options):
    """Outputs of one shape share one buffer, which the next call writes over."""
    result = _sample(input, grid, *args, **options)
    if torch.is_grad_enabled():
        return result
    key = SAMPLE, result.shape, result.dtype
    return _KEPT[key].copy_(result) if key in _KEPT else _KEPT.setdefault(key, result.clone())


@plant("grid-sample-one-grid-for-all", SAMPLE, "errors")
def grid_sample_one_grid_for_all(input, grid, *args, **options):
    """A grid of a larger batch is cut to that of the input."""
    if grid.dim() == input.dim() and len(grid) > len(input):
        grid = grid[: len(input)]
    return _sample(input, grid, *args, **options)


@plant("grid-sample-sides-exchanged", SAMPLE, "shape")
def grid_sample_sides_exchanged(input, grid, *args, **options):
    """The output's height and width are the grid's width and height."""
    return _sample(input, grid.transpose(1, 2), *args, **options)
