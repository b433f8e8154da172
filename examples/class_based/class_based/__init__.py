"""A small framework of classes: layers own their parameters; channels last, kernels (in, out).

A layer is called by `forward`. `backward` takes the gradient of what `forward` gave, returns that
of its inputs, and leaves that of each parameter in `Parameter.gradient`.
"""

from __future__ import annotations

import math

import numpy as np


class Parameter:
    """An array that a layer owns, and its gradient; statistics have none.

    Args:
        value: the array.
    """

    def __init__(self, value):
        self.value, self.gradient = value, None


class Layer:
    """What the layers have in common: a dtype, a mode, parameters by name."""

    def __init__(self, dtype="float32"):
        self.dtype, self.training, self.parameters = np.dtype(dtype), False, {}

    def add(self, name, shape, limit):
        """A new parameter, drawn from U(−limit, limit)."""
        values = np.random.default_rng().uniform(-limit, limit, shape)
        self.parameters[name] = Parameter(values.astype(self.dtype))

    def value(self, name):
        """A parameter's array; None where the layer has none of that name."""
        return self.parameters[name].value if name in self.parameters else None

    def keep_gradients(self, **gradients):
        """Keep the gradients of those parameters that there are."""
        for name, gradient in gradients.items():
            if name in self.parameters:
                self.parameters[name].gradient = gradient

    def check_input(self, x, name, channels, *ranks):
        """Refuse an array of another dtype, rank or number of channels."""
        if x.dtype != self.dtype:
            raise TypeError(f"expected {name} of dtype {self.dtype}, got {x.dtype}")
        if (ranks and x.ndim not in ranks) or x.ndim == 0 or x.shape[-1] != channels:
            raise ValueError(f"expected {name} (…, {channels}), got {x.shape}")


class Dense(Layer):
    """y = x K + b, for x (…, inputs) and a kernel K (inputs, units)."""

    def __init__(self, inputs, units, use_bias=True, dtype="float32"):
        super().__init__(dtype)
        check_integer("inputs", inputs, 0)
        check_integer("units", units, 0)
        self.inputs, self.units, self.use_bias = inputs, units, use_bias
        limit = 1 / math.sqrt(max(inputs, 1))
        self.add("kernel", (inputs, units), limit)
        if use_bias:
            self.add("bias", (units,), limit)

    def forward(self, x):
        """y."""
        self.check_input(x, "input", self.inputs)
        self.x = x
        y = x @ self.value("kernel")
        return y + self.value("bias") if self.use_bias else y

    def backward(self, g):
        """The gradient of x."""
        self.keep_gradients(kernel=rows(self.x).T @ rows(g), bias=rows(g).sum(0))
        return (g @ self.value("kernel").T,)


class Convolution(Layer):
    """y[l] = Σ x[l·stride − padding + k·dilation] K[k] + b over the taps k.

    x is (length, inputs) or (batch, length, inputs), the kernel K (taps, inputs, units).
    """

    def __init__(
        self, inputs, units, taps, stride=1, padding=0, dilation=1, use_bias=True, dtype="float32"
    ):
        super().__init__(dtype)
        sizes = {"inputs": inputs, "units": units, "taps": taps, "stride": stride}
        for name, size in {**sizes, "dilation": dilation}.items():
            check_integer(name, size, 1)
        check_integer("padding", padding, 0)
        self.inputs, self.units, self.taps, self.use_bias = inputs, units, taps, use_bias
        self.stride, self.padding, self.dilation = stride, padding, dilation
        limit = 1 / math.sqrt(inputs * taps)
        self.add("kernel", (taps, inputs, units), limit)
        if use_bias:
            self.add("bias", (units,), limit)

    def forward(self, x):
        """y."""
        self.check_input(x, "input", self.inputs, 2, 3)
        sides = [(0, 0)] * (x.ndim - 2) + [(self.padding, self.padding), (0, 0)]
        self.x = x = np.pad(x, sides)
        extent = self.dilation * (self.taps - 1) + 1
        if x.shape[-2] < extent:
            raise ValueError(f"a kernel that reaches {extent} is longer than {x.shape[-2]}")
        last = (x.shape[-2] - extent) // self.stride * self.stride
        self.windows = [
            (..., slice(k * self.dilation, k * self.dilation + last + 1, self.stride), slice(None))
            for k in range(self.taps)
        ]
        y = sum(x[w] @ kernel for w, kernel in zip(self.windows, self.value("kernel"), strict=True))
        return y + self.value("bias") if self.use_bias else y

    def backward(self, g):
        """The gradient of x."""
        kernels = [rows(self.x[w]).T @ rows(g) for w in self.windows]
        self.keep_gradients(kernel=np.stack(kernels), bias=rows(g).sum(0))
        padded_gradient = np.zeros_like(self.x)
        for w, kernel in zip(self.windows, self.value("kernel"), strict=True):
            padded_gradient[w] += g @ kernel.T
        return (padded_gradient[..., self.padding : padded_gradient.shape[-2] - self.padding, :],)


class BatchNormalization(Layer):
    """y = (x − μ)/√(v + ε)·scale + offset of every channel of x (batch, height, width, channels).

    In training μ and v are the batch's, and the moving ones go a part `rate` of the way to them,
    v·n/(n − 1) for v; a rate of None is one over the number of batches so far.
    """

    def __init__(
        self, channels, epsilon=1e-5, rate=0.1, scaled=True, moving=True, use_offset=True,
        dtype="float32",
    ):  # fmt: skip
        super().__init__(dtype)
        check_integer("channels", channels, 0)
        self.channels, self.epsilon, self.rate = channels, epsilon, rate
        self.scaled, self.moving, self.use_offset = scaled, moving, use_offset
        initial = {"scale": 1} if scaled else {}
        initial |= {"offset": 0} if scaled and use_offset else {}
        initial |= {"moving_mean": 0, "moving_variance": 1} if moving else {}
        for name, value in initial.items():
            self.parameters[name] = Parameter(np.full(channels, value, self.dtype))
        if moving:
            self.parameters["batches"] = Parameter(np.zeros((), np.int64))

    def forward(self, x):
        """y."""
        self.check_input(x, "input", self.channels, 4)
        self.of_batch = self.training or not self.moving
        count = x[..., :1].size
        if self.epsilon < 0 or (self.of_batch and not self.epsilon > 0):
            raise ValueError(f"expected a positive epsilon, got {self.epsilon}")
        if self.of_batch and count == 1:
            raise ValueError(f"one number a channel has no variance: {x.shape}")
        if not count:
            mean, variance = np.zeros((2, self.channels), self.dtype)
        elif self.of_batch:
            mean = x.mean((0, 1, 2))
            variance = np.square(x - mean).mean((0, 1, 2))
        else:
            mean, variance = self.value("moving_mean"), self.value("moving_variance")
        if self.training and self.moving:
            self.move(mean, variance, count)
        self.inverse = 1 / np.sqrt(variance + self.dtype.type(self.epsilon))
        self.standard = (x - mean) * self.inverse
        y = self.standard * self.value("scale") if self.scaled else self.standard
        return y + self.value("offset") if "offset" in self.parameters else y.copy()

    def move(self, mean, variance, count):
        """Let the moving statistics follow those of a batch of so many numbers a channel."""
        batches = self.parameters["batches"]
        batches.value = batches.value + 1
        rate = 1 / float(batches.value) if self.rate is None else self.rate
        if count:
            unbiased = variance * (count / (count - 1))
            for name, observed in (("moving_mean", mean), ("moving_variance", unbiased)):
                statistic = self.parameters[name]
                statistic.value = (1 - rate) * statistic.value + rate * observed

    def backward(self, g):
        """The gradient of x."""
        axes = (0, 1, 2)
        self.keep_gradients(scale=(g * self.standard).sum(axes), offset=g.sum(axes))
        g = g * self.value("scale") if self.scaled else g
        if self.of_batch and g.size:
            g = g - g.mean(axes) - self.standard * (g * self.standard).mean(axes)
        return (self.inverse * g,)


class Dropout(Layer):
    """In training each number is 0 with probability `rate`, and divided by 1 − rate otherwise."""

    def __init__(self, rate=0.5, dtype="float32"):
        super().__init__(dtype)
        if not 0 <= rate <= 1:
            raise ValueError(f"expected a rate from 0 to 1, got {rate}")
        self.rate, self.generator = rate, np.random.default_rng()

    def forward(self, x):
        """y."""
        self.mask = None
        if not self.training or self.rate == 0:
            return x.copy()
        mask = np.asarray(self.generator.random(x.shape) >= self.rate, self.dtype)
        self.mask = mask / self.dtype.type(1 - self.rate) if self.rate < 1 else np.zeros_like(x)
        return x * self.mask

    def backward(self, g):
        """The gradient of x."""
        return (g if self.mask is None else g * self.mask,)


class GatedUnit(Layer):
    """A step of a GRU: h' = (1 − z)·n + z·h, for x (…, inputs) and h (…, units).

    Kernels are (inputs, 3·units) and (units, 3·units), the gates z, r, n side by side; r multiplies
    what n has of h.
    """

    def __init__(self, inputs, units, use_bias=True, dtype="float32"):
        super().__init__(dtype)
        check_integer("inputs", inputs, 0)
        check_integer("units", units, 1)
        self.inputs, self.units, self.use_bias = inputs, units, use_bias
        limit = 1 / math.sqrt(units)
        self.add("kernel", (inputs, 3 * units), limit)
        self.add("recurrent_kernel", (units, 3 * units), limit)
        if use_bias:
            self.add("bias", (3 * units,), limit)
            self.add("recurrent_bias", (3 * units,), limit)

    def forward(self, x, h=None):
        """h'; without h from zeros."""
        self.check_input(x, "input", self.inputs, 1, 2)
        h = np.zeros((*x.shape[:-1], self.units), self.dtype) if h is None else h
        self.check_input(h, "state", self.units, x.ndim)
        if h.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"input {x.shape} and state {h.shape} of other batches")
        a, b = x @ self.value("kernel"), h @ self.value("recurrent_kernel")
        if self.use_bias:
            a, b = a + self.value("bias"), b + self.value("recurrent_bias")
        a, b = (np.split(gates, 3, axis=-1) for gates in (a, b))
        z, r = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
        n = np.tanh(a[2] + r * b[2])
        self.kept = x, h, z, r, n, b[2]
        return (1 - z) * n + z * h

    def backward(self, g):
        """The gradients of x and h."""
        x, h, z, r, n, b = self.kept
        grad_n = g * (1 - z) * (1 - n * n)
        grad_z = g * (h - n) * (z * (1 - z))
        grad_r = grad_n * b * (r * (1 - r))
        da = np.concatenate([grad_z, grad_r, grad_n], axis=-1)
        db = np.concatenate([grad_z, grad_r, grad_n * r], axis=-1)
        self.keep_gradients(kernel=rows(x).T @ rows(da), recurrent_kernel=rows(h).T @ rows(db))
        self.keep_gradients(bias=rows(da).sum(0), recurrent_bias=rows(db).sum(0))
        grad_h = g * z + db @ self.value("recurrent_kernel").T
        return da @ self.value("kernel").T, grad_h


def sigmoid(x):
    """1/(1 + e⁻ˣ), without overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, np.ones_like(decay), decay) / (1 + decay)


def rows(x):
    """(…, channels) as (rows, channels)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def check_integer(name, value, minimum):
    """Refuse what is no whole number, or too small a one."""
    if not isinstance(value, int) or value < minimum:
        raise ValueError(f"expected {name} to be a whole number from {minimum} on, got {value!r}")
