using System;

namespace Ani3D.Core
{
    /// <summary>Two neighbouring stored frames of one clip, and how much of what is shown they are.</summary>
    public struct Layer
    {
        public int Clip, Before, After;
        /// <summary>Of After, in [0, 1).</summary>
        public double Weight;
        /// <summary>Over the layers below, in [0, 1]; 1 for the first.</summary>
        public double Share;
        /// <summary>Added to the root of either frame [m]: the way that earlier loops went.</summary>
        public double BeforeX, BeforeZ, AfterX, AfterZ;
    }

    /// <summary>
    /// What an avatar shows at a moment, as runtime/actor.py and stage_reference.py have it. Everything is allocated
    /// once: Clear, Add one clip or two, then Pose; no garbage is made between frames.
    /// </summary>
    public sealed class Sampler
    {
        /// <summary>Two clips, each within the fade of its loop.</summary>
        public const int MaxLayers = 4;
        /// <summary>Lists of steps a layer: centres, rotations before, rotations after, log scales.</summary>
        public const int Lists = 4;

        public readonly Layer[] Layers = new Layer[MaxLayers];
        public int LayerCount { get; private set; }
        /// <summary>[J 12] world from joint, row-major 3x4.</summary>
        public readonly double[] Joints;
        /// <summary>[J 12] rest-pose points to posed points.</summary>
        public readonly double[] Skinning;
        /// <summary>(x, y, z, layer of the texture) each; a group is mean + sum of step.xyz * texels[layer].</summary>
        public readonly float[] Steps;
        /// <summary>Where the lists of each layer end in Steps, counted in steps.</summary>
        public readonly int[] Ends = new int[Lists * MaxLayers];

        readonly Bundle bundle;
        readonly double[] restLocal, restInverse, turn = new double[12], turned = new double[12];
        readonly Rotation[] rotations;
        int stepCount;

        public Sampler(Bundle bundle)
        {
            this.bundle = bundle;
            Rig rig = bundle.Rig;
            int joints = rig.Parents.Length;
            Joints = new double[12 * joints];
            Skinning = new double[12 * joints];
            restLocal = new double[12 * joints];
            restInverse = new double[12 * joints];
            rotations = new Rotation[joints];
            for (int j = 0; j < joints; j++)
            {
                Affine.Inverse(rig.Rest, 12 * j, restInverse, 12 * j);
                if (rig.Parents[j] < 0) Array.Copy(rig.Rest, 12 * j, restLocal, 12 * j, 12);
                else Affine.Multiply(restInverse, 12 * rig.Parents[j], rig.Rest, 12 * j, restLocal, 12 * j);
            }
            int most = 1;
            foreach (Clip clip in bundle.Clips)
                most = Math.Max(most, StepsOf(clip.DMeans) + 2 * StepsOf(clip.DRotations) + StepsOf(clip.DLogScales));
            Steps = new float[4 * MaxLayers * most];
        }

        /// <summary>Steps used of all layers.</summary>
        public int StepCount => stepCount;

        public void Clear() => LayerCount = 0;

        /// <summary>
        /// Show a clip at a time [s], mixed with a share of 0..1 over what was added before. A looping clip's time may
        /// grow without end; otherwise the ends hold.
        /// </summary>
        public void Add(int clipIndex, double seconds, bool loop, double share)
        {
            if (LayerCount > MaxLayers - 2) throw new InvalidOperationException("at most two clips");
            Clip clip = bundle.Clips[clipIndex];
            Loop looping = clip.Loop;
            int last = clip.Frames - 1;
            double frame = seconds * clip.Fps, nearest = Math.Round(frame);
            // t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
            if (Math.Abs(frame - nearest) < 1e-6) frame = nearest;
            if (!loop)
            {
                Push(clipIndex, Math.Min(Math.Max(frame, 0), last), last, share, 0, 0);
                return;
            }
            // The first pass begins at frame 0, later ones at frame Fade, where the fade has led.
            bool begun = frame >= 0 && frame < looping.Fade;
            double turns = begun ? 0 : Math.Floor((frame - looping.Fade) / looping.Period);
            double place = frame - turns * looping.Period;
            double x = turns * looping.TravelX, z = turns * looping.TravelZ;
            if (looping.Closed && place > last)
            {
                Layers[LayerCount++] = new Layer
                {
                    Clip = clipIndex, Before = last, After = 0, Weight = place - last, Share = share, BeforeX = x,
                    BeforeZ = z, AfterX = x + looping.TravelX, AfterZ = z + looping.TravelZ,
                };
                return;
            }
            double head = place - looping.Period;
            if (head < 0)
            {
                Push(clipIndex, Math.Min(place, last), last, share, x, z);
                return;
            }
            // Of two layers mixed over others, the upper keeps its share of the lower.
            double upper = share * (looping.Fade > 0 ? Smooth(head / looping.Fade) : 0);
            Push(clipIndex, Math.Min(place, last), last, (share - upper) / Math.Max(1 - upper, 1e-9), x, z);
            if (looping.Fade > 0) Push(clipIndex, head, last, upper, x + looping.TravelX, z + looping.TravelZ);
        }

        /// <summary>A fade that begins and ends at rest: 3 s^2 - 2 s^3.</summary>
        public static double Smooth(double share)
        {
            share = Math.Min(Math.Max(share, 0), 1);
            return share * share * (3 - 2 * share);
        }

        /// <summary>Joints, Skinning, Steps and Ends of the layers. Without root motion the root stays above its rest place.</summary>
        public void Pose(bool rootMotion, bool residual)
        {
            PoseJoints(rootMotion);
            Skin();
            stepCount = 0;
            for (int l = 0; l < LayerCount; l++)
            {
                Layer layer = Layers[l];
                Clip clip = bundle.Clips[layer.Clip];
                bool moving = residual && clip.Moving.Length > 0;
                if (moving) AddSteps(clip.DMeans, layer.Before, layer.After, layer.Weight);
                Ends[Lists * l] = stepCount;
                if (moving) AddSteps(clip.DRotations, layer.Before, layer.Before, 0);
                Ends[Lists * l + 1] = stepCount;
                if (moving && layer.Weight > 0) AddSteps(clip.DRotations, layer.After, layer.After, 0);
                Ends[Lists * l + 2] = stepCount;
                if (moving) AddSteps(clip.DLogScales, layer.Before, layer.After, layer.Weight);
                Ends[Lists * l + 3] = stepCount;
            }
        }

        /// <summary>Skinning of what is in Joints, such as a game's own animation put there.</summary>
        public void Skin()
        {
            for (int at = 0; at < Joints.Length; at += 12) Affine.Multiply(Joints, at, restInverse, at, Skinning, at);
        }

        void PoseJoints(bool rootMotion)
        {
            Rig rig = bundle.Rig;
            double x = 0, y = 0, z = 0;
            for (int l = 0; l < LayerCount; l++)
            {
                Layer layer = Layers[l];
                Clip clip = bundle.Clips[layer.Clip];
                double share = l == 0 ? 1 : layer.Share, before = 1 - layer.Weight, after = layer.Weight;
                int b = 3 * layer.Before, a = 3 * layer.After;
                x += share * (before * (clip.Roots[b] + layer.BeforeX) + after * (clip.Roots[a] + layer.AfterX) - x);
                y += share * (before * clip.Roots[b + 1] + after * clip.Roots[a + 1] - y);
                z += share * (before * (clip.Roots[b + 2] + layer.BeforeZ) + after * (clip.Roots[a + 2] + layer.AfterZ) - z);
                for (int j = 0; j < rotations.Length; j++)
                {
                    Rotation own = Rotation.Read(clip.Quats, 4 * (layer.Before * rotations.Length + j)).SlerpTo(
                        Rotation.Read(clip.Quats, 4 * (layer.After * rotations.Length + j)), layer.Weight);
                    rotations[j] = l == 0 ? own : rotations[j].SlerpTo(own, share);
                }
            }
            for (int j = 0; j < rotations.Length; j++)
            {
                rotations[j].ToMatrix(turn);
                int parent = rig.Parents[j];
                Affine.Multiply(restLocal, 12 * j, turn, 0, turned, 0);
                if (parent < 0)
                {
                    turned[3] += rootMotion ? x : 0;
                    turned[7] += y;
                    turned[11] += rootMotion ? z : 0;
                    Array.Copy(turned, 0, Joints, 12 * j, 12);
                }
                else Affine.Multiply(Joints, 12 * parent, turned, 0, Joints, 12 * j);
            }
        }

        void Push(int clip, double frame, int last, double share, double x, double z)
        {
            int before = Math.Min((int)Math.Floor(frame), last);
            Layers[LayerCount++] = new Layer
            {
                Clip = clip, Before = before, After = Math.Min(before + 1, last), Weight = frame - before, Share = share,
                BeforeX = x, BeforeZ = z, AfterX = x, AfterZ = z,
            };
        }

        static int StepsOf(OffsetTexture texture) => texture.Coefficients == null ? 2 : texture.Layers;

        /// <summary>One sum's steps. A group is linear in its coefficients: those are interpolated, not values.</summary>
        void AddSteps(OffsetTexture texture, int before, int after, double weight)
        {
            if (texture.Coefficients == null)
            {
                AddStep(texture, before, (float)(1 - weight));
                AddStep(texture, after, (float)weight);
                return;
            }
            for (int k = 0; k < texture.Layers; k++)
                AddStep(texture, k, (float)((1 - weight) * texture.Coefficients[before * texture.Layers + k] +
                                            weight * texture.Coefficients[after * texture.Layers + k]));
        }

        void AddStep(OffsetTexture texture, int layer, float factor)
        {
            if (factor == 0) return;
            int at = 4 * stepCount++;
            for (int c = 0; c < 3; c++) Steps[at + c] = factor * texture.Scales[3 * layer + c];
            Steps[at + 3] = layer;
        }
    }
}
