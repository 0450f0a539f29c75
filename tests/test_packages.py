"""Who may import whom (DESIGN §1), and that playing needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.types import GROUPS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "export_formats", "viewer", "baker")
ALLOWED = {
    "runtime": {"runtime"},
    "export_formats": {"runtime", "export_formats"},
    "viewer": {"runtime", "viewer"},
    "baker": {"runtime", "export_formats", "baker"},
}
# llvmlite is numba's own back end, installed with it; `runtime/_simd.py` builds vectors with it.
RUNTIME_THIRD_PARTY = {"numpy", "numba", "llvmlite", "jaxtyping", "onnxruntime", "tensorrt"}
TORCH_FAMILY = {"torch", "torchvision", "diffusers", "transformers", "safetensors", "gsplat", "smplx", "scipy"}


def imports_of(file: Path) -> set[str]:
    """Top-level names of all modules a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the arrows"
            names.add(node.module.split(".")[0])
    return names


def files_of(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no files in {package}"
    return files


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_along_the_arrows(package):
    for file in files_of(package):
        ours = imports_of(file) & {*PACKAGES, "ani3d", "tests"}
        assert ours <= ALLOWED[package], f"{file.relative_to(ROOT)} imports {ours - ALLOWED[package]}"


@pytest.mark.parametrize("package", ("runtime", "export_formats", "viewer"))
def test_playing_side_names_no_torch_library(package):
    for file in files_of(package):
        assert not imports_of(file) & TORCH_FAMILY, file


def test_runtime_needs_numpy_numba_and_jaxtyping_only():
    for file in files_of("runtime"):
        third = imports_of(file) - set(sys.stdlib_module_names) - {"runtime"}
        assert third <= RUNTIME_THIRD_PARTY, f"{file.name} imports {third - RUNTIME_THIRD_PARTY}"


def test_fresh_interpreter_that_imports_every_playing_module_holds_no_torch():
    modules = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
               for p in ("runtime", "export_formats", "viewer") for f in files_of(p)]
    code = (f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
            f"print(sorted(set(sys.modules) & {TORCH_FAMILY - {'scipy'}!r}))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["", "bake", "prior"])
def test_command_help_loads_nothing_large(command):
    code = (f"import sys, ani3d\ntry: ani3d.main([*{command.split()}, '--help'])\nexcept SystemExit: pass\n"
            "print(bool({'torch', 'numba', 'numpy', 'scipy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")


def test_importing_ani3d_sets_up_threads_unless_the_user_did():
    code = "import os, ani3d; print(os.environ['GOMP_SPINCOUNT'], os.environ['NUMBA_THREADING_LAYER'])"
    env = {"PATH": "", "PYTHONPATH": str(ROOT), "NUMBA_THREADING_LAYER": "omp"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "omp"]


def test_bakers_kernels_import_and_run_where_no_folder_can_be_written():
    """As tests/test_raster.py has it of the runtime's: numba then finds no place for its cache and raises."""
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files_of("baker")
               if "numba" in imports_of(file) or "runtime._raster_template" in file.read_text(encoding="utf-8")]
    assert len(modules) >= 6
    script = f"""
import numba.core.caching
for locator in numba.core.caching.CacheImpl._locator_classes:
    locator.from_function = classmethod(lambda *_: None)
import {", ".join(modules)}
import numpy as np
normals = np.empty((3, 3))
baker.surface_kernels.vertex_normals(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]), normals)
print(normals.tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str([[0.0, 0.0, 1.0]] * 3), done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_kernels_are_compiled_by_the_one_decorator_that_can_do_without_a_cache(package):
    for file in files_of(package):
        if file.name != "_raster_template.py":
            assert "njit" not in {node.id if isinstance(node, ast.Name) else node.attr for node in
                                  ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                                  if isinstance(node, ast.Name | ast.Attribute)}, file


@pytest.mark.parametrize("package", PACKAGES)
def test_groups_of_a_residual_are_listed_once(package):
    listing = {file for file in files_of(package) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
               if isinstance(node, ast.Tuple | ast.List | ast.Set)
               and {item.value for item in node.elts if isinstance(item, ast.Constant)} >= set(GROUPS)}
    assert listing == ({ROOT / "runtime" / "types.py"} if package == "runtime" else set())
