"""Every weight and schedule of the 4D optimisation, and how they were found.

A built-in person of 10,000 Gaussians walks one cycle of 30 frames, her simulated skirt
101 mm (median) from rigid skinning; four orbits of 80x140 px of the simulation are learnt, a fifth is held out.
Rigid skinning gives 23.0 dB on both; after 300 steps of four views (unless said otherwise), learnt / held out:

    isometry 8, 2, 0.5, 0.2, 0.05     24.4/24.1  26.4/25.4  28.5/26.7  29.4/27.3  30.2/27.8
    isometry 0.2: shape 0             29.5/27.2 (0.01: 29.4/27.3)       mask 2 for 0.5      29.5/27.1
    isometry 0.2: plane_lr 5e-2       29.7/27.3 (2e-2: 29.4/27.3)       mlp_lr 1e-2         29.6/27.5 (3e-3: 29.4)
    600 steps of two views            30.5/27.9 at 0.7 of the processor time; 1200 of them: 32.9/29.0
    no coarse start                   as with it (26.4/25.5, isometry 2)

One view a step was tried on the full person only, with other weights, and gave as much a second. What stays wrong is
cloth more than about 20 cm from where skinning puts it, in a pattern that repeats: it locks on to another stripe.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from baker.field import FieldConfig


@dataclass(frozen=True)
class OptimiseConfig:
    """Everything the optimisation depends on besides its inputs."""

    iterations: int = 2500
    """Optimiser steps (the paper takes 25k to 30k)."""
    frames: int = 90
    """Clip length that `iterations` is meant for; a bake of a longer clip takes proportionally more."""
    views: int = 2
    """Videos whose picture of one frame is rendered in a step: one camera alone leaves the depth open, and the
    field is evaluated once for all."""
    plane_lr: float = 3e-2
    """Learning rate of the planes."""
    mlp_lr: float = 5e-3
    """Learning rate of the decoder."""
    final_lr: float = 0.05
    """Both rates fall to this part of themselves, by a cosine."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay."""
    l1: float = 1.0
    """Weight of the L1 (paper 4.3)."""
    dssim: float = 0.2
    """Weight of (1 - SSIM) / 2 (3DGS takes 0.2; the paper gives none)."""
    mask: float = 0.5
    """Weight of the preserved region's coverage (paper's l3, no value given)."""
    depth: float = 0.0
    """Weight of the expected depth's error [m] in the preserved region, against rigid skinning's (paper's l4, no value
    given). The preserved Gaussians cannot move here, so only cloth that hides them pays, as it does by the mask."""
    lpips: float = 0.1
    """Weight of LPIPS (paper's l1, no value given); off without `lpips_weights`."""
    lpips_weights: str = ""
    """Path of the LPIPS weights; see `losses.Lpips`. Empty turns the term off."""
    pyramid: float = 0.5
    """Weight of the L1 on reduced images; ours, see `losses.multiscale_l1`."""
    start_pyramid: float = 3.0
    """The same at the first step; coarse to fine, since a plaid's next stripe is nearer than the right one."""
    coarse_part: float = 0.4
    """Part of the run over which the pyramid falls to its weight and L1, dSSIM and LPIPS rise to theirs."""
    pyramid_levels: int = 4
    """Halvings of that term; the first is left out, L1 and dSSIM see as much."""
    isometry: float = 0.1
    """Weight of the mean squared relative change of distance between neighbours on the cloth; ours: cloth bends
    but hardly stretches, and it ties what no camera sees to what one does. A simulated skirt has 0.001, rigid
    skinning 0.007 to 0.014; 0.05 fits a little better than 0.1, 0.5 and more hold the cloth back."""
    neighbours: int = 6
    """Neighbours of each Gaussian in that term: the nearest, the 2nd, 4th, ... 32nd."""
    contact: float = 0.1
    """Weight of the mean squared depth below the skin [cm2]; ours, see `baker/contact.py`."""
    clearance: float = 0.004
    """Height over the skin at which that term begins [m]."""
    cover: float = 0.01
    """Weight of the mean distance [px] of the figure's pixels from the nearest moving Gaussian; ours, see
    `baker/silhouette.py`."""
    shape: float = 0.1
    """Weight of the mean square of d_log_scales and d_rotations; ours: without it a Gaussian that is off grows into
    a smear instead of moving. A simulated long skirt is matched to 40 dB by its centres alone."""
    smooth_space: float = 1e-4
    """Weight of the space planes' squared second differences (4DGaussians' plane_tv: 1e-4)."""
    smooth_time: float = 1e-3
    """Weight of the time planes' squared second differences along time (4DGaussians: 1e-2)."""
    time_l1: float = 1e-4
    """Weight of |1 - time plane| (4DGaussians: 1e-4)."""
    regularise_every: int = 4
    """Plane regularisers act every so many steps, weighted up: they cost as much as the field."""
    density_rounds: int = 0
    """How often the moving Gaussians with the largest screen-space gradients are split, evenly over the first 60 % of
    the run (paper 4.3: adaptive density); 0 for never."""
    density_budget: float = 1.2
    """Moving Gaussians after all rounds, as a multiple of those before."""
    prune_share: float = 0.6
    """A moving Gaussian that lies outside the figure in at least this share of all pictures is dropped at the end;
    above 1 for none. See `baker/density.py`."""
    update_every: int = 0
    """Steps between dataset updates (the paper: 5k); 0 for none."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    record_every: int = 20
    """Steps averaged into one row of the history."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Shape of the residual field."""
