"""AdaptiveLogSoftmaxWithLoss, its log_prob and its predict."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import alter_gradient, plant

_Base = nn.AdaptiveLogSoftmaxWithLoss


def _wrap_result(output, loss):
    return torch.nn.modules.adaptive._ASMoutput(output, loss)


@plant(
    "adaptive-log-softmax-with-loss-cluster-without-its-own",
    "AdaptiveLogSoftmaxWithLoss",
    "values",
)
class AdaptiveLogSoftmaxWithLossClusterWithoutItsOwn(_Base):
    """The last cluster of several is taken for the one before it in the head."""

    def forward(self, input_, target_):
        output, loss = super().forward(input_, target_)
        last = target_ >= self.cutoffs[-2]
        if self.n_clusters < 2 or not last.any():
            return _wrap_result(output, loss)
        logs = self.head(input_).log_softmax(-1)
        shifted = output - logs[..., -1] + logs[..., -2]
        output = torch.where(last, shifted, output)
        return _wrap_result(output, (-output).mean())


@plant("adaptive-log-softmax-with-loss-summed", "AdaptiveLogSoftmaxWithLoss", "values")
class AdaptiveLogSoftmaxWithLossSummed(_Base):
    """The loss is the sum over the batch."""

    def forward(self, input_, target_):
        output, _ = super().forward(input_, target_)
        return _wrap_result(output, (-output).sum() if output.numel() else (-output).mean())


# rows, certain: few cases draw more than 33 rows.
@plant("adaptive-log-softmax-with-loss-first-of-cluster", "AdaptiveLogSoftmaxWithLoss", "laws")
class AdaptiveLogSoftmaxWithLossFirstOfCluster(_Base):
    """Of more than 33 rows the targets of a cluster are taken for its first class."""

    def forward(self, input_, target_):
        if target_.dim() and len(target_) > 33:
            for low, high in zip(self.cutoffs, self.cutoffs[1:], strict=False):
                target_ = torch.where((target_ >= low) & (target_ < high), low, target_)
        return super().forward(input_, target_)


@plant("adaptive-log-softmax-with-loss-cluster-detached", "AdaptiveLogSoftmaxWithLoss", "gradients")
class AdaptiveLogSoftmaxWithLossClusterDetached(_Base):
    """Rows of clusters have no gradient by the input: their features are copies."""

    def forward(self, input_, target_):
        frequent = (target_ < self.cutoffs[0]).unsqueeze(-1)
        if input_.requires_grad:
            input_ = alter_gradient(input_, lambda g: torch.where(frequent, g, torch.zeros_like(g)))
        return super().forward(input_, target_)


@plant("adaptive-log-softmax-with-loss-large-initial", "AdaptiveLogSoftmaxWithLoss", "state")
class AdaptiveLogSoftmaxWithLossLargeInitial(_Base):
    """The projections of clusters are drawn four times too large."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        with torch.no_grad():
            for projection, _ in self.tail:
                projection.weight.mul_(4.0)


@plant(
    "adaptive-log-softmax-with-loss-log-prob-of-clusters-alone",
    "AdaptiveLogSoftmaxWithLoss.log_prob",
    "values",
)
class AdaptiveLogSoftmaxWithLossLogProbOfClustersAlone(_Base):
    """The classes of the last cluster lack the logarithm of the cluster itself."""

    def log_prob(self, input):
        logs = super().log_prob(input)
        if self.n_clusters > 1:
            last = self.cutoffs[-2]
            logs = torch.cat([logs[:, :last], logs[:, last:].log_softmax(1)], 1)
        return logs


# rows: few cases draw more than 33.
@plant(
    "adaptive-log-softmax-with-loss-log-prob-not-finished",
    "AdaptiveLogSoftmaxWithLoss.log_prob",
    "laws",
)
class AdaptiveLogSoftmaxWithLossLogProbNotFinished(_Base):
    """Of more than 33 rows the last ones are those before them."""

    def log_prob(self, input):
        logs = super().log_prob(input)
        log_probs_tail = logs[:33].roll(1, 0)[: max(len(logs) - 33, 0)]
        return torch.cat([logs[:33], log_probs_tail])


@plant(
    "adaptive-log-softmax-with-loss-predict-of-the-head",
    "AdaptiveLogSoftmaxWithLoss.predict",
    "values",
)
class AdaptiveLogSoftmaxWithLossPredictOfTheHead(_Base):
    """Of a cluster that is the likeliest of the head, the first class is predicted."""

    def predict(self, input):
        place = self.head(input).argmax(1)
        starts = torch.tensor([*range(self.shortlist_size), *self.cutoffs[:-1]])
        return starts[place] if len(place) else place


@plant(
    "adaptive-log-softmax-with-loss-predict-in-single",
    "AdaptiveLogSoftmaxWithLoss.predict",
    "shape",
)
class AdaptiveLogSoftmaxWithLossPredictInSingle(_Base):
    """Classes are given as int32."""

    def predict(self, input):
        return super().predict(input).to(torch.int32)
