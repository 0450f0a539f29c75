using System;
using System.Globalization;
using System.IO;
using Ani3D.Core;

/// <summary>
/// Dump BUNDLE FOLDER COUNT RESIDUAL LOOP TIME...: what the core decodes and what it sends to the GPU, as raw
/// little-endian files NAME.f4, .f8 or .u4, for the test to compare. Prints the message of an InputException and
/// exits with 2.
/// </summary>
static class Dump
{
    static string folder;

    static int Main(string[] arguments)
    {
        if (arguments[0] == "axes") return Camera(arguments);
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
        Gaussians rest = bundle.Gaussians;
        Clip clip = bundle.Clips[0];
        Write("rest_means.f4", GpuData.RestMeans(rest));
        Write("rest_quats.f4", rest.Quats);
        Write("rest_log_scales.f4", GpuData.RestLogScales(rest, clip));
        Write("colors.f4", GpuData.Colors(rest));
        Write("labels.u1", rest.Labels);
        Write("skin.u4", GpuData.Skin(bundle.Rig));
        Write("group_means.f4", GpuData.GroupMeans(clip));
        Write("mean_texels.u4", GpuData.Texels(clip.DMeans));
        Write("rotation_texels.u4", GpuData.Texels(clip.DRotations));
        Write("log_scale_texels.u4", GpuData.Texels(clip.DLogScales));
        float growth = Decoder.LevelGrowth(rest, count);
        Write("growth.f4", new[] { growth });
        var decoder = new Decoder(bundle);
        for (int i = 5; i < arguments.Length; i++)
        {
            double time = double.Parse(arguments[i], CultureInfo.InvariantCulture);
            Frame frame = ClipSampler.Evaluate(bundle, clip, ClipSampler.FrameAt(clip, time, loop));
            decoder.Decode(clip, frame, count, residual, growth);
            string prefix = $"time{i - 5}_";
            Write(prefix + "joints.f8", frame.Joints);
            var rows = new float[frame.Skinning.Length];
            GpuData.Joints(frame.Skinning, rows);
            Write(prefix + "skinning.f4", rows);
            Write(prefix + "steps.f4", frame.Steps);
            Write(prefix + "ends.u4", frame.Ends);
            Write(prefix + "turn.f4", new[] { frame.Turn });
            Write(prefix + "means.f4", Part(decoder.Means, 3 * count));
            Write(prefix + "quats.f4", Part(decoder.Quats, 4 * count));
            Write(prefix + "log_scales.f4", Part(decoder.LogScales, 3 * count));
        }
        Console.WriteLine($"{bundle.Name}|{bundle.Rig.JointNames[1]}|{clip.Name}|{clip.Duration:R}");
        return 0;
    }

    /// <summary>Dump axes FOLDER: rows.f4 and pinhole.f4 of the 48 doubles and two sizes in FOLDER/in.f8.</summary>
    static int Camera(string[] arguments)
    {
        folder = arguments[1];
        var values = new double[50];
        Buffer.BlockCopy(File.ReadAllBytes(Path.Combine(folder, "in.f8")), 0, values, 0, 400);
        var matrices = new double[3][];
        for (int i = 0; i < 3; i++)
        {
            matrices[i] = new double[16];
            Array.Copy(values, 16 * i, matrices[i], 0, 16);
        }
        var rows = new float[12];
        var pinhole = new float[4];
        Axes.ViewRows(matrices[0], matrices[1], rows);
        Axes.Pinhole(matrices[2], (int)values[48], (int)values[49], pinhole);
        Write("rows.f4", rows);
        Write("pinhole.f4", pinhole);
        return 0;
    }

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
