"""The window of `ani3d play`: pyglet, an orbit camera, pictures from the CPU rasteriser. No torch."""
