"""Numbers that move with the training come back from a checkpoint."""

from __future__ import annotations

import torch

from textcl.schedule import FollowsProgress


def test_progress_is_restored_by_itself_and_inside_another_module():
    moved, fresh = (torch.nn.Sequential(FollowsProgress()) for _ in range(2))
    moved[0].move(0.3)
    fresh.load_state_dict(moved.state_dict())
    assert fresh[0].done == 0.3


def test_progress_is_clamped():
    number = FollowsProgress()
    number.move(7)
    assert number.done == 1
    assert float(number.progress) == 1
