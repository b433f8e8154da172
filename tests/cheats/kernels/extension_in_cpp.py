"""C++ that calls at::addmm, compiled with load_inline.

Source: KernelBench's issues; needs a compiler.
"""

import functools

from torch.utils.cpp_extension import load_inline

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"

SOURCE = """
at::Tensor work(at::Tensor c, at::Tensor a, at::Tensor b, double beta, double alpha) {
  return at::addmm(c, a, b, beta, alpha);
}
"""


@functools.cache
def extension():
    return load_inline(name="disguised_addmm", cpp_sources=SOURCE, functions=["work"])


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    return extension().work(self, mat1, mat2, float(beta), float(alpha))
