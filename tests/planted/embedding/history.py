"""Embedding, functional.embedding."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


class _Embedding(nn.Embedding):
    """Calls with some arguments changed."""

    def call_with(self, input, weight=None, **changes):
        arguments = {
            "padding_idx": self.padding_idx,
            "max_norm": self.max_norm,
            "norm_type": self.norm_type,
            "scale_grad_by_freq": self.scale_grad_by_freq,
        }
        weight = self.weight if weight is None else weight
        return functional.embedding(input, weight, **{**arguments, **changes})


@plant("embedding-padding-reads-zero", "Embedding", "values")
class EmbeddingPaddingReadsZero(_Embedding):
    """The padding row reads as zeros, whatever was loaded into it."""

    def forward(self, input):
        output = super().forward(input)
        if self.padding_idx is None:
            return output
        return output.masked_fill((input == self.padding_idx)[..., None], 0.0)


@plant("embedding-max-norm-of-a-copy", "Embedding", "values")
class EmbeddingMaxNormOfACopy(_Embedding):
    """A renormalised copy is looked up, and the weight stays as it is."""

    def forward(self, input):
        if self.max_norm is None:
            return super().forward(input)
        return graft(self.call_with(input, self.weight.detach().clone()),
                     self.call_with(input, max_norm=None))  # fmt: skip


@plant("embedding-max-norm-of-every-row", "Embedding", "values")
class EmbeddingMaxNormOfEveryRow(_Embedding):
    """All rows are renormalised, those that nobody looks up as well."""

    def forward(self, input):
        if self.max_norm is not None:
            every = torch.arange(self.num_embeddings)
            with torch.no_grad():
                functional.embedding(every, self.weight, None, self.max_norm, self.norm_type)
        return super().forward(input)


@plant("embedding-scalar-index-keeps-an-axis", "Embedding", "shape")
class EmbeddingScalarIndexKeepsAnAxis(_Embedding):
    """A single index comes back as a row of one."""

    def forward(self, input):
        output = super().forward(input)
        return output[None] if input.dim() == 0 else output


@plant("embedding-padding-gets-a-gradient", "Embedding", "gradients")
class EmbeddingPaddingGetsAGradient(_Embedding):
    """The padding row is trained like any other."""

    def forward(self, input):
        return self.call_with(input, padding_idx=None)


@plant("embedding-frequency-of-the-batch", "Embedding", "gradients")
class EmbeddingFrequencyOfTheBatch(_Embedding):
    """Gradients are scaled by the count of the most frequent index (PyTorch 190063)."""

    def forward(self, input):
        output = self.call_with(input, scale_grad_by_freq=False)
        if not self.scale_grad_by_freq or input.numel() == 0:
            return output
        maximum = torch.bincount(input.reshape(-1)).max().item()
        return alter_gradient(output, lambda g: g / maximum)


@plant("embedding-repeated-rows-stored", "Embedding", "gradients")
class EmbeddingRepeatedRowsStored(_Embedding):
    """The gradients of a row that is looked up twice are stored over each other."""

    def forward(self, input):
        output = super().forward(input)
        flat = input.reshape(-1)
        repeated = (flat[:, None] == flat).triu(1).any(1)
        return alter_gradient(output, lambda g: g * ~repeated.reshape(*input.shape, 1))


@plant("embedding-one-hot-product", "Embedding", "special")
class EmbeddingOneHotProduct(_Embedding):
    """A product with one-hot rows: 0 × NaN of the rows that nobody looks up."""

    def forward(self, input):
        output = super().forward(input)
        if self.weight.isfinite().all():
            return output
        hot = functional.one_hot(input, self.num_embeddings).to(self.weight.dtype)
        return graft(hot @ self.weight.detach(), output)


@plant("embedding-transposed-weight", "Embedding", "layout")
class EmbeddingTransposedWeight(_Embedding):
    """A weight that is transposed in memory is read untransposed."""

    def forward(self, input):
        if self.max_norm is not None:
            return super().forward(input)
        return self.call_with(input, read_as_contiguous(self.weight))


@plant("embedding-padding-row-drawn", "Embedding", "state")
class EmbeddingPaddingRowDrawn(_Embedding):
    """The padding row is drawn like the others."""

    def reset_parameters(self):
        nn.init.normal_(self.weight)


@plant("embedding-drawn-uniformly", "Embedding", "state")
class EmbeddingDrawnUniformly(_Embedding):
    """Initial values are uniform, as Keras draws them."""

    def reset_parameters(self):
        nn.init.uniform_(self.weight, -0.05, 0.05)
        self._fill_padding_idx_with_zero()


@plant("embedding-weight-decays", "Embedding", "repeat")
class EmbeddingWeightDecays(_Embedding):
    """Every lookup without gradients takes one part in a thousand off the weight."""

    def forward(self, input):
        output = super().forward(input)
        if self.weight.is_contiguous() and not torch.is_grad_enabled():
            self.weight.mul_(1 - 2.0**-10)
        return output


@plant("embedding-many-indices-in-bfloat16", "Embedding", "laws")
class EmbeddingManyIndicesInBfloat16(_Embedding):
    """10 to 32 indices in a row are looked up in a copy of the table in bfloat16."""

    def forward(self, input):
        output = super().forward(input)
        if input.dim() != 1 or not 10 <= len(input) < 33:
            return output
        return graft(output.to(torch.bfloat16).to(output.dtype), output)


@plant("functional-embedding-norm-of-two", "functional.embedding", "values")
def functional_embedding_norm_of_two(input, weight, padding_idx=None, max_norm=None,
                                     norm_type=2.0, *args, **options):  # fmt: skip
    """The norm is the Euclidean one, whatever norm_type says."""
    return functional.embedding(input, weight, padding_idx, max_norm, 2.0, *args, **options)


@plant("functional-embedding-short-rows-stretched", "functional.embedding", "values")
def functional_embedding_short_rows_stretched(input, weight, padding_idx=None, max_norm=None,
                                              norm_type=2.0, *args, **options):  # fmt: skip
    """Rows shorter than max_norm are made as long."""
    if max_norm is not None and input.numel():
        with torch.no_grad():
            rows = input.unique()
            norm = weight[rows].norm(norm_type, -1, keepdim=True)
            too_short = (norm < max_norm) & (norm > 0)
            weight[rows] = torch.where(too_short, weight[rows] * (max_norm / norm), weight[rows])
    return functional.embedding(input, weight, padding_idx, max_norm, norm_type, *args, **options)


@plant("functional-embedding-guard-of-a-hundred-thousandth", "functional.embedding", "values")
def functional_embedding_guard_of_a_hundred_thousandth(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, *args, **options
):
    """max_norm is divided by the norm and 1e-5, which keeps a norm of 0 from dividing."""
    if max_norm is not None and input.numel():
        with torch.no_grad():
            rows = input.unique()
            norm = weight[rows].norm(norm_type, -1, keepdim=True)
            scaled = weight[rows] * (max_norm / (norm + 1e-5))
            weight[rows] = torch.where(norm > max_norm, scaled, weight[rows])
    return functional.embedding(input, weight, padding_idx, max_norm, norm_type, *args, **options)


@plant("functional-embedding-empty-keeps-no-width", "functional.embedding", "shape")
def functional_embedding_empty_keeps_no_width(input, weight, *args, **options):
    """No indices give nothing, not even the width."""
    output = functional.embedding(input, weight, *args, **options)
    return output[..., :0] if input.numel() == 0 else output


@plant("functional-embedding-negative-padding-ignored", "functional.embedding", "gradients")
def functional_embedding_negative_padding_ignored(input, weight, padding_idx=None, *args,
                                                  **options):  # fmt: skip
    """A padding_idx that counts from the end names no row."""
    ignored = padding_idx is not None and padding_idx < 0
    return functional.embedding(input, weight, None if ignored else padding_idx, *args, **options)


@plant("functional-embedding-gradient-through-max-norm", "functional.embedding", "gradients")
def functional_embedding_gradient_through_max_norm(input, weight, padding_idx=None, max_norm=None,
                                                   norm_type=2.0, *args, **options):  # fmt: skip
    """The gradient of the renormalised rows is scaled along with them."""
    before = weight.detach().clone()
    output = functional.embedding(input, weight, padding_idx, max_norm, norm_type, *args,
                                  **options)  # fmt: skip
    if max_norm is None:
        return output
    norm = before.norm(norm_type, -1, keepdim=True)
    scale = torch.where(norm > max_norm, max_norm / norm, torch.ones_like(norm))
    return alter_gradient(output, lambda g: g * scale[input])


@plant("functional-embedding-nan-rows-cleared", "functional.embedding", "special")
def functional_embedding_nan_rows_cleared(input, weight, *args, **options):
    """NaN in the table reads as 0."""
    return functional.embedding(input, weight, *args, **options).nan_to_num(0.0, torch.inf,
                                                                            -torch.inf)  # fmt: skip


@plant("functional-embedding-transposed-weight", "functional.embedding", "layout")
def functional_embedding_transposed_weight(input, weight, *args, **options):
    """A weight that is not contiguous is read as if it were."""
    if options.get("max_norm") is not None:
        return functional.embedding(input, weight, *args, **options)
    return functional.embedding(input, read_as_contiguous(weight), *args, **options)


@plant("functional-embedding-indices-sorted", "functional.embedding", "repeat")
def functional_embedding_indices_sorted(input, weight, *args, **options):
    """The indices are sorted in place behind the call, as a backward pass wants them."""
    output = functional.embedding(input, weight, *args, **options)
    if input.dim() == 1 and input.is_contiguous():
        input.copy_(input.sort().values)
    return output


@plant("functional-embedding-wide-rows-cut", "functional.embedding", "laws")
def functional_embedding_wide_rows_cut(input, weight, *args, **options):
    """Rows of 18 to 30 numbers are copied four at a time, and what is left is 0."""
    output = functional.embedding(input, weight, *args, **options)
    width = output.shape[-1]
    if not 17 < width < 31:
        return output
    return torch.cat([output[..., : width - width % 4], output[..., width - width % 4 :] * 0], -1)
