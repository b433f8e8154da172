"""Bugs of the adaptive softmax, written without sight of the checks that are to find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.loss.blind_parts import widen_halves

LAYER = "AdaptiveLogSoftmaxWithLoss"


def _replace_output(result: Any, output: Tensor) -> Any:
    """The result with other log-probabilities, and their mean for the loss."""
    return type(result)(output, (-output).mean())


def _clusters(module: Any, target: Tensor) -> Tensor:
    """For each target its cluster, 0 of the shortlist."""
    cuts = torch.tensor(module.cutoffs[:-1])
    return torch.bucketize(target, cuts, right=True)


@blind("adaptivelogsoftmaxwithloss-cutoff-in-the-shortlist", LAYER, "values")
class AdaptiveCutoffInShortlist(nn.AdaptiveLogSoftmaxWithLoss):
    """A target that is the first cutoff belongs to the head: `target <= cutoffs[0]`.

    There is the first cluster's own column, so that nothing is out of range.
    """

    # Differs: target = cutoffs[0]. Agrees: any other.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        first = target_ == self.cutoffs[0]
        if not bool(first.any()):
            return result
        head = self.head(input_).log_softmax(-1)[..., self.shortlist_size]
        return _replace_output(result, torch.where(first, head, result.output))


@blind("adaptivelogsoftmaxwithloss-cluster-itself-left-out", LAYER, "values")
class AdaptiveClusterItselfLeftOut(nn.AdaptiveLogSoftmaxWithLoss):
    """Of the last cluster log p(class | cluster) is returned without the cluster's own log p.

    The loop adds it for all clusters but the last (`range(1, n_clusters)`).
    """

    # Differs: targets of the last cluster. Agrees: of the shortlist and the others.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        last = _clusters(self, target_) == self.n_clusters
        if not bool(last.any()):
            return result
        head = self.head(input_).log_softmax(-1)[..., -1]
        return _replace_output(result, result.output - torch.where(last, head, 0.0))


@blind("adaptivelogsoftmaxwithloss-clusters-from-the-end", LAYER, "values")
class AdaptiveClustersFromEnd(nn.AdaptiveLogSoftmaxWithLoss):
    """The head's columns of the clusters are taken from the end, as Transformer-XL's code does.

    Of one cluster both are the same column.
    """

    # Differs: two cutoffs, a target in a cluster. Agrees: one cutoff.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        cluster = _clusters(self, target_)
        if self.n_clusters < 2 or not bool((cluster > 0).any()):
            return result
        head = self.head(input_).log_softmax(-1)
        columns = self.shortlist_size + cluster - 1, self.head_size - cluster
        right, wrong = (
            head.gather(-1, c.clamp(0, self.head_size - 1).unsqueeze(-1)).squeeze(-1)
            for c in columns
        )
        return _replace_output(result, result.output + torch.where(cluster > 0, wrong - right, 0.0))


@blind("adaptivelogsoftmaxwithloss-loss-of-the-clusters-means", LAYER, "values")
class AdaptiveLossOfClustersMeans(nn.AdaptiveLogSoftmaxWithLoss):
    """The loss is the mean of the clusters' mean losses; `output` is right."""

    # Differs: targets (0, 1, last). Agrees: targets of one cluster.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        cluster = _clusters(self, target_)
        if target_.dim() == 0 or len(cluster.unique()) < 2:
            return result
        means = [-result.output[cluster == k].mean() for k in cluster.unique()]
        return type(result)(result.output, torch.stack(means).mean())


@blind("adaptivelogsoftmaxwithloss-sizes-divided-linearly", LAYER, "state")
class AdaptiveSizesDividedLinearly(nn.AdaptiveLogSoftmaxWithLoss):
    """A cluster's size is features / (div_value * index), not features / div_value ** index."""

    # Differs: two cutoffs, 16 features, div_value 4. Agrees: one cutoff; div_value 2, two cutoffs.
    def __init__(self, in_features, n_classes, cutoffs, *arguments, **kwargs):
        super().__init__(in_features, n_classes, cutoffs, *arguments, **kwargs)
        for k, (narrow, broad) in enumerate(self.tail, 1):
            size = int(in_features // (self.div_value * k))
            if size != narrow.out_features:
                where = {"device": narrow.weight.device, "dtype": narrow.weight.dtype}
                self.tail[k - 1] = nn.Sequential(
                    nn.Linear(in_features, size, bias=False, **where),
                    nn.Linear(size, broad.out_features, bias=False, **where),
                )


@blind("adaptivelogsoftmaxwithloss-exponentials-not-shifted", LAYER, "values")
class AdaptiveExponentialsNotShifted(nn.AdaptiveLogSoftmaxWithLoss):
    """The head's log-softmax is x - log(sum(exp(x))): logits beyond 88 are inf in float32."""

    # Differs: a logit of 100 in float32. Agrees: small logits, to rounding.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        head = widen_halves(self.head(input_.detach()).detach())
        shift = head.exp().sum(-1).log() - head.logsumexp(-1)
        error = torch.where(shift.isfinite(), 0.0, -shift)
        if not bool((error != 0).any()):
            return result
        output = result.output + error.to(result.output.dtype)
        return type(result)(graft(output, result.output), graft((-output).mean(), result.loss))


@blind("adaptivelogsoftmaxwithloss-head-frozen-by-the-tail", LAYER, "gradients")
class AdaptiveHeadFrozenByTail(nn.AdaptiveLogSoftmaxWithLoss):
    """Targets of a cluster train the cluster alone: the head's part is made without gradients."""

    # Differs: the gradient with a target in a cluster. Agrees: targets of the shortlist.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        result = super().forward(input_, target_)
        cluster = _clusters(self, target_)
        if not bool((cluster > 0).any()):
            return result
        head = self.head(input_).log_softmax(-1)
        column = (self.shortlist_size + cluster - 1).clamp(0, self.head_size - 1)
        own = head.gather(-1, column.unsqueeze(-1)).squeeze(-1)
        path = result.output - torch.where(cluster > 0, own, 0.0)
        return type(result)(graft(result.output, path), graft(result.loss, (-path).mean()))


@blind("adaptivelogsoftmaxwithloss-rows-of-a-cluster-overwritten", LAYER, "gradients")
class AdaptiveRowsOfClusterOverwritten(nn.AdaptiveLogSoftmaxWithLoss):
    """Backward writes the rows of each cluster in place of adding them to the head's.

    The input of a row in a cluster has the gradient of the cluster's projection alone.
    """

    # Differs: the gradient of an input in a cluster. Agrees: in the shortlist; of parameters.
    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        inside = (_clusters(self, target_) > 0).unsqueeze(-1)
        if not bool(inside.any()):
            return super().forward(input_, target_)
        result = super().forward(input_, target_)
        head = self.head
        masked_input = alter_gradient(input_, lambda g: g.masked_fill(inside, 0.0))
        column = torch.where(
            inside.squeeze(-1), self.shortlist_size + _clusters(self, target_) - 1, target_
        )
        right, wrong = (
            functional.linear(x, head.weight, head.bias)
            .log_softmax(-1)
            .gather(-1, column.unsqueeze(-1))
            .squeeze(-1)
            for x in (input_, masked_input)
        )
        path = result.output - right + wrong
        return type(result)(graft(result.output, path), graft(result.loss, (-path).mean()))


# targets: of two methods one is right.
@blind("adaptivelogsoftmaxwithloss-all-classes-one-cluster-off", LAYER, "laws")
class AdaptiveAllClassesOneClusterOff(nn.AdaptiveLogSoftmaxWithLoss):
    """`log_prob` adds the first cluster's column to all clusters; `forward` is right."""

    # Differs: log_prob with two cutoffs. Agrees: forward; one cutoff.
    def log_prob(self, input: Tensor) -> Tensor:
        result = super().log_prob(input)
        head = self.head(input).log_softmax(-1)
        columns = []
        for k, (start, stop) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            wrong = head[:, self.shortlist_size] - head[:, self.shortlist_size + k]
            columns.append(wrong[:, None].expand(-1, stop - start))
        return torch.cat(
            [result[:, : self.cutoffs[0]], result[:, self.cutoffs[0] :] + torch.cat(columns, 1)], 1
        )


@blind("adaptivelogsoftmaxwithloss-prediction-of-the-head", f"{LAYER}.predict", "values")
class AdaptivePredictionOfHead(nn.AdaptiveLogSoftmaxWithLoss):
    """`predict` returns the head's best column: of a cluster its column, not one of its classes."""

    # Differs: predict where a cluster is the most probable. Agrees: forward.
    def predict(self, input: Tensor) -> Tensor:
        return self.head(input).argmax(1)
