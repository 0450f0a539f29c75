"""`ani3d prior personalise`: the avatar's own clips are made once, learnt from, measured before and after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import ani3d
from baker.avatar import Avatar
from baker.person import PersonConfig, make_person
from baker.prior_batches import BatchConfig
from baker.prior_personal import PersonalConfig, personalise
from baker.priors import load_prior
from runtime.errors import InputError

TINY = PersonalConfig(
    steps=2, variations=1, clips_per_simulation=1, held_out_clips=1, frames=9, seconds=1.0, width=64, height=112,
    validate_every=2, batch=BatchConfig(size=1, crop_width=32, crop_height=48, crop_frames=9, recolor=0.0,
                                        coarse_dropout=0.0))


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return make_person(PersonConfig(gaussians=3000, hair_style="short"))


def test_an_avatar_is_learnt_and_a_second_run_goes_on_where_the_first_ended(avatar: Avatar, tmp_path: Path) -> None:
    said: list[str] = []
    made = personalise(avatar, ["walk"], tmp_path, held_out="jump", config=TINY,
                       progress=lambda done, total, text: said.append(text))
    assert made["before"]["step"] == 0 and made["after"]["step"] in (0, 2)
    assert made["after"]["garment_psnr"] >= made["before"]["garment_psnr"] > made["coarse"]["garment_psnr"]
    assert json.loads((tmp_path / "personal.json").read_text()) == made
    assert load_prior("embedded", tmp_path / "embedded.safetensors").fingerprint != load_prior("embedded").fingerprint
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == ["clip_0000_00.npy", "clip_0001_00.npy"]
    before = (tmp_path / "clips" / "clip_0001_00.npy").stat().st_mtime_ns
    again = personalise(avatar, ["walk"], tmp_path, held_out="jump", config=TINY)
    assert again == made and (tmp_path / "clips" / "clip_0001_00.npy").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="fine-tuning of another motions"):
        personalise(avatar, ["run"], tmp_path, held_out="jump", config=TINY)
    other = replace(avatar, gaussians=replace(avatar.gaussians, sh0=avatar.gaussians.sh0 + 1))
    with pytest.raises(InputError, match="another avatar_sha256"):
        personalise(other, ["walk"], tmp_path, held_out="jump", config=TINY)


def test_what_cannot_be_learnt_is_refused(avatar: Avatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no garments"):
        personalise(replace(avatar, garments=()), ["walk"], tmp_path / "a", held_out="jump", config=TINY)
    code = ani3d.main(["prior", "personalise", "builtin", "walk", "-o", str(tmp_path / "b"), "--held-out", "walk",
                       "--gaussians", "3000"])
    assert code == 2 and "cannot be held out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
