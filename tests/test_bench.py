"""The benchmarks' bookkeeping: what a gate lets through, and that the committed baseline has what the gates hold."""

import json

import pytest

from baker.bench_gate import BASELINE, GATES, Gate, failures


def baseline() -> dict:
    return json.loads(BASELINE.read_text())


@pytest.mark.parametrize("what", GATES)
def test_baseline_passes_its_own_gates(what: str) -> None:
    assert failures(what, baseline()[what]) == []


@pytest.mark.parametrize("what", GATES)
def test_every_gate_fails_on_a_figure_that_is_far_worse(what: str) -> None:
    for gate in GATES[what]:
        figures = baseline()[what]
        figures[gate.figure] *= 0.01 if gate.higher_is_better else 100
        (line,) = failures(what, figures)
        assert gate.figure in line and what in line


def test_a_limit_holds_even_when_the_baseline_is_worse() -> None:
    assert Gate("a", True, 2.0, limit=3.0).bound(4.0) == 3.0
    assert Gate("a", True, 2.0, limit=3.0).bound(10.0) == 5.0
    assert Gate("a", False, 2.0, limit=3.0).bound(2.0) == 3.0
    assert Gate("a", False, 2.0).bound(2.0) == 4.0


def test_a_training_step_learns_and_equals_plain_torch() -> None:
    """Two steps from the same start, one fused, one in plain torch: the same loss and nearly the same gradient."""
    bench = pytest.importorskip("baker.bench")
    fused, plain = bench.TrainingStep.make(40), bench.TrainingStep.make(40)
    fused.run()
    plain.run(plain=True)
    for one, other in zip(fused.field.parameters(), plain.field.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None and other.grad.norm() > 0
        # The field's own difference is 1e-6, SSIM's 2e-6, and offsets that differ by rounding move 1/255 borders.
        assert (one.grad - other.grad).norm() < 1e-3 * other.grad.norm()


def test_gate_decides_the_exit_code_and_says_why(monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture) -> None:
    bench, ani3d = pytest.importorskip("baker.bench"), pytest.importorskip("ani3d")
    figures = baseline()["field"]
    monkeypatch.setattr(bench, "bench_field", lambda: figures)
    assert ani3d.main(["bench", "field", "--json", "--gate"]) == 0
    assert json.loads(capsys.readouterr().out) == figures
    figures["ratio_to_reference"] = 1.0
    assert ani3d.main(["bench", "field"]) == 0  # measured, not judged
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        ani3d.main(["bench", "field", "--gate"])
    assert "ratio_to_reference is 1.0, under" in capsys.readouterr().err
