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

A harder case later: a twirl of 30 frames (built-in person 502, 12,000 Gaussians, four orbits of 128x224 px of the
simulation, 700 steps; rigid skinning 23.2 dB, in the garment of two unseen orbits 15.4 dB, 4.4 cm from the true cloth):
supervised dB / garment dB of unseen orbits / distance [cm]:

    time_samples 0.5                  25.7/16.9/2.1      time_samples 1 (all of the following)       27.1/17.2/2.2
    1400 steps                        29.2/17.6/2.0      four views a step (1.6 times the time)      28.6/17.4/2.0
    both rates doubled                26.6/16.7/2.5      both halved                                 27.3/17.2/2.1
    isometry 0.05                     27.3/17.3/2.3      isometry from 1 to 0.1, coarse to fine      27.1/17.0/2.3
    dssim 0.5                         27.1/17.0/2.3      pyramid from 6 over 60 % of the run         26.9/17.1/2.2
    last 300 steps at 256x448 px      26.9/17.2/2.3 in 1.3 times the time
    centres pulled to where the optical flow (DIS) from the current to the true picture leads, five rounds
                                      27.4/17.2/1.7 in twice the time; on a run nothing (3.5 cm for 3.3)

Were the true places of the visible Gaussians known, the distance would fall from 2.2 to 1.2 cm (walk 0.9 to 0.65, run
3.0 to 1.4, jump 2.1 to 1.45; cameras three times as fast): correspondence is missing, not capacity. Fitted to the
truth's centres in 700 steps, the field misses a run by 1.0 cm and a twirl by 1.1 with a time sample every two frames,
0.9 and 0.6 with one every frame.
With time_samples 1 a run has 28.0/16.0/3.4 where 0.5 has 27.5/16.0/3.3, and a bake of a walk from the prior the same
within 0.1 dB and 0.1 cm: nearer to the learnt views, hardly to the truth, so it stays 0.5.
A residual of colour or of opacity, from a second field (walk, 300 steps; garment dB of unseen orbits / distance): from
the truth 20.0/2.0 without, 20.4/2.3 with colour, 19.9/2.3 with opacity; from the prior 17.9/3.7, 18.8/4.2, 18.0/3.9.
Paint stands in for motion: SSIM stays, cloth is farther off, and every frame would carry colours. Both are left out.
More orbits of the truth at equal steps are what helps (walk, twirl, run, jump; 45 frames; supervised dB / distance):

    4 orbits, 700 steps      35.3/0.86  26.7/1.57  25.8/3.23  34.6/1.49
    8                        34.9/0.77  26.5/1.41  25.0/2.92  34.0/1.16
    16                                  26.4/1.29  24.8/2.72  34.0/1.04
    12, 2500 steps                      29.8/0.67  26.6/1.94  37.8/0.66
        isometry 0.03                   29.7/0.71  26.7/2.01  38.0/0.64
        time_samples 1       39.3/0.38  33.5/0.34  27.0/2.02  37.7/0.75  (5000 steps: run 28.4/1.62)

Learning outwards in time from the frame where rigid skinning fits best, the planes carried along, gains nothing (twirl
1.6 for 1.4 cm, run 3.9 for 3.8 at time_samples 1, four orbits): the cloth is far from skinning there too.
From the prior (the same four, 400 steps, garment dB of unseen orbits / distance [cm]; rigid skinning 16.23/4.71),
isometry and dssim: 0.5 and 0.2 17.51/3.25; 0.5 and 0.5 17.58/3.12; 0.5 and 0 17.41/3.43; 0.25 and 0.2 17.61/3.16; 1 and
0.2 17.42/3.45; 0.25 and 1 17.71/3.01; 0.12 and 1 17.75/3.03; 0.25 and 2 17.75/2.99; 700 steps of 0.25 and 1 17.80/3.00,
of 0.5 and 1 17.73/3.02: the default, since with 0.25 a pleated hem frays and skin shows between the Gaussians.
Eight or twelve orbits 17.53/3.30 and 17.56/3.33, cover 0.03 17.46/3.38, four views a step 17.55/3.24, time_samples 1
17.49/3.20.
The embedded prior's own flow as such a pull does nothing for bakes from it: garment of unseen orbits on a walk 18.0 dB
without, 17.8 and 17.6 at weights of 0.05 and 0.3; on a run 15.3 and 15.3. It explains 43, 34 and 4 % of the true
displacement's square (walk, run, twirl), and what it does explain the pictures already tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FieldConfig:
    """Shape and scale of the field."""

    base: int = 8
    """Cells along each axis at the first level. The paper's D.2 has 64; fitted straight to a simulated skirt of 90
    frames, 16 leaves as little error as 32 (6.5 and 6.1 mm) at half the cost."""
    levels: int = 3
    """Levels, each with twice the cells of the one before (paper D.2)."""
    features: int = 16
    """Features of a plane at each level (4DGaussians: 16 or 32)."""
    time_samples: float = 0.5
    """Samples of the time axis per frame; 4DGaussians takes half the number of frames."""
    width: int = 64
    """Width of the decoder's hidden layers (4DGaussians: 64)."""
    mean_scale: float = 0.1
    """Metres per unit of decoder output."""
    rotation_scale: float = 0.3
    """Radians per unit of decoder output."""
    log_scale_scale: float = 0.3
    """Log scale per unit of decoder output."""


@dataclass(frozen=True)
class OptimiseConfig:
    """Everything the optimisation depends on besides its inputs."""

    iterations: int = 4000
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
