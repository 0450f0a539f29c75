"""A software OpenGL context for the tests that run shaders."""

import pytest


def software_gl():
    """A moderngl context with compute shaders; skips the test where there is none."""
    moderngl = pytest.importorskip("moderngl")
    try:
        return moderngl.create_context(standalone=True, backend="egl", require=430)
    except Exception as error:
        pytest.skip(f"no OpenGL 4.3 ({error}); install libegl1 and libgl1-mesa-dri (apt-get)")
