"""The window of `ani3d play`: pyglet, an orbit camera, a splat pass. No torch."""
