using System;
using System.Globalization;
using System.IO;
using Ani3D.Core;

/// <summary>
/// Dump BUNDLE FOLDER COUNT RESIDUAL LOOP MOMENT...: what the core decodes and what it sends to the GPU, as raw
/// little-endian files NAME.f4, .f8 or .u4, for the test to compare. A moment is CLIP:SECONDS, or two of them and the
/// second's share, with commas. Prints the message of an InputException and exits with 2.
/// </summary>
static class Dump
{
    static string folder;

    static int Main(string[] arguments)
    {
        if (arguments[0] == "axes") return Camera(arguments);
        if (arguments[0] == "garbage") return Garbage(arguments[1]);
        Bundle bundle;
        try
        {
            bundle = Bundle.Read(File.ReadAllBytes(arguments[0]), Path.GetFileName(arguments[0]));
        }
        catch (InputException error)
        {
            Console.WriteLine(error.Message);
            return 2;
        }
        folder = arguments[1];
        int count = int.Parse(arguments[2]);
        bool residual = arguments[3] == "1", loop = arguments[4] == "1";
        WriteFigure(bundle, count);
        var decoder = new Decoder(bundle);
        var sampler = new Sampler(bundle);
        for (int i = 5; i < arguments.Length; i++)
        {
            string[] parts = arguments[i].Split(',', ':');
            sampler.Clear();
            sampler.Add(int.Parse(parts[0]), Number(parts[1]), loop, 1);
            if (parts.Length > 2) sampler.Add(int.Parse(parts[2]), Number(parts[3]), loop, Number(parts[4]));
            sampler.Pose(true, residual);
            decoder.Decode(sampler, count, residual);
            string prefix = $"time{i - 5}_";
            Write(prefix + "joints.f8", sampler.Joints);
            var rows = new float[sampler.Skinning.Length];
            GpuData.Joints(sampler.Skinning, rows);
            Write(prefix + "skinning.f4", rows);
            Write(prefix + "steps.f4", Part(sampler.Steps, 4 * sampler.StepCount));
            var ends = new int[4 * sampler.LayerCount];
            Array.Copy(sampler.Ends, ends, ends.Length);
            Write(prefix + "ends.u4", ends);
            var layers = new double[3 * sampler.LayerCount];
            for (int l = 0; l < sampler.LayerCount; l++)
            {
                layers[3 * l] = sampler.Layers[l].Clip;
                layers[3 * l + 1] = sampler.Layers[l].Weight;
                layers[3 * l + 2] = l == 0 ? 1 : sampler.Layers[l].Share;
            }
            Write(prefix + "layers.f8", layers);
            Write(prefix + "means.f4", Part(decoder.Means, 3 * count));
            Write(prefix + "quats.f4", Part(decoder.Quats, 4 * count));
            Write(prefix + "log_scales.f4", Part(decoder.LogScales, 3 * count));
        }
        Clip clip = bundle.Clips[0];
        Console.WriteLine($"{bundle.Name}|{bundle.Rig.JointNames[1]}|{clip.Name}|{clip.Duration:R}|{bundle.Gaussians.Reach(bundle.Rig):R}");
        return 0;
    }

    static void WriteFigure(Bundle bundle, int count)
    {
        var packed = new GpuFigure(bundle);
        Write("rest_means.f4", packed.RestMeans);
        Write("rest_quats.f4", packed.RestQuats);
        Write("rest_log_scales.f4", packed.RestLogScales);
        Write("colors.f4", packed.Colors);
        Write("labels.u1", bundle.Gaussians.Labels);
        Write("skin.u4", packed.SkinWords);
        Write("growth.f4", new[] { bundle.Gaussians.Growth(count) });
        for (int i = 0; i < packed.Clips.Length; i++)
        {
            GpuClip clip = packed.Clips[i];
            Write($"clip{i}_rows.i4", clip.Rows);
            Write($"clip{i}_group_means.f4", clip.GroupMeans);
            Write($"clip{i}_mean_texels.u4", clip.MeanTexels);
            Write($"clip{i}_rotation_texels.u4", clip.RotationTexels);
            Write($"clip{i}_log_scale_texels.u4", clip.LogScaleTexels);
            Write($"clip{i}_texel_words.u4", clip.TexelWords);
            Loop loop = bundle.Clips[i].Loop;
            Write($"clip{i}_loop.f8", new[] { loop.Period, loop.Fade, loop.Closed ? 1 : 0, loop.TravelX, loop.TravelZ });
        }
    }

    /// <summary>Dump garbage BUNDLE: bytes allocated by reading, and by 1000 frames of playing with a fade.</summary>
    static int Garbage(string path)
    {
        Bundle bundle = Bundle.Read(File.ReadAllBytes(path), path);
        var sampler = new Sampler(bundle);
        var rows = new float[sampler.Skinning.Length];
        long before = 0;
        for (int frame = -100; frame < 1000; frame++)
        {
            if (frame == 0) before = GC.GetAllocatedBytesForCurrentThread();
            sampler.Clear();
            sampler.Add(0, 0.013 * frame, true, 1);
            sampler.Add(bundle.Clips.Length - 1, 0.017 * frame, true, 0.3);
            sampler.Pose(true, true);
            GpuData.Joints(sampler.Skinning, rows);
            bundle.Gaussians.Growth(1 + (frame + 100) % bundle.Gaussians.Count);
        }
        Console.WriteLine($"{before}|{GC.GetAllocatedBytesForCurrentThread() - before}");
        return 0;
    }

    /// <summary>Dump axes FOLDER: rows.f4 and pinhole.f4 of the 48 doubles, two sizes and a switch in FOLDER/in.f8.</summary>
    static int Camera(string[] arguments)
    {
        folder = arguments[1];
        var values = new double[51];
        Buffer.BlockCopy(File.ReadAllBytes(Path.Combine(folder, "in.f8")), 0, values, 0, 408);
        var matrices = new double[3][];
        for (int i = 0; i < 3; i++)
        {
            matrices[i] = new double[16];
            Array.Copy(values, 16 * i, matrices[i], 0, 16);
        }
        var rows = new float[12];
        var pinhole = new float[4];
        Axes.ViewRows(matrices[0], matrices[1], rows);
        Axes.Pinhole(matrices[2], (int)values[48], (int)values[49], values[50] > 0, pinhole);
        Write("rows.f4", rows);
        Write("pinhole.f4", pinhole);
        return 0;
    }

    static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    static float[] Part(float[] values, int count)
    {
        var part = new float[count];
        Array.Copy(values, part, count);
        return part;
    }

    static void Write(string name, Array values)
    {
        var bytes = new byte[Buffer.ByteLength(values)];
        Buffer.BlockCopy(values, 0, bytes, 0, bytes.Length);
        File.WriteAllBytes(Path.Combine(folder, name), bytes);
    }
}
