"""Which device a bake takes: the CPU without a GPU, an error for a GPU that is not there."""

import pytest
import torch

from baker import devices
from runtime.errors import InputError


def test_without_a_gpu_auto_and_cpu_take_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose("auto") == devices.choose("cpu") == ("cpu", "cpu")
    with pytest.raises(InputError, match="--device cuda: torch sees no NVIDIA GPU"):
        devices.choose("cuda")


def test_a_gpu_on_which_gsplat_fails_is_left_alone_or_refused(monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("no nvcc\nat line 3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_draw_one", fail)
    assert devices.choose("auto") == ("cpu", "cpu")
    assert capsys.readouterr().err == "gsplat does not draw here (no nvcc): the bake runs on the CPU\n"
    with pytest.raises(InputError, match=r"--device cuda: gsplat does not draw here \(no nvcc\)"):
        devices.choose("cuda")


def test_a_gpu_that_draws_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_draw_one", lambda: None)
    assert devices.choose("auto") == devices.choose("cuda") == ("cuda", "gsplat")
    assert devices.choose("cpu") == ("cpu", "cpu")
