"""Fresh memory is what `torch.empty` and `clone` would give, whatever its size and type."""

import pytest
import torch

from probe.memory import copied, fresh


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 2), (1200, 1000)])
def test_fresh_memory_has_the_shape_and_type_asked_for(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    """Small or large, it can be written, and its axes are in order."""
    found = fresh(torch.zeros(1, dtype=dtype), *shape)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert found.is_contiguous()
    assert float(found.fill_(1).sum(dtype=torch.float64)) == shape[0] * shape[1]


@pytest.mark.parametrize("size", [4, 1200])
def test_a_copy_is_equal_and_its_own(size: int) -> None:
    """Values, order of axes and gradients stay; writing into the copy leaves the original alone."""
    value = torch.randn(1000, size).T
    copy = copied(value)
    assert torch.equal(copy, value)
    assert copy.stride() == value.stride()
    copied(value.contiguous()).fill_(0)
    copy.fill_(0)
    assert float(value.abs().min()) > 0
    assert copied(value.clone().requires_grad_()).requires_grad
