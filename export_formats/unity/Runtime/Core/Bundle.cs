using System;
using System.Collections.Generic;
using System.Text;

namespace Ani3D.Core
{
    /// <summary>N Gaussians of the rest pose. Metres, right-handed, +Y up, the figure faces +Z.</summary>
    public sealed class Gaussians
    {
        public int Count;
        /// <summary>[N 3] m.</summary>
        public float[] Means;
        /// <summary>[N 4] wxyz, unit.</summary>
        public float[] Quats;
        /// <summary>[N 3] ln of standard deviations [m].</summary>
        public float[] LogScales;
        /// <summary>[N] 0..1.</summary>
        public float[] Opacities;
        /// <summary>[N 3] sRGB, not negative.</summary>
        public float[] Colors;
        /// <summary>[N] as runtime/types.py lists them.</summary>
        public byte[] Labels;
        double[] areas;

        /// <summary>
        /// A third of the log of what the first <paramref name="count"/> Gaussians' areas must grow by to cover what all
        /// of them did: what the two larger log scales of each grow by at that level of detail (BUNDLE.md, Order).
        /// </summary>
        public float Growth(int count)
        {
            double ratio = Math.Min(areas[Count] / Math.Max(areas[count], 1e-300), (double)Count / count);
            return (float)(Math.Log(Math.Max(ratio, 1)) / 3);
        }

        /// <summary>Sums of the first Gaussians' areas, for Growth.</summary>
        internal void SumAreas()
        {
            areas = new double[Count + 1];
            for (int n = 0; n < Count; n++)
            {
                double x = LogScales[3 * n], y = LogScales[3 * n + 1], z = LogScales[3 * n + 2];
                double area = Math.Exp(Math.Min(x + y + z - Math.Min(x, Math.Min(y, z)), 50)) * Opacities[n];
                areas[n + 1] = areas[n] + area;
            }
        }

        /// <summary>The farthest a Gaussian comes from the root joint [m]: twice the rest pose's reach.</summary>
        public float Reach(Rig rig)
        {
            double farthest = 0;
            for (int n = 0; n < Count; n++)
            {
                double x = Means[3 * n] - rig.Rest[3], y = Means[3 * n + 1] - rig.Rest[7], z = Means[3 * n + 2] - rig.Rest[11];
                farthest = Math.Max(farthest, x * x + y * y + z * z);
            }
            return (float)(2 * Math.Sqrt(farthest) + 0.1);
        }
    }

    /// <summary>J joints and the binding of N Gaussians to them, W influences each.</summary>
    public sealed class Rig
    {
        public string[] JointNames;
        /// <summary>[J] -1 for joint 0, else a smaller index.</summary>
        public int[] Parents;
        /// <summary>[J 3 4] world from joint, rest pose.</summary>
        public double[] Rest;
        public int Influences;
        /// <summary>[N W].</summary>
        public byte[] SkinJoints;
        /// <summary>[N W] in units of 1 / 32768.</summary>
        public ushort[] SkinWeights;
    }

    /// <summary>mean + sum_k coefficients[t, k] scales[k] texels[k]; dense (K = T) where Coefficients is null.</summary>
    public sealed class OffsetTexture
    {
        public int Layers;
        /// <summary>[M 3].</summary>
        public float[] Mean;
        /// <summary>[K M 3], widened; WideTexels says whether they were 16 bit.</summary>
        public short[] Texels;
        public bool WideTexels;
        /// <summary>[K 3].</summary>
        public float[] Scales;
        /// <summary>[T K], or null.</summary>
        public float[] Coefficients;
    }

    /// <summary>A motion and its residual.</summary>
    public sealed class Clip
    {
        public string Name;
        public double Fps;
        public int Frames;
        /// <summary>[T 3] m, added to the root's rest position.</summary>
        public float[] Roots;
        /// <summary>[T J 4] wxyz, relative to parent and rest rotation.</summary>
        public float[] Quats;
        /// <summary>[M] rows of the moving Gaussians, ascending.</summary>
        public uint[] Moving;
        public OffsetTexture DMeans, DRotations, DLogScales;

        public Loop Loop;

        /// <summary>Seconds after which the clip repeats.</summary>
        public double Duration => Loop.Period / Fps;
    }

    /// <summary>A bundle (BUNDLE.md), checked and decoded. Equal to runtime/bundle.py's.</summary>
    public sealed class Bundle
    {
        public const int Version = 1;
        public const int WeightOne = 32768;
        public const int QuatOne = 32767;
        public const double ShC0 = 0.28209479177387814;
        public const double MaxMetres = 1e4;

        public string Name;
        public string SourceLicence;
        public Gaussians Gaussians;
        public Rig Rig;
        public Clip[] Clips;

        /// <summary>Read a file's bytes. Throws <see cref="InputException"/> naming <paramref name="source"/>.</summary>
        public static Bundle Read(byte[] file, string source)
        {
            Dictionary<string, byte[]> contents = Archive.Read(file, source);
            Dictionary<string, object> manifest = Manifest(contents, source);
            var blocks = new Blocks((Dictionary<string, object>)manifest["blocks"], contents, source);
            var joints = (List<object>)manifest["joint_names"];
            var clips = (List<object>)manifest["clips"];
            var dims = new Dictionary<char, long> { ['J'] = joints.Count };
            var bundle = new Bundle
            {
                Name = Text(manifest, "name", source), SourceLicence = Text(manifest, "source_licence", source),
                Gaussians = ReadGaussians(blocks, dims, source), Rig = ReadRig(blocks, dims, joints, source),
                Clips = new Clip[clips.Count],
            };
            for (int i = 0; i < clips.Count; i++) bundle.Clips[i] = ReadClip(clips[i], $"clip{i}", blocks, dims, source);
            blocks.CheckAllTaken();
            return bundle;
        }

        static Dictionary<string, object> Manifest(Dictionary<string, byte[]> contents, string source)
        {
            source += "/manifest.json";
            if (!contents.TryGetValue("manifest.json", out byte[] text) || text.Length > 1 << 20)
                throw new InputException($"{source}: is missing or too long; give a file made by ani3d bake");
            Dictionary<string, object> manifest;
            try
            {
                manifest = Json.Parse(new UTF8Encoding(false, true).GetString(text)) as Dictionary<string, object>;
            }
            catch (Exception error) when (error is FormatException || error is DecoderFallbackException)
            {
                throw new InputException($"{source}: {error.Message}");
            }
            if (manifest == null || !"ani3d".Equals(Get(manifest, "format")))
                throw new InputException($"{source}: is not an ani3d manifest; give a file made by ani3d bake");
            if (!(Get(manifest, "version") is double version) || version != Version)
                throw new InputException($"{source}: version {Brief(Get(manifest, "version"))}, this player knows {Version}; " +
                                         "export the package again with the ani3d that made the file");
            if (!(Get(manifest, "joint_names") is List<object> joints) || joints.Count < 1 || joints.Count > 256 ||
                !(Get(manifest, "clips") is List<object> clips) || clips.Count < 1 || clips.Count > 64 ||
                !(Get(manifest, "blocks") is Dictionary<string, object>))
                throw new InputException($"{source}: its joints, clips or blocks are not usable");
            return manifest;
        }

        static Gaussians ReadGaussians(Blocks blocks, Dictionary<char, long> dims, string source)
        {
            float[] means = blocks.Floats("gaussians/means", "f32", "N 3", dims, MaxMetres);
            short[] stored = blocks.Shorts("gaussians/quats", "N 4", dims);
            float[] logScales = blocks.Floats("gaussians/log_scales", "f16", "N 3", dims, 30);
            float[] logits = blocks.Floats("gaussians/opacity_logits", "f16", "N", dims, 30);
            float[] sh0 = blocks.Floats("gaussians/sh0", "f16", "N 3", dims, 100);
            byte[] labels = blocks.Bytes("gaussians/labels", "N", dims);
            int count = labels.Length;
            var quats = new float[4 * count];
            for (int n = 0; n < count; n++)
            {
                double w = stored[4 * n], x = stored[4 * n + 1], y = stored[4 * n + 2], z = stored[4 * n + 3];
                double norm = Math.Sqrt(w * w + x * x + y * y + z * z);
                if (Math.Abs(norm - QuatOne) > 2)
                    throw new InputException($"{source}: gaussians/quats row {n} is not unit");
                for (int c = 0; c < 4; c++) quats[4 * n + c] = (float)(stored[4 * n + c] / norm);
            }
            var opacities = new float[count];
            for (int n = 0; n < count; n++) opacities[n] = (float)(1.0 / (1.0 + Math.Exp(-(double)logits[n])));
            var colors = new float[3 * count];
            for (int i = 0; i < colors.Length; i++) colors[i] = Math.Max((float)(0.5 + ShC0 * sh0[i]), 0f);
            var gaussians = new Gaussians
            {
                Count = count, Means = means, Quats = quats, LogScales = logScales, Opacities = opacities,
                Colors = colors, Labels = labels,
            };
            gaussians.SumAreas();
            return gaussians;
        }

        static Rig ReadRig(Blocks blocks, Dictionary<char, long> dims, List<object> names, string source)
        {
            var rig = new Rig
            {
                JointNames = new string[names.Count], Parents = blocks.Ints("rig/parents", "J", dims),
                SkinJoints = blocks.Bytes("rig/skin_joints", "N W", dims),
                SkinWeights = blocks.UShorts("rig/skin_weights", "N W", dims), Influences = (int)dims['W'],
            };
            double[] rest = blocks.Doubles("rig/rest", "J 4 4", dims, MaxMetres);
            rig.Rest = new double[12 * names.Count];
            for (int j = 0; j < names.Count; j++)
            {
                rig.JointNames[j] = names[j] as string ?? throw new InputException($"{source}: a joint has no name");
                Array.Copy(rest, 16 * j, rig.Rest, 12 * j, 12);
                if (!IsInvertible(rest, 16 * j))
                    throw new InputException($"{source}: rig/rest holds a matrix that is not an invertible affine transform");
                int parent = rig.Parents[j];
                if (j == 0 ? parent != -1 : parent < 0 || parent >= j)
                    throw new InputException($"{source}: rig/parents must have one root, first, parents before children");
            }
            for (int n = 0; n < rig.SkinJoints.Length / rig.Influences; n++)
            {
                int sum = 0;
                for (int w = n * rig.Influences; w < (n + 1) * rig.Influences; w++)
                {
                    sum += rig.SkinWeights[w];
                    if (rig.SkinJoints[w] >= names.Count)
                        throw new InputException($"{source}: rig/skin_joints row {n} names no joint");
                }
                if (sum != WeightOne)
                    throw new InputException($"{source}: rig/skin_weights row {n} does not sum to 1");
            }
            return rig;
        }

        static bool IsInvertible(double[] m, int at)
        {
            double determinant = m[at] * (m[at + 5] * m[at + 10] - m[at + 6] * m[at + 9]) -
                                 m[at + 1] * (m[at + 4] * m[at + 10] - m[at + 6] * m[at + 8]) +
                                 m[at + 2] * (m[at + 4] * m[at + 9] - m[at + 5] * m[at + 8]);
            return Math.Abs(determinant) >= 1e-6 && m[at + 12] == 0 && m[at + 13] == 0 && m[at + 14] == 0 && m[at + 15] == 1;
        }

        static Clip ReadClip(object line, string prefix, Blocks blocks, Dictionary<char, long> figure, string source)
        {
            var about = line as Dictionary<string, object>;
            if (about == null || !(Get(about, "name") is string name) || !(Get(about, "fps") is double fps) ||
                !(fps >= 0.1 && fps <= 1000))
                throw new InputException($"{source}: {prefix} must have a name and a frame rate");
            var dims = new Dictionary<char, long>(figure);
            var clip = new Clip
            {
                Name = name, Fps = fps, Roots = blocks.Floats($"{prefix}/root_translations", "f32", "T 3", dims, MaxMetres),
                Quats = blocks.Floats($"{prefix}/quats", "f32", "T J 4", dims, 1.01),
                Moving = blocks.UInts($"{prefix}/moving", "M", dims), Frames = (int)dims['T'],
            };
            for (int q = 0; q < clip.Quats.Length; q += 4)
            {
                double squares = 0;
                for (int c = q; c < q + 4; c++) squares += (double)clip.Quats[c] * clip.Quats[c];
                if (Math.Abs(Math.Sqrt(squares) - 1) > 1e-3)
                    throw new InputException($"{source}: {prefix}/quats holds a rotation that is not a unit quaternion");
            }
            for (int m = 0; m < clip.Moving.Length; m++)
            {
                if (clip.Moving[m] >= figure['N'] || (m > 0 && clip.Moving[m] <= clip.Moving[m - 1]))
                    throw new InputException($"{source}: {prefix}/moving must be ascending rows below {figure['N']}");
            }
            clip.DMeans = ReadTexture($"{prefix}/d_means", "f32", blocks, dims);
            clip.DRotations = ReadTexture($"{prefix}/d_rotations", "f16", blocks, dims);
            clip.DLogScales = ReadTexture($"{prefix}/d_log_scales", "f16", blocks, dims);
            clip.Loop = Loop.Of(clip);
            return clip;
        }

        static OffsetTexture ReadTexture(string prefix, string meanType, Blocks blocks, Dictionary<char, long> clip)
        {
            var dims = new Dictionary<char, long> { ['T'] = clip['T'], ['M'] = clip['M'] };
            bool dense = !blocks.Has($"{prefix}/coefficients");
            if (dense) dims['K'] = dims['T'];
            var texture = new OffsetTexture
            {
                Mean = blocks.Floats($"{prefix}/mean", meanType, "M 3", dims, MaxMetres),
                Texels = blocks.Texels($"{prefix}/texels", "K M 3", dims, out bool wide), WideTexels = wide,
                Scales = blocks.Floats($"{prefix}/texel_scales", "f32", "K 3", dims, MaxMetres),
            };
            texture.Layers = (int)dims['K'];
            if (!dense)
                texture.Coefficients = blocks.Floats($"{prefix}/coefficients", "f32", "T K", dims, MaxMetres);
            return texture;
        }

        static object Get(Dictionary<string, object> from, string key) =>
            from.TryGetValue(key, out object value) ? value : null;

        static string Brief(object value)
        {
            string text = Convert.ToString(value, System.Globalization.CultureInfo.InvariantCulture);
            return text.Length <= 20 ? text : text.Substring(0, 20);
        }

        static string Text(Dictionary<string, object> from, string key, string source) =>
            Get(from, key) as string ?? throw new InputException($"{source}: the manifest has no {key}");
    }
}
