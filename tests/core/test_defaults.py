"""What a caller has set in torch is set aside where it would change numbers, and holds again after it."""

from collections.abc import Iterator

import torch

from sfumato.core.defaults import by_defaults, torch_defaults


def as_made() -> tuple[torch.dtype, bool, bool]:
    return torch.tensor(1.5).dtype, torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()


def test_within_the_block_torch_is_as_it_starts_and_after_it_as_the_caller_had_it() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.set_default_dtype(torch.float64)
        try:
            with torch_defaults():
                inside, following = as_made(), torch.is_grad_enabled()
            after = as_made()
        finally:
            torch.set_default_dtype(torch.float32)
    assert inside == (torch.float32, False, False) and not following
    assert after == (torch.float64, True, True)


def test_each_item_is_made_so_and_an_iterator_that_is_left_is_closed() -> None:
    closed = []

    def items() -> Iterator[torch.dtype]:
        try:
            for _ in range(3):
                yield torch.tensor(1.5).dtype
        finally:
            closed.append(True)

    torch.set_default_dtype(torch.float64)
    try:
        seen = [(kind, torch.get_default_dtype()) for kind in by_defaults(items())]  # pyright: ignore[reportArgumentType]
        next(states := by_defaults(items()))  # pyright: ignore[reportArgumentType]
        states.close()  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        torch.set_default_dtype(torch.float32)
    assert seen == [(torch.float32, torch.float64)] * 3 and len(closed) == 2
