using System;
using System.Globalization;
using System.IO;
using System.Reflection;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Ani3D;
using Ani3D.Core;
using UnityEngine;

/// <summary>
/// Play BUNDLE: the package's component through an invented session, with UnityEngine.cs for Unity. Prints a line for
/// each thing that the test looks at: "joints" with the positions of the bones, else a name and numbers.
/// </summary>
static class Play
{
    static Ani3DPlayer player;
    static Camera camera;

    static int Main(string[] arguments)
    {
        byte[] file = File.ReadAllBytes(arguments[0]);
        Ani3DAsset asset = Ani3DAsset.Create(file, "avatar");
        camera = new Camera { cullingMask = -1, nearClipPlane = 0.1f, farClipPlane = 100, projectionMatrix = Perspective(),
                              worldToCameraMatrix = Matrix4x4.identity };
        player = new GameObject("figure").AddComponent<Ani3DPlayer>();
        player.asset = asset;
        player.bones = new Transform[asset.JointCount];
        for (int j = 0; j < player.bones.Length; j++) player.bones[j] = new GameObject("bone").transform;
        Call("OnEnable");
        Load();
        Clock();
        Draws();
        Garbage();
        Hidden();
        EditMode();
        Call("OnDisable");
        Reimported(file);
        Line("left", Fake.Buffers, Fake.Objects, Camera.onPreCull == null ? 0 : 1);
        return 0;
    }

    /// <summary>Frames until the other threads are done; nothing is drawn or counted on before.</summary>
    static void Load()
    {
        int frames = 0;
        for (; player.Gpu == null && frames < 1000; frames++)
        {
            Frame(0.01f);
            Thread.Sleep(2);
        }
        Line("loaded", frames < 1000 ? 1 : 0, player.time);
    }

    /// <summary>Playing, a fade by call, a fade by the field, a held end.</summary>
    static void Clock()
    {
        player.time = 0.05f;
        for (int i = 0; i < 3; i++) Shown(0.1f);
        player.PlayClip(1, 0.4f);
        for (int i = 0; i < 3; i++) Shown(0.11f);
        player.speed = 2;
        for (int i = 0; i < 4; i++) Shown(0.17f);
        player.fade = 0.3f;
        player.clip = 0;
        Shown(0.1f);
        Shown(0.1f);
        player.speed = 1;
        player.fade = 0;
        player.clip = 1;
        player.loop = false;
        for (int i = 0; i < 3; i++) Shown(0.9f);
        Line("time", player.clip, player.time, player.Duration);
        player.Show(0, 0.1, 1, 0.5, 0.25, true);
        Shown(0.1f);
        player.EndShow();
        player.Pause();
        player.loop = true;
        player.rootMotion = false;
        player.time = 2;
        Shown(0.1f);
    }

    /// <summary>Posed once a moment, sorted and given to the engine for each camera's painting.</summary>
    static void Draws()
    {
        foreach (ColorSpace space in new[] { ColorSpace.Linear, ColorSpace.Gamma })
        {
            Fake.Space = space;
            Frame(0.1f);
            Count(() => Camera.onPreCull(camera));
            Count(() => Camera.onPreCull(camera));
            Frame(0.1f);
            Count(() => Camera.onPreCull(camera));
            player.play = true;
            Frame(0.1f);
            Count(() => Camera.onPreCull(camera));
            player.play = false;
        }
        Fake.Space = ColorSpace.Linear;
    }

    static void Garbage()
    {
        player.play = true;
        player.PlayClip(0, 30);
        long before = 0;
        for (int i = -50; i < 200; i++)
        {
            if (i == 0) before = GC.GetAllocatedBytesForCurrentThread();
            Frame(0.02f);
            Camera.onPreCull(camera);
        }
        Line("garbage", GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>Cameras that may not or cannot see it.</summary>
    static void Hidden()
    {
        Frame(0.1f);
        Fake.InView = false;
        Count(() => Camera.onPreCull(camera));
        Fake.InView = true;
        camera.cullingMask = 2;
        Count(() => Camera.onPreCull(camera));
        camera.cullingMask = -1;
        camera.cameraType = CameraType.Preview;
        Count(() => Camera.onPreCull(camera));
        camera.cameraType = CameraType.SceneView;
        camera.orthographic = true;
        Count(() => Camera.onPreCull(camera));
    }

    /// <summary>Without play nothing moves by itself, and a changed time shows without an update.</summary>
    static void EditMode()
    {
        player.PlayClip(0, 0);
        Fake.Playing = false;
        float time = player.time;
        Frame(0.1f);
        Line("edit", player.time - time);
        player.clip = 0;
        player.time = 0.3f;
        Camera.onPreCull(camera);
        Joints();
        Fake.Playing = true;
    }

    /// <summary>A file that changes while its buffers are packed: what was packed is not the new file's.</summary>
    static void Reimported(byte[] file)
    {
        Ani3DAsset asset = Ani3DAsset.Create(file, "again");
        Ani3DFigure figure = Ani3DFigure.Take(asset);
        Set(figure, "packing", Task.FromResult(new GpuFigure(asset.Bundle)));
        Bundle other = Bundle.Read(file, "other");
        other.Clips = new Clip[0];
        object copy = file.Clone();
        Set(asset, "file", copy);
        Set(asset, "readFrom", copy);
        Set(asset, "reading", Task.FromResult(other));
        for (int i = 0; i < 1000 && !figure.IsReady(); i++) Thread.Sleep(2);
        if (figure.Bundle != other || figure.Clips.Length != 0) throw new Exception("the buffers are of another file");
        figure.Release();
    }

    static void Set(object of, string field, object value) =>
        of.GetType().GetField(field, BindingFlags.Instance | BindingFlags.NonPublic).SetValue(of, value);

    static void Shown(float seconds)
    {
        Frame(seconds);
        Joints();
    }

    static void Frame(float seconds)
    {
        Fake.DeltaTime = seconds;
        Fake.Frame++;
        Call("Update");
        Call("LateUpdate");
    }

    static void Joints()
    {
        var line = new StringBuilder("joints");
        foreach (Transform bone in player.bones)
            line.AppendFormat(CultureInfo.InvariantCulture, " {0:R} {1:R} {2:R}", bone.position.x, bone.position.y, bone.position.z);
        Console.WriteLine(line);
    }

    static void Count(Action draw)
    {
        int primitives = Fake.Primitives, dispatches = Fake.Dispatches, executed = Fake.Executed;
        draw();
        Line("drawn", Fake.Primitives - primitives, Fake.Dispatches - dispatches, Fake.Executed - executed,
             Fake.NewestSerial == Fake.Serial ? 1 : 0);
    }

    static Action update, late;

    static void Call(string name)
    {
        // Update and LateUpdate as delegates: calling by reflection leaves garbage.
        if (name == "Update") update();
        else if (name == "LateUpdate") late();
        else Find(name).Invoke(player, null);
        if (name != "OnEnable") return;
        update = (Action)Find("Update").CreateDelegate(typeof(Action), player);
        late = (Action)Find("LateUpdate").CreateDelegate(typeof(Action), player);
    }

    static MethodInfo Find(string name) =>
        typeof(Ani3DPlayer).GetMethod(name, BindingFlags.Instance | BindingFlags.NonPublic);

    static Matrix4x4 Perspective()
    {
        var matrix = default(Matrix4x4);
        matrix[0, 0] = matrix[1, 1] = 1.5f;
        matrix[2, 2] = -1.002f;
        matrix[2, 3] = -0.2f;
        matrix[3, 2] = -1;
        return matrix;
    }

    static void Line(string name, params double[] numbers)
    {
        Console.WriteLine(name + " " + string.Join(" ", Array.ConvertAll(numbers, n => n.ToString("R", CultureInfo.InvariantCulture))));
    }
}
